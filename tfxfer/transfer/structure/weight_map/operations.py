"""The table of operations, and chains of operations: parsed, checked and run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.weight_map import initializers, layout, mixing, net2net, resizing
from tfxfer.transfer.structure.weight_map.operation import NO, YES, Operation, build
from tfxfer.transfer.structure.weight_map.tensors import Shape, Tensor
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap

_ALL: tuple[type[Operation], ...] = (
    layout.Copy,
    layout.Transpose,
    layout.Reshape,
    layout.Slice,
    layout.Select,
    layout.Tile,
    layout.Concatenate,
    layout.Tie,
    layout.Cast,
    net2net.GatherOutputs,
    net2net.GatherInputs,
    net2net.Identity,
    net2net.NormScale,
    resizing.Interpolate,
    resizing.ResizePatches,
    resizing.Inflate,
    resizing.Deflate,
    resizing.Channels,
    mixing.Average,
    mixing.Mix,
    mixing.Delta,
    mixing.LowRank,
    initializers.Zero,
    initializers.Constant,
    initializers.Fresh,
    initializers.Keep,
)
OPERATIONS: dict[str, type[Operation]] = {operation.name: operation for operation in _ALL}

Step = tuple[str, dict[str, Any]]


def steps_of(op: Any) -> list[Step]:
    """Return a chain in any of its notations as (name, arguments) pairs.

    Args:
        op: "transpose"; ("transpose", {"axes": [1, 0]}); or a list of these, which run one after the other.

    Raises:
        UserError: It has another form.

    >>> steps_of(["transpose", ("reshape", {"new": [4, 2, 2]})])
    [('transpose', {}), ('reshape', {'new': [4, 2, 2]})]
    """
    if isinstance(op, str):
        return [(op, {})]
    if isinstance(op, list | tuple) and len(op) == 2 and isinstance(op[0], str) and isinstance(op[1], dict):
        return [(op[0], op[1])]
    if isinstance(op, list | tuple) and op and all(isinstance(one, str | list | tuple) for one in op):
        return [step for one in op for step in steps_of(one)]
    raise UserError(f"{op!r} is not an operation; write a name, (name, arguments), or a list of these")


def make(name: str, args: dict[str, Any], maps: dict[str, UnitMap]) -> Operation:
    """Return the operation of a name.

    Raises:
        UserError: There is no such operation, or its arguments do not fit.
    """
    if name not in OPERATIONS:
        raise UserError(f"operation '{name}' does not exist; {suggest(name, OPERATIONS)}")
    return build(OPERATIONS[name], args, maps)


def resolve(
    steps: Sequence[Step], shapes: Sequence[Shape], target: Tensor, maps: dict[str, UnitMap]
) -> tuple[Operation, ...]:
    """Return the operations of a chain, with missing arguments derived from the target's shape.

    Raises:
        UserError: An operation does not exist or does not fit the one before it.
    """
    made: list[Operation] = []
    current = list(shapes)
    for name, args in steps:
        if name in OPERATIONS and (current or OPERATIONS[name].inputs == "none"):
            args = OPERATIONS[name].complete(args, current, target)
        made.append(make(name, args, maps))
        current = _step_shapes(made[-1], current, first=len(made) == 1)
    return tuple(made)


def result_shape(steps: Sequence[Operation], shapes: Sequence[Shape]) -> Shape:
    """Return the shape of a chain's result.

    Raises:
        UserError: A step does not fit, or several tensors are left at the end.
    """
    current = list(shapes)
    for i, step in enumerate(steps):
        current = _step_shapes(step, current, first=i == 0)
    if len(current) != 1:
        raise UserError(f"{len(current)} tensors are left at the end; join them, e.g. with 'average' or 'concatenate'")
    return current[0]


def run(steps: Sequence[Operation], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Carry a chain out."""
    current = list(arrays)
    for step in steps:
        current = [step.apply(array) for array in current] if step.inputs == "one" else [step.apply(*current)]
    return current[0]


def promise(steps: Sequence[Operation], shapes: Sequence[Shape]) -> str:
    """Return whether a chain preserves the model's outputs: "yes", "no", or "if …"."""
    current, promises = list(shapes), []
    for i, step in enumerate(steps):
        promises += [step.preserves(shape) for shape in current] if step.inputs == "one" else [step.preserves(*current)]
        current = _step_shapes(step, current, first=i == 0)
    return together(promises)


def together(promises: Sequence[str]) -> str:
    """Return several promises combined: "no" if any is "no", else all conditions.

    >>> together(["yes", "if a", "if b", "if a"])
    'if a; if b'
    """
    if NO in promises:
        return NO
    return "; ".join(dict.fromkeys(one for each in promises for one in each.split("; ") if one != YES)) or YES


def _step_shapes(step: Operation, shapes: list[Shape], first: bool) -> list[Shape]:
    try:
        if step.inputs == "none":
            if not first or shapes:
                raise UserError("it creates a tensor: it must be the first operation and has no source")
            return [step.shape()]
        if not shapes:
            raise UserError("it needs a source")
        return [step.shape(shape) for shape in shapes] if step.inputs == "one" else [step.shape(*shapes)]
    except UserError as error:
        raise UserError(f"{step.name}: {error}") from error
