"""Following units from call to call: through layers by the rules of `layer_rules`, through operations by rules here.

A kind of layer without a rule is not followed: the units that it reads and makes keep their number, and an error names
the layer.
"""

import math
from collections import Counter

import keras

from tfxfer.transfer.structure.transforms.layer_rules import ELEMENTWISE, MERGING, RULES, RULES_BY_NAME, embedding
from tfxfer.transfer.structure.transforms.rebuild import Step
from tfxfer.transfer.structure.transforms.units import Flow, Label

layers = keras.layers
REDUCTIONS = {"mean", "sum", "max", "min", "amax", "amin"}
COMBINING = set("add subtract multiply divide true_divide maximum minimum average".split())


def follow_units(model: keras.Model) -> Flow:
    """Return the units of a model, followed from its inputs to its outputs.

    Raises:
        UserError: The model is not functional, or holds a `Lambda`.
    """
    flow = Flow(model)
    calls = Counter(id(step.layer) for step in flow.steps)
    for tensor in keras.tree.flatten(flow.inputs):
        flow.fix_tensor(tensor, tensor.name, "they are the model's inputs")
    for step in flow.steps:
        several = calls[id(step.layer)] if getattr(step.layer, "variables", ()) else 1
        _follow(flow, step, several)
    for tensor in keras.tree.flatten(flow.outputs):
        flow.fix(flow.label(tensor), "they are the model's outputs")
    return flow


def _follow(flow: Flow, step: Step, calls: int) -> None:
    """Record the roles of a call's weights, and label its output."""
    layer = step.layer
    kind = f"{type(layer).__name__} '{step.path}'"
    if calls > 1:
        return flow.refuse(step, f"{kind} is called {calls} times (a shared layer), and all calls share its weights")
    if not isinstance(layer, keras.Layer):
        label = _operation(flow, step)
    elif type(layer) in MERGING:
        label = flow.same(step, [flow.label(tensor) for tensor in step.tensors])
    else:
        label = _layer(flow, step)
    output = step.output
    if label is None or not isinstance(output, keras.KerasTensor) or output.shape[-1] != label.size():
        return flow.refuse(step, f"there is no rule that follows units through {kind}")
    flow.labels[id(output)] = label
    return None


def _layer(flow: Flow, step: Step) -> Label | None:
    if isinstance(step.layer, layers.Embedding) and type(step.layer).__module__.startswith(("keras.", "keras_hub.")):
        return embedding(flow, step)
    given = flow.label(step.inputs) if isinstance(step.inputs, keras.KerasTensor) else None
    if type(step.layer) is layers.Concatenate:
        return _concatenate(flow, step, step.layer.axis)
    rule = RULES.get(type(step.layer)) or RULES_BY_NAME.get(type(step.layer).__name__)
    return rule(flow, step, given) if rule and given else None


def _operation(flow: Flow, step: Step) -> Label | None:
    """Follow `x + y`, `keras.ops.relu(x)` and other operations."""
    name = snake(type(step.layer).__name__)
    tensors = step.tensors
    if name in ELEMENTWISE and len(tensors) == 1:
        return flow.label(tensors[0])
    if name in COMBINING:
        constants = [one for one in step.args if not isinstance(one, keras.KerasTensor)]
        scalars = all(math.prod(getattr(one, "shape", ())) == 1 for one in constants)
        return flow.same(step, [flow.label(t) for t in tensors]) if scalars else None
    if name in REDUCTIONS and len(tensors) == 1:
        axis, rank = getattr(step.layer, "axis", None), len(tensors[0].shape)
        axes = [axis] if isinstance(axis, int) else list(axis or (-1,))
        return flow.label(tensors[0]) if all(one % rank not in (0, rank - 1) for one in axes) else None
    if name == "concatenate":
        return _concatenate(flow, step, getattr(step.layer, "axis", -1))
    if name == "get_item" and len(tensors) == 1:
        key = step.args[1] if isinstance(step.args[1], tuple) else (step.args[1],)
        basic = all(isinstance(one, int | slice) for one in key) and len(key) < len(tensors[0].shape)
        return flow.label(tensors[0]) if basic else None
    return None


def _concatenate(flow: Flow, step: Step, axis: int) -> Label | None:
    labels = [flow.label(tensor) for tensor in step.tensors]
    rank = len(step.tensors[0].shape)
    if axis % rank != rank - 1:  # joined along time or space: the units are the same ones
        return flow.same(step, labels)
    if any(label is None for label in labels):
        return None
    whole = [label for label in labels if label is not None]
    spans = tuple(span for label in whole for span in label.spans * label.outer)
    return Label(spans, joined=tuple(label.grid for label in whole))


def snake(name: str) -> str:
    """Return a class's name as a function's: "HardSilu" → "hard_silu"."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
