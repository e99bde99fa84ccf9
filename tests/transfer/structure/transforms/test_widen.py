"""Wider models have the same outputs: for random shapes, for units combined in many ways, and for known models."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import batch, branches, cnn, gated, nested, randomise, residual_cnn, same, transformer, units_of

from tfxfer.errors import UserError
from tfxfer.models.cnn import article_cnn, glyph_cnn
from tfxfer.transfer.structure import WeightMap
from tfxfer.transfer.structure.transforms.widening import widen

pytestmark = pytest.mark.tensorflow
properties = settings(max_examples=8, deadline=None, derandomize=True)
layers = keras.layers
sizes, more = st.integers(1, 4), st.integers(0, 4)
seeds = st.integers(0, 99)


def kept(model, units, seed=0, inputs=None, **options):
    """Widen a model with random weights; check its widths, its outputs, and what the map states."""
    randomise(model, seed)
    before = [value.numpy().copy() for value in model.weights]
    weight_map = widen(model, units, seed=seed, **options)
    wide = weight_map.apply()
    inputs = batch(model, seed=seed) if inputs is None else inputs
    assert weight_map.preserves == "yes" and weight_map.coverage == 1
    assert not any(row.keeps for row in weight_map.rows)
    assert weight_map.verify(inputs).kept
    same(model, wide, inputs)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights()))
    return wide, weight_map


@given(sizes, sizes, sizes, more, more, more, seeds)
@properties
def test_a_wider_cnn_computes_the_same(first, second, hidden, more1, more2, more3, seed):
    wide, _ = kept(
        cnn(first, second, hidden, side=4),
        {"conv1": first + more1, "conv2": second + more2, "hidden": hidden + more3},
        seed,
    )
    assert [units_of(wide, name) for name in ("conv1", "conv2", "hidden")] == [
        first + more1,
        second + more2,
        hidden + more3,
    ]


@given(sizes, sizes, more, more, st.sampled_from(["stem", "b"]), seeds)
@properties
def test_a_residual_block_widens_together(stem, inner, more1, more2, named, seed):
    wide, _ = kept(residual_cnn(stem, inner), {named: stem + more1, "a": inner + more2}, seed)
    assert units_of(wide, "stem") == units_of(wide, "b") == stem + more1 and units_of(wide, "a") == inner + more2


@given(st.integers(2, 4), st.integers(1, 3), sizes, st.integers(1, 3), more, more, seeds)
@properties
def test_a_wider_transformer_computes_the_same(dim, heads, inner, times, more_heads, more_inner, seed):
    units = {"embed": dim * times, "attention": heads + more_heads, "up": inner + more_inner}
    wide, _ = kept(transformer(dim, heads, inner=inner), units, seed)
    assert units_of(wide, "attention") == heads + more_heads and units_of(wide, "down") == dim * times


@given(sizes, sizes, more, more, seeds)
@properties
def test_joined_and_flattened_channels_are_followed(left, right, more1, more2, seed):
    kept(branches(left, right), {"left": left + more1, "right": right + more2}, seed)


@given(sizes, more, more, more, seeds)
@properties
def test_gates_and_depthwise_convolutions_are_followed(first, more1, more2, more3, seed):
    wide, _ = kept(gated(first), {"first": first + more1, "separable": 4 + more2, "up": 5 + more3}, seed)
    assert units_of(wide, "gate") == first + more1


def test_a_layer_in_a_nested_model_is_named_by_its_path():
    wide, _ = kept(nested(), {"inner/conv1": 5, "hidden": 7, "inner/classes": 4})
    assert units_of(wide.get_layer("inner"), "conv1") == 5 and units_of(wide.get_layer("inner"), "classes") == 4


def test_words_sequences_and_reshapes_are_followed():
    tokens = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 4, name="words")(tokens)
    x = layers.Add()([x, layers.Conv1D(4, 3, padding="causal", name="conv")(x)])
    x = layers.Reshape((20,))(layers.Reshape((5, 4))(x))
    model = keras.Model(tokens, layers.Dense(2)(x))
    wide, _ = kept(model, {"conv": 7}, inputs=np.arange(10).reshape(2, 5) % 9)
    assert units_of(wide, "words") == 7


def test_positions_may_be_averaged_softmaxed_normalised_and_flattened():
    inputs = keras.Input((5, 3))
    x = layers.Conv1D(4, 2, name="conv")(inputs)
    weights = layers.Softmax(axis=1)(layers.Dense(4, name="scores")(x))  # over places, as attention pooling does
    pooled = keras.ops.sum(x * weights, axis=1)
    flat = layers.BatchNormalization(name="flat_norm")(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Dense(2)(layers.Concatenate()([pooled, flat])))
    wide, _ = kept(model, {"conv": np.int64(7)})
    assert units_of(wide, "scores") == 7 and wide.get_layer("flat_norm").gamma.shape == (28,)


def test_a_wide_model_is_saved_and_loaded(tmp_path):
    model = randomise(nested())
    wide = widen(model, {"inner/conv1": 5}).apply()
    wide.save(tmp_path / "wide.keras")
    same(model, keras.models.load_model(tmp_path / "wide.keras"), batch(model))


def test_a_nested_model_for_any_size_stays_one():
    body = glyph_cnn(3, filters=(2, 3, 4, 5))
    image = keras.Input((16, 8, 1))
    wide = widen(keras.Model(image, layers.Dense(2)(body(image))), {"conv2": 5}).target.model
    assert wide.get_layer("glyph_cnn").input_shape == (None, None, None, 1)


def test_a_sequential_model_is_widened():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="tanh", name="hidden"), layers.Dense(2)])
    kept(model, {"hidden": 8})


def test_feed_forward_of_keras_hub_blocks_is_widened():
    from tfxfer.models.bert import small_bert

    tokens = np.random.default_rng(0).integers(0, 50, (2, 6))
    inputs = {"token_ids": tokens, "segment_ids": 0 * tokens, "padding_mask": 0 * tokens + 1}
    weight_map = widen(randomise(small_bert(50, 2, 8, 2, 6)), {"transformer_layer_1": 40})
    weight_map.apply()
    assert weight_map.preserves == "yes" and weight_map.verify(inputs).kept
    with pytest.raises(UserError, match="TransformerEncoder 'transformer_layer_0' splits them into heads"):
        widen(small_bert(50, 1, 8, 2, 6), {"token_embedding": 16})


@pytest.mark.parametrize("window", [(8, 8), (8, 20)])
def test_the_projects_own_cnns_are_widened(window):
    model = glyph_cnn(3, filters=(4, 5, 6, 7))
    images = np.random.default_rng(0).uniform(0, 255, (2, *window, 1)).astype(np.float32)
    kept(keras.Model(model.input, model.get_layer("norm_pool").output), {"conv1": 6, "conv3": 11}, inputs=images)
    model = article_cnn(3, (*window, 1), (2, 3), 5)
    model.get_layer("classes").activation = keras.activations.linear
    kept(model, {"conv2": 5, "hidden": 9}, inputs=images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("MobileNetV2", {"block_2_expand": 150, "block_1_project": 30}),
        ("ResNet50", {"conv2_block1_1_conv": 70, "conv3_block1_3_conv": 514}),
        ("DenseNet121", {"conv2_block2_1_conv": 140, "conv3_block1_2_conv": 40}),
        ("EfficientNetB0", {"block1a_se_reduce": 10, "block2a_expand_conv": 100}),
    ],
)
def test_models_of_keras_applications_are_widened(name, units):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), pooling="avg", include_top=False)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):  # statistics as after training, for outputs of a normal scale
            layer.set_weights([value + 0.1 * rng.random(value.shape) for value in layer.get_weights()])
    weight_map = widen(model, units)
    weight_map.apply()
    proof = weight_map.verify(rng.uniform(0, 255, (2, 64, 64, 3)).astype(np.float32))
    assert weight_map.preserves == "yes" and proof.relative < 1e-5, proof


def test_the_plan_can_be_saved_and_read():
    model = randomise(branches())
    weight_map = widen(model, {"left": 5})
    again = WeightMap.from_json(weight_map.to_json(), model, weight_map.target.model)
    again.apply()
    assert again.verify(batch(model)).kept


def test_equal_seeds_give_equal_models():
    model = randomise(cnn())
    first, second, third = (widen(model, {"hidden": 30}, seed=seed).apply().get_weights() for seed in (1, 1, 2))
    assert all(map(np.array_equal, first, second)) and not all(map(np.array_equal, first, third))


def test_noise_makes_copies_differ_and_nothing_is_promised():
    model = randomise(cnn())
    weight_map = widen(model, {"hidden": 9}, noise=0.01)
    wide = weight_map.apply()
    assert weight_map.preserves == "no"
    proof = weight_map.verify(batch(model))
    assert 0 < proof.relative < 0.1 and proof.kept is None
    old, new = (one.get_layer("hidden").kernel.numpy() for one in (model, wide))
    copied = weight_map.unit_maps["hidden"].indices[5:]
    assert np.array_equal(new[:, :5], old) and not np.any(new[:, 5:] == old[:, copied])


def test_trainable_flags_are_preserved():
    model = cnn()
    model.get_layer("conv1").trainable = False
    wide = widen(model, {"conv1": 5}).target.model
    assert not wide.get_layer("conv1").trainable and wide.get_layer("conv2").trainable


def net(middle, shape=(6,)):
    """Input → a dense layer → something → classes."""
    inputs = keras.Input(shape)
    x = layers.Dense(4, name="hidden")(inputs)
    return keras.Model(inputs, layers.Dense(2, name="classes")(middle(x)), name="net")


def shared(x):
    dense = layers.Dense(4, name="twice")
    return dense(dense(x))


def unlike(x):
    return layers.Add(name="sum")([x, layers.Concatenate()([layers.Dense(1)(x), layers.Dense(3)(x)])])


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("model", "units", "message"),
    [
        (cnn, {"cnov1": 5}, "layer 'cnov1' does not exist in cnn; did you mean 'conv1'"),
        (cnn, {"norm1": 5}, "layer 'norm1' .BatchNormalization. makes no units of its own"),
        (cnn, {"conv1": 2}, "'conv1' has 3 units, and widen can only add units, 2 are fewer; use shrink"),
        (cnn, {"conv1": 4.5}, "4.5 is not a number of units"),
        (cnn, {"conv1": True}, "True is not a number of units"),
        (cnn, {}, "give a dictionary"),
        (cnn, {"classes": 5}, "'classes' .3. cannot change: they are the model's outputs"),
        (residual_cnn, {"stem": 5, "b": 6}, "'stem' and 'b' share their units.*not 5 and 6"),
        (transformer, {"embed": 6}, "'norm0' takes mean and variance over the units of 'embed' .4..*such as 8"),
        (lambda: net(shared), {"twice": 5}, "'twice' is called 2 times .a shared layer."),
        (lambda: net(shared), {"hidden": 5}, "'twice' is called 2 times .a shared layer."),
        (lambda: net(layers.Softmax(name="s")), {"hidden": 5}, "Softmax 's' normalises over them"),
        (lambda: net(layers.Activation("softmax", name="s")), {"hidden": 5}, "'softmax' of 's' is not elementwise"),
        (
            lambda: net(layers.LSTM(3, name="lstm"), (5, 6)),
            {"hidden": 5},
            "no rule .* through LSTM 'lstm'",
        ),
        (
            lambda: net(lambda x: keras.ops.mean(x, -1, keepdims=True)),
            {"hidden": 5},
            "no rule .* through Mean 'mean",
        ),
        (lambda: net(layers.Lambda(lambda x: x, name="mine")), {"hidden": 5}, "'mine' is a Lambda"),
        (
            lambda: net(layers.UnitNormalization(name="unit")),
            {"hidden": 5},
            "no rule .* through UnitNormalization 'unit'",
        ),
        (lambda: net(unlike), {"hidden": 5}, "'sum' combines units in different orders"),
        (Subclassed, {"hidden": 5}, "not from a Subclassed"),
        (lambda: "cnn", {"hidden": 5}, "give a Keras model, not a str"),
    ],
)
def test_unsupported_models_and_options_are_errors_that_name_the_layer(model, units, message):
    with pytest.raises(UserError, match=message):
        widen(model(), units)


@pytest.mark.parametrize("options", [{"noise": -1}, {"noise": float("nan")}, {"seed": -1}, {"seed": 0.5}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match="neither may be negative"):
        widen(cnn(), {"conv1": 5}, **options)
