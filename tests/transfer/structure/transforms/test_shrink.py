"""Narrower models: which units stay, that all layers are adapted, and that shrinking reverses widening."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import batch, branches, cnn, gated, nested, randomise, residual_cnn, same, transformer, units_of

from tfxfer.errors import UserError
from tfxfer.transfer.structure import WeightMap
from tfxfer.transfer.structure.transforms.shrinking import shrink
from tfxfer.transfer.structure.transforms.widening import widen

pytestmark = pytest.mark.tensorflow
layers = keras.layers
HOW = ["uniform", "consecutive", "norm"]
NETS = {
    "cnn": (cnn, {"conv1": 3, "conv2": 4, "hidden": 5}),
    "residual": (residual_cnn, {"stem": 4, "a": 3}),
    "transformer": (transformer, {"embed": 4, "attention": 2, "up": 6}),
    "branches": (branches, {"left": 3, "right": 2}),
    "gated": (gated, {"first": 3, "separable": 4, "up": 5}),
    "nested": (nested, {"inner/conv1": 3, "hidden": 5}),
}


@given(st.sampled_from(sorted(NETS)), st.sampled_from(HOW), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_shrinking_reverses_widening(name, how, more, seed):
    build, units = NETS[name]
    source = randomise(build(), seed)
    times = {path: 2 * size if path == "embed" else size + more for path, size in units.items()}
    wide = widen(source, times, seed=seed).apply()
    weight_map = shrink(wide, units, how=how)
    again = weight_map.apply()
    assert [v.shape for v in again.variables] == [v.shape for v in source.variables]
    same(source, again, batch(source, seed=seed))
    assert weight_map.verify(batch(source, seed=seed), expect="equal").kept


@pytest.mark.parametrize(
    ("how", "stay"),
    [("uniform", [0, 1, 3]), ("consecutive", [0, 1, 2]), ("norm", [1, 2, 4])],
)
def test_the_units_that_stay_are_those_of_the_rule(how, stay):
    """Compared with values by hand: unit i of 5 has the L1 norm (3, 9, 7, 1, 8)[i]."""
    model = randomise(cnn(hidden=5))
    hidden = model.get_layer("hidden")
    kernel = hidden.kernel.numpy()
    hidden.kernel.assign(kernel / np.abs(kernel).sum(0) * np.array([3, 9, 7, 1, 8]))
    weight_map = shrink(model, {"hidden": 3}, how=how)
    small = weight_map.apply()
    np.testing.assert_array_equal(small.get_layer("hidden").kernel, hidden.kernel.numpy()[:, stay])
    np.testing.assert_array_equal(small.get_layer("hidden").bias, hidden.bias.numpy()[stay])
    np.testing.assert_array_equal(small.get_layer("classes").kernel, model.get_layer("classes").kernel.numpy()[stay])
    assert weight_map.preserves == "no" and weight_map.coverage == 1
    proof = weight_map.verify(batch(model))
    assert proof.kept is None and proof.agreement is not None


@pytest.mark.parametrize("how", HOW)
def test_the_whole_graph_follows(how):
    """The narrow model computes the same as the wide one with the removed channels set to zero."""
    model = randomise(residual_cnn(stem=5, inner=4))
    weight_map = shrink(model, {"stem": 3, "a": 2}, how=how)
    small = weight_map.apply()
    assert units_of(small, "stem") == units_of(small, "b") == 3 and units_of(small, "a") == 2
    zeroed = keras.models.clone_model(model)
    zeroed.set_weights(model.get_weights())
    for kernel, axis, name in (("a", 2, "stem"), ("b", 2, "a"), ("classes", 0, "stem")):
        variable = zeroed.get_layer(kernel).kernel
        gone = np.setdiff1d(np.arange(variable.shape[axis]), weight_map.unit_maps[name].indices)
        value = variable.numpy()
        value[(slice(None),) * axis + (gone,)] = 0
        variable.assign(value)
    same(zeroed, small, batch(model))


def test_norms_of_layers_that_share_units_add_up():
    model = randomise(residual_cnn(stem=3))
    for name, norms in (("stem", [5, 1, 3]), ("b", [1, 3, 4])):  # together 6, 4, 7
        kernel = model.get_layer(name).kernel
        value = kernel.numpy()
        kernel.assign(value / np.abs(value).sum((0, 1, 2)) * np.array(norms))
    assert shrink(model, {"b": 2}, "norm").unit_maps["stem"].indices.tolist() == [0, 2]


def test_copies_are_removed_before_distinct_units():
    model = randomise(cnn(hidden=4))
    hidden = model.get_layer("hidden")
    for variable in hidden.variables:
        variable.assign(variable.numpy()[..., [0, 1, 0, 0]])
    weight_map = shrink(model, {"hidden": 3}, "consecutive")
    weight_map.apply()
    assert weight_map.unit_maps["hidden"].indices.tolist() == [0, 1, 2]
    assert weight_map.verify(batch(model), expect="equal").kept


def test_a_softmax_may_lose_units():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2)(layers.Dense(4, activation="softmax", name="hidden")(inputs)))
    assert units_of(shrink(model, {"hidden": 2}).apply(), "hidden") == 2


def test_the_plan_can_be_saved_and_read():
    model = randomise(branches())
    wide = widen(model, {"left": 5}).apply()
    weight_map = shrink(wide, {"left": 3})
    again = WeightMap.from_json(weight_map.to_json(), wide, weight_map.target.model)
    again.apply()
    assert again.verify(batch(model), expect="equal").kept


@pytest.mark.parametrize(
    ("units", "how", "message"),
    [
        ({"conv1": 5}, "uniform", "'conv1' has 3 units, and shrink can only remove units, 5 are more; use widen"),
        ({"conv1": 0}, "uniform", "0 is not a number of units"),
        ({"conv3": 2}, "uniform", "did you mean 'conv"),
        ({"classes": 2}, "uniform", "they are the model's outputs"),
        ({"conv1": 2}, "nrom", "how='nrom' is unknown; did you mean 'norm'"),
    ],
)
def test_unsupported_models_and_options_are_errors(units, how, message):
    with pytest.raises(UserError, match=message):
        shrink(cnn(), units, how)
