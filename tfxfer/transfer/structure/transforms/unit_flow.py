"""Following units from call to call: through layers by their rules, through `x + y` and other operations by theirs.

A kind that has no rule is not followed: whatever it reads and gives keeps its number of units, and an error names it.
"""

import math
from typing import TYPE_CHECKING

import keras

from tfxfer.transfer.structure.transforms.layer_rules import BY_ITSELF, BY_NAME, RULES, TOGETHER, embedding
from tfxfer.transfer.structure.transforms.rebuild import Step
from tfxfer.transfer.structure.transforms.units import Label

if TYPE_CHECKING:
    from tfxfer.transfer.structure.transforms.units import Flow

layers = keras.layers
OVER_PLACES = {"mean", "sum", "max", "min", "amax", "amin"}
PUT_TOGETHER = set("add subtract multiply divide true_divide maximum minimum average".split())


def follow(flow: "Flow", step: Step, calls: int) -> None:
    """Note what a call does with units, and label its output."""
    layer = step.layer
    kind = f"{type(layer).__name__} '{step.path}'"
    if calls > 1:
        return flow.give_up(step, f"{kind} is called {calls} times (a shared layer), and all calls share its weights")
    if not isinstance(layer, keras.Layer):
        label = _operation(flow, step)
    elif type(layer) in TOGETHER:
        label = flow.same(step, [flow.label(tensor) for tensor in step.tensors])
    else:
        label = _layer(flow, step)
    output = step.output
    if label is None or not isinstance(output, keras.KerasTensor) or output.shape[-1] != label.size():
        return flow.give_up(step, f"{kind} is not one that units are followed through")
    flow.labels[id(output)] = label
    return None


def _layer(flow: "Flow", step: Step) -> Label | None:
    if isinstance(step.layer, layers.Embedding) and type(step.layer).__module__.startswith(("keras.", "keras_hub.")):
        return embedding(flow, step)
    given = flow.label(step.inputs) if isinstance(step.inputs, keras.KerasTensor) else None
    if type(step.layer) is layers.Concatenate:
        return _concatenate(flow, step, step.layer.axis)
    rule = RULES.get(type(step.layer)) or BY_NAME.get(type(step.layer).__name__)
    return rule(flow, step, given) if rule and given else None


def _operation(flow: "Flow", step: Step) -> Label | None:
    """Follow `x + y`, `keras.ops.relu(x)` and the like."""
    name = snake(type(step.layer).__name__)
    tensors = step.tensors
    if name in BY_ITSELF and len(tensors) == 1:
        return flow.label(tensors[0])
    if name in PUT_TOGETHER:
        constants = [one for one in step.args if not isinstance(one, keras.KerasTensor)]
        plain = all(math.prod(getattr(one, "shape", ())) == 1 for one in constants)
        return flow.same(step, [flow.label(t) for t in tensors]) if plain else None
    if name in OVER_PLACES and len(tensors) == 1:
        axis, rank = getattr(step.layer, "axis", None), len(tensors[0].shape)
        axes = [axis] if isinstance(axis, int) else list(axis or (-1,))
        return flow.label(tensors[0]) if all(one % rank not in (0, rank - 1) for one in axes) else None
    if name == "concatenate":
        return _concatenate(flow, step, getattr(step.layer, "axis", -1))
    if name == "get_item" and len(tensors) == 1:
        key = step.args[1] if isinstance(step.args[1], tuple) else (step.args[1],)
        plain = all(isinstance(one, int | slice) for one in key) and len(key) < len(tensors[0].shape)
        return flow.label(tensors[0]) if plain else None
    return None


def _concatenate(flow: "Flow", step: Step, axis: int) -> Label | None:
    labels = [flow.label(tensor) for tensor in step.tensors]
    rank = len(step.tensors[0].shape)
    if axis % rank != rank - 1:  # one behind the other in time or space: the units are the same ones
        return flow.same(step, labels)
    if any(label is None for label in labels):
        return None
    whole = [label for label in labels if label is not None]
    spans = tuple(span for label in whole for span in label.spans * label.outer)
    return Label(spans, joined=tuple(label.grid for label in whole))


def snake(name: str) -> str:
    """Return a class's name as a function's: "HardSilu" → "hard_silu"."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
