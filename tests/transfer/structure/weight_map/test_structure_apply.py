"""apply: strict, all or nothing, one tensor at a time; and errors before it begins."""

import sys
import weakref

import keras
import ml_dtypes
import numpy as np
import pytest
from nets import Weights, batch, cnn, holder, randomise

from tfxfer.errors import TfxferError, UserError
from tfxfer.transfer.graph import clone
from tfxfer.transfer.structure import plan
from tfxfer.transfer.structure.weight_map import applying, large

pytestmark = pytest.mark.tensorflow
layers = keras.layers


class Failing:
    """A source that fails at its third tensor, in a given way."""

    title = "failing"

    def __init__(self, arrays, failure, at="c"):
        self.arrays, self.failure, self.at = arrays, failure, at
        self.reads = []

    def names(self):
        return list(self.arrays)

    def shape(self, name):
        return self.arrays[name].shape

    def dtype(self, name):
        return str(self.arrays[name].dtype)

    def read(self, name):
        self.reads.append(name)
        if name == self.at:
            return self.failure(self.arrays[name])
        return self.arrays[name]


def throw(error):
    def failure(array):
        raise error

    return failure


def four(value=1.0):
    return {f"m/{name}": np.full((2, 2), value, np.float32) for name in "abcd"}


FAILURES = {
    "unreadable": (throw(OSError("I/O error")), TfxferError, "OSError: I/O error; the target is unchanged"),
    "gone": (throw(KeyError("c")), TfxferError, "KeyError"),
    "out of memory": (throw(MemoryError("no room")), TfxferError, "MemoryError"),
    "interrupted": (throw(KeyboardInterrupt()), KeyboardInterrupt, None),
    "NaN": (lambda array: array * np.nan, TfxferError, "row 'm/c' .*not finite"),
    "infinite": (lambda array: array * np.inf, TfxferError, "not finite"),
    "another shape": (
        lambda array: array[:1],
        TfxferError,
        r"'m/c' was float32 \[2, 2\] and is now float32 \[1, 2\]",
    ),
    "another type": (lambda array: array.astype(np.float64), TfxferError, "has changed since the plan was made"),
}


@pytest.fixture(params=["whole", "in pieces"])
def at_a_time(request, monkeypatch):
    """Assign tensors whole, or each as a large one, one row at a time."""
    if request.param == "in pieces":
        monkeypatch.setattr(large, "LARGE", 1)
        monkeypatch.setattr(large, "PIECE", 8)


@pytest.mark.parametrize("in_memory", [2**20, 20, 0], ids=["memory", "memory and file", "file"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_during_apply_leaves_the_target_unchanged(failure, in_memory, at_a_time, monkeypatch):
    monkeypatch.setattr(applying, "IN_MEMORY", in_memory)
    how, error, message = FAILURES[failure]
    target = randomise(holder(a=(2, 2), b=(2, 2), c=(2, 2), d=(2, 2)))
    before = [v.numpy() for v in target.variables]
    source = Failing(four(), how, at="m/c")
    weight_map = plan(source, target)
    assert not source.reads  # making a plan reads nothing
    with pytest.raises(error, match=message):
        weight_map.apply()
    assert source.reads == ["m/a", "m/b", "m/c"]
    for old, variable in zip(before, target.variables):
        np.testing.assert_array_equal(old, variable.numpy())
    plan(four(2.0), target).apply()
    assert all((v.numpy() == 2).all() for v in target.variables)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_old_values_of_any_dtype_are_restored(dtype, at_a_time, monkeypatch):
    monkeypatch.setattr(applying, "IN_MEMORY", 0)
    target = holder(dtype, a=(2, 3), b=(), c=(0, 2), d=(2, 2))
    for i, variable in enumerate(target.variables):
        variable.assign(np.full(variable.shape, i + 1))
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    arrays = {v.path: np.zeros(v.shape, kind) for v in target.variables}
    with pytest.raises(TfxferError, match="OSError"):
        plan(Failing(arrays, throw(OSError("broken")), at="m/d"), target).apply()
    assert [float(v.numpy().sum()) for v in target.variables] == [6, 2, 0, 16]


def test_a_row_that_is_not_finite_is_found_in_a_piece_too(at_a_time):
    values = np.zeros((5, 2), np.float32)
    values[4, 1] = np.nan
    target = randomise(holder(a=(5, 2)))
    before = target.variables[0].numpy()
    with pytest.raises(TfxferError, match="row 'm/a' .*not finite"):
        plan({"m/a": values}, target).apply()
    np.testing.assert_array_equal(target.variables[0].numpy(), before)


def test_a_model_computes_the_same_however_its_tensors_were_assigned(at_a_time):
    source, target = randomise(cnn()), clone(cnn())
    plan(source, target).apply()
    x = batch(source)
    np.testing.assert_array_equal(source(x), target(x))
    target.compile("sgd", "mse")
    target.fit(x, np.zeros(source(x).shape), verbose=0)
    assert any((a != b).any() for a, b in zip(source.get_weights(), target.get_weights()))


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_without_disk_space_for_the_old_values_nothing_changes(monkeypatch):
    import resource

    monkeypatch.setattr(applying, "IN_MEMORY", 0)
    target = randomise(holder(a=(50, 50), b=(50, 50)))
    before = [v.numpy() for v in target.variables]
    weight_map = plan({v.path: np.ones((50, 50), np.float32) for v in target.variables}, target)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, limits[1]))
    try:
        with pytest.raises(TfxferError, match=r"old value of 'm/b' cannot be saved in .*nothing was changed.*TMPDIR"):
            weight_map.apply()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for old, variable in zip(before, target.variables):
        np.testing.assert_array_equal(old, variable.numpy())


def test_one_tensor_is_in_memory_at_a_time(monkeypatch):
    """Sixteen tensors: never more than two that were read are in memory beside the target.

    Counted, not weighed: an array that happens to be aligned becomes the variable's own memory without a copy.
    """
    monkeypatch.setattr(applying, "IN_MEMORY", 0)
    side, count = 100, 16
    alive, most = set(), []

    class Lazy(Failing):
        def read(self, name):
            held = np.ones(side * side + 1, np.float32)
            alive.add(id(held))
            weakref.finalize(held, alive.discard, id(held))
            most.append(len(alive))
            return held[1:].reshape(side, side)  # off by 4 bytes, so that TensorFlow copies it

    shapes = {f"w{i}": (side, side) for i in range(count)}
    arrays = {f"m/{name}": np.broadcast_to(np.float32(1), shape) for name, shape in shapes.items()}
    target = holder(**shapes)
    weight_map = plan(Lazy(arrays, None), target)
    weight_map.apply()
    assert len(most) >= count and max(most) <= 2
    assert all((v.numpy() == 1).all() for v in target.variables)


def test_tensors_that_would_stay_random_are_refused_unless_named():
    source, target = randomise(cnn(classes=3)), randomise(cnn(classes=7), 1)
    weight_map = plan(source, target)
    before = target.get_weights()
    with pytest.raises(
        UserError, match=r"2 tensors of cnn would stay .*classes/kernel.*matches by name, but is \[5, 3\]"
    ):
        weight_map.apply()
    with pytest.raises(UserError, match="1 tensors"):
        weight_map.apply(allow="classes/bias")
    for old, new in zip(before, target.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert weight_map.apply(allow=["classes/*"]) is target
    np.testing.assert_array_equal(target.get_layer("classes").kernel.numpy(), before[-2])
    np.testing.assert_array_equal(target.get_layer("conv2").kernel, source.get_layer("conv2").kernel)
    plan(source, target, allow="classes/*").apply()
    plan(source, target, [(None, "classes/*", "keep")]).apply()
    plan(source, target).apply(strict=False)


# Number types


@pytest.mark.parametrize(
    ("have", "want", "fits"),
    [
        ("float16", "float32", True),
        ("bfloat16", "float32", True),
        ("float32", "float64", True),
        ("float32", "float16", False),
        ("float32", "bfloat16", False),
        ("float16", "bfloat16", False),
        ("float64", "float32", False),
        ("int8", "int32", True),
        ("int64", "int32", False),
        ("int8", "float32", False),
        ("float32", "int32", False),
    ],
)
def test_dtypes_are_widened_silently_and_narrowed_only_with_cast(have, want, fits):
    values = np.array([[1, 2], [3, -4]]).astype(ml_dtypes.bfloat16 if have == "bfloat16" else have)
    target = holder(want, x=(2, 2))
    if fits:
        assert plan({"m/x": values}, target).apply().variables[0].numpy().astype(float).tolist() == [[1, 2], [3, -4]]
        return
    with pytest.raises(UserError, match=f"'m/x' is {have} and the target {want}.*cast"):
        plan({"m/x": values}, target)
    if "int" in have + want:  # whole numbers are codes or counts: no general permission turns them into weights
        with pytest.raises(UserError, match="fractions|cannot hold"):
            plan({"m/x": values}, target, cast=True)
        return
    weight_map = plan({"m/x": values}, target, cast=True)
    assert weight_map.preserves == "if numbers may be rounded"
    weight_map.apply()
    assert target.variables[0].numpy().astype(float).tolist() == [[1, 2], [3, -4]]


def test_numbers_too_large_for_the_target_are_refused():
    target = holder("float16", x=(2,))
    with pytest.raises(TfxferError, match="not finite.*float16 can hold it"):
        plan({"m/x": np.array([1, 1e6], np.float32)}, target, cast=True).apply()
    assert not target.variables[0].numpy().any()


def test_integers_are_only_moved():
    target = holder("int32", count=(3,))
    assert plan({"m/count": np.arange(3, dtype=np.int32)}, target).apply().variables[0].numpy().tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="operations that compute give fractions"):
        plan({"s": np.arange(3, dtype=np.int32)}, target, [("s", "m/count", "average")])


def test_a_source_of_an_unknown_type_is_refused_with_the_tensor():
    with pytest.raises(UserError, match="'m/x' has the dtype complex64"):
        plan({"m/x": np.zeros(2, np.complex64)}, holder(x=(2,)))


def test_a_mixed_precision_model_keeps_its_weights_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        target = cnn()
    finally:
        keras.config.set_dtype_policy("float32")
    source = randomise(cnn())
    weight_map = plan(source, target)
    weight_map.apply()
    proof = weight_map.verify(batch(target), expect="agree")
    assert weight_map.coverage == 1 and proof.relative < 0.05


# What cannot be planned


def test_models_that_are_not_built_are_refused():
    built = chain_of(2)
    for one, other in (
        (keras.Sequential([layers.Dense(2)], name="raw"), built),
        (built, keras.Sequential([layers.Dense(2)])),
    ):
        with pytest.raises(UserError, match="is not built; call it on data once"):
            plan(one, other)
    with pytest.raises(UserError, match="has no weights"):
        plan(keras.Sequential([keras.Input((2,)), layers.ReLU()]), built)
    for bad in (None, 3, np.zeros(3)):
        with pytest.raises(UserError, match="give a Keras model"):
            plan(built, bad)
    with pytest.raises(UserError, match="there is no source"):
        plan({}, built)
    with pytest.raises(UserError, match="source 'b' is a list and not an array"):
        plan({"a": np.zeros(2), "b": [1, 2]}, built)
    with pytest.raises(UserError, match="'target' cannot name a source"):
        plan({"target": built}, built)
    with pytest.raises(UserError, match="did you mean"):
        plan("fiel:model.keras", built)


def chain_of(*widths):
    return keras.Sequential([keras.Input((2,)), *(layers.Dense(n, name=f"d{i}") for i, n in enumerate(widths))])


def test_paths_that_occur_twice_are_refused():
    class Twins(layers.Layer):
        def __init__(self):
            super().__init__(name="twins")
            self.parts = [layers.Dense(2, name="same"), layers.Dense(2, name="same")]

        def build(self, shape):
            for part in self.parts:
                part.build(shape)

        def call(self, x):
            return self.parts[0](x) + self.parts[1](x)

    inputs = keras.Input((2,))
    model = keras.Model(inputs, Twins()(inputs), name="model")
    for one, other in ((model, chain_of(2)), (chain_of(2), model)):
        with pytest.raises(
            UserError, match="model: 2 weights share their path.*'twins/same/kernel'.*a name of its own"
        ):
            plan(one, other)

    class Doubled(Failing):
        def names(self):
            return ["a", "a"]

    with pytest.raises(UserError, match="failing: the name 'a' occurs twice"):
        plan(Doubled({"a": np.zeros(2)}, None), chain_of(2))


def test_a_layer_shared_with_the_source_is_not_changed():
    source = randomise(chain_of(2, 2))
    shared = keras.Model(source.inputs, layers.Dense(2, name="head")(source.layers[0].output))
    allowed = plan(source, shared, allow="head/*")
    before = source.get_weights()
    allowed.apply()  # copying a layer onto itself changes nothing
    rule = ("**/d1/kernel", "**/d0/kernel", "copy")
    with pytest.raises(UserError, match=r"one and the same variable.*would change the source; copy the model with"):
        plan(source, shared, [rule], allow="head/*")
    for old, new in zip(before, source.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert plan(source, clone(shared), [rule], allow="head/*").coverage > 0


def test_a_model_is_read_by_its_spec(tmp_path):
    source = randomise(cnn())
    source.save(tmp_path / "source.keras")
    target = cnn()
    plan(f"file:{tmp_path / 'source.keras'}", target).apply()
    for one, other in zip(source.get_weights(), target.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_generators_of_dropout_are_unchanged_and_shown():
    def net():
        return keras.Sequential([keras.Input((2,)), layers.Dense(2, name="d"), layers.Dropout(0.5, seed=1)], name="n")

    source, target = net(), net()
    target(np.ones((1, 2)), training=True)
    state = next(v for v in target.variables if v.path.endswith("seed_generator_state"))
    before = state.numpy()
    weight_map = plan(source, target)
    weight_map.apply()
    np.testing.assert_array_equal(state.numpy(), before)
    assert list(weight_map.skipped.values()) == ["state of a random generator"]


def test_a_layer_can_be_a_target():
    assert plan({"m/x": np.ones((2,), np.float32)}, Weights({"x": (2,)}, name="m")).apply().variables[0].numpy().all()
