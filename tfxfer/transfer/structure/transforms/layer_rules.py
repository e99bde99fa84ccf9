"""A rule for each kind of layer: which of its weights make or read units, and which units its output holds."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfxfer.transfer.structure.transforms.rebuild import Step
from tfxfer.transfer.structure.transforms.units import Flow, Label, Units

layers = keras.layers
Rule = Callable[[Flow, Step, Label], Label | None]  # the model's units, a call, its input's label → its output's

# Elementwise functions: copies of a unit stay copies.
ELEMENTWISE = set(
    "linear relu relu6 leaky_relu elu selu celu gelu silu swish tanh sigmoid hard_sigmoid hard_silu hard_swish "
    "hard_tanh hard_shrink soft_shrink tanh_shrink softplus softsign exponential mish log_sigmoid squareplus "
    "threshold sparse_plus sparse_sigmoid cast abs exp log sqrt rsqrt square negative identity sin cos erf clip".split()
)


def _keep(flow: Flow, step: Step, given: Label) -> Label | None:
    """Follow layers that work elementwise, or on places only."""
    last = getattr(step.layer, "data_format", "channels_last") == "channels_last"
    return given if last else None


def _activation(flow: Flow, step: Step, given: Label) -> Label | None:
    _check_activation(step, given, step.layer.activation)
    return given


def _softmax(flow: Flow, step: Step, given: Label) -> Label | None:
    axis, rank = step.layer.axis, len(step.inputs.shape)
    if not isinstance(axis, int):
        return None
    for units in given.units if axis in (-1, rank - 1) else ():
        units.mixed = units.mixed or f"Softmax '{step.path}' normalises over them"
    return given


def _check_activation(step: Step, label: Label, activation: Any) -> None:
    """Record an activation that is not elementwise."""
    name = getattr(activation, "__name__", type(activation).__name__)
    if name not in ELEMENTWISE and not _is_elementwise(activation):
        for units in label.units:
            units.mixed = units.mixed or f"the activation '{name}' of '{step.path}' is not elementwise"


def _is_elementwise(activation: Any) -> bool:
    """Try whether a function maps each number to the same value, alone and among other numbers."""
    numbers = np.linspace(-3, 3, 7, dtype=np.float32)
    pairs = np.repeat(numbers[:, None], 2, 1)  # [7, 2]: each number twice
    try:
        alone, beside = (np.asarray(activation(keras.ops.convert_to_tensor(x))) for x in (pairs, numbers[None]))
    except (TypeError, ValueError):
        return False
    return alone.shape == pairs.shape and bool(np.allclose(alone[:, 0], np.ravel(beside), atol=1e-6))


def _kernel(flow: Flow, step: Step, given: Label, size: str, reads: int, makes: int, weight: str = "kernel") -> Label:
    """Follow a layer whose kernel reads units along one axis and makes its own along another.

    Args:
        flow: The model's units.
        step: The call.
        given: Label of the units that are read.
        size: Name of the number of units in the layer's config.
        reads: Axis of the kernel's inputs.
        makes: Axis of the kernel's outputs.
        weight: The kernel's name.
    """
    made = flow.own(step, getattr(step.layer, size), lambda n: {size: n})
    flow.role(step, weight, reads, False, given)
    flow.role(step, weight, makes, True, made, own=True)
    flow.role(step, "bias", 0, True, made, own=True)
    _check_activation(step, made, step.layer.activation)
    return made


def _dense(flow: Flow, step: Step, given: Label) -> Label:
    return _kernel(flow, step, given, "units", reads=0, makes=1)


def _convolution(flow: Flow, step: Step, given: Label) -> Label | None:
    layer = step.layer
    if layer.data_format != "channels_last" or layer.groups != 1:
        return None
    return _kernel(flow, step, given, "filters", reads=layer.rank, makes=layer.rank + 1)


def _transposed(flow: Flow, step: Step, given: Label) -> Label | None:
    layer = step.layer
    if layer.data_format != "channels_last":
        return None
    return _kernel(flow, step, given, "filters", reads=layer.rank + 1, makes=layer.rank)


def _depthwise(flow: Flow, step: Step, given: Label) -> Label | None:
    layer = step.layer
    if layer.data_format != "channels_last":
        return None
    passed = _times(given, layer.depth_multiplier)
    flow.role(step, "kernel", layer.rank, True, given)
    flow.role(step, "bias", 0, True, passed)
    _check_activation(step, passed, layer.activation)
    return passed


def _separable(flow: Flow, step: Step, given: Label) -> Label | None:
    layer = step.layer
    if layer.data_format != "channels_last":
        return None
    flow.role(step, "depthwise_kernel", layer.rank, True, given)
    passed = _times(given, layer.depth_multiplier)
    return _kernel(flow, step, passed, "filters", layer.rank, layer.rank + 1, weight="pointwise_kernel")


def _times(label: Label, inner: int) -> Label:
    return Label(tuple((units, each * inner) for units, each in label.spans), label.grid, label.joined)


def _layer_norm(flow: Flow, step: Step, given: Label) -> Label | None:
    flow.norms[step.path] = given
    return _scaled(flow, step, given)


def _group_norm(flow: Flow, step: Step, given: Label) -> Label | None:
    return _layer_norm(flow, step, given) if step.layer.groups == 1 else None


def _scaled(flow: Flow, step: Step, given: Label) -> Label | None:
    """Follow norms: each weight has one number per unit."""
    axis = getattr(step.layer, "axis", -1)
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    rank = len(step.inputs.shape)
    if axes not in ([-1], [rank - 1]):
        return None
    for weight in ("gamma", "beta", "moving_mean", "moving_variance", "scale"):
        flow.role(step, weight, 0, True, given)
    return given


def _prelu(flow: Flow, step: Step, given: Label) -> Label | None:
    flow.role(step, "alpha", -1, True, given)
    return given


def embedding(flow: Flow, step: Step) -> Label:
    """Follow an `Embedding`: its columns are units."""
    made = flow.own(step, step.layer.output_dim, lambda n: {"output_dim": n})
    flow.role(step, "embeddings", 1, True, made, own=True)
    return made


def _positions(flow: Flow, step: Step, given: Label) -> Label:
    """Follow KerasHub's `PositionEmbedding`, whose output is added to its input later."""
    flow.role(step, "embeddings", 1, True, given)
    return given


def _flatten(flow: Flow, step: Step, given: Label) -> Label | None:
    places = step.inputs.shape[1:-1]
    last = getattr(step.layer, "data_format", "channels_last") == "channels_last"
    if None in places or not last:
        return None
    return Label(given.spans, (*places, *given.grid), given.joined)


def _reshape(flow: Flow, step: Step, given: Label) -> Label | None:
    """Follow a `Reshape` that keeps the last axis, or flattens everything."""
    target, last = step.output.shape[1:], step.inputs.shape[-1]
    if len(target) == 1 and len(step.inputs.shape) > 2:
        flat = _flatten(flow, step, given)
        if flat is not None:
            flow.resized[step.path] = (flat, lambda n: {"target_shape": (n,)})
        return flat
    if target[-1] != last:
        return None
    stated = tuple(step.layer.target_shape)
    if stated[-1] != -1:
        flow.resized[step.path] = (given, lambda n: {"target_shape": (*stated[:-1], n)})
    return given


def _permute(flow: Flow, step: Step, given: Label) -> Label | None:
    return given if step.layer.dims[-1] == len(step.layer.dims) else None


def _rescaling(flow: Flow, step: Step, given: Label) -> Label | None:
    parts = (step.layer.scale, step.layer.offset)
    scalars = all(not isinstance(part, list | tuple) and not getattr(part, "shape", ()) for part in parts)
    return given if scalars else None


def _attention(flow: Flow, step: Step, given: Label) -> Label | None:
    """Follow attention: heads are units; the output has the query's units, or its own when `output_shape` is set."""
    layer = step.layer
    value = step.args[1] if len(step.args) > 1 else step.kwargs.get("value")
    key = step.args[2] if len(step.args) > 2 else step.kwargs.get("key")
    valued = flow.label(value)
    keyed = flow.label(key) if isinstance(key, keras.KerasTensor) else valued
    if getattr(layer, "_use_gate", False) or valued is None or keyed is None or len(step.inputs.shape) != 3:
        return None
    heads = flow.own(step, layer.get_config()["num_heads"], lambda n: {"num_heads": n})
    for name, label in (("query", given), ("key", keyed), ("value", valued)):
        flow.role(step, f"{name}/kernel", 0, False, label)
        flow.role(step, f"{name}/kernel", 1, True, heads, own=True)
        flow.role(step, f"{name}/bias", 0, True, heads, own=True)
    flow.role(step, "attention_output/kernel", 0, False, heads)
    if layer.get_config()["output_shape"] is not None:
        why = f"their number is the output_shape of '{step.path}'"
        return Label(((Units(step.path, step.output.shape[-1], fixed=why), 1),))
    flow.role(step, "attention_output/kernel", 2, True, given)
    flow.role(step, "attention_output/bias", 0, True, given)
    return given


def _transformer_block(flow: Flow, step: Step, given: Label) -> Label | None:
    """Follow KerasHub's blocks: the feed-forward width can change, the model width cannot (it is split into heads)."""
    inner = flow.own(step, step.layer.intermediate_dim, lambda n: {"intermediate_dim": n})
    for weight, axis, makes in (("intermediate_dense/kernel", 1, True), ("output_dense/kernel", 0, False)):
        flow.role(step, f"feedforward_{weight}", axis, makes, inner, own=makes)
    flow.role(step, "feedforward_intermediate_dense/bias", 0, True, inner, own=True)
    _check_activation(step, inner, step.layer.activation)
    why = f"{type(step.layer).__name__} '{step.path}' splits them into heads"
    for tensor in step.tensors:
        flow.fix(flow.label(tensor), why)
    return given


def _kinds(*names: str) -> list[type]:
    return [getattr(layers, name) for name in names]


def _each(name: str, ranks: str = "123") -> list[str]:
    return [f"{name}{rank}D" for rank in ranks]


MERGING = set(_kinds("Add", "Subtract", "Multiply", "Maximum", "Minimum", "Average"))
PASSING = (
    "ReLU LeakyReLU ELU Dropout GaussianNoise GaussianDropout AlphaDropout Identity Masking "
    "ActivityRegularization RepeatVector Resizing CenterCrop".split()
)
for stem in ("MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling", "SpatialDropout"):
    PASSING += _each(stem)
for stem in ("UpSampling", "ZeroPadding", "Cropping"):
    PASSING += _each(stem)
RULES: dict[type, Rule] = {
    **dict.fromkeys(_kinds(*PASSING), _keep),
    **dict.fromkeys(_kinds("Conv1D", "Conv2D", "Conv3D"), _convolution),
    **dict.fromkeys(_kinds("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    **dict.fromkeys(_kinds("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(_kinds("SeparableConv1D", "SeparableConv2D"), _separable),
    **dict.fromkeys(_kinds("LayerNormalization", "RMSNormalization"), _layer_norm),
    layers.BatchNormalization: _scaled,
    layers.GroupNormalization: _group_norm,
    layers.Dense: _dense,
    layers.Activation: _activation,
    layers.Softmax: _softmax,
    layers.PReLU: _prelu,
    layers.Flatten: _flatten,
    layers.Reshape: _reshape,
    layers.Permute: _permute,
    layers.Rescaling: _rescaling,
    layers.MultiHeadAttention: _attention,
}
RULES_BY_NAME: dict[str, Rule] = {  # KerasHub's layers; importing KerasHub is slow
    "CachedMultiHeadAttention": _attention,
    "PositionEmbedding": _positions,
    "TransformerEncoder": _transformer_block,
}
