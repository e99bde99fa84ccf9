"""Merging two models: compared with sums by hand, and refusals."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import batch, cnn, nested, randomise, residual_cnn, same, transformer

from tfxfer.errors import UserError
from tfxfer.transfer.structure import WeightMap
from tfxfer.transfer.structure.transforms.merging import merge

pytestmark = pytest.mark.tensorflow
layers = keras.layers
NETS = {"cnn": cnn, "residual": residual_cnn, "transformer": transformer, "nested": nested}
shares = st.floats(-1, 2, allow_nan=False, width=32)


def three(build):
    return [randomise(build(), seed) for seed in (1, 2, 3)]


@given(st.sampled_from(sorted(NETS)), shares)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_a_merged_model_lies_on_the_line_between_two(net, weight):
    first, second, _ = three(NETS[net])
    before = [value.copy() for value in first.get_weights() + second.get_weights()]
    merged = merge(first, second, weight).apply()
    for mixed, one, other in zip(merged.get_weights(), first.get_weights(), second.get_weights()):
        np.testing.assert_allclose(mixed, (1 - weight) * one + weight * other, atol=1e-5)
    assert all(map(np.array_equal, before, first.get_weights() + second.get_weights()))


@given(st.sampled_from(sorted(NETS)), shares, shares)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_task_vectors_are_added_to_the_base(net, one, other):
    first, second, base = three(NETS[net])
    merged = merge(first, second, base=base, scale=(one, other)).apply()
    for mixed, a, b, start in zip(*(model.get_weights() for model in (merged, first, second, base))):
        np.testing.assert_allclose(mixed, start + one * (a - start) + other * (b - start), atol=1e-4)


def test_either_end_is_a_model():
    first, second, base = three(cnn)
    at_first = merge(first, second, 0.0)
    at_first.apply()
    assert at_first.preserves == "yes" and at_first.verify(batch(first)).absolute == 0
    same(second, merge(first, second, 1).apply(), batch(first), tolerance=0)
    same(base, merge(first, second, base=base, scale=0).apply(), batch(first), tolerance=0)
    middle = merge(first, second)
    assert middle.preserves == "no" and middle.coverage == 1 and not middle.unread


def test_a_linear_model_merged_gives_the_mean_of_outputs():
    def linear():
        inputs = keras.Input((4,))
        return keras.Model(inputs, layers.Dense(3)(inputs))

    first, second, _ = three(linear)
    x = batch(first)
    expected = (np.asarray(first(x)) + np.asarray(second(x))) / 2
    np.testing.assert_allclose(merge(first, second).apply()(x), expected, atol=1e-5)


def test_names_of_layers_may_differ():
    def net():
        inputs = keras.Input((4,))
        return keras.Model(inputs, layers.Dense(3)(layers.Dense(5, activation="relu")(inputs)))

    first, second, _ = three(net)
    assert first.layers[1].name != second.layers[1].name
    merged = merge(first, second).apply()
    np.testing.assert_allclose(
        merged.layers[1].kernel, (first.layers[1].kernel.numpy() + second.layers[1].kernel.numpy()) / 2, atol=1e-6
    )


def test_statistics_of_data_stay_those_of_the_first():
    def counted(times):
        inputs = keras.Input((3,))
        norm = layers.Normalization()
        norm.adapt(times * np.arange(6, dtype=np.float32).reshape(2, 3))
        return keras.Model(inputs, layers.Dense(2)(norm(inputs)))

    first, second = counted(1), counted(3)
    second.layers[-1].kernel.assign(first.layers[-1].kernel)
    merged = merge(first, second).apply()
    same(first, merged, batch(first))


def test_the_plan_can_be_saved_and_read():
    first, second, base = three(residual_cnn)
    weight_map = merge(first, second, base=base, scale=0.5)
    values = [value.copy() for value in weight_map.apply().get_weights()]
    models = {"base": base, "first": first, "second": second}
    again = WeightMap.from_json(weight_map.to_json(), models, weight_map.target.model).apply()
    assert all(map(np.array_equal, values, again.get_weights()))


def other_activation():
    inputs = keras.Input((6, 6, 2))
    return keras.Model(inputs, layers.Dense(3, activation="tanh", name="a")(layers.Flatten()(inputs)))


def without_activation():
    inputs = keras.Input((6, 6, 2))
    return keras.Model(inputs, layers.Dense(3, name="b")(layers.Flatten()(inputs)))


def longer():
    inputs = keras.Input((6, 6, 2))
    return keras.Model(inputs, layers.ReLU()(layers.Dense(3, name="b")(layers.Flatten()(inputs))))


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (cnn, lambda: cnn(hidden=6), {}, "second has another architecture.*'hidden' is Dense with weights"),
        (cnn, residual_cnn, {}, "second has another architecture than first: 'stem'"),
        (other_activation, without_activation, {}, "second has another architecture than first: 'b'"),
        (without_activation, longer, {}, "second has another architecture.*3 calls of layers, not 2"),
        (cnn, cnn, {"base": lambda: cnn(first=4)}, "base has another architecture"),
        (cnn, cnn, {"weight": "half"}, "'half' is not a weight or scale"),
        (cnn, cnn, {"weight": float("nan")}, "nan is not a weight or scale"),
        (cnn, cnn, {"scale": 0.5}, "scale is for task vectors over a base"),
        (cnn, cnn, {"base": cnn, "weight": 0.3}, "weight is for the line between two models"),
        (cnn, cnn, {"base": cnn, "scale": (1, 2, 3)}, "scale has 3 numbers"),
        (cnn, lambda: None, {}, "give a Keras model, not a NoneType"),
    ],
)
def test_what_cannot_be_merged_is_an_error(first, second, options, message):
    if "base" in options:
        options = {**options, "base": options["base"]()}
    with pytest.raises(UserError, match=message):
        merge(first(), second(), **options)


def test_a_model_is_not_merged_with_itself():
    model = cnn()
    with pytest.raises(UserError, match="'conv1' is the same layer in both models"):
        merge(model, model)
