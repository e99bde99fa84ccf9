"""Every operation: compared with a second implementation, and the contract of all operations."""

import itertools

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import holder, transfer

from tfxfer.errors import UserError
from tfxfer.transfer.structure import OPERATIONS, UnitMap, WeightMap, plan

pytestmark = pytest.mark.tensorflow
properties = settings(max_examples=20, deadline=None, derandomize=True)


def some(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# One example of each operation: arguments, shapes of its sources, shape of its target.
UNITS = UnitMap("g", 3, 5, "random", seed=2)
EXAMPLES = {
    "copy": ({}, [(2, 3)], (2, 3)),
    "transpose": ({"axes": [1, 2, 0]}, [(2, 3, 4)], (3, 4, 2)),
    "reshape": ({}, [(6, 4)], (6, 2, 2)),
    "slice": ({"axis": -1, "start": 2}, [(3, 9)], (3, 4)),
    "select": ({"how": "first"}, [(4, 5)], (2, 5)),
    "tile": ({}, [(2, 3)], (5, 3)),
    "concatenate": ({"axis": 1}, [(2, 3), (2, 4)], (2, 7)),
    "tie": ({}, [(2, 3)], (2, 3)),
    "cast": ({}, [(2, 3)], (2, 3)),
    "gather_outputs": ({"units": UNITS, "noise": 0.1}, [(2, 3)], (2, 5)),
    "gather_inputs": ({"units": UNITS, "axis": 0}, [(3, 2)], (5, 2)),
    "identity": ({"activation": "relu"}, [], (3, 3, 2, 2)),
    "norm_scale": ({"epsilon": 0.001}, [(4,)], (4,)),
    "interpolate": ({"dimensions": 2, "prefix": 1, "method": "cubic"}, [(5, 2)], (10, 2)),
    "resize_patches": ({"method": "linear"}, [(2, 2, 3, 4)], (3, 3, 3, 4)),
    "inflate": ({"how": "mean"}, [(3, 2, 4)], (5, 3, 2, 4)),
    "deflate": ({"how": "mean", "axis": 1}, [(3, 5, 2, 4)], (3, 2, 4)),
    "channels": ({}, [(3, 3, 3, 4)], (3, 3, 1, 4)),
    "average": ({"weights": [1, 3]}, [(2, 3), (2, 3)], (2, 3)),
    "mix": ({"share": 0.25}, [(2, 3), (2, 3)], (2, 3)),
    "delta": ({"scale": [0.5]}, [(2, 3), (2, 3), (2, 3)], (2, 3)),
    "low_rank": ({"energy": 0.9}, [(4, 3)], (4, 3)),
    "zero": ({}, [], (2, 3)),
    "constant": ({"value": 2.5}, [], (2, 3)),
    "fresh": ({"initializer": "orthogonal", "options": {"gain": 1.41}, "seed": 3}, [], (2, 3)),
    "keep": ({}, [], (2, 3)),
}


def example(name):
    args, shapes, shape = EXAMPLES[name]
    if name == "tie":
        target = holder(w=shape, other=shape)
        return plan({"s": np.abs(some(*shape))}, target, [("target:m/other", "m/w", "tie"), ("s", "m/other", "copy")])
    arrays = {f"s{i}": np.abs(some(*one, seed=i)) for i, one in enumerate(shapes)}
    return plan(
        arrays or {"unused": some(1)}, holder(w=shape), [(list(arrays) if shapes else None, "m/w", (name, args))]
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_the_contract(name):
    assert OPERATIONS[name].meaning().endswith(".")
    weight_map = example(name)
    again = WeightMap.from_json(weight_map.to_json())
    assert again == weight_map and again.to_json() == weight_map.to_json()
    promised = weight_map.row("m/w").preserves
    assert promised in ("yes", "no") or promised.startswith("if ")
    target = weight_map.apply()  # checks the shape that the operation said it would give
    values = [variable.numpy() for variable in target.variables]
    sources = {n: np.abs(some(*s, seed=i)) for i, (n, s) in enumerate(zip(["s0", "s1", "s2"], EXAMPLES[name][1]))}
    other = holder(**{v.name: v.shape for v in target.variables})
    again.bind({"s": sources["s0"]} if name == "tie" else sources or {"unused": some(1)}, other).apply()
    for first, second in zip(values, other.variables):  # what was saved and read does the same
        np.testing.assert_array_equal(first, second.numpy())
    assert name == "keep" or "tie" in name or name == "zero" or any(value.any() for value in values)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("keep", "tie")])
def test_half_precision_is_read(name):
    args, shapes, shape = EXAMPLES[name]
    arrays = [np.abs(some(*one, seed=i)).astype(np.float16) for i, one in enumerate(shapes)]
    exact, _ = transfer([a.astype(np.float32) for a in arrays], (name, args), shape)
    np.testing.assert_allclose(transfer(arrays, (name, args), shape)[0], exact, atol=1e-6)


# Layout


@given(st.permutations(range(3)))
@properties
def test_transpose_moves_every_number(axes):
    x = some(2, 3, 4)
    found, _ = transfer(x, ("transpose", {"axes": list(axes)}), tuple(x.shape[a] for a in axes))
    for place in itertools.product(*map(range, x.shape)):
        assert found[tuple(place[a] for a in axes)] == x[place]


def test_transpose_without_axes_transposes_a_matrix():
    x = some(2, 5)
    np.testing.assert_array_equal(transfer(x, "transpose", (5, 2))[0], x.T)


def test_heads_split_and_join_again():
    x = some(6, 8)  # [D, heads · d]
    split, _ = transfer(x, "reshape", (6, 2, 4))
    for head, place in itertools.product(range(2), range(4)):
        np.testing.assert_array_equal(split[:, head, place], x[:, head * 4 + place])
    np.testing.assert_array_equal(transfer(split, "reshape", (6, 8))[0], x)


def test_a_fused_kernel_is_split_and_concatenated():
    fused = some(4, 12)
    pieces = [transfer(fused, ("slice", {"axis": 1, "start": 4 * i}), (4, 4))[0] for i in range(3)]
    np.testing.assert_array_equal(pieces[1], fused[:, 4:8])
    np.testing.assert_array_equal(transfer(pieces, ("concatenate", {"axis": 1}), (4, 12))[0], fused)


@given(st.integers(1, 9), st.integers(1, 9))
@properties
def test_selection_is_evenly_spaced_or_consecutive(old, new):
    old, new = max(old, new), min(old, new)
    x = np.arange(old, dtype=np.float32)
    spread, _ = transfer(x, "select", (new,))
    first, _ = transfer(x, ("select", {"how": "first"}), (new,))
    assert spread.tolist() == [old * j // new for j in range(new)]
    assert first.tolist() == list(range(new))


def test_tiling_repeats():
    x = some(2, 3)
    np.testing.assert_array_equal(transfer(x, "tile", (4, 6))[0], np.tile(x, (2, 2)))
    np.testing.assert_array_equal(transfer(x, "tile", (5, 3))[0], np.tile(x, (3, 1))[:5])


def test_operations_chain():
    x = some(8, 6)  # out, in · as torch keeps it
    found, weight_map = transfer(
        x, ["transpose", ("reshape", {"new": [6, 2, 4]}), ("slice", {"axis": 1, "size": 1})], (6, 1, 4)
    )
    np.testing.assert_array_equal(found, x.T.reshape(6, 2, 4)[:, :1])
    assert weight_map.row("m/w").operation == "transpose → reshape(new=[6,2,4]) → slice(axis=1, size=1)"


def test_a_step_for_one_tensor_is_applied_to_each_of_several():
    a, b = some(2, 3), some(2, 3, seed=1)
    found, _ = transfer([a, b], ["transpose", "average"], (3, 2))
    np.testing.assert_allclose(found, (a.T + b.T) / 2, rtol=1e-6)


# Sizes


@given(st.integers(1, 9), st.integers(1, 9))
@properties
def test_linear_interpolation_is_that_of_tensorflow(old, new):
    table = some(old, 3)
    found, _ = transfer(table, "interpolate", (new, 3))
    oracle = tf.image.resize(table[:, None, :], (new, 1), "bilinear")[:, 0]
    np.testing.assert_allclose(found, oracle, atol=1e-5)


@given(st.integers(2, 5), st.integers(2, 8), st.integers(0, 2), st.sampled_from(["linear", "cubic"]))
@properties
def test_position_grids_with_class_tokens(old, new, prefix, method):
    new = max(old, new)  # growing: TensorFlow's antialias=True, which has exact cubic weights, changes nothing then
    table = some(1, prefix + old * old, 3)
    found, _ = transfer(
        table, ("interpolate", {"dimensions": 2, "prefix": prefix, "method": method}), (1, prefix + new**2, 3)
    )
    kind = {"linear": "bilinear", "cubic": "bicubic"}[method]
    oracle = tf.image.resize(table[:, prefix:].reshape(1, old, old, 3), (new, new), kind, antialias=True)
    np.testing.assert_array_equal(found[:, :prefix], table[:, :prefix])
    np.testing.assert_allclose(found[:, prefix:], np.reshape(oracle, (1, new * new, 3)), atol=1e-4)


def test_interpolation_inside_agrees_with_scipy():
    table = some(4, 1)
    found, _ = transfer(table, "interpolate", (8, 1))
    places = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    np.testing.assert_allclose(found[:, 0], scipy.ndimage.map_coordinates(table[:, 0], [places], order=1), atol=1e-6)


def test_grids_that_are_not_square_must_be_given():
    table = some(6, 2)
    found, _ = transfer(table, ("interpolate", {"old": [2, 3], "new": [4, 3]}), (12, 2))
    oracle = tf.image.resize(table.reshape(1, 2, 3, 2), (4, 3), "bilinear")
    np.testing.assert_allclose(found, np.reshape(oracle, (12, 2)), atol=1e-6)
    with pytest.raises(UserError, match="6 positions form no square"):
        transfer(table, ("interpolate", {"dimensions": 2}), (9, 2))


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_interpolation_at_the_same_size_changes_nothing(method):
    table = some(1, 10, 4)
    found, weight_map = transfer(table, ("interpolate", {"dimensions": 2, "prefix": 1, "method": method}), (1, 10, 4))
    np.testing.assert_array_equal(found, table)
    assert weight_map.row("m/w").preserves == "yes"


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 1000))
@properties
def test_resized_patch_kernels_preserve_outputs_on_resized_patches(old, more, seed):
    new = old + more
    kernel, patch = some(old, old, 2, 3, seed=seed), some(old, old, 2, seed=seed + 1)
    found, weight_map = transfer(kernel, "resize_patches", (new, new, 2, 3))
    resized = tf.image.resize(patch, (new, new), "bilinear").numpy()
    before = np.einsum("hwc,hwcd->d", patch, kernel)
    np.testing.assert_allclose(np.einsum("hwc,hwcd->d", resized, found), before, atol=1e-4)
    assert weight_map.row("m/w").preserves.startswith("if patches are resized" if more else "yes")


def test_shrinking_patch_kernels_is_the_least_squares_solution():
    """Against the whole (not separated) matrix of the resize, column by column, as FlexiViT writes it."""
    kernel = some(4, 4, 1, 1)
    found, weight_map = transfer(kernel, "resize_patches", (2, 2, 1, 1))
    basis = np.eye(16, dtype=np.float32).reshape(16, 4, 4, 1)
    matrix = tf.image.resize(basis, (2, 2), "bilinear").numpy().reshape(16, 4).T  # [new, old]
    oracle = np.linalg.lstsq(matrix.T, kernel.reshape(16), rcond=None)[0]
    np.testing.assert_allclose(found.ravel(), oracle, atol=1e-5)
    assert weight_map.row("m/w").preserves == "no"


@pytest.mark.parametrize("how", ["centre", "mean"])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_inflated_kernels_on_images(how, size):
    kernel, line = some(3, 2, 4), some(1, 7, 2)
    found, _ = transfer(kernel, ("inflate", {"how": how}), (size, 3, 2, 4))
    before = tf.nn.conv1d(line, kernel, 1, "VALID")[0]
    if how == "mean":  # the same line at every height
        after = tf.nn.conv2d(np.repeat(line[:, None], size, 1), found, 1, "VALID")[0, 0]
        np.testing.assert_allclose(after, before, atol=1e-5)
    else:  # each line by itself, as padding "same" shows it
        image = some(1, 5, 7, 2, seed=2)
        after = tf.nn.conv2d(image, found, 1, "SAME")
        for height in range(5):
            line_alone = tf.nn.conv1d(image[:, height], kernel, 1, "SAME")
            np.testing.assert_allclose(after[:, height], line_alone, atol=1e-5)


def test_deflating_reverses_inflating():
    kernel = some(3, 2, 4)
    for there, back in (("centre", "centre"), ("mean", "sum"), ("centre", "sum")):
        wide, _ = transfer(kernel, ("inflate", {"how": there}), (5, 3, 2, 4))
        np.testing.assert_allclose(transfer(wide, ("deflate", {"how": back}), (3, 2, 4))[0], kernel, atol=1e-6)
    wide = some(5, 3, 2, 4)
    np.testing.assert_allclose(transfer(wide, ("deflate", {"how": "mean"}), (3, 2, 4))[0], wide.mean(0), atol=1e-6)


def test_deflated_kernels_on_sequences():
    kernel, line = some(3, 3, 2, 4), some(1, 7, 2)
    summed, _ = transfer(kernel, "deflate", (3, 2, 4))
    same_at_every_height = np.repeat(line[:, None], 3, 1)
    before = tf.nn.conv2d(same_at_every_height, kernel, 1, "VALID")[0, 0]
    np.testing.assert_allclose(tf.nn.conv1d(line, summed, 1, "VALID")[0], before, atol=1e-5)
    centre, _ = transfer(kernel, ("deflate", {"how": "centre"}), (3, 2, 4))
    before = tf.nn.conv2d(line[:, None], kernel, 1, "SAME")[:, 0]
    np.testing.assert_allclose(tf.nn.conv1d(line, centre, 1, "SAME"), before, atol=1e-5)


def test_greyscale_and_rgb():
    rgb, grey = some(3, 3, 3, 4), some(3, 3, 1, 4)
    image = some(1, 6, 6, 1)
    before = tf.nn.conv2d(np.repeat(image, 3, -1), rgb, 1, "SAME")
    to_grey, _ = transfer(rgb, "channels", (3, 3, 1, 4))
    np.testing.assert_allclose(tf.nn.conv2d(image, to_grey, 1, "SAME"), before, atol=1e-5)
    before = tf.nn.conv2d(image, grey, 1, "SAME")
    to_rgb, _ = transfer(grey, "channels", (3, 3, 3, 4))
    np.testing.assert_allclose(tf.nn.conv2d(np.repeat(image, 3, -1), to_rgb, 1, "SAME"), before, atol=1e-5)
    mean, weight_map = transfer(rgb, ("channels", {"how": "mean"}), (3, 3, 1, 4))
    np.testing.assert_allclose(mean, rgb.mean(2, keepdims=True), atol=1e-6)
    assert weight_map.row("m/w").preserves == "no"
    copied, _ = transfer(grey, ("channels", {"how": "copy"}), (3, 3, 3, 4))
    np.testing.assert_array_equal(copied, np.repeat(grey, 3, 2))


# Whole tensors


@given(st.lists(st.floats(0.125, 8, width=32), min_size=1, max_size=4))
@properties
def test_a_soup_is_the_weighted_mean(weights):
    arrays = [some(2, 3, seed=i) for i in range(len(weights))]
    found, _ = transfer(arrays, ("average", {"weights": weights}), (2, 3))
    np.testing.assert_allclose(found, np.average(arrays, axis=0, weights=weights), atol=1e-5)


def test_mixes_and_task_vectors():
    base, a, b = some(3), some(3, seed=1), some(3, seed=2)
    np.testing.assert_allclose(transfer([base, a], ("mix", {"share": 0.3}), (3,))[0], 0.7 * base + 0.3 * a, atol=1e-6)
    found, _ = transfer([base, a, b], ("delta", {"scale": [0.5, -1]}), (3,))
    np.testing.assert_allclose(found, base + 0.5 * (a - base) - (b - base), atol=1e-6)
    np.testing.assert_allclose(transfer([base, a], "delta", (3,))[0], a, atol=1e-6)
    kept, weight_map = transfer([base, a], ("delta", {"scale": [0]}), (3,))
    np.testing.assert_array_equal(kept, base)
    assert weight_map.row("m/w").preserves == "yes"


@given(st.integers(1, 4), st.integers(0, 99))
@properties
def test_low_rank_is_the_best_approximation(rank, seed):
    x = some(2, 3, 4, seed=seed)
    matrix = x.reshape(6, 4).astype(np.float64)
    found, _ = transfer(x, ("low_rank", {"rank": rank}), (2, 3, 4))
    singular = np.linalg.svd(matrix, compute_uv=False)
    error = np.linalg.norm(found.reshape(6, 4) - matrix)
    assert np.linalg.matrix_rank(found.reshape(6, 4), tol=1e-4) == rank
    np.testing.assert_allclose(error, np.sqrt((singular[rank:] ** 2).sum()), atol=1e-4)  # Eckart and Young
    left, _ = transfer(x, ("low_rank", {"rank": rank, "part": "left"}), (2, 3, rank))
    right, _ = transfer(x, ("low_rank", {"rank": rank, "part": "right"}), (rank, 4))
    np.testing.assert_allclose(left @ right, found, atol=1e-5)


def test_low_rank_by_energy_takes_the_smallest_rank():
    x = np.diag([3.0, 2.0, 1.0]).astype(np.float32)  # energies 9, 4, 1 of 14
    for energy, rank in ((0.6, 1), (0.7, 2), (0.92, 2), (0.95, 3), (1.0, 3)):
        found, _ = transfer(x, ("low_rank", {"energy": energy}), (3, 3))
        assert np.linalg.matrix_rank(found) == rank, energy


# Without a source


def test_fresh_tensors_differ_from_each_other_and_are_reproducible():
    def draw(seed):
        target = holder(a=(4, 4), b=(4, 4), bias=(4,))
        plan({"x": some(1)}, target, [(None, "m/*", ("fresh", {"seed": seed}))]).apply()
        return [variable.numpy() for variable in target.variables]

    first, again, other = draw(0), draw(0), draw(1)
    assert not np.allclose(first[0], first[1]) and not np.allclose(first[0], other[0])
    np.testing.assert_array_equal(first[0], again[0])
    assert not first[2].any()  # a bias starts at zero, as Keras starts it
    orthogonal, _ = transfer([], ("fresh", {"initializer": "orthogonal", "options": {"gain": 2.0}}), (5, 5))
    np.testing.assert_allclose(orthogonal @ orthogonal.T, 4 * np.eye(5), atol=1e-4)


@pytest.mark.parametrize(
    ("op", "shapes", "shape", "problem"),
    [
        ("copy", [(2, 3)], (3, 2), "'transpose' would give that"),
        ("copy", [(4, 3)], (2, 3), "'select' takes fewer places"),
        (("transpose", {"axes": [0, 0]}), [(2, 3)], (2, 2), r"\[0, 0\] do not permute the 2 axes"),
        ("reshape", [(2, 3)], (7,), "other number of parameters"),
        (("reshape", {"new": [-1, 6]}), [(2, 3)], (6,), "cannot be reshaped to"),
        (("slice", {"axis": 0, "start": 2}), [(3,)], (2,), "indices 2 to 3 do not exist"),
        (("slice", {"axis": 5}), [(3,)], (2,), "needs the argument 'size'"),
        ("select", [(2,)], (3,), "a selection is never larger"),
        ("tile", [(3,)], (2,), "a tiling is never smaller"),
        (("concatenate", {"axis": 0}), [(2, 3), (2, 4)], (4, 3), "differ in more than axis 0"),
        ("tie", [(2,)], (2,), "'tie' must be the first operation"),
        (["copy", "zero"], [(2,)], (2,), "creates a tensor: it must be the first operation and has no source"),
        ("zero", [(2,)], (2,), "creates a tensor: it must be the first operation and has no source"),
        ("copy", [], (2,), "needs a source"),
        ("copy", [(2,), (2,)], (2,), "2 tensors are left"),
        ("average", [(2,), (3,)], (2,), "tensors of one shape"),
        (("average", {"weights": [1]}), [(2,), (2,)], (2,), "must be as many"),
        ("mix", [(2,)], (2,), "two tensors, not 1"),
        ("delta", [(2,)], (2,), "the base and at least one source"),
        (("delta", {"scale": [1, 2, 3]}), [(2,), (2,)], (2,), "one scale, or one for each"),
        ("low_rank", [(4, 3)], (4, 3), "either rank or energy"),
        (("low_rank", {"rank": 9}), [(4, 3)], (4, 3), "give 1 to 3"),
        (("low_rank", {"rank": 1}), [(4,)], (4,), "is not a matrix"),
        (("low_rank", {"energy": 0.5, "part": "left"}), [(4, 3)], (4, 2), "give the factors a rank"),
        (("identity", {"activation": "gelu"}), [], (4, 4), "'gelu' is not an identity"),
        (("identity", {"activation": "relu"}), [], (2, 2, 4, 4), "windows with odd sides"),
        (("identity", {"activation": "relu"}), [], (3, 4), "as many inputs as outputs"),
        ("inflate", [(3, 2)], (4, 3, 7), "gives"),
        ("channels", [(3, 3, 3, 4)], (3, 3, 2, 4), "one of the two must be 1"),
        (("channels", {"how": "split"}), [(3, 3, 3, 4)], (3, 3, 1, 4), "cannot be done by 'split'"),
        (("interpolate", {"prefix": 9}), [(4, 2)], (6, 2), "not possible"),
        (("fresh", {"initializer": "glorot"}), [], (2, 2), "did you mean 'glorot_normal'"),
        (("fresh", {"options": {"gain": 1.0}}), [], (2, 2), "no option 'gain'"),
        (("fresh", {"seed": -1}), [], (2, 2), "out of range"),
        (("transpose", {"axis": [0]}), [(2,)], (2,), "did you mean 'axes'"),
        (("transpose", {"axes": [0.5]}), [(2,)], (2,), "is not a list, each an integer"),
        (("mix", {"share": "half"}), [(2,), (2,)], (2,), "share='half' is not a number"),
        (("mix", {"share": 10**400}), [(2,), (2,)], (2,), "is not a number"),
        (("deflate", {"how": "middle"}), [(2, 2)], (2,), "one of 'centre', 'mean', 'sum'"),
        ("transpos", [(2,)], (2,), "did you mean 'transpose'"),
        (("gather_outputs", {"units": "h"}), [(2,)], (2,), "unit map 'h' does not exist"),
        (("gather_outputs", {"units": UNITS}), [(4,)], (5,), "has 3 units, so axis -1 must have length 3"),
        (("norm_scale", {"epsilon": -1.0}), [(2,)], (2,), "must not be negative"),
    ],
)
def test_operations_that_do_not_fit_are_refused_when_the_plan_is_made(op, shapes, shape, problem):
    with pytest.raises(UserError, match=problem) as caught:
        transfer([some(*one) for one in shapes], op, shape)
    assert "m/w" in str(caught.value)


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ((3, 2, "random"), "'random' can only add units"),
        ((2, 3, "first"), "'first' can only remove units"),
        ((2, 3, "rendom"), "did you mean 'random'"),
        ((0, 3), "must be positive"),
        ((2, 2, "indices"), "needs 2 numbers from 0 to 1"),
        ((2, 2, "join"), "parts have 0 → 0 units"),
    ],
)
def test_invalid_unit_maps_are_refused(args, problem):
    with pytest.raises(UserError, match=problem):
        UnitMap("g", *args)
