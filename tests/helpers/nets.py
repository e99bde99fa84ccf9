"""Small models for structure transfer, and one operation carried out through the public API."""

import keras
import numpy as np

from tfxfer.transfer.structure import plan

layers = keras.layers


class Weights(keras.layers.Layer):
    """A layer of named weights without computation: the smallest possible target."""

    def __init__(self, shapes, dtype="float32", **kwargs):
        super().__init__(**kwargs)
        for name, shape in shapes.items():
            self.add_weight(name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False)
        self.built = True


def holder(dtype="float32", **shapes):
    return Weights(shapes, dtype=dtype, name="m")


def transfer(arrays, op, shape, **options):
    """Return an operation's result on arrays, for a target of a shape, and the plan."""
    arrays = arrays if isinstance(arrays, list) else [arrays]
    target = holder(w=shape)
    names = [f"s{i}" for i in range(len(arrays))]
    rules = [(names, "m/w", op)]
    weight_map = plan(dict(zip(names, arrays)) or {"none": np.zeros(1)}, target, rules, **options)
    weight_map.apply()
    return target.variables[0].numpy(), weight_map


def randomise(model, seed=0):
    """Give every weight a random value; variances positive ones."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            continue
        value = rng.normal(0, 0.5, variable.shape)
        if "variance" in variable.path or variable.path.endswith("gamma"):
            value = 0.5 + np.abs(value)
        variable.assign(value.astype(variable.dtype))
    return model


def cnn(first=3, second=4, hidden=5, classes=3, side=6, channels=2, window=3, extra=(), name="cnn"):
    """Convolution → BatchNorm → convolution → flatten → dense → classes; `extra` adds identity layers."""
    x = inputs = keras.Input((side, side, channels))
    x = layers.Conv2D(first, window, padding="same", activation="relu", name="conv1")(x)
    if "conv" in extra:
        x = layers.Conv2D(first, window, padding="same", activation="relu", name="conv_new")(x)
    if "norm" in extra:
        x = layers.BatchNormalization(name="norm_new", epsilon=1e-3)(x)
    x = layers.BatchNormalization(name="norm1")(x)
    x = layers.Conv2D(second, window, padding="same", activation="relu", name="conv2")(x)
    if "residual" in extra:
        h = layers.Conv2D(second, window, padding="same", activation="relu", name="block_new_a")(x)
        h = layers.BatchNormalization(name="block_new_norm")(h)
        x = layers.Add()([x, h])
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(hidden, activation="relu", name="hidden")(x)
    if "dense" in extra:
        x = layers.Dense(hidden, activation="relu", name="hidden_new")(x)
    return keras.Model(inputs, layers.Dense(classes, name="classes")(x), name=name)


def residual_cnn(stem=4, inner=3, side=5, channels=2, name="residual_cnn"):
    """Stem → a residual block of two convolutions with BatchNorm → average → classes."""
    x = inputs = keras.Input((side, side, channels))
    x = layers.Conv2D(stem, 3, padding="same", activation="relu", name="stem")(x)
    h = layers.Conv2D(inner, 3, padding="same", activation="relu", name="a")(x)
    h = layers.BatchNormalization(name="norm_a")(h)
    h = layers.Conv2D(stem, 3, padding="same", use_bias=False, name="b")(h)
    h = layers.BatchNormalization(name="norm_b")(h)
    x = layers.ReLU()(layers.Add()([x, h]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="classes")(x), name=name)


def transformer(dim=4, heads=2, head_dim=3, inner=6, length=4, features=3, name="transformer"):
    """Embedding → self-attention → LayerNorm → feed-forward (GELU) → LayerNorm → average → classes."""
    x = inputs = keras.Input((length, features))
    x = layers.Dense(dim, name="embed")(x)
    x = layers.LayerNormalization(name="norm0")(x)
    x = layers.Add()([x, layers.MultiHeadAttention(heads, head_dim, name="attention")(x, x)])
    x = layers.LayerNormalization(name="norm1")(x)
    h = layers.Dense(inner, activation="gelu", name="up")(x)
    x = layers.Add()([x, layers.Dense(dim, name="down")(h)])
    x = layers.LayerNormalization(name="norm2")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(3, name="classes")(x), name=name)


def batch(model, n=4, seed=1):
    return np.random.default_rng(seed).normal(size=(n, *model.input_shape[1:])).astype(np.float32)
