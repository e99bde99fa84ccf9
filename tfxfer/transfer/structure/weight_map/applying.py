"""Carrying a plan out: all tensors or none, and one at a time in memory.

A plan was checked before, so few things can fail here: a file cannot be read, values are not finite, the user
interrupts. For a rollback, the old values are kept. A second copy of a large model would double the memory; computing
every tensor twice (once as a test) would double the time. So the old values go to a temporary file, which is written
once and read only after a failure. A killed process needs no rollback: the target was in its memory.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfxfer.errors import TfxferError
from tfxfer.transfer.structure.weight_map import large
from tfxfer.transfer.structure.weight_map.rows import Row, in_order
from tfxfer.transfer.structure.weight_map.sources import KerasSource
from tfxfer.transfer.structure.weight_map.tensors import TARGET, Source

IN_MEMORY = 16 * 2**20  # bytes of old values kept in memory; the rest goes to a file


def apply(rows: Sequence[Row], sources: Mapping[str, Source], target: KerasSource) -> None:
    """Assign the rows' values to the target's variables.

    Raises:
        TfxferError: A source cannot be read, has changed, or has values that are not finite. The target is unchanged.
    """
    read = {**sources, TARGET: target}
    with Rollback(target) as rollback:
        for row in in_order(rows):
            if row.keeps:
                continue
            rollback.save(row.target.path)
            _assign(row, read, target.variables[row.target.path])


def _assign(row: Row, read: Mapping[str, Source], variable: Any) -> None:
    try:
        if large.is_large(variable):
            large.assign(variable, row.value(read, check=False), row.check_finite)
        else:
            variable.assign(row.value(read))
    except (OSError, EOFError, KeyError, ValueError, MemoryError, np.linalg.LinAlgError) as error:
        if isinstance(error, TfxferError):
            raise
        raise TfxferError(f"row {row}: {type(error).__name__}: {error}; the target is unchanged") from error


class Rollback:
    """The old values of a target's variables, which are restored when the block ends with an exception."""

    def __init__(self, target: KerasSource):
        self.target = target
        self.held: dict[str, np.ndarray] = {}
        self.filed: dict[str, int] = {}
        self.bytes_held = 0
        self.file: Any = None

    def __enter__(self) -> "Rollback":
        return self

    def save(self, path: str) -> None:
        """Save a variable's present value."""
        variable = self.target.variables[path]
        if large.is_large(variable):
            self._file(path, large.pieces_of(variable))
            return
        value = self.target.read(path)
        if self.bytes_held + value.nbytes <= IN_MEMORY:
            self.held[path] = np.array(value)
            self.bytes_held += value.nbytes
            return
        self._file(path, [value])

    def _file(self, path: str, pieces: Iterable[np.ndarray]) -> None:
        try:
            if self.file is None:
                self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # closed in __exit__
            place = self.file.seek(0, 2)
            for piece in pieces:
                _write(self.file, piece)
            self.filed[path] = place
        except OSError as error:
            raise TfxferError(
                f"the old value of '{path}' cannot be saved in {tempfile.gettempdir()} ({error.strerror}); nothing was "
                "changed. Free some space there, or set $TMPDIR to another folder"
            ) from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is not None:
                self._restore()
        finally:
            if self.file is not None:
                self.file.close()

    def _restore(self) -> None:
        for path, value in self.held.items():
            self.target.variables[path].assign(value)
        for path, place in self.filed.items():
            variable = self.target.variables[path]
            self.file.seek(place)
            large.set_value(variable, _read(self.file, tuple(variable.shape), variable.value.dtype.as_numpy_dtype))


def _write(file: Any, value: np.ndarray) -> None:
    data = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    while data:
        data = data[file.write(data) :]


def _read(file: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    value = np.empty(shape, dtype)
    data = value.reshape(-1).view(np.uint8).data
    while data:
        count = file.readinto(data)
        if not count:
            raise TfxferError("the temporary file with the old values is truncated; load the target again")
        data = data[count:]
    return value
