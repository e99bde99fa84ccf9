"""More layers with the same outputs: Net2Deeper (Chen, Goodfellow and Shlens 2016) on functional models."""

from collections.abc import Sequence
from typing import Any

import keras

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.graph import find
from tfxfer.transfer.structure.transforms.new_blocks import (
    Block,
    copied_block,
    identity_layer,
    residual_block,
    transformer_block,
)
from tfxfer.transfer.structure.transforms.rebuild import Made, Step, map_of, rebuild, steps_in
from tfxfer.transfer.structure.transforms.unit_counts import check_model
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

HOW = ("layer", "residual", "block")


def deepen(model: keras.Model, after: str | Sequence[str], how: str = "layer", *, norm: bool = False) -> WeightMap:
    """Plan a model with new layers after some layers and the same outputs.

    Args:
        model: A functional or sequential model; it is not changed.
        after: Name of a layer, or its path in nested models; or several of these.
        how: What is added after each, to features [B, …, C]. "layer": a convolution or `Dense` with the identity as
            its kernel and the activation of the previous layer, for which φ(φ(x)) = φ(x) must hold, as for ReLU: name
            the layer that ends in the activation. "residual": x + F(x), two layers with ReLU between them, the second
            zero; after any activation. "block": a copy of the previous transformer block, whose last projections are
            zero (block expansion, Wu et al. 2024): of a KerasHub `TransformerEncoder` that normalises first, or
            x + attention(norm(x)), then x + feed-forward(norm(x)), copied from the nearest previous
            `MultiHeadAttention` and pair of `Dense` layers.
        norm: Add a `BatchNormalization` after each new convolution or `Dense`, with statistics 0 and 1. In training it
            uses those of the batch, so that outputs are preserved in inference only.

    Returns:
        The plan, with the deeper model as its target; `apply()` returns it.

    Raises:
        UserError: A layer is unknown or shared, or the addition does not fit it.

    Example:
        >>> deepen(model, after=["relu1", "relu2"]).apply()  # doctest: +SKIP
    """
    check_model(model)
    if how not in HOW:
        raise UserError(f"how='{how}' is unknown; {suggest(how, HOW)}")
    if norm and how == "block":
        raise UserError("norm=True is for how='layer' and 'residual'; a transformer block has its own norms")
    steps, _, _ = steps_in(model)
    places = _places(model, steps, after)
    taken = {step.layer.name for step in steps} | {layer.name for layer in model._flatten_layers()}
    blocks: list[Block] = []
    called: dict[str, dict[str, Any]] = {}

    def insert(path: str, output: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        called.setdefault(path, kwargs)
        if path not in places:
            return output
        block = Block(steps[places[path]], output, taken)
        if how == "layer":
            identity_layer(block, norm)
        elif how == "residual":
            residual_block(block, norm)
        elif not copied_block(block, kwargs):
            transformer_block(block, steps[: places[path] + 1], called)
        blocks.append(block)
        return block.output

    rebuilt = rebuild(model, insert=insert)
    made = {ours: Made([("source", theirs)], "copy", "the same layer") for ours, theirs in rebuilt.partners().items()}
    for block in blocks:
        made |= block.made()
    return map_of(model, rebuilt.model, made)


def _places(model: keras.Model, steps: list[Step], after: str | Sequence[str]) -> dict[str, int]:
    """Return path → position among the calls, for the named layers."""
    names = [after] if isinstance(after, str) else list(after)
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError("after is the name of a layer, or a list of names")
    places: dict[str, int] = {}
    for name in names:
        place = find(list(steps), name, model)
        step = steps[place]
        calls = sum(one.layer is step.layer for one in steps)
        if calls > 1:
            raise UserError(
                f"layer '{name}' is called {calls} times (a shared layer); name a layer after one of its calls"
            )
        if step.path in places:
            raise UserError(f"layer '{name}' is named twice")
        places[step.path] = place
    return places
