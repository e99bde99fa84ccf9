"""New layers whose outputs equal their inputs: an identity, or a residual or transformer block that adds zero."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.transfer.structure.transforms.rebuild import Made, Step, renamed
from tfxfer.transfer.structure.weight_map.net2net import IDEMPOTENT
from tfxfer.transfer.structure.weight_map.tensors import SEED_STATE

layers = keras.layers
WINDOW = 3  # window of new convolutions after layers without one
CONVOLUTIONS = {4: layers.Conv2D, 5: layers.Conv3D}  # by rank of the features; sequences get dense layers
ZERO = {"kernel": "zero", "bias": "zero"}
ADDS_ZERO = "the last layer of a new block that adds zero at first"


class Block:
    """New layers after a layer, and how their weights are made.

    Attributes:
        step: The call that they follow.
        output: Symbolic features [B, …, C]: first their input, then their output.

    Raises:
        UserError: The layer's output is not a float tensor with a known number of channels.
    """

    def __init__(self, step: Step, output: Any, taken: set[str]):
        self.step, self.taken = step, taken
        self.output: Any = output
        self.recipes: list[tuple[Any, dict[str, Any], dict[str, str], str]] = []
        is_tensor = isinstance(output, keras.KerasTensor)
        if not is_tensor or len(output.shape) < 2 or output.shape[-1] is None or "float" not in str(output.dtype):
            raise UserError(f"the output of '{step.path}' is not features [B, …, C] with a known number of channels")

    def name(self, what: str) -> str:
        """Return a name that no layer of the model has."""
        first = f"{self.step.layer.name}_{what}"
        name, number = first, 1
        while name in self.taken:
            number += 1
            name = f"{first}_{number}"
        self.taken.add(name)
        return name

    def add(
        self, layer: Any, inputs: Any, weights: Mapping[str, Any], why: str, copied: Mapping[str, str] | None = None
    ) -> Any:
        """Call a new layer, and record how its weights are made.

        Args:
            layer: The layer.
            inputs: A tensor, or a tuple of positional arguments and a dictionary of keyword arguments.
            weights: Path of a weight within the layer → the operation that creates it.
            why: The reason.
            copied: Path of a weight within the layer → path of the source's weight that it copies.
        """
        args, kwargs = inputs if isinstance(inputs, tuple) else ((inputs,), {})
        output = layer(*args, **kwargs)
        self.recipes.append((layer, dict(weights), dict(copied or {}), why))
        return output

    def made(self) -> dict[str, Made]:
        """Return how each new weight is made, by path."""
        found: dict[str, Made] = {}
        for layer, weights, copied, why in self.recipes:
            for end, path in paths(layer).items():
                if end in weights:
                    found[path] = Made((), weights[end], why)
                elif end in copied:
                    found[path] = Made([("source", copied[end])], "copy", "a new layer, initialised as a copy")
        return found

    @property
    def dtype(self) -> Any:
        """The dtype policy of the previous layer."""
        return getattr(self.step.layer, "dtype_policy", None)


def identity_layer(block: Block, norm: bool) -> None:
    """Add an identity layer with the activation of the previous layer."""
    activation = _last_activation(block.step)
    if activation not in IDEMPOTENT:
        raise UserError(
            f"'{block.step.path}' ends in the activation '{activation}', and no layer with it is an identity: "
            f"φ(φ(x)) ≠ φ(x). Equality holds for {', '.join(IDEMPOTENT)}; or use how='residual'"
        )
    new = _like(block, "new", None if norm else activation)
    kernel = ("identity", {"activation": "linear" if norm else activation})
    x = block.add(new, block.output, {"kernel": kernel, "bias": "zero"}, "a new layer, the identity at first")
    if norm:
        x = _norm(block, x)
        x = layers.Activation(activation, dtype=block.dtype, name=block.name("new_activation"))(x)
    block.output = x


def residual_block(block: Block, norm: bool) -> None:
    """Add x + F(x) with F(x) = 0."""
    identity = {"kernel": ("identity", {"activation": "linear"}), "bias": "zero"}
    x = block.add(
        _like(block, "new_a", None), block.output, identity, "the first layer of a new block that adds zero at first"
    )
    x = _norm(block, x) if norm else x
    x = layers.ReLU(dtype=block.dtype, name=block.name("new_activation"))(x)
    x = block.add(_like(block, "new_b", None), x, identity if norm else ZERO, ADDS_ZERO)
    x = _norm(block, x, zero=True) if norm else x
    block.output = layers.Add(dtype=block.dtype, name=block.name("new_sum"))([block.output, x])


def copied_block(block: Block, kwargs: dict[str, Any]) -> bool:
    """Add a copy of a KerasHub `TransformerEncoder` with zero output projections; return False for other layers."""
    layer = block.step.layer
    if type(layer).__name__ != "TransformerEncoder":
        return False
    if not layer.normalize_first:
        raise UserError(
            f"'{block.step.path}' normalises last, so no block of its kind is an identity: its norms would normalise "
            "the values again; use how='residual'"
        )
    new = renamed(layer, block.name("new"))
    last = ("self_attention_layer/attention_output", "feedforward_output_dense")
    zero = {f"{one}/{weight}": "zero" for one in last for weight in ZERO}
    block.output = block.add(new, ((block.output,), kwargs), zero, ADDS_ZERO, paths(layer))
    return True


def transformer_block(block: Block, steps: Sequence[Step], called: Mapping[str, dict[str, Any]]) -> None:
    """Add x + attention(norm(x)), then x + feed-forward(norm(x)), copied from the nearest such layers before.

    Args:
        block: The new block, after tokens [B, T, D].
        steps: The calls up to there.
        called: For each layer so far, the keyword arguments of its call in the new model, such as masks.
    """
    attention, (up, down), activation = _nearest(block, steps)
    x = block.output
    new = _copy(block, attention.layer, "new_attention")
    masks = {key: value for key, value in called[attention.path].items() if "mask" in key or key == "use_causal_mask"}
    zero = {f"attention_output/{weight}": "zero" for weight in ZERO}
    normed = _layer_norm(block, x)
    h = block.add(new, ((normed, normed), masks), zero, ADDS_ZERO, paths(attention.layer))
    x = layers.Add(dtype=block.dtype, name=block.name("new_attended"))([x, h])
    h = block.add(_copy(block, up.layer, "new_up"), _layer_norm(block, x), {}, "", paths(up.layer))
    if activation is not None:
        h = _copy(block, activation.layer, "new_activation")(h)
    h = block.add(_copy(block, down.layer, "new_down"), h, ZERO, ADDS_ZERO)
    block.output = layers.Add(dtype=block.dtype, name=block.name("new_sum"))([x, h])


def _nearest(block: Block, steps: Sequence[Step]) -> tuple[Step, tuple[Step, Step], Step | None]:
    """Return the nearest self-attention and feed-forward layers for D features, and the latter's activation."""
    width = block.output.shape[-1]
    attention = [s for s in steps if isinstance(s.layer, layers.MultiHeadAttention) and _is_self_attention(s, width)]
    pairs = _feed_forwards(steps, width)
    missing = [what for what, found in (("attention", attention), ("feed-forward", pairs)) if not found]
    if len(block.output.shape) != 3 or missing:
        lack = f"is no {missing[0]} of width {width}" if missing else "are no tokens [B, T, D]"
        raise UserError(
            f"up to '{block.step.path}' there {lack} for a new transformer block; name the layer that ends a block "
            "of MultiHeadAttention and Dense layers, or use how='residual'"
        )
    up, down, activation = pairs[-1]
    return attention[-1], (up, down), activation


def _feed_forwards(steps: Sequence[Step], width: int) -> list[tuple[Step, Step, Step | None]]:
    """Return pairs of `Dense` layers over tokens, D features → more → D features, with the activation."""
    from_up: dict[int, tuple[Step, Step | None]] = {}  # id of a tensor → first of a pair, activation after it
    pairs = []
    for step in steps:
        came = from_up.get(id(step.inputs))
        if type(step.layer) is layers.Dense and len(step.inputs.shape) == 3:
            if came and step.layer.units == width:
                pairs.append((came[0], step, came[1]))
            if step.inputs.shape[-1] == width:
                from_up[id(step.output)] = (step, None)
        elif came and isinstance(step.layer, layers.Activation | layers.ReLU | layers.LeakyReLU):
            from_up[id(step.output)] = (came[0], step)
        elif came and isinstance(step.layer, layers.Dropout):
            from_up[id(step.output)] = came
    return pairs


def _is_self_attention(step: Step, width: int) -> bool:
    value = step.args[1] if len(step.args) > 1 else step.kwargs.get("value")
    return value is not None and value is step.inputs and value.shape[-1] == width == step.output.shape[-1]


def _copy(block: Block, layer: Any, what: str) -> Any:
    return renamed(layer, block.name(what))


def paths(layer: Any) -> dict[str, str]:
    """Return the paths of a layer's weights, by their paths within the layer."""
    return {v.path.rsplit(f"{layer.name}/", 1)[-1]: v.path for v in layer.variables if not v.path.endswith(SEED_STATE)}


def _last_activation(step: Step) -> str:
    """Return the name of a layer's last activation."""
    layer = step.layer
    if isinstance(layer, layers.ReLU):
        if layer.negative_slope or layer.threshold or layer.max_value not in (None, 6):
            return "a ReLU with a slope, threshold or limit"
        return "relu6" if layer.max_value else "relu"
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else getattr(activation, "__name__", type(activation).__name__)


def _like(block: Block, what: str, activation: str | None) -> Any:
    """Return a layer with as many outputs as inputs, of the previous layer's kind where that fits."""
    layer, x = block.step.layer, block.output
    channels, common = x.shape[-1], {"activation": activation, "dtype": block.dtype, "name": block.name(what)}
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise UserError(f"'{block.step.path}' has channels first; new layers support channels last only")
    is_line = isinstance(layer, layers.Conv1D) and len(x.shape) == 3
    kind = layers.Conv1D if is_line else CONVOLUTIONS.get(len(x.shape), layers.Dense)
    if kind is layers.Dense:
        return layers.Dense(channels, **common)
    window = getattr(layer, "kernel_size", (WINDOW,) * (len(x.shape) - 2))
    if getattr(layer, "padding", "") == "causal":
        window = (1,)  # a centred window would read future positions
    odd = tuple(side if side % 2 else WINDOW for side in window)
    return kind(channels, odd, padding="same", **common)


def _norm(block: Block, x: Any, zero: bool = False) -> Any:
    """Add a BatchNorm: γ = √(1 + ε) cancels the division by √(1 + ε); or γ = 0."""
    norm = layers.BatchNormalization(dtype=block.dtype, name=block.name("new_norm"))
    gamma = "zero" if zero else ("constant", {"value": math.sqrt(1 + norm.epsilon)})
    made = {"gamma": gamma, "beta": "zero", "moving_mean": "zero", "moving_variance": ("constant", {"value": 1.0})}
    return block.add(norm, x, made, ADDS_ZERO if zero else "a new norm, the identity at first")


def _layer_norm(block: Block, x: Any) -> Any:
    norm = layers.LayerNormalization(dtype=block.dtype, name=block.name("new_norm"))
    return block.add(norm, x, {"gamma": ("constant", {"value": 1.0}), "beta": "zero"}, "the norm before new layers")
