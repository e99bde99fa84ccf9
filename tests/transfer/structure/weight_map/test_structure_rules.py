"""Rules written by hand, and their errors."""

import numpy as np
import pytest
from nets import Weights, holder

from tfxfer.errors import UserError
from tfxfer.transfer.structure import UnitMap, plan

pytestmark = pytest.mark.tensorflow


def blocks(count, pattern, shape=(2, 3), start=0):
    return {pattern.format(i): np.full(shape, i, np.float32) for i in range(start, start + count)}


def target_of(*paths, shape=(2, 3)):
    """A target whose tensors have exactly these paths under "m/"; a place is a weight's name."""
    return Weights(dict.fromkeys(paths, shape), name="m")


def reads(weight_map):
    return {row.target.path: ", ".join(origin.path for origin in row.origins) for row in weight_map.rows}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("encoder/*/kernel", "m/layer_*", {"m/layer_1": "encoder/1/kernel", "m/layer_2": "encoder/2/kernel"}),
        ("encoder/{*-1}/kernel", "m/layer_*", {"m/layer_1": "encoder/0/kernel", "m/layer_2": "encoder/1/kernel"}),
        ("encoder/{2*+1}/kernel", "m/layer_*", {"m/layer_1": "encoder/3/kernel", "m/layer_2": "encoder/5/kernel"}),
        ("encoder/{3*}/kernel", "m/layer_*", {"m/layer_1": "encoder/3/kernel", "m/layer_2": "encoder/6/kernel"}),
        ("encoder/4/kernel", "m/layer_*", {"m/layer_1": "encoder/4/kernel", "m/layer_2": "encoder/4/kernel"}),
        ("encoder/*/kernel", "**/layer_*", None),  # the first star is not the number
    ],
)
def test_the_text_that_stars_match_is_filled_in(source, target, expected):
    arrays = blocks(7, "encoder/{}/kernel")
    if expected is None:
        with pytest.raises(UserError, match="rule 1 reads 'encoder/m/kernel'"):
            plan(arrays, target_of("layer_1", "layer_2"), [(source, target, "copy")])
        return
    weight_map = plan(arrays, target_of("layer_1", "layer_2"), [(source, target, "copy")], match="none")
    assert reads(weight_map) == expected
    model = weight_map.apply()
    assert [float(v.numpy()[0, 0]) for v in model.variables] == [float(p.split("/")[1]) for p in expected.values()]


def test_one_star_does_not_match_slashes_and_two_do():
    arrays = {"a/b/c": np.zeros((2, 3), np.float32), "b": np.zeros((2, 3), np.float32)}
    with pytest.raises(UserError, match=r"no tensor of the target fits '\*'"):
        plan(arrays, holder(x=(2, 3)), [("b", "*", "copy")])
    assert reads(plan(arrays, holder(x=(2, 3)), [("a/b/c", "**", "copy")])) == {"m/x": "a/b/c"}
    dotted = {"layer.0.weight": np.zeros((2, 3), np.float32)}
    assert reads(plan(dotted, target_of("x0"), [("layer.*.weight", "m/x*", "copy")])) == {"m/x0": "layer.0.weight"}


def test_the_first_rule_that_fits_applies_and_names_come_after_rules():
    arrays = {"m/a": np.ones((2, 3), np.float32), "other": np.zeros((2, 3), np.float32)}
    target = target_of("a", "b")
    weight_map = plan(arrays, target, [("other", "m/b", "copy")])
    assert reads(weight_map) == {"m/a": "m/a", "m/b": "other"}
    assert "rule 1: 'm/b' from 'other'" in weight_map.explain("m/b")
    weight_map = plan(arrays, target, [("other", "m/a", "copy"), ("m/a", "m/*", "copy")])
    assert reads(weight_map) == {"m/a": "other", "m/b": "m/a"}


def test_rules_have_several_notations():
    arrays = {"s": np.arange(6, dtype=np.float32).reshape(3, 2)}
    spelled = [
        ("s", "m/x", "transpose"),
        ["s", "m/x", ["transpose", {"axes": [1, 0]}]],
        {"source": "s", "target": "m/x", "op": ["transpose", "copy"]},
        (["s"], "m/x", [("transpose", {})]),
    ]
    for rule in spelled:
        model = plan(arrays, holder(x=(2, 3)), [rule]).apply()
        np.testing.assert_array_equal(model.variables[0].numpy(), arrays["s"].T)


def test_sources_are_named_where_there_are_several():
    arrays = {"a": {"w": np.zeros((2, 3), np.float32)}, "b": {"w": np.ones((2, 3), np.float32)}}
    model = plan(arrays, holder(w=(2, 3)), [("b:w", "m/w", "copy")]).apply()
    assert model.variables[0].numpy().all()
    mixed = plan(arrays, holder(w=(2, 3)), [(["a:w", "b:w"], "m/w", ("mix", {"share": 0.25}))]).apply()
    np.testing.assert_allclose(mixed.variables[0].numpy(), 0.25)


def test_optional_rules_may_fit_nothing():
    arrays = {"s": np.zeros((2, 3), np.float32)}
    rules = [
        {"source": "pooler", "target": "m/pooler", "op": "copy", "optional": True},
        {"source": "absent", "target": "m/x", "op": "copy", "optional": True},
        ("s", "m/x", "copy"),
    ]
    assert reads(plan(arrays, holder(x=(2, 3)), rules)) == {"m/x": "s"}


def test_unit_maps_are_given_by_name_or_directly():
    units = UnitMap("h", 2, 4, "cycle")
    arrays = {"s": np.array([[1, 2]], np.float32)}
    for named, options in (("h", {"unit_maps": [units]}), (units, {})):
        weight_map = plan(arrays, holder(x=(1, 4)), [("s", "m/x", ("gather_outputs", {"units": named}))], **options)
        assert weight_map.apply().variables[0].numpy().tolist() == [[1, 2, 1, 2]]
        assert weight_map.unit_maps == {"h": units}
    other = UnitMap("h", 2, 4, "spread")
    rules = [("s", f"m/{name}", ("gather_outputs", {"units": one})) for name, one in (("x", units), ("y", other))]
    with pytest.raises(UserError, match="two different unit maps with the name 'h'"):
        plan(arrays, holder(x=(1, 4), y=(1, 4)), rules)
    with pytest.raises(UserError, match="two unit maps with the name 'h'"):
        plan(arrays, holder(x=(1, 4)), unit_maps=[units, other])


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ([("s", "m/y", "copy")], r"rule 1: no tensor of the target fits 'm/y'; did you mean 'm/x'\?"),
        ([("t", "m/x", "copy")], r"rule 1 reads 't' for 'm/x', which is not in source; known: s"),
        ([("s", "m/x", "copy"), ("s", "m/*", "copy")], r"rule 2: earlier rules apply to all tensors of 'm/\*'"),
        ([("s/*", "m/x", "copy")], r"'s/\*' has more \* than the target's 'm/x'"),
        ([("s", "m/x")], "is not \\(source pattern, target pattern, operation\\)"),
        ([("s", 3, "copy")], "is not \\(source pattern"),
        ([(3, "m/x", "copy")], "3 is neither a pattern"),
        ([("s", "m/x", 7)], "rule 1: 7 is not an operation"),
        ([("s", "m/x", [])], "is not an operation"),
        ([{"source": "s", "target": "m/x", "opp": "copy"}], "did you mean 'op'"),
        (("s", "m/x", "copy"), "is not \\(source pattern"),
        ("s", "rules are a list"),
        ([("{*-1}", "m/*", "copy")], "needs a number, and the target has 'x'"),
        ([("s", "m/{*-1}", "copy")], "only the source's pattern can compute"),
        ([("elsewhere:s", "m/x", "copy")], "reads 'elsewhere:s'"),
        ([("s", "m/x", "tie")], "'tie' must be the first operation, and only 'tie' reads tensors of the target"),
        ([("target:m/x", "m/x", "copy")], "'tie' must be the first operation"),
        ([("target:m/x", "m/x", "tie")], "ties form a cycle: m/x ← m/x"),
        ([("target:m/y", "m/x", "tie")], "reads 'm/y' for 'm/x', which is not in target"),
    ],
)
def test_wrong_rules_are_refused_with_their_number(rules, problem):
    with pytest.raises(UserError, match=problem):
        plan({"s": np.zeros((2, 3), np.float32)}, holder(x=(2, 3)), rules)


def test_a_tie_copies_the_value_of_another_tensor():
    arrays = {"s": np.arange(6, dtype=np.float32).reshape(3, 2)}
    target = holder(head=(2, 3), table=(3, 2))
    weight_map = plan(arrays, target, [("target:m/table", "m/head", ["tie", "transpose"]), ("s", "m/table", "copy")])
    assert weight_map.coverage == 1
    weight_map.apply()
    np.testing.assert_array_equal(target.variables[0].numpy(), arrays["s"].T)
    kept = plan(arrays, target, [("target:m/table", "m/head", ["tie", "transpose"]), (None, "m/table", "keep")])
    assert kept.coverage == 0  # what a tie takes from a tensor that stays has come from no source
