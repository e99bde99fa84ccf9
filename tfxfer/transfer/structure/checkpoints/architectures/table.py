"""What a table of rules is: data that say which tensor of one house's model is which tensor of a Keras model.

A row is (source pattern, target pattern, operation), written as in `structure.weight_map.rules`, so that it
could stand in a user's own list. Patterns of targets may be preceded by the names of models around them. Three
operations are short for others, which depend on shapes: "part", "positions" and "picture_positions" (see `steps_for`).
"""

from dataclasses import dataclass, field
from typing import Any

from tfxfer.errors import UserError
from tfxfer.transfer.structure.weight_map.operations import Step, steps_of
from tfxfer.transfer.structure.weight_map.tensors import Shape, Tensor

Row = tuple[str | None, str, Any]

# Operations that many tables use. PyTorch keeps a dense kernel as [out, in], a convolution's as [out, in, rows, cols].
DENSE = "transpose"
HEADS = ["transpose", "reshape"]  # [heads · d, in] → [in, heads, d], or [out, heads · d] → [heads, d, out]
CONVOLUTION = ("transpose", {"axes": [2, 3, 1, 0]})


@dataclass(frozen=True)
class Table:
    """Rules from one architecture onto one kind of target.

    Attributes:
        target: The kind, in words.
        mark: Pattern of a tensor that every target of this kind has; within a block when there are blocks.
        rows: The rules.
        blocks: What rows call a block of the target, such as "transformer_layer_*".
        first: The number of the first block in such names.
        unlike: Pattern of a tensor that a target of this kind never has.
        note: What a person must know about the outputs, for the ledger.
    """

    target: str
    mark: str
    rows: tuple[Row, ...]
    blocks: str = ""
    first: int = 0
    unlike: str = ""
    note: str = ""


@dataclass(frozen=True)
class House:
    """An architecture of another house, and the tables for it.

    Attributes:
        name: Its name, for people.
        architectures: What config.json calls it.
        tables: One for each kind of target.
        prefixes: What may stand before all names of a file.
        heads: Key of the number of attention heads in config.json; "" when there are none.
        usual: What config.json says of a model that computes what the targets do; None also when it says nothing.
        marks: Names by which a file without a config.json is known; none when names alone are no proof.
    """

    name: str
    architectures: tuple[str, ...]
    tables: tuple[Table, ...]
    prefixes: tuple[str, ...] = ("",)
    heads: str = ""
    usual: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    marks: tuple[str, ...] = ()


def steps_for(op: Any, have: Shape, target: Tensor) -> list[Step]:
    """Return an operation of a table as the steps of a plan.

    "part" is a slice: number `number` of `of` equal parts of an axis, such as the keys in a fused kernel. "positions"
    takes the first rows of a table of text positions when the target is shorter. "picture_positions" resizes a square
    grid of positions behind one class token when the target's pictures have another size.

    Args:
        op: As in a row.
        have: The source tensor's shape.
        target: The target tensor.
    """
    steps: list[Step] = []
    for name, args in steps_of(op):
        if name == "part":
            steps.append(_part(have, **args))
        elif name == "positions":
            shorter = len(have) == len(target.shape) == 2 and target.shape[0] < have[0]
            steps.append(("slice", {"axis": 0}) if shorter else ("copy", {}))
        elif name == "picture_positions":
            if have[-2:] != target.shape[-2:]:
                steps.append(("interpolate", {"dimensions": 2, "prefix": 1, "method": "cubic"}))
            steps.append(("reshape", {}))
        else:
            steps.append((name, args))
    return steps


def _part(have: Shape, axis: int, number: int, of: int) -> Step:
    if axis >= len(have) or have[axis] % of:
        raise UserError(f"a tensor of shape {list(have)} has no {of} equal parts along axis {axis}")
    size = have[axis] // of
    return "slice", {"axis": axis, "start": number * size, "size": size}


def normalization(source: str, target: str) -> tuple[Row, ...]:
    """Return the rows of a LayerNorm: "weight" and "bias", or in files of the first years "gamma" and "beta"."""
    return (
        (f"{source}.weight", f"{target}/gamma", "copy"),
        (f"{source}.bias", f"{target}/beta", "copy"),
        (f"{source}.gamma", f"{target}/gamma", "copy"),
        (f"{source}.beta", f"{target}/beta", "copy"),
    )


def dense(source: str, target: str) -> tuple[Row, ...]:
    """Return the rows of a dense layer."""
    return ((f"{source}.weight", f"{target}/kernel", DENSE), (f"{source}.bias", f"{target}/bias", "copy"))


def heads(source: str, target: str) -> tuple[Row, ...]:
    """Return the rows of a dense layer whose outputs the target splits into attention heads."""
    return ((f"{source}.weight", f"{target}/kernel", HEADS), (f"{source}.bias", f"{target}/bias", "reshape"))


def joined(source: str, target: str) -> tuple[Row, ...]:
    """Return the rows of the dense layer behind attention, whose inputs are the target's heads."""
    return ((f"{source}.weight", f"{target}/kernel", HEADS), (f"{source}.bias", f"{target}/bias", "copy"))


def batch_normalization(source: str, target: str) -> tuple[Row, ...]:
    """Return the rows of a BatchNorm."""
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    return tuple((f"{source}.{theirs}", f"{target}/{ours}", "copy") for theirs, ours in names.items())
