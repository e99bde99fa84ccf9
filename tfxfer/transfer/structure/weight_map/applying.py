"""Carrying a plan out: all tensors or none, and one at a time in memory.

A plan is checked before, so little can fail here: a file that cannot be read, values that are not finite, an
interruption. To undo those, the old values are kept. A second copy of a large model in memory would double the need;
making every tensor twice (once to see that it can be made) would double the time. So the old values go to a temporary
file, which is written once and read only when something fails. A killed process needs no undoing: the target was in
its memory.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfxfer.errors import TfxferError
from tfxfer.transfer.structure.weight_map import large
from tfxfer.transfer.structure.weight_map.rows import Row, in_order
from tfxfer.transfer.structure.weight_map.tensors import TARGET, KerasSource, Source

IN_MEMORY = 16 * 2**20  # bytes of old values kept in memory; a file takes the rest


def apply(rows: Sequence[Row], sources: Mapping[str, Source], target: KerasSource) -> None:
    """Assign the rows' values to the target's variables.

    Raises:
        TfxferError: A source cannot be read, has changed, or gives values that are not finite. The target is as it was.
    """
    read = {**sources, TARGET: target}
    with Undo(target) as undo:
        for row in in_order(rows):
            if row.keeps:
                continue
            undo.remember(row.target.path)
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
        raise TfxferError(f"row {row}: {type(error).__name__}: {error}; the target is as it was") from error


class Undo:
    """The old values of a target's variables, which come back when the block ends with an exception."""

    def __init__(self, target: KerasSource):
        self.target = target
        self.held: dict[str, np.ndarray] = {}
        self.filed: dict[str, int] = {}
        self.bytes_held = 0
        self.file: Any = None

    def __enter__(self) -> "Undo":
        return self

    def remember(self, path: str) -> None:
        """Keep a variable's present value."""
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
                f"the old value of '{path}' cannot be kept in {tempfile.gettempdir()} ({error.strerror}); nothing was "
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
            large.give(variable, _read(self.file, tuple(variable.shape), variable.value.dtype.as_numpy_dtype))


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
            raise TfxferError("the temporary file with the old values was cut short; load the target anew")
        data = data[count:]
    return value
