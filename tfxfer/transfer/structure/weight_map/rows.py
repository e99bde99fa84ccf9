"""A row of a weight map: target tensor ← operations(source tensors), and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

import numpy as np

from tfxfer.errors import TfxferError, UserError, suggest
from tfxfer.transfer.structure.weight_map.operation import Operation
from tfxfer.transfer.structure.weight_map.operations import promise, result_shape, run
from tfxfer.transfer.structure.weight_map.tensors import TARGET, Source, Tensor

# dtype -> those that hold all its values; others need a "cast", which allows rounding
HOLDS = {
    "float64": ("float64",),
    "float32": ("float32", "float64"),
    "float16": ("float16", "float32", "float64"),
    "bfloat16": ("bfloat16", "float32", "float64"),
    "int64": ("int64",),
    "int32": ("int32", "int64"),
    "int16": ("int16", "int32", "int64"),
    "int8": ("int8", "int16", "int32", "int64"),
    "uint64": ("uint64",),
    "uint32": ("uint32", "uint64", "int64"),
    "uint16": ("uint16", "uint32", "uint64", "int32", "int64"),
    "uint8": ("uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64"),
    "bool": ("bool",),
}


@dataclass(frozen=True)
class Origin:
    """A tensor that a row reads.

    Attributes:
        source: Name of its source; "target" for the value that another tensor of the target gets.
        tensor: The tensor.
    """

    source: str
    tensor: Tensor

    @property
    def path(self) -> str:
        """Name of the tensor."""
        return self.tensor.path


@dataclass(frozen=True)
class Row:
    """One tensor of the target, its origins and operations.

    Attributes:
        target: The tensor.
        origins: What it is made of.
        steps: How: operations, run one after the other.
        why: The reason for this row, for the reader.
        allowed: The tensor may keep its value: a rule or `allow` names it.
    """

    target: Tensor
    origins: tuple[Origin, ...]
    steps: tuple[Operation, ...]
    why: str = ""
    allowed: bool = False

    @property
    def keeps(self) -> bool:
        """The tensor keeps its value."""
        return any(step.name == "keep" for step in self.steps)

    @property
    def ties(self) -> list[str]:
        """Tensors of the target whose values this one copies."""
        return [origin.path for origin in self.origins if origin.source == TARGET]

    @cached_property
    def preserves(self) -> str:
        """Whether the row by itself preserves the model's outputs: "yes", "no", or "if …"."""
        return promise(self.steps, [origin.tensor.shape for origin in self.origins])

    @property
    def operation(self) -> str:
        """The operations as text."""
        return " → ".join(step.describe(self.target.shape) for step in self.steps)

    def __str__(self) -> str:
        read = ", ".join(o.path if o.source == "source" else f"{o.source}:{o.path}" for o in self.origins)
        return f"'{self.target.path}' ← {self.operation}({read})"

    def check(self) -> None:
        """Check that the row can be carried out.

        Raises:
            UserError: A step does not fit, the result has another shape, or numbers would be rounded without a 'cast'.
        """
        try:
            self._check()
        except UserError as error:
            raise UserError(f"row {self}: {error}") from error

    def _check(self) -> None:
        if not self.steps:
            raise UserError("there is no operation")
        if bool(self.ties) != (self.steps[0].name == "tie") or any(step.name == "tie" for step in self.steps[1:]):
            raise UserError(
                f"'tie' must be the first operation, and only 'tie' reads tensors of the target ('{TARGET}:PATH')"
            )
        if self.ties and len(self.ties) != len(self.origins):
            raise UserError("'tie' cannot read tensors of the target and of a source together")
        found = result_shape(self.steps, [origin.tensor.shape for origin in self.origins])
        if found != self.target.shape:
            raise UserError(f"gives {list(found)}, and the target is {list(self.target.shape)}{self._hint()}")
        for origin in self.origins:
            self._check_type(origin)

    def _check_type(self, origin: Origin) -> None:
        have, want = origin.tensor.dtype, self.target.dtype
        for dtype, path in ((have, origin.path), (want, self.target.path)):
            if dtype not in HOLDS:
                raise UserError(f"'{path}' has the dtype {dtype}; {suggest(dtype, HOLDS)}")
        integers = not want.startswith(("float", "bfloat"))
        if integers and not all(step.exact for step in self.steps):
            raise UserError(f"the target is {want}; operations that compute give fractions")
        if want not in HOLDS[have] and not any(step.name == "cast" for step in self.steps):
            raise UserError(
                f"'{origin.path}' is {have} and the target {want}, which cannot hold all its values; "
                "allow rounding with plan(…, cast=True) or a 'cast' step, or build the target in the wider type"
            )

    def _hint(self) -> str:
        copied = len(self.origins) == 1 and self.operation == "copy"
        only = self.origins[0].tensor.shape if copied else ()
        if len(only) > 1 and only[::-1] == self.target.shape:
            return "; 'transpose' would give that"
        if only and len(only) == len(self.target.shape):
            return "; 'select' takes fewer places, 'gather_outputs' adds units, 'interpolate' resizes positions"
        return ""

    def value(self, read: Mapping[str, Source], check: bool = True) -> np.ndarray:
        """Return the tensor's new value, in the target's dtype.

        Args:
            read: Sources by name, with the target as "target".
            check: Whether to check here that values are finite, and not in the caller.

        Raises:
            TfxferError: A source returns another shape or dtype than planned, or a value is not finite.
        """
        value = run(self.steps, [_read(read[origin.source], origin) for origin in self.origins])
        with np.errstate(over="ignore", invalid="ignore"):
            value = np.asarray(value).astype(_numpy_type(self.target.dtype), copy=False)
        if check:
            value = np.asarray(value, order="C")  # once, so that the check and the assignment need no copy of their own
            self.check_finite(value)
        return value

    def check_finite(self, value: np.ndarray) -> None:
        """Raise `TfxferError` when a new value, or a piece of it, is not finite."""
        if value.dtype.kind not in "iub" and not _finite(value):
            raise TfxferError(
                f"row {self}: gives values that are not finite; check the source tensor, and if it is finite, "
                f"whether {self.target.dtype} can hold it"
            )


def _finite(value: np.ndarray) -> bool:
    """Return whether all numbers are finite; a million at a time, since the mask of a large tensor is large too."""
    flat = value.reshape(-1)
    return all(np.isfinite(flat[start : start + 2**20]).all() for start in range(0, len(flat), 2**20))


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Return rows sorted so that each comes after the rows whose results it copies.

    Raises:
        UserError: Ties form a cycle, or name a tensor that the target does not have.
    """
    by_path = {row.target.path: row for row in rows}
    for row in rows:
        unknown = next((tie for tie in row.ties if tie not in by_path), None)
        if unknown is not None:
            raise UserError(f"row {row}: the target has no '{unknown}'; {suggest(unknown, by_path)}")
    try:
        paths = TopologicalSorter({path: row.ties for path, row in by_path.items()}).static_order()
        return [by_path[path] for path in paths]
    except CycleError as error:
        raise UserError(f"ties form a cycle: {' ← '.join(error.args[1])}; one of them must have a source") from error


def _read(source: Source, origin: Origin) -> np.ndarray:
    array = source.read(origin.path)
    planned = origin.tensor
    if tuple(array.shape) != planned.shape or str(array.dtype) != planned.dtype:
        raise TfxferError(
            f"{source.title}: '{planned.path}' was {planned.dtype} {list(planned.shape)} and is now {array.dtype} "
            f"{list(array.shape)}; the source has changed since the plan was made"
        )
    return array


def _numpy_type(dtype: str) -> np.dtype:
    import ml_dtypes  # noqa: F401  # registers "bfloat16" with NumPy

    return np.dtype(dtype)
