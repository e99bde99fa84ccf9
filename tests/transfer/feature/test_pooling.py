"""How the maps of φ become one vector: against NumPy, on any width, saved and loaded, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import TinyDataset, tiny_cnn

from tfxfer.errors import UserError
from tfxfer.models.cnn import glyph_cnn
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import FeatureClassifier, extract, extractor
from tfxfer.transfer.feature.pooling import WindowPooling

pytestmark = pytest.mark.tensorflow
RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(2, 4, 6, 3)).astype(np.float32)  # [B, H, W, D]


def by_hand(maps, windows):
    columns = maps.mean(1)
    return np.concatenate([part.mean(1) for part in np.split(columns, windows, axis=1)], axis=1)


def pooled(maps, pooling, windows=3, shape=None):
    inputs = keras.Input(shape or maps.shape[1:])
    model = keras.Model(inputs, keras.layers.Activation("linear", name="maps")(inputs))
    return extractor(model, "maps", pooling=pooling, windows=windows).predict(maps, verbose=0)


def test_poolings_are_what_the_table_says():
    mean, largest = MAPS.mean((1, 2)), MAPS.max((1, 2))
    expected = {"avg+max": np.concatenate([mean, largest], 1), "windows": by_hand(MAPS, 3), "columns": by_hand(MAPS, 6)}
    for pooling, wanted in expected.items():
        np.testing.assert_allclose(pooled(MAPS, pooling), wanted, atol=1e-6)
    np.testing.assert_allclose(
        pooled(MAPS[:, 0], "windows"), by_hand(MAPS[:, :1], 3), atol=1e-6
    )  # a sequence [B, T, D]


def test_a_window_in_the_middle_of_a_column_shares_it():
    found = pooled(MAPS[:, :, :5], "windows", 2)
    columns = MAPS.mean(1)
    np.testing.assert_allclose(found, np.concatenate([columns[:, :3].mean(1), columns[:, 2:5].mean(1)], 1), atol=1e-6)


def test_maps_of_any_width_give_the_same_number_of_features():
    wide = np.repeat(MAPS, 2, axis=2)
    layer = pooled(wide, "windows", shape=(4, None, 3))
    np.testing.assert_allclose(layer, pooled(MAPS, "windows"), atol=1e-6)
    assert WindowPooling(3)(MAPS[:, :, :2]).shape == (2, 9)


def test_only_ordered_poolings_know_the_order_of_letters():
    cnn = glyph_cnn(2)
    bridge = RenderText(32, 176, 20, face="DejaVuSansMono")  # each letter has 12 pixels, which are three columns
    texts = np.array(["  anna  otto  ", "  otto  anna  "], object)
    for pooling, knows in {"avg": False, "avg+max": False, "windows": True, "columns": True}.items():
        phi = extractor(cnn, input_bridge=bridge, pooling=pooling)
        one, other = np.asarray(phi(tf.constant(texts)))
        assert (np.abs(one - other).max() > 0.05 * np.abs(one).max()) == knows, pooling


def test_without_a_layer_phi_ends_at_the_last_maps():
    model = glyph_cnn(5)
    images = RNG.integers(0, 256, (2, 32, 40, 1)).astype(np.uint8)
    maps = extractor(model, "relu4", pooling="none").predict(images, verbose=0)
    for pooling, expected in {"max": maps.max((1, 2)), "windows": by_hand(maps, 2)}.items():
        found = extractor(model, pooling=pooling, windows=2).predict(images, verbose=0)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_cache_keeps_poolings_apart(tmp_path):
    data, model = TinyDataset(), tiny_cnn()
    options = [{"pooling": "avg"}, {"pooling": "avg+max"}, {"pooling": "columns"}]
    options += [{"pooling": "windows", "windows": windows} for windows in (1, 2, 4)]
    phis = [extractor(model, "conv_high", **one) for one in options]
    found = [extract(phi, data, folder=tmp_path).array for phi in phis]
    assert [each.shape[1] for each in found] == [7, 14, 28, 7, 14, 28]  # as many columns as windows: the same numbers
    assert len(list(tmp_path.glob("*/manifest.json"))) == 6
    np.testing.assert_allclose(found[4], by_hand(extractor(model, "conv_high", pooling="none").predict(
        data.columns["image"].astype(np.float32), verbose=0), 2), atol=1e-4)  # fmt: skip


@pytest.mark.parametrize(("pooling", "reads"), [("avg+max", "images"), ("columns", "images"), ("windows", "texts")])
def test_a_saved_classifier_answers_the_same(pooling, reads, tmp_path):
    inputs = RNG.integers(0, 256, (12, 32, 48, 1)).astype(np.uint8)
    options = {"image_size": (32, 48)}
    if reads == "texts":
        inputs, options = np.array(["ab", "cd", "abc", "dc"] * 3, object), {"input_bridge": RenderText(32, 48, 20)}
    classifier = FeatureClassifier(glyph_cnn(2), ["a", "b"], pooling=pooling, windows=3, **options)
    expected = classifier.fit(inputs, np.arange(12) % 2).predict(inputs)
    classifier.save(tmp_path)
    loaded = FeatureClassifier.load(tmp_path)
    np.testing.assert_allclose(loaded.predict(inputs), expected, atol=1e-5)
    assert loaded.phi.output.shape == classifier.phi.output.shape


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pooling": "window"}, "did you mean 'windows'"),
        ({"pooling": "windows", "windows": 5}, r"\[B, 4, 4, 7\] has 4 columns; ask for at most 4 windows"),
        ({"pooling": "windows", "windows": 0}, "windows=0: give a whole number from 1"),
        ({"pooling": "columns", "layer": "hidden"}, "cannot pool .* by 'columns'; cut at a layer of maps"),
    ],
)
def test_what_cannot_be_pooled_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        extractor(tiny_cnn(), **{"layer": "conv_high"} | options)


def test_columns_of_an_unknown_width_are_refused():
    with pytest.raises(UserError, match=r"whose width is not known: give the size .*image_size=\(height, width\)"):
        extractor(glyph_cnn(2), pooling="columns")
    assert extractor(glyph_cnn(2), pooling="columns", image_size=(32, 40)).output.shape == (None, 10 * 128)
