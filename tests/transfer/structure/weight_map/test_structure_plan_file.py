"""Plans as JSON: they are read back unchanged, and invalid edits are refused with their place."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
from nets import batch, cnn, holder, randomise

from tfxfer.errors import UserError
from tfxfer.transfer.structure import UnitMap, WeightMap, plan

pytestmark = pytest.mark.tensorflow


def widening():
    units = UnitMap("hidden", 5, 8, "join", parts=(UnitMap("left", 2, 3, seed=4), UnitMap("right", 3, 5, "spread")))
    rules = [
        ("hidden/*", "hidden/*", ("gather_outputs", {"units": units})),
        ("classes/kernel", "classes/kernel", ("gather_inputs", {"units": units, "axis": 0})),
    ]
    return randomise(cnn()), cnn(hidden=8), rules


def test_a_plan_is_read_back_unchanged(tmp_path):
    source, target, rules = widening()
    weight_map = plan(source, target, rules)
    weight_map.to_json(tmp_path / "plan.json")
    found = WeightMap.from_json(tmp_path / "plan.json")
    assert found == weight_map == WeightMap.from_json(str(tmp_path / "plan.json"))
    assert found.to_json() == weight_map.to_json() == (tmp_path / "plan.json").read_text("utf-8")
    assert found.coverage == weight_map.coverage and found.preserves == "yes"
    with pytest.raises(UserError, match="read without its models"):
        found.apply()
    with pytest.raises(UserError, match="read without its models"):
        found.verify(batch(target))
    bound = WeightMap.from_json(tmp_path / "plan.json", source=source, target=target)
    bound.apply()
    assert bound.verify(batch(target)).kept


def test_each_row_is_a_line_so_that_changes_can_be_reviewed():
    source, target, rules = widening()
    lines = plan(source, target, rules).to_json().splitlines()
    for row in plan(source, target, rules).rows:
        (line,) = [line for line in lines if line.startswith(f'  {{"target": "{row.target.path}"')]
        assert json.loads(line.rstrip(","))["why"] == row.why


def test_a_plan_is_read_and_printed_without_tensorflow(tmp_path):
    source, target, rules = widening()
    path = tmp_path / "plan.json"
    plan(source, target, rules).to_json(path)
    code = f"""
import sys
from tfxfer.transfer.structure import WeightMap
weight_map = WeightMap.from_json({str(path)!r})
weight_map.summary(); print(weight_map.explain('hidden/kernel')); print(weight_map.coverage)
found = [m for m in ('tensorflow', 'keras') if m in sys.modules]
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "gather_outputs" in done.stdout and "Net2Wider" in done.stdout


def small():
    arrays = {"s": np.ones((2, 3), np.float32), "t": np.ones((2, 3), np.float32)}
    target = holder(x=(3, 2), y=(2, 3))
    rules = [("s", "m/x", ["transpose", "copy"]), ("t", "m/y", "copy")]
    return plan(arrays, target, rules), arrays, target


def break_at(path, value):
    """Return a change of one place of a plan's data; DELETE removes the place."""

    def change(data):
        *way, last = path
        for step in way:
            data = data[step]
        if value is DELETE:
            del data[last]
        else:
            data[last] = value

    return change


DELETE = object()


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("rows", 0, "steps", 0, 0), "transpos", r"row 1 \('m/x'\): operation 'transpos' does not exist; did you mean"),
        (("rows", 0, "steps", 0, 1), {"axis": [0]}, r"row 1 \('m/x'\): transpose has no argument 'axis'"),
        (("rows", 0, "steps", 0, 1), {"axes": [0, 1]}, r"row 'm/x'.*gives \[2, 3\], and the target is \[3, 2\]"),
        (("rows", 0, "steps", 0), "transpose", 'a step is written \\["name", \\{arguments\\}\\]'),
        (("rows", 0, "steps"), [], "there is no operation"),
        (("rows", 0, "steps"), "copy", "'steps' is \"copy\"; it should be a list"),
        (("rows", 0, "from"), [], "needs a source"),
        (("rows", 0, "from", 0, "shape"), [3, 3], "gives"),
        (("rows", 0, "from", 0, "shape"), [2, -3], "is not a shape"),
        (("rows", 0, "from", 0, "shape"), [2, 3.0], "is not a shape"),
        (("rows", 0, "from", 0, "dtype"), "float31", "dtype float31; did you mean"),
        (("rows", 0, "from", 0, "dtype"), "float64", "cannot hold all its values"),
        (("rows", 0, "from", 0, "source"), "other", "there is no source 'other'"),
        (("rows", 0, "from", 0, "source"), "target", "'tie' must be the first operation"),
        (("rows", 0, "from", 0, "tensor"), DELETE, "'tensor' is missing"),
        (("rows", 0, "shape"), [10**30, 2], "gives"),
        (("rows", 0, "target"), "m/y", "two rows give 'm/y'"),
        (("rows", 0, "target"), 5, "'target' is 5; it should be a str"),
        (("rows", 0, "tragte"), "m/y", "'tragte' is unknown; did you mean 'target'"),
        (("rows", 0, "allowed"), 1, "it should be a bool"),
        (("rows", 0), 7, "row 1: 7 is not a dictionary"),
        (("rows",), {}, "'rows' is {}; it should be a list"),
        (("rows",), DELETE, "'rows' is missing"),
        (("models",), DELETE, "'models' is missing"),
        (("format",), 2, "format 2 is not known; this version reads format 1"),
        (("format",), True, "it should be a int"),
        (("format",), DELETE, "'format' is missing"),
        (("skipped",), {"a": 1}, "names and strings only"),
        (("unit_maps",), {"h": {"old": 2}}, "unit map 'h': give at least"),
        (("unit_maps",), {"h": {"old": 2, "new": 3, "how": "randum"}}, "did you mean 'random'"),
        (("unit_maps",), {"h": {"old": "2", "new": 3}}, "old='2' is not of the right type"),
        (("unit_maps",), {"h": {"old": 2, "new": 2, "how": "indices", "indices": [0, 5]}}, "2 numbers from 0 to 1"),
        (("unit_maps",), {"h": {"old": 2, "new": 2, "how": "join", "parts": ["h"]}}, "is a part of itself: h → h"),
        (("unit_maps",), {"h": {"old": 2, "new": 2, "how": "join", "parts": ["i"]}}, "'i' does not exist"),
    ],
)
def test_invalid_edits_of_a_plan_are_refused_with_the_place(path, value, problem):
    data = json.loads(small()[0].to_json())
    break_at(path, value)(data)
    with pytest.raises(UserError, match=problem) as caught:
        WeightMap.from_json(json.dumps(data))
    assert str(caught.value).startswith("plan: ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("{}", "'format' is missing"),
        ('{"format": 1, "format": 1, "models": {}, "rows": []}', "'format' occurs twice in one object"),
        ('{"format": NaN}', "NaN is not a number"),
        ('{"a":' + "[" * 100_000, "is not JSON"),
    ],
)
def test_files_that_are_not_plans_are_refused(text, problem, tmp_path):
    with pytest.raises(UserError, match=problem):
        WeightMap.from_json(text)
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UserError, match=problem) as caught:
        WeightMap.from_json(path)
    assert str(path) in str(caught.value)


def test_files_that_are_missing_or_not_text_are_reported(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        WeightMap.from_json(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match=r"b\.json: cannot be read"):
        WeightMap.from_json(tmp_path / "b.json")


def test_cyclic_ties_are_refused():
    data = json.loads(small()[0].to_json())
    x, y = data["rows"]
    for row, other in ((x, y), (y, x)):
        row["from"] = [{"source": "target", "tensor": other["target"], "shape": other["shape"], "dtype": "float32"}]
        row["steps"] = [["tie", {}], ["transpose", {}]]
    with pytest.raises(UserError, match=r"ties form a cycle: m/. ← m/. ← m/."):
        WeightMap.from_json(json.dumps(data))
    y["from"][0]["tensor"] = "m/z"
    with pytest.raises(UserError, match="the target has no 'm/z'"):
        WeightMap.from_json(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (break_at(("rows", 0, "target"), "m/z"), r"row 'm/z': there is no 'm/z' in target; did you mean"),
        (break_at(("rows", 0, "from", 0, "tensor"), "ss"), "row 'm/x': there is no 'ss' in source; did you mean 's'"),
        (break_at(("rows", 1), DELETE), "no row gives 'm/y' of m"),
    ],
)
def test_paths_that_the_models_do_not_have_are_refused_by_bind(change, problem):
    weight_map, arrays, target = small()
    data = json.loads(weight_map.to_json())
    change(data)
    with pytest.raises(UserError, match=problem):
        WeightMap.from_json(json.dumps(data), source=arrays, target=target)
    assert not any(variable.numpy().any() for variable in target.variables)


def test_models_of_other_shapes_are_refused_by_bind():
    weight_map, arrays, target = small()
    text = weight_map.to_json()
    with pytest.raises(UserError, match=r"'s' in source is float32 \[2, 4\]; the plan was made for float32 \[2, 3\]"):
        WeightMap.from_json(text, {**arrays, "s": np.ones((2, 4), np.float32)}, target)
    with pytest.raises(UserError, match="'m/x' in target is float16"):
        WeightMap.from_json(text, arrays, holder("float16", x=(3, 2), y=(2, 3)))
    with pytest.raises(UserError, match="there is no source 'source'; did you mean 'sourc'|known: a, b"):
        WeightMap.from_json(text, {"a": arrays, "b": arrays}, target)
    with pytest.raises(UserError, match="the target is a NoneType"):
        WeightMap.from_json(text, arrays)


def test_a_valid_edit_of_a_plan_is_applied():
    weight_map, arrays, target = small()
    data = json.loads(weight_map.to_json())
    edited = copy.deepcopy(data)
    edited["rows"][1] |= {"from": [], "steps": [["constant", {"new": [2, 3], "value": 7}]]}
    WeightMap.from_json(json.dumps(edited), arrays, target).apply()
    assert (target.variables[1].numpy() == 7).all()
