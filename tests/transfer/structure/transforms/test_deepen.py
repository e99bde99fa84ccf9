"""Deeper models have the same outputs, and their new layers can be trained."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import batch, cnn, nested, randomise, residual_cnn, same, transformer

from tfxfer.errors import UserError
from tfxfer.models.cnn import glyph_cnn
from tfxfer.transfer.structure import WeightMap
from tfxfer.transfer.structure.transforms.deepening import deepen

pytestmark = pytest.mark.tensorflow
properties = settings(max_examples=8, deadline=None, derandomize=True)
layers = keras.layers
places = st.sets(st.sampled_from(["conv1", "conv2", "hidden"]), min_size=1)
sizes, seeds = st.integers(1, 4), st.integers(0, 99)


def kept(model, after, how="layer", seed=0, inputs=None, **options):
    """Deepen a model with random weights; check its outputs, and the condition that the map states."""
    randomise(model, seed)
    weight_map = deepen(model, after, how, **options)
    deep = weight_map.apply()
    inputs = batch(model, seed=seed) if inputs is None else inputs
    assert weight_map.preserves.startswith("if the") and not any(row.keeps for row in weight_map.rows)
    assert weight_map.verify(inputs).kept
    same(model, deep, inputs)
    assert deep.count_params() > model.count_params()
    return deep, weight_map


@given(sizes, sizes, sizes, st.sampled_from([1, 3, 5]), places, st.booleans(), seeds)
@properties
def test_a_cnn_with_identities_computes_the_same(first, second, hidden, window, after, norm, seed):
    deep, _ = kept(cnn(first, second, hidden, side=4, window=window), sorted(after), seed=seed, norm=norm)
    for name in after - {"hidden"}:
        assert deep.get_layer(f"{name}_new").kernel_size == (window, window)


@given(sizes, sizes, st.sampled_from(["stem", "norm_a", "norm_b", "b", "add"]), st.booleans(), seeds)
@properties
def test_a_residual_cnn_with_more_residuals_computes_the_same(stem, inner, after, norm, seed):
    model = residual_cnn(stem, inner)
    after = next(layer.name for layer in model.layers if layer.name.startswith(after))
    kept(model, after, "residual", seed, norm=norm)


@given(st.integers(2, 4), st.integers(1, 3), sizes, seeds)
@properties
def test_a_transformer_with_one_more_block_computes_the_same(dim, heads, inner, seed):
    deep, weight_map = kept(transformer(dim, heads, inner=inner), "norm2", "block", seed)
    assert weight_map.row("norm2_new_attention/query/kernel").origins[0].path == "attention/query/kernel"
    assert deep.get_layer("norm2_new_up").activation is keras.activations.gelu


def test_a_keras_hub_block_is_copied_with_its_masks():
    import keras_hub

    tokens = keras.Input((4, 6), name="x")
    mask = keras.Input((4,), name="mask")
    block = keras_hub.layers.TransformerEncoder(8, 2, normalize_first=True, name="block")
    model = keras.Model({"x": tokens, "mask": mask}, block(tokens, padding_mask=mask))
    x = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
    deep, _ = kept(model, "block", "block", inputs={"x": x, "mask": np.tri(4, 4)[1:].astype(np.float32)})
    new = deep.get_layer("block_new")
    for weight in new.weights:
        if "attention_output" in weight.path or "output_dense" in weight.path:
            weight.assign(np.ones(weight.shape))
    hidden = x.copy()
    hidden[:, 2:] += 7  # behind the mask's end of the first example
    masks = np.repeat([[1.0, 1, 0, 0]], 3, 0)
    before, after = (np.asarray(deep({"x": one, "mask": masks}))[:, :2] for one in (x, hidden))
    np.testing.assert_allclose(before, after, atol=1e-4)


def test_sequences_activations_and_causal_convolutions():
    inputs = keras.Input((6, 3))
    x = layers.Conv1D(4, 3, padding="causal", activation="relu", name="causal")(inputs)
    x = layers.ReLU(max_value=6, name="relu6")(layers.Conv1D(4, 3, name="conv")(x))
    x = layers.Activation("relu", name="act")(layers.Dense(5, name="dense")(x))
    model = keras.Model(inputs, x)
    deep, _ = kept(model, ["causal", "conv", "relu6", "act"])
    assert deep.get_layer("causal_new").kernel_size == (1,) and deep.get_layer("conv_new").kernel_size == (3,)
    assert deep.get_layer("relu6_new").activation is keras.activations.relu6
    assert deep.get_layer("act_new").units == 5


def test_names_are_unique():
    once, _ = kept(nested(), ["inner/conv1", "inner/hidden"])
    twice, _ = kept(once, ["inner/conv1", "inner/conv1_new"])
    names = [layer.name for layer in twice.get_layer("inner").layers]
    assert len(set(names)) == len(names) and {"conv1_new", "conv1_new_2", "conv1_new_new"} <= set(names)


def test_the_projects_own_cnn_is_deepened():
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 12, 1)).astype(np.float32)
    model = glyph_cnn(3, filters=(2, 3, 4, 5))
    kept(keras.Model(model.input, model.get_layer("norm_pool").output), ["relu1", "relu4"], norm=True, inputs=images)


@pytest.mark.parametrize(("build", "after", "how"), [(cnn, "conv1", "residual"), (transformer, "norm2", "block")])
def test_layers_that_add_zero_can_learn(build, after, how):
    """The zero layers have a gradient at once, and the others after one step."""
    import tensorflow as tf

    model = randomise(build())
    deep = deepen(model, after, how).apply()
    inputs, targets = batch(model), np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((deep(inputs, training=True) - targets) ** 2)
        gradients = tape.gradient(loss, [v.value for v in deep.trainable_variables])
        reached = {v.path for v, g in zip(deep.trainable_variables, gradients) if np.abs(g).max() > 0}
        for variable, gradient in zip(deep.trainable_variables, gradients):
            variable.assign(variable - 0.01 * gradient)
    silent = {path for path in reached ^ {v.path for v in deep.trainable_variables} if not path.endswith("key/bias")}
    assert not silent  # a key's bias adds the same to all scores of a softmax


def test_the_plan_can_be_saved_and_read():
    model = randomise(transformer())
    weight_map = deepen(model, "norm2", "block")
    again = WeightMap.from_json(weight_map.to_json(), model, weight_map.target.model)
    again.apply()
    assert again.verify(batch(model)).kept


def gelu():
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(2, activation="gelu", name="hidden")(inputs), name="gelu")


def twice():
    inputs = keras.Input((3,))
    dense = layers.Dense(3, name="dense")
    return keras.Model(inputs, dense(dense(inputs)), name="twice")


def bert():
    from tfxfer.models.bert import small_bert

    return small_bert(50, 1, 8, 2, 6)


def leaky():
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.ReLU(negative_slope=0.1, name="leaky")(layers.Dense(3)(inputs)))


@pytest.mark.parametrize(
    ("model", "after", "options", "message"),
    [
        (cnn, "conv", {}, "layer 'conv' does not exist in cnn; did you mean 'conv"),
        (cnn, [], {}, "after is the name of a layer"),
        (cnn, ["conv1", "conv1"], {}, "'conv1' is named twice"),
        (cnn, "conv1", {"how": "layers"}, "how='layers' is unknown; did you mean 'layer'"),
        (gelu, "hidden", {}, "'hidden' ends in the activation 'gelu'.*use how='residual'"),
        (leaky, "leaky", {}, "'leaky' ends in the activation 'a ReLU with a slope"),
        (twice, "dense", {}, "'dense' is called 2 times"),
        (cnn, "conv2", {"how": "block"}, "up to 'conv2' there is no attention of width 4"),
        (transformer, "norm0", {"how": "block"}, "up to 'norm0' there is no attention of width 4"),
        (transformer, "norm1", {"how": "block"}, "up to 'norm1' there is no feed-forward of width 4"),
        (transformer, "norm2", {"how": "block", "norm": True}, "has its own norms"),
        (bert, "transformer_layer_0", {"how": "block"}, "'transformer_layer_0' normalises last"),
    ],
)
def test_unsupported_models_and_options_are_errors_that_name_the_layer(model, after, options, message):
    with pytest.raises(UserError, match=message):
        deepen(model(), after, **options)
