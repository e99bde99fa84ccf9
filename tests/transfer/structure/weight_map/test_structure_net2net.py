"""Wider, deeper and narrower models: are outputs on random inputs preserved?"""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import batch, cnn, randomise, residual_cnn, transformer

from tfxfer.errors import UserError
from tfxfer.transfer.structure import UnitMap, WeightMap, plan

pytestmark = pytest.mark.tensorflow
properties = settings(max_examples=10, deadline=None, derandomize=True)
sizes = st.integers(1, 5)
seeds = st.integers(0, 99)


def out(units, axis=-1, **more):
    return ("gather_outputs", {"units": units, "axis": axis, **more})


def into(units, axis=-2, **more):
    return ("gather_inputs", {"units": units, "axis": axis, **more})


def conv_rules(first, second, hidden, places, **noise):
    return [
        ("conv1/*", "conv1/*", out(first, **noise)),
        ("norm1/*", "norm1/*", out(first)),
        ("conv2/kernel", "conv2/kernel", [into(first), out(second)]),
        ("conv2/bias", "conv2/bias", out(second)),
        ("hidden/kernel", "hidden/kernel", [into(second, outer=places), out(hidden)]),
        ("hidden/bias", "hidden/bias", out(hidden)),
        ("classes/kernel", "classes/kernel", into(hidden)),
    ]


def proven(source, target, rules, seed=0, **options):
    """Plan, save, read, apply and verify; both models have random weights before."""
    randomise(source, seed)
    randomise(target, seed + 1)
    weight_map = plan(source, target, rules, **options)
    weight_map = WeightMap.from_json(weight_map.to_json(), source, target)
    weight_map.apply()
    return weight_map.verify(batch(target, seed=seed)), weight_map


@given(sizes, sizes, sizes, sizes, sizes, sizes, st.sampled_from([1, 3, 4]), st.integers(0, 99))
@properties
def test_a_wider_cnn_computes_the_same(first, second, hidden, more1, more2, more3, window, seed):
    source = cnn(first, second, hidden, window=window)
    target = cnn(first + more1, second + more2, hidden + more3, window=window)
    units = [
        UnitMap("first", first, first + more1, seed=seed),
        UnitMap("second", second, second + more2, "cycle"),
        UnitMap("hidden", hidden, hidden + more3, seed=seed + 1),
    ]
    proof, weight_map = proven(source, target, conv_rules(*units, places=36), seed)
    assert weight_map.preserves == "yes" and weight_map.coverage == 1
    assert proof.kept and proof.relative < 1e-5, proof


@given(sizes, sizes, sizes, sizes, st.integers(0, 99))
@properties
def test_a_wider_residual_cnn_computes_the_same(stem, inner, more1, more2, seed):
    stream, inside = (
        UnitMap("stream", stem, stem + more1, seed=seed),
        UnitMap("inside", inner, inner + more2, seed=seed),
    )
    rules = [
        ("stem/*", "stem/*", out(stream)),
        ("a/kernel", "a/kernel", [into(stream), out(inside)]),
        ("a/bias", "a/bias", out(inside)),
        ("norm_a/*", "norm_a/*", out(inside)),
        ("b/kernel", "b/kernel", [into(inside), out(stream)]),
        ("norm_b/*", "norm_b/*", out(stream)),
        ("classes/kernel", "classes/kernel", into(stream)),
    ]
    source, target = residual_cnn(stem, inner), residual_cnn(stem + more1, inner + more2)
    proof, weight_map = proven(source, target, rules, seed)
    assert weight_map.preserves == "yes" and proof.kept and proof.relative < 1e-5, proof


def transformer_rules(stream, heads, inner):
    return [
        ("embed/*", "embed/*", out(stream)),
        ("norm*/*", "norm*/*", out(stream)),
        ("attention/attention_output/kernel", "attention/attention_output/kernel", [into(heads, 0), out(stream)]),
        ("attention/attention_output/bias", "attention/attention_output/bias", out(stream)),
        ("attention/*/kernel", "attention/*/kernel", [into(stream, 0), out(heads, 1)]),
        ("attention/*/bias", "attention/*/bias", out(heads, 0)),
        ("up/kernel", "up/kernel", [into(stream), out(inner)]),
        ("up/bias", "up/bias", out(inner)),
        ("down/kernel", "down/kernel", [into(inner), out(stream)]),
        ("down/bias", "down/bias", out(stream)),
        ("classes/kernel", "classes/kernel", into(stream)),
    ]


@given(st.integers(2, 5), st.integers(1, 3), sizes, st.integers(1, 3), st.integers(0, 2), sizes, st.integers(0, 99))
@properties
def test_a_wider_transformer_computes_the_same(dim, heads, inner, times, more_heads, more_inner, seed):
    maps = (
        UnitMap("stream", dim, dim * times, "spread"),
        UnitMap("heads", heads, heads + more_heads, seed=seed),
        UnitMap("inner", inner, inner + more_inner, seed=seed),
    )
    source = transformer(dim, heads, inner=inner)
    target = transformer(dim * times, heads + more_heads, inner=inner + more_inner)
    proof, weight_map = proven(source, target, transformer_rules(*maps), seed)
    assert weight_map.preserves == "yes" and proof.kept and proof.relative < 1e-5, proof


def test_layer_norm_preserves_outputs_under_uniform_maps_only():
    maps = (UnitMap("stream", 4, 6), UnitMap("heads", 2, 2, "first"), UnitMap("inner", 6, 6, "first"))
    proof, weight_map = proven(transformer(4), transformer(6), transformer_rules(*maps))
    assert weight_map.row("norm1/gamma").preserves == "no"
    assert weight_map.row("up/kernel").preserves == "yes"
    assert proof.expected == "agree" and proof.kept is None and proof.absolute > 1e-3


def test_copies_follow_the_map_and_outgoing_weights_are_divided():
    source, target = randomise(cnn(hidden=2)), randomise(cnn(hidden=5))
    units = UnitMap("hidden", 2, 5, seed=7)
    rules = [("hidden/*", "hidden/*", out(units)), ("classes/kernel", "classes/kernel", into(units))]
    plan(source, target, rules).apply()
    before, after = (m.get_layer("hidden").kernel.numpy() for m in (source, target))
    heads = [m.get_layer("classes").kernel.numpy() for m in (source, target)]
    assert units.indices[:2].tolist() == [0, 1]
    for j, copied in enumerate(units.indices):
        np.testing.assert_array_equal(after[:, j], before[:, copied])
        np.testing.assert_allclose(heads[1][j], heads[0][copied] / list(units.indices).count(copied), rtol=1e-6)


def test_noise_makes_copies_differ_and_is_not_promised():
    source, target = cnn(hidden=2), cnn(hidden=4)
    units = UnitMap("hidden", 2, 4, "cycle")
    rules = [("hidden/*", "hidden/*", out(units, noise=0.01)), ("classes/kernel", "classes/kernel", into(units))]
    proof, weight_map = proven(source, target, rules)
    before, after = (m.get_layer("hidden").kernel.numpy() for m in (source, target))
    np.testing.assert_array_equal(after[:, :2], before)
    apart = np.abs(after[:, 2:] - before)
    assert 0.002 < apart.mean() / before.std() < 0.02
    assert weight_map.row("hidden/kernel").preserves == "no" and proof.expected == "agree"
    assert 0 < proof.relative < 0.1


@pytest.mark.parametrize("how", ["spread", "first"])
def test_a_narrower_cnn_keeps_selected_units(how):
    source, target = cnn(4, 4, 6), cnn(2, 3, 4)
    maps = [UnitMap("first", 4, 2, how), UnitMap("second", 4, 3, how), UnitMap("hidden", 6, 4, how)]
    proof, weight_map = proven(source, target, conv_rules(*maps, places=36))
    assert weight_map.coverage == 1 and weight_map.preserves == "no" and proof.kept is None
    before, after = (m.get_layer("conv2").kernel.numpy() for m in (source, target))
    np.testing.assert_allclose(after, before[:, :, maps[0].indices][..., maps[1].indices], rtol=1e-6)


def test_dead_units_can_be_removed():
    """Against a hand-made model: half the units of a layer are dead, and the map selects the others."""
    source, target = randomise(cnn(hidden=4)), randomise(cnn(hidden=2))
    kernel = source.get_layer("classes").kernel.numpy()
    kernel[[1, 3]] = 0
    source.get_layer("classes").kernel.assign(kernel)
    living = UnitMap("living", 4, 2, "indices", given=(0, 2))
    rules = [("hidden/*", "hidden/*", out(living)), ("classes/kernel", "classes/kernel", into(living))]
    weight_map = plan(source, target, rules)
    weight_map.apply()
    assert weight_map.verify(batch(target), expect="equal").kept


def test_joined_channels_have_a_joined_map():
    def net(left, right):
        inputs = keras.Input((5,))
        x = [
            keras.layers.Dense(n, activation="tanh", name=name)(inputs)
            for n, name in ((left, "left"), (right, "right"))
        ]
        return keras.Model(inputs, keras.layers.Dense(3, name="classes")(keras.layers.Concatenate()(x)))

    left, right = UnitMap("left", 2, 3), UnitMap("right", 3, 5)
    joined = UnitMap("joined", 5, 8, "join", parts=(left, right))
    rules = [
        ("left/*", "left/*", out(left)),
        ("right/*", "right/*", out(right)),
        ("classes/kernel", "classes/kernel", into(joined)),
    ]
    proof, weight_map = proven(net(2, 3), net(3, 5), rules)
    assert proof.kept and set(weight_map.unit_maps) == {"left", "right", "joined"}


NEW_LAYERS = {
    "conv": [(None, "conv_new/kernel", ("identity", {"activation": "relu"})), (None, "conv_new/bias", "zero")],
    "dense": [(None, "hidden_new/kernel", ("identity", {"activation": "relu"})), (None, "hidden_new/bias", "zero")],
    "norm": [
        (None, "norm_new/gamma", ("constant", {"value": np.sqrt(1 + 1e-3).item()})),
        (None, "norm_new/moving_variance", ("constant", {"value": 1})),
        (None, "norm_new/*", "zero"),
    ],
    "residual": [
        (None, "block_new_norm/gamma", "zero"),
        (None, "block_new_norm/beta", "zero"),
        (None, "block_new_*/*", ("fresh", {"seed": 1})),
    ],
}


@given(
    st.sets(st.sampled_from(sorted(NEW_LAYERS)), min_size=1),
    sizes,
    sizes,
    st.sampled_from([1, 3, 5]),
    st.integers(0, 9),
)
@properties
def test_a_deeper_cnn_computes_the_same(kinds, first, second, window, seed):
    source, target = cnn(first, second, window=window), cnn(first, second, window=window, extra=tuple(kinds))
    rules = [rule for kind in sorted(kinds) for rule in NEW_LAYERS[kind]]
    proof, weight_map = proven(source, target, rules, seed)
    expect = weight_map.verify(batch(target), expect="equal")
    assert expect.kept and expect.relative < 1e-5, expect
    if "residual" not in kinds:  # its fresh tensors have no part in the outputs, which the map cannot know
        assert weight_map.preserves != "no" and proof.kept


def test_a_new_batch_norm_with_the_statistics_of_data_is_an_identity_in_training_too():
    """γ = √(var + ε) and β = mean cancel the division by the batch's own statistics, when these are the data's."""
    x = np.random.default_rng(0).normal(2, 3, (500, 4)).astype(np.float32)
    target = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="norm", epsilon=1e-3)], name="n")
    statistics = {"mean": x.mean(0), "variance": x.var(0)}
    rules = [
        ("variance", "**/gamma", ("norm_scale", {"epsilon": 1e-3})),
        ("mean", "**/beta", "copy"),
        ("*", "**/moving_*", "copy"),
    ]
    with pytest.raises(UserError, match="rule 3 reads"):
        plan(statistics, target, rules)
    rules[2:] = [("mean", "**/moving_mean", "copy"), ("variance", "**/moving_variance", "copy")]
    weight_map = plan(statistics, target, rules)
    model = weight_map.apply()
    assert weight_map.preserves.startswith("if the new norm's")
    assert weight_map.verify(x, reference=x).kept
    np.testing.assert_allclose(model(x, training=True), x, atol=1e-4)


def inflated(source, target, seed, height):
    """Inflate every kernel called line…; check the outputs on images whose rows are equal."""
    randomise(source, seed), randomise(target, seed + 1)
    weight_map = plan(source, target, [("**line*/kernel", "**line*/kernel", ("inflate", {"how": "mean"}))])
    weight_map.apply()
    lines = batch(source, seed=seed)
    proof = weight_map.verify(np.repeat(lines[:, None], height, 1), source_inputs=lines)
    assert weight_map.preserves == "if inputs are constant along the new axis"
    assert proof.kept and proof.relative < 1e-5, proof


@given(st.integers(1, 3), sizes, sizes, st.integers(0, 99))
@properties
def test_an_inflated_1d_cnn_preserves_outputs_on_images_of_equal_rows(height, first, second, seed):
    def net(window, side, kind):
        layers = [
            getattr(keras.layers, kind)(n, w, activation="relu", name=f"line{i}") for i, (n, w) in enumerate(window)
        ]
        pool = getattr(keras.layers, f"GlobalAveragePooling{kind[-2:]}")()
        return keras.Sequential([keras.Input((*side, 2)), *layers, pool, keras.layers.Dense(3, name="classes")])

    source = net([(first, 3), (second, 2)], (7,), "Conv1D")
    target = net([(first, (height, 3)), (second, (1, 2))], (height, 7), "Conv2D")
    inflated(source, target, seed, height)


@given(st.integers(1, 3), sizes, sizes, st.sampled_from([1, 3]), seeds)
@properties
def test_an_inflated_residual_1d_cnn_preserves_outputs_on_images_of_equal_rows(height, stem, inner, window, seed):
    def net(kind, side, first):
        convolution = getattr(keras.layers, kind)
        thin = (1,) * (len(side) - 1)
        x = inputs = keras.Input((*side, 2))
        x = convolution(stem, first, activation="relu", name="line0")(x)
        h = convolution(inner, (*thin, window), padding="same", activation="relu", name="line1")(x)
        h = keras.layers.BatchNormalization(name="norm")(h)
        h = convolution(stem, (*thin, window), padding="same", name="line2")(h)
        x = keras.layers.ReLU()(keras.layers.Add()([x, h]))
        x = getattr(keras.layers, f"GlobalAveragePooling{kind[-2:]}")()(x)
        return keras.Model(inputs, keras.layers.Dense(3, name="classes")(x), name="net")

    inflated(net("Conv1D", (7,), (3,)), net("Conv2D", (height, 7), (height, 3)), seed, height)


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(2, 5), st.integers(1, 3), st.integers(0, 99)
)
@properties
def test_an_inflated_1d_transformer_preserves_outputs_on_images_of_equal_rows(height, patch, tokens, dim, heads, seed):
    def net(kind, side, size):
        inputs = keras.Input((*side, 2))
        x = getattr(keras.layers, kind)(dim, size, strides=size, name="line_patches")(inputs)
        x = keras.layers.LayerNormalization(name="norm0")(keras.layers.Reshape((tokens, dim))(x))
        x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(heads, 3, name="attention")(x, x)])
        h = keras.layers.Dense(dim, name="down")(keras.layers.Dense(6, activation="gelu", name="up")(x))
        x = keras.layers.LayerNormalization(name="norm1")(keras.layers.Add()([x, h]))
        x = keras.layers.GlobalAveragePooling1D()(x)
        return keras.Model(inputs, keras.layers.Dense(3, name="classes")(x), name="net")

    length = patch * tokens
    inflated(net("Conv1D", (length,), (patch,)), net("Conv2D", (height, length), (height, patch)), seed, height)
