"""Models for the tests of transforms: those of `nets`, and some that combine units in other ways."""

import keras
import numpy as np
from nets import batch, cnn, randomise, residual_cnn, transformer

__all__ = [
    "batch",
    "branches",
    "cnn",
    "gated",
    "nested",
    "randomise",
    "residual_cnn",
    "same",
    "transformer",
    "units_of",
]
layers = keras.layers


def branches(left=3, right=2, side=6, name="branches"):
    """Two convolutions, concatenated and normalised; flattened and pooled; concatenated with the flattened image."""
    sides = side if isinstance(side, tuple) else (side, side)
    image = keras.Input((*sides, 2), name="image")
    one = layers.Conv2D(left, 3, name="left")(image)
    two = layers.Conv2D(right, 3, activation="relu", name="right")(image)
    x = layers.BatchNormalization(name="norm")(layers.Concatenate()([one, two]))
    x = layers.Concatenate()([layers.Flatten()(x), layers.GlobalMaxPooling2D()(x), layers.Flatten()(image)])
    return keras.Model(image, layers.Dense(3, name="classes")(x), name=name)


def gated(first=3, side=8, name="gated"):
    """A gate over channels (squeeze and excitation), depthwise, separable and transposed convolutions, PReLU, ops."""
    image = keras.Input((side, side, 2), name="image")
    x = layers.Conv2D(first, 3, name="first")(image)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(first, 1, activation="sigmoid", name="gate")(gate)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x * gate + 1.0)
    x = keras.ops.relu(x)[:, 1:]
    x = layers.SeparableConv2D(4, 2, depth_multiplier=2, name="separable")(x)
    x = layers.PReLU(shared_axes=(1, 2), name="prelu")(x)
    x = layers.Conv2DTranspose(5, 2, name="up")(x)
    return keras.Model(image, layers.Dense(2, name="classes")(layers.Flatten()(x)), name=name)


def nested(name="nested"):
    """Return a nested model."""
    image = keras.Input((6, 6, 2), name="image")
    return keras.Model(image, layers.Dense(2, name="top")(cnn(name="inner")(image)), name=name)


def units_of(model, name):
    """Return how many filters, units or heads a layer has."""
    config = model.get_layer(name).get_config()
    return next(config[key] for key in ("filters", "units", "num_heads", "output_dim") if key in config)


def same(first, second, inputs, tolerance=1e-5):
    """Assert that the outputs of two models are equal, relative to the greatest output."""
    ours, theirs = np.asarray(second(inputs)), np.asarray(first(inputs))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * max(1.0, np.abs(theirs).max())
