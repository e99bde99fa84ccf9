"""Tables of rules: data that map the tensors of a checkpoint to the tensors of a Keras model.

A row is (source pattern, target pattern, operation), written as in `structure.weight_map.rules`, so that users can
copy it into their own rules. The target's path may begin with the names of models that contain it. Three operations
are abbreviations of others that depend on shapes: "part", "positions" and "image_positions" (see `steps_for`).
"""

from dataclasses import dataclass, field
from typing import Any

from tfxfer.errors import UserError
from tfxfer.transfer.structure.weight_map.operations import Step, steps_of
from tfxfer.transfer.structure.weight_map.tensors import Shape, Tensor

Row = tuple[str | None, str, Any]

# Operations that many tables use. PyTorch stores a dense kernel as [out, in], a convolution's as [out, in, rows, cols].
DENSE = "transpose"
HEADS = ["transpose", "reshape"]  # [heads · d, in] → [in, heads, d], or [out, heads · d] → [heads, d, out]
CONVOLUTION = ("transpose", {"axes": [2, 3, 1, 0]})


@dataclass(frozen=True)
class Table:
    """Rules from one architecture onto one kind of target.

    Attributes:
        target: The kind of target, for messages.
        required: Pattern of a tensor that every target of this kind has; within a block when there are blocks.
        rows: The rules.
        blocks: Name of a block of the target in the rows, such as "transformer_layer_*".
        first: The number of the first block in such names.
        excluded: Pattern of a tensor that a target of this kind never has.
        note: A remark on the outputs, for the ledger.
    """

    target: str
    required: str
    rows: tuple[Row, ...]
    blocks: str = ""
    first: int = 0
    excluded: str = ""
    note: str = ""


@dataclass(frozen=True)
class Architecture:
    """An architecture of another library, and its tables.

    Attributes:
        name: Its name, for messages.
        config_names: Its names in config.json ("model_type" or "architecture").
        tables: One for each kind of target.
        prefixes: Possible prefixes of all names of a file.
        heads: Key of the number of attention heads in config.json; "" when there is none.
        supported: For keys of config.json, the values for which the outputs equal the target's; a missing key is fine.
        file_names: Tensor names that identify a file without a config.json; none when names are not sufficient.
    """

    name: str
    config_names: tuple[str, ...]
    tables: tuple[Table, ...]
    prefixes: tuple[str, ...] = ("",)
    heads: str = ""
    supported: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    file_names: tuple[str, ...] = ()


def steps_for(op: Any, have: Shape, target: Tensor) -> list[Step]:
    """Return an operation of a table as steps of a plan.

    "part" is a slice: number `number` of `of` equal parts of an axis, such as the keys in a fused kernel. "positions"
    takes the first rows of a text model's position embeddings when the target is shorter. "image_positions" resizes a
    square grid of positions after one class token when the target's images have another size.

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
        elif name == "image_positions":
            if have[-2:] != target.shape[-2:]:
                steps.append(("interpolate", {"dimensions": 2, "prefix": 1, "method": "cubic"}))
            steps.append(("reshape", {}))
        else:
            steps.append((name, args))
    return steps


def _part(have: Shape, axis: int, number: int, of: int) -> Step:
    if axis >= len(have) or have[axis] % of:
        raise UserError(f"a tensor of shape {list(have)} cannot be split into {of} equal parts along axis {axis}")
    size = have[axis] // of
    return "slice", {"axis": axis, "start": number * size, "size": size}


def normalization(source: str, target: str) -> tuple[Row, ...]:
    """Return the rows of a LayerNorm: "weight" and "bias", or "gamma" and "beta" in old files."""
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
    """Return the rows of the dense layer after attention, whose inputs are the target's heads."""
    return ((f"{source}.weight", f"{target}/kernel", HEADS), (f"{source}.bias", f"{target}/bias", "copy"))


def batch_normalization(source: str, target: str) -> tuple[Row, ...]:
    """Return the rows of a BatchNorm."""
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    return tuple((f"{source}.{theirs}", f"{target}/{ours}", "copy") for theirs, ours in names.items())
