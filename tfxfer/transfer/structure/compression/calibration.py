"""Calibration: what rounded, factored or pruned weights change in the mean is taken back, on a few unlabelled examples.

The error of a matrix moves the mean of its outputs by E[(W̃ − W) x], and all that follows reads the moved mean. So each
bias is shifted until the mean of its layer's output, before the activation, is what it was (bias correction, Nagel et
al. 2019, section 4.2; here by examples, not by the statistics of batch normalisation). Batch normalisation gets the
same for its mean, and its variance is scaled by how much that of its input has changed. Layers are corrected from the
input on, each behind those that are corrected already. Matrices stay as they are.

Keras 3.15 has two methods that calibrate, GPTQ and AWQ. Both take the blocks of a language model, its tokenizer and
texts, and change `Dense` layers only: no convolutions, and no models of images.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

LINEAR = ("Dense", "EinsumDense", "Conv1D", "Conv2D", "DepthwiseConv2D")
LEAST, MOST = 0.1, 10.0  # how far a variance may be scaled
Moments = tuple[np.ndarray, np.ndarray]


def moments_of(model: keras.Model, inputs: Any) -> dict[keras.Layer, Moments]:
    """Return layer -> mean and variance of what it sums up, or of what a batch normalisation reads.

    Args:
        model: From raw inputs on.
        inputs: One batch.
    """
    found: dict[keras.Layer, Moments] = {}

    def note(layer: Any, values: Any) -> Any:
        found.setdefault(layer, _moments(layer, values))
        return values

    with _watched(model, note):
        model(inputs, training=False)
    return found


def correct(model: keras.Model, inputs: Any, wanted: dict[keras.Layer, Moments]) -> int:
    """Shift the biases and statistics of a model until its layers have the wanted moments; return how many changed.

    Args:
        model: With the changed weights; its biases and statistics are set in place.
        inputs: The batch that `moments_of` got.
        wanted: What it returned, with the weights as they were.
    """
    done: set[keras.Layer] = set()

    def shift(layer: Any, values: Any) -> Any:
        if layer in done or layer not in wanted:
            return values
        (mean, variance), (now, spread) = wanted[layer], _moments(layer, values)
        done.add(layer)
        if isinstance(layer, keras.layers.BatchNormalization):
            ratio = np.clip((spread + layer.epsilon) / (variance + layer.epsilon), LEAST, MOST)
            centre = np.asarray(layer.moving_mean)
            layer.moving_mean.assign(now + (centre - mean) * np.sqrt(ratio))
            layer.moving_variance.assign(np.asarray(layer.moving_variance) * ratio)
            return values
        if layer.bias is None:
            done.discard(layer)
            return values
        by = keras.ops.convert_to_tensor((mean - now).astype(np.float32))
        layer.bias.assign(layer.bias + by)
        return values + keras.ops.cast(by, values.dtype)

    with _watched(model, shift):
        model(inputs, training=False)
    return len(done)


def _moments(layer: Any, values: Any) -> Moments:
    """Return the mean and variance of values [B, …, C], of the shape of the layer's bias: [C], or [heads, C]."""
    array = np.asarray(keras.ops.convert_to_numpy(values), np.float64)
    bias = getattr(layer, "bias", None)
    own = 1 if bias is None else len(bias.shape)
    axes = tuple(range(array.ndim - own))
    return array.mean(axes), array.var(axes)


@contextmanager
def _watched(model: keras.Model, look: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Call `look` with each linear layer and its output before the activation, and what it returns goes on.

    A batch normalisation is shown with its input.
    """
    layers = [layer for layer in model._flatten_layers() if _watchable(layer)]
    for layer in layers:
        layer.call = _watching(layer, type(layer).call, look)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _watchable(layer: Any) -> bool:
    return type(layer).__name__ in LINEAR or isinstance(layer, keras.layers.BatchNormalization)


def _watching(layer: Any, call: Callable[..., Any], look: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    if isinstance(layer, keras.layers.BatchNormalization):

        def normalised(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            look(layer, inputs)
            return call(layer, inputs, *args, **kwargs)

        return normalised

    def linear(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        activation = layer.activation
        layer.activation = keras.activations.linear
        try:
            values = look(layer, call(layer, inputs, *args, **kwargs))
        finally:
            layer.activation = activation
        return values if activation is None else activation(values)

    return linear
