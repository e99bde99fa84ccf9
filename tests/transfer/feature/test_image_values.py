"""Image models that get values 0..255 and learned others are named; heads of any kind are cut off."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from here import Quiet

from tfxfer.config import RunConfig, SourceConfig
from tfxfer.models import glyph_cnn
from tfxfer.sources.load import load_source
from tfxfer.transfer.feature import extractor
from tfxfer.transfer.feature.image_values import remark_on_values

pytestmark = pytest.mark.tensorflow
layers = keras.layers


def said_of(model, tmp_path, **how):
    """Return what a run says of a model that is given as a file."""
    model.save(tmp_path / "m.keras")
    run = Quiet()
    load_source(SourceConfig(f"file:{tmp_path}/m.keras", **how), RunConfig(), run)
    return " ".join(run.said)


def learned(scale, norm=True, rescaling=None, end="softmax"):
    """A CNN as if trained on values 0..255 · scale: its logits there are of size 1."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    if rescaling:
        x = layers.Rescaling(rescaling)(x)
    x = layers.Conv2D(8, 3, kernel_initializer=keras.initializers.RandomNormal(stddev=0.1 / scale / 100))(x)
    x = layers.BatchNormalization()(x) if norm else layers.ReLU()(x)
    x = layers.Dense(4, end, kernel_initializer="glorot_uniform")(layers.GlobalMaxPooling2D()(x))
    return keras.Model(image, x)


@pytest.mark.parametrize("norm", [True, False], ids=["BatchNormalization", "softmax"])
def test_a_file_that_learned_other_values_is_named(tmp_path, norm):
    assert "--rescale 1/255" in said_of(learned(1 / 255, norm), tmp_path)
    assert "--rescale" not in said_of(learned(1.0, norm), tmp_path)


def test_a_file_that_rescales_or_whose_values_are_said_is_not_named(tmp_path):
    assert "--rescale" not in said_of(learned(1 / 255, rescaling=1 / 255), tmp_path)
    assert "--rescale" not in said_of(learned(1 / 255), tmp_path, rescale="1/255")
    assert "--rescale" not in said_of(glyph_cnn(3), tmp_path)


def test_a_model_of_keras_applications_without_its_preprocessing_is_named_once(recwarn):
    bare = keras.applications.MobileNet((32, 32, 3), 0.25, weights=None, classes=5)
    image = keras.Input((32, 32, 3))
    whole = keras.Model(image, bare(keras.applications.mobilenet.preprocess_input(image)))
    extractor(whole)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"mobilenet_0.25_32 of keras.applications .* preprocess_input") as caught:
        extractor(bare)
    assert caught[0].filename == __file__
    extractor(bare)
    assert not recwarn.list
    assert "preprocess_input" in remark_on_values(bare) and remark_on_values(whole) is None


# === Heads ===


def maps():
    return layers.Conv2D(6, 3, name="maps")(image := keras.Input((8, 8, 3))), image


def over_one_position(end):
    """MobileNet's head: pooled to 1 x 1, a convolution, reshaped, softmax."""
    x, image = maps()
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return keras.Model(image, layers.Activation(end)(layers.Reshape((4,))(layers.Conv2D(4, 1)(x))))


def pooled_after():
    """SqueezeNet's head: a convolution, ReLU, pooled, softmax."""
    x, image = maps()
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Conv2D(4, 1)(x)))
    return keras.Model(image, layers.Softmax()(x))


def no_head():
    """Features that end in a 1 x 1 convolution, pooled."""
    x, image = maps()
    return keras.Model(image, layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Conv2D(4, 1)(x))))


HEADS = {
    "over one position": (lambda: over_one_position("softmax"), 6),
    "its logits": (lambda: over_one_position("linear"), 6),
    "pooled after": (pooled_after, 6),
    "none": (no_head, 4),
}


@pytest.mark.parametrize("head", HEADS)
def test_convolutional_heads_are_cut_off(head):
    build, width = HEADS[head]
    model = build()
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    found = np.asarray(extractor(model)(x))
    pooled = np.asarray(model.get_layer("maps")(x)).mean((1, 2)) if width == 6 else np.asarray(model(x))
    np.testing.assert_allclose(found, pooled, atol=1e-6)


def test_without_a_head_features_are_what_softmax_is_taken_of():
    x, image = maps()
    scores = layers.Dot(1)([layers.Flatten()(x), layers.Flatten()(x)])
    model = keras.Model(image, layers.Softmax(axis=0)(scores))
    given = np.ones((2, 8, 8, 3), "float32")
    np.testing.assert_allclose(extractor(model)(given), keras.Model(image, scores)(given), rtol=1e-6)


# === A channel axis ===


class Sevens(keras.layers.Layer):
    """A bridge from strings [B] to uint8 [B, 24, 24, 1] whose values are 7."""

    def call(self, texts):
        return keras.ops.cast(keras.ops.full((keras.ops.shape(texts)[0], 24, 24, 1), 7), "uint8")

    def compute_output_spec(self, texts):
        return keras.KerasTensor((texts.shape[0], 24, 24, 1), dtype="uint8")


@pytest.mark.parametrize("bridged", [False, True], ids=["images", "a bridge"])
def test_square_images_without_a_channel_axis_get_one(bridged):
    model = keras.Sequential([keras.Input((12, 12)), layers.Flatten(), layers.Dense(5), layers.Dense(2)])
    phi = extractor(model, input_bridge=Sevens() if bridged else None)
    found = phi(tf.constant(["a"]) if bridged else np.full((1, 12, 12, 1), 7.0))
    np.testing.assert_allclose(found, model.layers[1](np.full((1, 144), 7.0)), rtol=1e-5)
