"""Quantised, factored, pruned, calibrated and narrower weights, and the file that holds them."""

import json
import zipfile

import keras
import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.models.coded_weights import CodedWeight, Matrix, encoded_arrays, read_weights, with_decoded, write_coded
from tfxfer.models.saved import load_model
from tfxfer.transfer.structure.compression.calibration import correct, moments_of
from tfxfer.transfer.structure.compression.lora import without_lora
from tfxfer.transfer.structure.compression.low_rank import factored, factors
from tfxfer.transfer.structure.compression.matrices import matrices_in
from tfxfer.transfer.structure.compression.narrowing import narrowed
from tfxfer.transfer.structure.compression.pruning import pruned, pruned_in_groups
from tfxfer.transfer.structure.compression.quantisation import quantised

pytestmark = pytest.mark.tensorflow
RNG = np.random.default_rng(0)
WEIGHT = (RNG.normal(size=(70, 33)) * 10.0 ** RNG.integers(-3, 3, 33)).astype(np.float32)


def coded(values, by_rows=False):
    return CodedWeight(values.shape, (Matrix(values, by_rows=by_rows),))


@pytest.mark.parametrize("by_rows", [False, True])
def test_int8_is_wrong_by_half_a_step_of_its_output_at_most(by_rows):
    values = WEIGHT.T if by_rows else WEIGHT
    found = quantised(coded(values, by_rows), "int8").decoded()
    step = np.abs(values).max(1 if by_rows else 0, keepdims=True) / 127
    assert np.all(np.abs(found - values) <= 0.5001 * step) and not np.array_equal(found, values)


def test_int8_has_the_integers_of_keras():
    integers, scale = map(np.asarray, keras.quantizers.abs_max_quantize(WEIGHT, axis=0, to_numpy=True))
    np.testing.assert_allclose(quantised(coded(WEIGHT), "int8").decoded(), integers / scale, rtol=1e-3, atol=1e-6)


def test_int4_is_wrong_by_less_than_a_third_of_a_group_and_packs_odd_counts():
    found = quantised(coded(WEIGHT), "int4").decoded()
    largest = np.repeat(np.stack([np.abs(WEIGHT[i : i + 32]).max(0) for i in range(0, 70, 32)]), 32, 0)[:70]
    assert WEIGHT.size % 2 == 0 and np.all(np.abs(found - WEIGHT) <= largest * 0.31)
    odd = np.array([[7.0], [-7.0], [1.0]], np.float32)
    np.testing.assert_allclose(quantised(coded(odd), "int4").decoded(), odd)


def test_what_does_not_fit_half_precision_is_not_rounded():
    large = np.diag(np.full(4, 1e6)).astype(np.float32)
    assert np.array_equal(quantised(coded(large), "float16").decoded(), large)


def test_factors_of_full_rank_give_the_matrix_and_lower_ones_the_nearest():
    left, right = factors(WEIGHT, 33)
    np.testing.assert_allclose(left @ right, WEIGHT, atol=1e-3)
    left, right = factors(WEIGHT, 5)
    tail = np.linalg.svd(WEIGHT.astype(float), compute_uv=False)[5:]
    assert np.linalg.norm(left @ right - WEIGHT) == pytest.approx(np.linalg.norm(tail), rel=1e-4)
    assert factored(coded(WEIGHT), 5).stored == 5 * (70 + 33)
    assert factored(coded(WEIGHT), 0.9).stored == WEIGHT.size  # two factors would be larger


@pytest.mark.parametrize("dtype", ["float32", "int8", "int4"])
@pytest.mark.parametrize("by_rows", [False, True])
def test_the_mask_of_pruning_is_kept(dtype, by_rows):
    weight = pruned(coded(WEIGHT, by_rows), 0.5, "w")
    (part,) = weight.parts
    found = weight.stored_as(dtype).decoded()
    assert weight.stored == WEIGHT.size // 2 and np.all(found[~part.kept] == 0)
    assert np.abs(WEIGHT[part.kept]).min() >= np.abs(WEIGHT[~part.kept]).max()
    if dtype == "float32":
        assert np.array_equal(found, np.where(part.kept, WEIGHT, 0))


def test_pruning_by_groups_keeps_n_of_every_m_inputs():
    (part,) = pruned_in_groups(coded(WEIGHT), 2, 4).parts
    assert np.all(part.kept[:68].reshape(17, 4, 33).sum(1) == 2) and part.kept[68:].all()


def test_an_emptied_layer_is_named():
    with pytest.raises(UserError, match=r"nothing would be left of 'head/kernel'.*give at most 0.999"):
        pruned(coded(WEIGHT), 0.9999, "head/kernel")


def test_arrays_beside_a_network_come_back():
    arrays = {"plain/known": np.array(["a", "bc"]), **encoded_arrays({"weights": coded(WEIGHT).stored_as("int8")},
                                                                    ["known"])}  # fmt: skip
    found = with_decoded(arrays)
    assert found["known"].tolist() == ["a", "bc"] and found["weights"].shape == WEIGHT.shape
    assert with_decoded({"weights": WEIGHT})["weights"] is WEIGHT


# === Models ===


def tiny():
    """Return a model with a convolution, a normalisation, attention and a nested head."""
    keras.utils.set_random_seed(0)
    head = keras.Sequential([keras.Input((16,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(80)], name="head")
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(16, 3, use_bias=False)(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Reshape((36, 16))(x)
    x = keras.layers.MultiHeadAttention(4, 8)(x, x)
    return keras.Model(image, head(keras.layers.GlobalAveragePooling1D()(x)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path, model = tmp_path_factory.mktemp("model") / "model.keras", tiny()
    model.save(path)
    return path, model


def test_a_coded_file_opens_as_the_model_with_the_rounded_weights(saved, tmp_path):
    path, model = saved
    arrays, groups = read_weights(path)
    known = matrices_in(model, arrays)
    kinds = sorted((layout.row_axes, arrays[name].ndim) for name, layout in known.items())
    assert kinds == [(1, 2), (1, 2), (1, 3), (1, 3), (1, 3), (2, 3), (3, 4)]  # queries, keys, values; their output
    weights = arrays | {name: quantised(layout.coded(arrays[name]), "int8") for name, layout in known.items()}
    write_coded(path, tmp_path / "model.keras", weights, groups)
    opened, inputs = load_model(tmp_path / "model.keras"), RNG.normal(size=(5, 8, 8, 3)).astype(np.float32)
    for name, one in read_weights(path)[0].items():
        assert name in known or np.array_equal(arrays[name], one)
    outputs = np.asarray(opened(inputs))
    np.testing.assert_allclose(outputs, np.asarray(model(inputs)), atol=0.02)
    assert not np.array_equal(outputs, np.asarray(model(inputs)))
    opened.save(tmp_path / "again.keras")
    assert np.array_equal(np.asarray(load_model(tmp_path / "again.keras")(inputs)), outputs)


def test_a_damaged_or_swollen_coded_file_is_refused(saved, tmp_path):
    path, bad = saved[0], tmp_path / "model.keras"
    arrays, groups = read_weights(path)
    write_coded(path, bad, {name: coded(one) if one.ndim == 2 else one for name, one in arrays.items()}, groups)
    with zipfile.ZipFile(bad) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(bad, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data[: len(data) // 2] if name == "coded.npz" else data)
    with pytest.raises(UserError, match="coded weights cannot be read"):
        load_model(bad)
    layout = {"weights": [{"name": "w", "shape": [10**6, 10**6], "dtype": "float32"}], "about": {}}
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("config.json", members["config.json"])
        with archive.open("coded.npz", "w") as file:
            np.savez(file, layout=np.frombuffer(json.dumps(layout).encode(), np.uint8))
    with pytest.raises(UserError, match="do not trust this file"):
        load_model(bad)


def test_calibration_takes_back_what_rounding_moved_in_the_mean(saved):
    model, inputs = tiny(), RNG.normal(1, 1, (64, 8, 8, 3)).astype(np.float32)
    wanted = moments_of(model, inputs)
    before = np.asarray(model(inputs)).mean(0)
    for layer in model._flatten_layers():
        if type(layer).__name__ in ("Dense", "Conv2D", "EinsumDense"):
            weight = np.asarray(layer.kernel)
            layer.kernel.assign(weight + 0.1 * np.abs(weight).mean())
    moved = np.abs(np.asarray(model(inputs)).mean(0) - before).max()
    assert correct(model, inputs, wanted) == 7  # a normalisation stands for the convolution, which has no bias
    assert np.abs(np.asarray(model(inputs)).mean(0) - before).max() < 1e-4 < moved
    np.testing.assert_allclose(np.asarray(tiny()(inputs)), np.asarray(tiny()(inputs)))  # no layer stays watched


def test_lora_layers_become_plain_ones_with_the_same_outputs(tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)])
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(RNG.normal(size=(2, 5)))
    model.save(tmp_path / "lora.keras")
    with zipfile.ZipFile(tmp_path / "lora.keras") as old, zipfile.ZipFile(tmp_path / "plain.keras", "w") as new:
        for member in old.namelist():
            data = old.read(member)
            new.writestr(member, without_lora(data)[0] if member == "config.json" else data)
    plain, inputs = load_model(tmp_path / "plain.keras"), RNG.normal(size=(3, 6)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(plain(inputs)), np.asarray(model(inputs)), rtol=1e-5)
    assert len(plain.weights) == 2


def test_every_layer_that_can_loses_units():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(8, 3, activation="relu", name="conv")(image)
    x = keras.layers.Dense(12, "relu", name="hidden")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, keras.layers.Dense(3, "softmax", name="head")(x))
    narrow, units = narrowed(model, 0.5)
    assert units == {"conv": (8, 4), "hidden": (12, 6)} and narrow.output.shape == (None, 3)
    head = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    with pytest.raises(UserError, match="no layer of the model can lose units"):
        narrowed(head, 0.5)
