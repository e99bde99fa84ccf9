"""Matching of tensors: by names, by counting automatic names, and never by shape alone."""

import keras
import numpy as np
import pytest
from nets import Weights, batch, cnn, randomise, residual_cnn, transformer

from tfxfer.errors import UserError
from tfxfer.transfer.structure import plan

pytestmark = pytest.mark.tensorflow
layers = keras.layers


def pairs(weight_map):
    return {row.target.path: [origin.path for origin in row.origins] for row in weight_map.rows}


def chain(widths, names=None, features=4):
    """Dense layers of these widths, named by Keras or by the caller."""
    x = inputs = keras.Input((features,))
    for i, width in enumerate(widths):
        x = layers.Dense(width, name=names[i] if names else None)(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("build", [cnn, residual_cnn, transformer])
def test_the_same_model_built_twice_matches_itself(build):
    source, target = randomise(build(), 1), build()
    weight_map = plan(source, target)
    assert weight_map.coverage == 1 and weight_map.unmatched == {"target": [], "source": []}
    assert weight_map.apply() is target
    proof = weight_map.verify(batch(target))
    assert proof.kept and proof.absolute == 0 and proof.agreement == 1


def test_a_kerashub_bert_matches_its_masked_language_model():
    import keras_hub

    def bert():
        return keras_hub.models.BertBackbone(30, 2, 2, 8, 32, dropout=0.1, max_sequence_length=16)

    source, target = bert(), keras_hub.models.BertMaskedLM(bert(), preprocessor=None)
    weight_map = plan(source, target, allow="mlm_head/*")
    assert not weight_map.unmatched["source"]
    assert all(path.startswith("mlm_head/") for path in weight_map.unmatched["target"])
    assert len(weight_map.skipped) == 7  # generators of dropout
    weight_map.apply(allow="mlm_head/**")
    for row in weight_map.rows:
        if row.origins:
            assert row.target.path == row.origins[0].path and row.why == "same path"
    inputs = {
        "token_ids": np.arange(8)[None],
        "segment_ids": np.zeros((1, 8), int),
        "padding_mask": np.ones((1, 8), int),
    }
    given = np.asarray(target.backbone(inputs)["sequence_output"])
    np.testing.assert_array_equal(given, np.asarray(source(inputs)["sequence_output"]))


def test_automatic_numbers_are_counted_and_not_compared():
    """`dense_1` of one model and `dense_1` of another are not the same layer: Keras continued to count."""
    layers.Dense(1)  # moves Keras' counter, so that names overlap but mean something else
    source, target = chain([4, 4, 4]), chain([4, 4, 4])
    made = [layer.name for model in (source, target) for layer in model.layers[1:]]
    assert len(set(made)) == 6
    found = pairs(plan(source, target))
    for ours, theirs in zip(target.layers[1:], source.layers[1:]):
        assert found[f"{ours.name}/kernel"] == [f"{theirs.name}/kernel"]
    assert "number 2 of 3 of this shape" in plan(source, target).row(f"{target.layers[2].name}/bias").why


def test_overlapping_numbers_are_matched_in_order():
    first, second = chain([4, 4], ["dense_1", "dense_2"]), chain([4, 4], ["dense_2", "dense_3"])
    assert pairs(plan(first, second))["dense_2/kernel"] == ["dense_1/kernel"]


def test_kernel_and_bias_stay_together():
    """Layers are matched whole: biases of equal shape do not go to another layer than their kernels."""
    source, target = chain([4, 3, 4], features=4), chain([3, 4, 4], features=4)  # 4x4, 4x3, 3x4 and 4x3, 3x4, 4x4
    found = pairs(plan(source, target))
    for path, (origin,) in found.items():
        if path.endswith("kernel"):
            assert found[path.replace("kernel", "bias")] == [origin.replace("kernel", "bias")]
    assert found[f"{target.layers[3].name}/bias"] == [f"{source.layers[1].name}/bias"]


def test_given_names_take_precedence_over_the_order():
    source, target = chain([4, 4], ["a", "b"]), chain([4, 4], ["b", "a"])
    assert pairs(plan(source, target))["a/kernel"] == ["a/kernel"]


def test_a_nested_model_is_matched_by_the_end_of_the_path():
    body = Weights({"kernel": (2, 2)}, name="stem")
    inside = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="one"), layers.Dense(4, name="two")], name="body"
    )
    weight_map = plan(chain([4, 4], ["one", "two"]), inside)
    assert pairs(weight_map)["body/two/kernel"] == ["two/kernel"]
    assert "same end of the path, 'two'" in weight_map.explain("body/two/bias")
    assert pairs(plan(inside, chain([4, 4], ["one", "two"])))["one/bias"] == ["body/one/bias"]
    assert body.variables


def test_parts_of_a_transformer_are_known_by_their_names():
    arrays = {
        f"h.{i}.attn.{part}.kernel": np.full((4, 2, 3), i + 1.0, np.float32)
        for i in range(2)
        for part in ("q_proj", "k_proj")
    }
    inputs = keras.Input((5, 4))
    x = layers.MultiHeadAttention(2, 3, name="first")(inputs, inputs)
    x = layers.MultiHeadAttention(2, 3, name="second")(x, x)
    target = keras.Model(inputs, x)
    found = pairs(plan(arrays, target))
    assert found["first/query/kernel"] == ["h.0.attn.q_proj.kernel"]
    assert found["second/key/kernel"] == ["h.1.attn.k_proj.kernel"]
    assert found["first/value/kernel"] == []


def test_cross_attention_is_not_self_attention():
    def block(name):
        return {f"{name}/query/kernel": np.zeros((4, 2, 3), np.float32)}

    inputs = keras.Input((5, 4))
    target = keras.Model(inputs, layers.MultiHeadAttention(2, 3, name="cross_attention")(inputs, inputs))
    assert pairs(plan(block("self_attention_x"), target))["cross_attention/query/kernel"] == []


def test_heads_that_are_joined_on_one_side_are_split():
    inputs = keras.Input((5, 4))
    target = keras.Model(inputs, layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs))
    joined = {
        f"attention/{p}/{w}": np.zeros((4, 6) if w == "kernel" else (6,), np.float32)
        for p in ("query", "key")
        for w in ("kernel", "bias")
    }
    weight_map = plan(joined, target)
    assert weight_map.row("attention/query/kernel").operation == "reshape"
    assert weight_map.row("attention/key/bias").operation == "reshape"


def test_equal_shapes_are_a_hint_and_not_evidence():
    weight_map = plan(chain([4], ["pooler"]), chain([4], ["head"]))
    assert pairs(weight_map) == {"head/kernel": [], "head/bias": []}
    hint = "'pooler/kernel' has the same kind and shape; if it is the source, write"
    assert f"{hint} ('pooler/kernel', 'head/kernel', 'copy')" in weight_map.explain("head/kernel")
    rule = ("pooler/*", "head/*", "copy")
    assert pairs(plan(chain([4], ["pooler"]), chain([4], ["head"]), [rule]))["head/bias"] == ["pooler/bias"]


def test_another_shape_under_the_same_name_is_reported_with_a_remedy():
    weight_map = plan(chain([4, 3], ["a", "b"]), chain([4, 7], ["a", "b"]))
    assert weight_map.unmatched == {"target": ["b/kernel", "b/bias"], "source": ["b/kernel", "b/bias"]}
    assert "'b/kernel' matches by name, but is [4, 3]" in weight_map.explain("b/kernel")
    turned = plan({"a/kernel": np.zeros((3, 4), np.float32)}, holder_named("a", kernel=(4, 3)))
    assert "('a/kernel', 'a/kernel', 'transpose')" in turned.explain("a/kernel")


def holder_named(name, **shapes):
    return Weights(shapes, name=name)


def test_numbered_layers_are_ambiguous_when_their_counts_differ():
    source, target = chain([4, 4, 4]), chain([4, 4])
    with pytest.raises(UserError, match="1 matches are ambiguous") as caught:
        plan(source, target)
    for layer in (*source.layers[1:], *target.layers[1:]):
        assert f"'{layer.name}' [4, 4]" in str(caught.value)


def test_the_same_end_twice_is_ambiguous_either_way():
    twins = {f"{tower}/x/kernel": np.zeros((4, 4), np.float32) for tower in ("left", "right")}
    with pytest.raises(UserError) as caught:
        plan(twins, chain([4], ["x"]))
    message = str(caught.value)
    assert "'left/x'" in message and "'right/x'" in message and "('left/x/**', 'x/**', 'copy')" in message
    with pytest.raises(UserError, match="ambiguous"):
        plan(chain([4], ["x"]), twin_towers())
    with_shapes = {f"{tower}/x/kernel": np.zeros((4, n), np.float32) for tower, n in (("left", 5), ("right", 4))}
    assert pairs(plan(with_shapes, chain([4], ["x"])))["x/kernel"] == ["right/x/kernel"]  # only one can be


def twin_towers():
    inputs = keras.Input((4,))
    towers = [keras.Sequential([keras.Input((4,)), layers.Dense(4, name="x")], name=name) for name in ("left", "right")]
    return keras.Model(inputs, layers.Add()([tower(inputs) for tower in towers]))


def test_a_rule_resolves_an_ambiguous_match():
    twins = {
        f"{tower}/x/{w}": np.ones(s, np.float32)
        for tower in ("left", "right")
        for w, s in (("kernel", (4, 4)), ("bias", (4,)))
    }
    assert pairs(plan(twins, chain([4], ["x"]), [("right/x/*", "x/*", "copy")]))["x/kernel"] == ["right/x/kernel"]
    one_for_both = plan(
        chain([4], ["x"]),
        twin_towers(),
        [("x/kernel", "*/x/kernel", "copy"), ("x/bias", "*/x/bias", "copy")],
    )
    assert one_for_both.coverage == 1


def test_by_position_is_for_renamed_copies_and_must_be_requested():
    source, target = chain([4, 3], ["a", "b"]), chain([4, 3], ["c", "d"])
    assert plan(source, target).coverage == 0
    weight_map = plan(source, target, match="position")
    assert pairs(weight_map)["d/bias"] == ["b/bias"]
    assert "by position alone (match='position'): tensor 4 of 4" in weight_map.explain("d/bias")
    with pytest.raises(UserError, match=r"tensor 3 is 'b/kernel' \[4, 3\], and the target's is 'd/kernel' \[4, 5\]"):
        plan(source, chain([4, 5], ["c", "d"]), match="position")
    with pytest.raises(UserError, match="4 tensors, and the target has 2"):
        plan(source, chain([4], ["c"]), match="position")
    with pytest.raises(UserError, match="did you mean 'position'"):
        plan(source, target, match="positions")


def test_several_sources_are_matched_separately_or_combined():
    left, right, target = chain([4], ["a"]), chain([4], ["b"]), chain([4, 4], ["a", "b"])
    found = pairs(plan({"left": left, "right": right}, target))
    assert found["a/kernel"] == ["a/kernel"] and found["b/kernel"] == ["b/kernel"]
    one, two, soup = (randomise(chain([4], ["a"]), seed) for seed in range(3))
    with pytest.raises(UserError, match=r"could come from 'one:a/kernel', 'two:a/kernel'.*combine='average'"):
        plan({"one": one, "two": two}, soup)
    plan({"one": one, "two": two}, soup, combine="average").apply()
    np.testing.assert_allclose(soup.get_weights()[0], (one.get_weights()[0] + two.get_weights()[0]) / 2, rtol=1e-6)
    plan({"base": one, "tuned": two}, soup, combine=("delta", {"scale": [0.5]})).apply()
    np.testing.assert_allclose(soup.get_weights()[0], (one.get_weights()[0] + two.get_weights()[0]) / 2, rtol=1e-6)
    with_head = randomise(chain([4, 2], ["a", "head"]))
    weight_map = plan({"one": one, "two": with_head}, chain([4, 2], ["a", "head"]), combine="average")
    assert "only two has it" in weight_map.explain("head/kernel")
    assert weight_map.unmatched == {
        "target": ["head/kernel", "head/bias"],
        "source": ["two:head/kernel", "two:head/bias"],
    }


def test_a_shared_layer_is_one_tensor():
    shared = layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    source = randomise(keras.Model(inputs, layers.Dense(2, name="top")(shared(shared(inputs)))))
    assert pairs(plan(source, chain([4, 2], ["shared", "top"]))) == {
        f"{layer}/{weight}": [f"{layer}/{weight}"] for layer in ("shared", "top") for weight in ("kernel", "bias")
    }
