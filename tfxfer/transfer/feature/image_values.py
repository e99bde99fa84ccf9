"""Whether an image model takes values 0..255: does it rescale them, and if not, are its activations saturated?

A network that learned values 0..1 and gets 0..255 answers without an error, with features that mean little.
"""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfxfer.models.pixels import image_inputs
from tfxfer.transfer.graph import Call, like_inputs, trace

# Layers that change no value, or only where it stands: the first layer after them is what meets the values.
PASSING = re.compile(
    r"InputLayer|Identity|Resizing|CenterCrop|ZeroPadding2D|Cropping2D|Reshape|Permute|Flatten|Concatenate|ExpandDims|"
    r"Cast|GetItem|Dropout|Random\w+|\w*Pooling2D|\w*Preprocessor"
)
# keras.applications without a rescaling of their own, by the names that Keras gives its models
APPLICATIONS = re.compile(
    r"mobilenet_\d|mobilenetv2_\d|resnet\d+(v2)?$|vgg\d+$|densenet\d+$|inception_(v3|resnet_v2)$|xception$|NASNet"
)
FAR = 6.0  # deviations from the mean that a BatchNormalization has recorded
EDGE = 1e-3  # from the bound of an activation
MOST = 0.5  # of the activations
BATCH = 8
_named: set[str] = set()  # networks of keras.applications that were warned of: a run makes a φ of each of its arms


def rescales(calls: Sequence[Call]) -> bool:
    """Return whether the first layer that meets the values of a model's images rescales them.

    Anything without weights counts, such as `Rescaling`, `Lambda` or `x / 255`, and `Normalization`.
    """
    for call in calls:
        if PASSING.fullmatch(type(call.layer).__name__) or hasattr(call.layer, "layers"):
            continue
        return isinstance(call.layer, keras.layers.Normalization) or not getattr(call.layer, "weights", None)
    return False


def application_without_preprocessing(model: keras.Model, calls: Sequence[Call]) -> str | None:
    """Return the name of a keras.applications model that gets its images without its `preprocess_input`; else None."""
    names = [model.name, *(part for call in calls[:3] for part in call.path.split("/")[:-1])]
    found = next((name for name in names if APPLICATIONS.match(name)), None)
    return None if found is None or rescales(calls) else found


def warn_of_application(model: keras.Model, calls: Sequence[Call], stacklevel: int) -> None:
    """Warn, once in a process, of a keras.applications model that gets values 0..255 without its `preprocess_input`.

    Args:
        model: The model.
        calls: Its layer calls, from `trace`.
        stacklevel: Whose line the warning names, as in `warnings.warn`: 1 is the line of this call.
    """
    name = application_without_preprocessing(model, calls)
    if name and name not in _named:
        _named.add(name)
        warnings.warn(
            f"{name} of keras.applications has no preprocessing inside, and data sets here give values 0..255; call "
            "its preprocess_input on an Input before it, or use tfxfer.source('keras:NAME'), which does",
            stacklevel=stacklevel + 1,
        )


def remark_on_values(model: keras.Model) -> str | None:
    """Return a warning when values 0..255 are probably not what a model was trained on; else None.

    Args:
        model: An image model. A batch of generated images passes through it, unless its first layer rescales them.
    """
    inputs = like_inputs(model)
    if not isinstance(inputs, keras.KerasTensor) or not image_inputs(model):
        return None
    calls, _ = trace(model, inputs)
    if rescales(calls):
        return None
    name = application_without_preprocessing(model, calls)
    if name:
        _named.add(name)
        return (
            f"it is {name} of keras.applications without its preprocess_input, and gets values 0..255; save it with "
            "preprocess_input inside, or say what it was trained on with --rescale (1/127.5,-1 for -1..1)"
        )
    found = saturated(inputs, calls)
    if found is None or found[0] <= MOST or found[1] >= found[0] / 2:
        return None
    return (
        f"its first layer does not rescale images, and at values 0..255 {found[0]:.0%} of its activations are "
        f"saturated (at 0..1 {found[1]:.0%}); give --rescale 1/255 if it learned values 0..1, "
        "1/127.5,-1 if -1..1, and 1 if 0..255"
    )


def saturated(inputs: Any, calls: Sequence[Call]) -> tuple[float, float] | None:
    """Return which fraction of the activations is saturated at values 0..255 and at 0..1; None where none can be.

    The input of the first `BatchNormalization` is, when it is far from the mean that the layer recorded in training:
    of an EfficientNet-Lite0 that learned -1..1, 86 % at 0..255 and none at -1..1, 4 % in the second where ReLU6 stands
    between. Of a model without one, the outputs of softmax, sigmoid, tanh and bounded ReLU are, at their bounds.
    """
    norms = [call for call in calls if isinstance(call.layer, keras.layers.BatchNormalization)][:1]
    watched = norms or [call for call in calls if _bounds(call.layer)]
    if not watched:
        return None
    tensors = [call.inputs if norms else call.output for call in watched]
    network = keras.Model(inputs, tensors)
    height, width = (64 if side is None else side for side in inputs.shape[1:3])
    images = natural_images(BATCH, (height, width, inputs.shape[3]))

    def share(values: np.ndarray) -> float:
        outputs = network(values.astype(inputs.dtype), training=False)
        found = [_saturated(call.layer, np.asarray(out)) for call, out in zip(watched, keras.tree.flatten(outputs))]
        return float(np.mean(found))

    return share(images), share(images / 255)


def natural_images(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Return images float32 [count, H, W, C] in 0..255 with the 1/f spectrum of photographs, always the same ones."""
    height, width, channels = shape
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.fft2(rng.normal(size=(count, channels, height, width))) / frequency
    drawn = np.fft.ifft2(noise).real
    drawn = 127.5 + 64 * drawn / np.maximum(drawn.std((2, 3), keepdims=True), 1e-9)
    return np.clip(drawn, 0, 255).transpose(0, 2, 3, 1).astype(np.float32)


def _bounds(layer: Any) -> str:
    """Return the name of a layer's activation when it has bounds on both sides, else ""."""
    kind = type(layer).__name__
    if kind == "Softmax" or (kind == "ReLU" and layer.max_value is not None):
        return "softmax" if kind == "Softmax" else "relu"
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return name if name in ("softmax", "sigmoid", "hard_sigmoid", "tanh", "relu6") else ""


def _saturated(layer: Any, values: np.ndarray) -> float:
    """Return the fraction of a layer's activations that are saturated; `values` is a BatchNormalization's input."""
    if isinstance(layer, keras.layers.BatchNormalization):
        deviation = np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
        return float(np.mean(np.abs(values - np.asarray(layer.moving_mean)) > FAR * deviation))
    kind = _bounds(layer)
    if kind == "softmax":
        return float(np.mean(values.max(-1) > 1 - EDGE))
    if kind in ("relu", "relu6"):
        return float(np.mean(values >= (layer.max_value if kind == "relu" else 6.0)))
    low = -1.0 if kind == "tanh" else 0.0
    return float(np.mean((values < low + EDGE) | (values > 1 - EDGE)))
