"""Models for the ready transfers: those of the core's tests, and some that put units together in other ways."""


import keras
import numpy as np
from nets import batch, cnn, randomise, residual_cnn, transformer

__all__ = ["batch", "branches", "cnn", "gated", "narrow", "nested", "randomise", "residual_cnn", "same", "transformer"]
layers = keras.layers


def branches(left=3, right=2, side=6, name="branches"):
    """Two convolutions joined, normalised, and read flat and pooled beside the picture itself."""
    sides = side if isinstance(side, tuple) else (side, side)
    picture = keras.Input((*sides, 2), name="image")
    one = layers.Conv2D(left, 3, name="left")(picture)
    two = layers.Conv2D(right, 3, activation="relu", name="right")(picture)
    x = layers.BatchNormalization(name="norm")(layers.Concatenate()([one, two]))
    x = layers.Concatenate()([layers.Flatten()(x), layers.GlobalMaxPooling2D()(x), layers.Flatten()(picture)])
    return keras.Model(picture, layers.Dense(3, name="classes")(x), name=name)


def gated(first=3, side=8, name="gated"):
    """A gate over channels (squeeze and excitation), depthwise, separable and transposed convolutions, PReLU, ops."""
    picture = keras.Input((side, side, 2), name="image")
    x = layers.Conv2D(first, 3, name="first")(picture)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(first, 1, activation="sigmoid", name="gate")(gate)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x * gate + 1.0)
    x = keras.ops.relu(x)[:, 1:]
    x = layers.SeparableConv2D(4, 2, depth_multiplier=2, name="separable")(x)
    x = layers.PReLU(shared_axes=(1, 2), name="prelu")(x)
    x = layers.Conv2DTranspose(5, 2, name="up")(x)
    return keras.Model(picture, layers.Dense(2, name="classes")(layers.Flatten()(x)), name=name)


def nested(name="nested"):
    """A model in a model."""
    picture = keras.Input((6, 6, 2), name="image")
    return keras.Model(picture, layers.Dense(2, name="top")(cnn(name="inner")(picture)), name=name)


def narrow(model, name):
    """How many filters, units or heads a layer has."""
    config = model.get_layer(name).get_config()
    return next(config[key] for key in ("filters", "units", "num_heads", "output_dim") if key in config)


def same(first, second, inputs, tolerance=1e-5):
    """Assert that two models compute the same, against the greatest output; both are run, nothing else is asked."""
    ours, theirs = np.asarray(second(inputs)), np.asarray(first(inputs))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * max(1.0, np.abs(theirs).max())
