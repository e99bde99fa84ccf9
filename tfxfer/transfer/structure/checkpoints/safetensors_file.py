"""Safetensors files as sources, without PyTorch: names and shapes are read at once, each tensor on demand."""

import os
from pathlib import Path

import numpy as np

from tfxfer.errors import TfxferError, UserError, suggest
from tfxfer.given_files import read_given_json, regular_file
from tfxfer.transfer.structure.checkpoints.header import Entry, read_header
from tfxfer.transfer.structure.checkpoints.paths import beside, inside, stamp_of
from tfxfer.transfer.structure.weight_map.tensors import Shape

LARGEST_INDEX = 100_000_000  # bytes


class Safetensors:
    """A safetensors file as a source of named tensors.

    Each tensor is memory-mapped when it is read and unmapped when the caller releases it. The library `safetensors`
    maps the whole file while it is open and copies every tensor out of it. The mapped pages count as memory, so that
    its reader needed the size of a second model. Its errors do not name the tensor. Our tests use it as the oracle.

    Attributes:
        path: The file.
        title: Its name.

    Raises:
        UserError: The file is missing, truncated, not a safetensors file, or its header is inconsistent with it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self.title = self.path.name
        try:
            with (regular_file(self.path) if self.path.exists() else self.path).open("rb") as file:
                self._stamp = stamp_of(os.fstat(file.fileno()))
                self.entries: dict[str, Entry] = read_header(file, self.path)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror}){beside(self.path)}") from error

    def names(self) -> list[str]:
        """Return the tensors' names, in the order of the file."""
        return list(self.entries)

    def shape(self, name: str) -> Shape:
        """Return a tensor's shape."""
        return self._entry(name).shape

    def dtype(self, name: str) -> str:
        """Return a tensor's dtype."""
        return self._entry(name).dtype

    def read(self, name: str) -> np.ndarray:
        """Return a tensor, read-only and memory-mapped: its pages are loaded from the file when they are used.

        Raises:
            TfxferError: The file has changed since it was opened.
        """
        import ml_dtypes  # noqa: F401  # registers "bfloat16" with NumPy

        entry = self._entry(name)
        with self.path.open("rb") as file:
            if stamp_of(os.fstat(file.fileno())) != self._stamp:  # reading a truncated mapping would kill the process
                raise TfxferError(f"{self.path}: the file has changed since it was opened; make the plan again")
            if entry.start == entry.stop:
                return np.empty(entry.shape, entry.dtype)
            mapped = np.memmap(file, np.uint8, "r", entry.start, (entry.stop - entry.start,))
        return np.asarray(mapped).view(np.dtype(entry.dtype)).reshape(entry.shape)

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise UserError(f"{self.path}: there is no tensor '{name}'; {suggest(name, self.entries)}")
        return self.entries[name]


class ShardedSafetensors:
    """A model in several safetensors files, which `model.safetensors.index.json` lists.

    Attributes:
        path: The index file.
        title: Name of its folder.

    Raises:
        UserError: The index is invalid, leads out of its folder, or is inconsistent with the files.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self.title = self.path.resolve().parent.name
        listed = _index(self.path)
        self.shards = {name: Safetensors(inside(self.path.parent, name)) for name in sorted(set(listed.values()))}
        self._shard_of: dict[str, Safetensors] = {}
        for shard in self.shards.values():
            for name in shard.names():
                if name in self._shard_of:
                    raise UserError(
                        f"{self.path.parent}: tensor '{name}' is in {self._shard_of[name].title} and in {shard.title}; "
                        "download the folder again"
                    )
                self._shard_of[name] = shard
        for name, file in listed.items():
            if self._shard_of.get(name) is not self.shards[file]:
                raise UserError(
                    f"{self.path}: tensor '{name}' should be in {file}, but is not; download the folder again"
                )

    def names(self) -> list[str]:
        """Return the tensors' names, file by file."""
        return list(self._shard_of)

    def shape(self, name: str) -> Shape:
        """Return a tensor's shape."""
        return self._shard(name).shape(name)

    def dtype(self, name: str) -> str:
        """Return a tensor's dtype."""
        return self._shard(name).dtype(name)

    def read(self, name: str) -> np.ndarray:
        """Return a tensor, read-only and memory-mapped."""
        return self._shard(name).read(name)

    def _shard(self, name: str) -> Safetensors:
        if name not in self._shard_of:
            raise UserError(f"{self.path}: there is no tensor '{name}'; {suggest(name, self._shard_of)}")
        return self._shard_of[name]


def _index(path: Path) -> dict[str, str]:
    """Return tensor → file from an index, checked."""
    data = read_given_json(path, "download it again", LARGEST_INDEX)
    listed = data.get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(file, str) for file in listed.values()):
        raise UserError(f"{path}: has no 'weight_map' from tensors to files; it is not an index of safetensors files")
    wrong = next((name for name, file in listed.items() if not file.endswith(".safetensors")), None)
    if wrong is not None:
        raise UserError(f"{path}: tensor '{wrong}' should be in '{listed[wrong]}', which is not a safetensors file")
    return listed
