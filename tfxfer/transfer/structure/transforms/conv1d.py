"""The 1-D counterpart of each 2-D layer: images [B, H, W, C] become sequences [B, W, C] along the width."""

import inspect
from typing import Any, NoReturn

import keras

from tfxfer.errors import UserError
from tfxfer.transfer.structure.transforms.layer_rules import ELEMENTWISE
from tfxfer.transfer.structure.transforms.rebuild import Step, config_of
from tfxfer.transfer.structure.transforms.unit_flow import COMBINING, snake

layers = keras.layers
ALONG = ("kernel_size", "strides", "dilation_rate", "pool_size", "size", "padding", "cropping", "output_padding")
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose")
TWO_DIMENSIONAL = (
    *CONVOLUTIONS,
    *("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"),
    *("ZeroPadding2D", "Cropping2D", "UpSampling2D", "SpatialDropout2D"),
)
# Layers that treat every position alike, in a sequence or in an image.
UNCHANGED = (
    "Activation ReLU LeakyReLU ELU Softmax Dropout GaussianNoise GaussianDropout AlphaDropout Identity Add Subtract "
    "Multiply Maximum Minimum Average ActivityRegularization Dense Flatten Rescaling".split()
)
NORMS = ("BatchNormalization", "LayerNormalization", "RMSNormalization", "GroupNormalization")
# Preprocessing of pixel values before the first convolution.
PIXELS = ("Rescaling", "Normalization", "Preprocess", "Resizing", "CenterCrop")


def to_1d(step: Step) -> Any:
    """Return a new layer that does on sequences [B, W, C] what a call does along the width of images [B, H, W, C].

    Raises:
        UserError: The layer has no such counterpart.
    """
    layer, kind = step.layer, type(step.layer).__name__
    if not isinstance(layer, keras.Layer):
        if snake(kind) not in ELEMENTWISE | COMBINING:
            _refuse(step)
        return type(layer).from_config(layer.get_config())
    config = _changed(step, kind, config_of(layer))
    if kind not in TWO_DIMENSIONAL:
        return type(layer).from_config(config)
    cls = getattr(layers, kind.replace("2D", "1D"))
    known = {*inspect.signature(cls.__init__).parameters, "name", "trainable", "dtype"}
    return cls.from_config({name: value for name, value in config.items() if name in known})


def _changed(step: Step, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return a layer's config for sequences."""
    if (config.get("data_format") or "channels_last") != "channels_last":
        raise UserError(f"'{step.path}' has channels first; only channels last can be converted to 1-D")
    if kind in TWO_DIMENSIONAL:
        if config.get("interpolation", "nearest") != "nearest":
            raise UserError(f"'{step.path}' interpolates between pixels; in 1-D, values can only be repeated")
        pairs = {name: value for name, value in config.items() if name in ALONG and isinstance(value, list | tuple)}
        return {**config, **{name: value[1] for name, value in pairs.items()}}
    if kind in (*NORMS, "Concatenate"):
        return {**config, "axis": _axis(step, config["axis"])} if "axis" in config else config
    if kind == "Reshape" and all(side == 1 for side in config["target_shape"][:-1]):
        return {**config, "target_shape": config["target_shape"][1:] or config["target_shape"]}
    if kind == "PReLU" and list(config["shared_axes"] or ()) == [1, 2]:
        return {**config, "shared_axes": [1]}
    if kind not in UNCHANGED:
        _refuse(step)
    return config


def _axis(step: Step, axis: Any) -> Any:
    """Return the axis of sequences for an axis of images: channels stay last, the width comes first."""
    if len(step.tensors[0].shape) != 4:
        return axis
    if isinstance(axis, list | tuple):
        return [_axis(step, one) for one in axis]
    if axis in (1, -3):
        raise UserError(f"'{step.path}' works along the height of images, which sequences do not have")
    return {3: -1, 2: 1, -2: 1}.get(axis, axis)


def _refuse(step: Step) -> NoReturn:
    kind = type(step.layer).__name__
    raise UserError(f"'{step.path}' is a {kind}, which has no 1-D counterpart")
