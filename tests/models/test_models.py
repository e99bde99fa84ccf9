"""Source models: one contract for all, and errors for specs that cannot be used."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

import tfxfer
from tfxfer.errors import UserError
from tfxfer.models import article_cnn, glyph_cnn, load_model
from tfxfer.models.bert import learn_word_pieces, mask_tokens
from tfxfer.models.spec import check

pytestmark = pytest.mark.tensorflow


def images(shape):
    return np.random.default_rng(0).integers(0, 256, (2, *shape)).astype("uint8")


def tokens():
    return {
        "token_ids": np.ones((2, 12), "int32"),
        "segment_ids": np.zeros((2, 12), "int32"),
        "padding_mask": np.ones((2, 12), "int32"),
    }


SOURCES = {
    "fresh:cnn": (lambda: tfxfer.source("fresh:cnn", num_classes=7), lambda: images((32, 32, 1))),
    "fresh:cnn/article": (
        lambda: tfxfer.source("fresh:cnn/article", num_classes=7, input_shape=(32, 48, 3)),
        lambda: images((32, 48, 3)),
    ),
    "keras:MobileNetV2/fresh": (
        lambda: tfxfer.source("keras:MobileNetV2/fresh", input_shape=(32, 32, 3)),
        lambda: images((32, 32, 3)),
    ),
    "fresh:vit": (lambda: tfxfer.source("fresh:vit"), lambda: images((32, 32, 1))),
    "fresh:bert": (lambda: tfxfer.source("fresh:bert"), tokens),
    "fresh:text_cnn": (lambda: tfxfer.source("fresh:text_cnn"), lambda: tf.constant(["Österreich", "", "日本"])),
}


@pytest.mark.parametrize("spec", SOURCES)
def test_every_source_is_functional_and_survives_saving(spec, tmp_path):
    build, inputs = SOURCES[spec]
    model, x = build(), inputs()
    assert isinstance(model, keras.Model)
    expected = keras.tree.flatten(model(x, training=False))
    model.save(tmp_path / "m.keras")
    again = keras.tree.flatten(load_model(tmp_path / "m.keras")(x, training=False))
    for a, b in zip(expected, again):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert all(np.isfinite(np.asarray(a)).all() for a in expected)


def test_the_articles_cnn_has_the_articles_sizes():
    model = article_cnn(10)
    assert model.input_shape == (None, 224, 224, 3)
    assert model.get_layer("conv3").output.shape == (None, 56, 56, 128)
    assert model.get_layer("hidden").output.shape == (None, 512)
    assert model.count_params() == 93_248 + (28 * 28 * 128 * 512 + 512) + (512 * 10 + 10)
    with pytest.raises(UserError, match="too small"):
        article_cnn(10, (4, 4, 3))


def test_the_small_cnn_takes_any_image_size():
    model = glyph_cnn(5)
    assert model(images((32, 32, 1))).shape == model(images((24, 200, 1))).shape == (2, 5)


def test_a_white_border_changes_no_feature():
    model = keras.Model((m := glyph_cnn(5)).input, m.get_layer("relu4").output)
    ink = np.full((1, 32, 32, 1), 255, "uint8")
    ink[:, 12:20, 12:20] = 0
    wide = np.concatenate([ink, np.full((1, 32, 32, 1), 255, "uint8")], axis=2)
    np.testing.assert_allclose(model(ink)[:, :, 2:6], model(wide)[:, :, 2:6], atol=1e-6)


def test_seeds_decide_fresh_weights():
    a, b, c = (tfxfer.source("fresh:cnn", seed=s).get_weights()[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3


def test_an_image_model_of_keras_preprocesses_inside():
    model = tfxfer.source("keras:MobileNetV2/fresh", input_shape=(32, 32, 3), seed=0)
    x = images((32, 32, 3))
    body = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    expected = body(keras.applications.mobilenet_v2.preprocess_input(x.astype("float32")), training=False)
    np.testing.assert_allclose(model(x, training=False), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fresh:cn", "did you mean 'cnn'"),
        ("keras:MobilNetV2", "did you mean 'MobileNetV2'"),
        ("keras:VGG16/frsh", "only 'fresh' is possible"),
        ("kears:VGG16", "did you mean 'keras'"),
        ("preset:./nowhere", "does not exist"),
        ("preset:bert_tiny_en_uncased", "--download"),
        ("file:nowhere.keras", "does not exist"),
        ("run:nowhere", "does not exist"),
    ],
)
def test_specs_that_cannot_be_used_are_named(spec, message):
    with pytest.raises(UserError, match=message):
        tfxfer.source(spec)


def test_no_weights_are_downloaded_without_permission(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UserError, match="--download"):
        tfxfer.source("keras:MobileNetV2", input_shape=(32, 32, 3))


FILES = {
    "MobileNet": "mobilenet_1_0_224_tf_no_top.h5",
    "MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    "MobileNetV3Small": "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    "NASNetMobile": "nasnet_mobile_no_top.h5",
    "EfficientNetB0": "efficientnetb0_notop.h5",
    "EfficientNetV2B0": "efficientnetv2-b0_notop.h5",
    "ConvNeXtTiny": "convnext_tiny_notop.h5",
    "ResNet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "ResNet50V2": "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "InceptionResNetV2": "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
}


@pytest.mark.parametrize("network", FILES)
def test_weights_are_found_under_the_file_names_of_keras(network, tmp_path, monkeypatch):
    """A file belongs to its own network and to no other."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / FILES[network]).touch()
    for name in FILES:
        if name == network:
            assert check(f"keras:{name}", download=False).name == name
        else:
            with pytest.raises(UserError, match="--download"):
                check(f"keras:{name}", download=False)


def test_a_broken_model_file_is_named(tmp_path):
    broken = tmp_path / "broken.keras"
    glyph_cnn(3).save(broken)
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(UserError, match=r"broken\.keras: not a readable"):
        tfxfer.source(f"file:{broken}")


def test_masks_have_berts_shares_and_depend_on_the_seed():
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 1000, (400, 30)).astype("int32")
    maskable = np.arange(30) < rng.integers(1, 30, (400, 1))
    masked, positions, weights = (np.asarray(t) for t in mask_tokens(tokens, maskable, 4, 1000, [7, 1]))
    again, other = (np.asarray(mask_tokens(tokens, maskable, 4, 1000, seed)[0]) for seed in ([7, 1], [7, 2]))
    np.testing.assert_array_equal(masked, again)
    assert (masked != other).any()
    np.testing.assert_array_equal(weights.sum(1), np.maximum(1, np.round(0.15 * maskable.sum(1))))
    chosen = [(row, place) for row in range(400) for place in positions[row][weights[row] > 0]]
    assert len(set(chosen)) == len(chosen) and all(maskable[place] for place in chosen)
    changed = np.argwhere(masked != tokens)
    assert set(map(tuple, changed)) <= set(chosen)
    after = np.array([masked[place] for place in chosen])
    before = np.array([tokens[place] for place in chosen])
    assert abs(np.mean(after == 4) - 0.8) < 0.05 and abs(np.mean(after == before) - 0.1) < 0.04


@pytest.mark.parametrize("size", [2000, 30])
def test_word_pieces_are_those_of_kerashubs_learner(size, tmp_path):
    """Without KerasHub's search where the pieces do not fill the vocabulary, and with it where they do."""
    letters = [chr(97 + i) for i in range(26)]
    words = [a + b + a for a in letters[:20] for b in letters[:8]]
    texts = [f"{words[i % 160]} {words[(7 * i) % 160]} LETTER" for i in range(1500)]
    found = learn_word_pieces(texts, size, tmp_path / "vocabulary.txt")
    data = tf.data.Dataset.from_tensor_slices(texts).batch(100)
    theirs = keras_hub.tokenizers.compute_word_piece_vocabulary(data, size, lowercase=True)
    assert len(found) <= size and (tmp_path / "vocabulary.txt").read_text().split() == found
    assert found == theirs if size == 30 else set(found) <= set(theirs)
