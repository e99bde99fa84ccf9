"""Features on disk: memory-mapped float32 shards beside a manifest that says what they are features of.

    <folder>/<key>/manifest.json      identity, shape and the SHA-256 of each finished shard
    <folder>/<key>/shard-000000.npy   float32 [shard_rows, ...]; the last one may be shorter
    <folder>/<key>/labels.npy         int32 [N]

The folder is named by a key of the identity (weights, preprocessing, data), so features of something else are
never looked at. A shard counts once the manifest names its hash; whatever was cut short is computed again.
"""

import hashlib
import io
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.cache import atomic_file, changed_files, key_of, sha256_file, sweep
from tfxfer.errors import DamagedFile, TfxferError
from tfxfer.own_files import read_own_json, write_own_json
from tfxfer.version import __version__

FORMAT = 1
LABELS = "labels.npy"
KINDS: dict[str, type] = {"identity": dict, "shape": list, "shard_rows": int, "complete": bool, "sha256": dict}
log = logging.getLogger("tfxfer")


class ShardedArray:
    """Memory-mapped shards that read as one array [N, ...], by slices, index arrays and `np.asarray`."""

    dtype = np.dtype(np.float32)

    def __init__(self, paths: list[Path], shape: tuple[int, ...], shard_rows: int):
        self.shape, self.shard_rows = shape, shard_rows
        self._shards = [np.load(path, mmap_mode="r") for path in paths]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return the rows of a slice, an integer, or an integer or boolean array, as float32 in memory."""
        rows = np.arange(len(self))[index]
        flat = rows.reshape(-1)
        values = np.empty((len(flat), *self.shape[1:]), np.float32)
        for shard in np.unique(flat // self.shard_rows):
            here = flat // self.shard_rows == shard
            values[here] = self._shards[shard][flat[here] - shard * self.shard_rows]
        return values.reshape(rows.shape + self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("shards lie in several files; one array in memory is a copy")
        return np.concatenate(self._shards).astype(dtype or np.float32, copy=False)


@dataclass(frozen=True)
class Features:
    """Features of one split of a data set.

    Attributes:
        array: float32 [N, D], memory-mapped.
        labels: int32 [N], or None when the data set has no classes.
        folder: Where the shards are.
        manifest: What they are features of.
    """

    array: ShardedArray
    labels: np.ndarray | None
    folder: Path
    manifest: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and feature width, (N, D)."""
        return self.array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.array[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array.__array__(dtype, copy)

    def verify(self) -> None:
        """Compare every file with its SHA-256 in the manifest (1 to 2 GB/s).

        Raises:
            TfxferError: A file is missing or changed; the message names it.
        """
        _verify(self.folder, self.manifest)

    @classmethod
    def open(cls, folder: str | Path) -> "Features":
        """Open finished features and verify every byte.

        Raises:
            TfxferError: The folder holds no finished features, or a file has changed.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        if not manifest.get("complete"):
            raise TfxferError(f"{folder}: no finished features here; run `extract` again to complete them")
        shards = [folder / name for name in sorted(manifest["sha256"]) if name != LABELS]
        labels = folder / LABELS
        missing = [path for path in shards if not path.exists()]
        if missing:
            raise TfxferError(f"{missing[0]}: the file is missing; run `extract` again to compute it anew")
        _verify(folder, manifest)  # before NumPy reads a header
        array = ShardedArray(shards, tuple(manifest["shape"]), manifest["shard_rows"])
        return cls(array, np.load(labels) if labels.exists() else None, folder, manifest)


class Store:
    """Features in the making. Hold `tfxfer.cache.locked(store.folder)` while you use one.

    Args:
        folder: Where feature folders stand; this store's own is inside, named by a key of `identity`.
        identity: JSON-like facts of which every one changes the features.
        shape: (N, D) of the finished array.
        shard_rows: Rows in each shard; this much work is lost at most when the process is killed.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any], shape: tuple[int, ...], shard_rows: int):
        self.identity = {**identity, "format": FORMAT, "tfxfer": __version__, "shard_rows": shard_rows}
        self.folder = Path(folder) / key_of(self.identity)
        self.shape, self.shard_rows = shape, shard_rows
        self.sha256: dict[str, str] = {}

    def finished(self, folder: Path, labels: np.ndarray | None) -> Features | None:
        """Return these features when a folder, in which nothing is written, holds all of them; every byte is verified.

        Args:
            folder: This store's own, or one that is shared.
            labels: int [N], or None.
        """
        names = [_shard_name(shard) for shard in range(-(-self.shape[0] // self.shard_rows))]
        manifest = _read_manifest(folder)
        digests = manifest.get("sha256")
        if not isinstance(digests, dict) or set(digests) != {*names, *([] if labels is None else [LABELS])}:
            return None
        if manifest != self._manifest(digests, complete=True):
            return None
        changed = changed_files(folder, digests)
        for name in changed:
            if folder != self.folder or name == LABELS:  # `recover` names the shards
                log.warning("%s changed since it was written, or is gone; computing it again", folder / name)
        if changed:
            return None
        array = ShardedArray([folder / name for name in names], self.shape, self.shard_rows)
        return Features(array, None if labels is None else np.asarray(labels, np.int32), folder, manifest)

    def recover(self) -> list[tuple[int, int]]:
        """Keep what is intact from an earlier run, and return the rows [start, stop) still to compute."""
        sweep(self.folder)
        manifest = _read_manifest(self.folder)
        known = manifest.get("sha256", {}) if manifest.get("identity") == self.identity else {}
        shards = range(-(-self.shape[0] // self.shard_rows))
        self.sha256 = {}
        for name in map(_shard_name, shards):
            if name in known and _intact(self.folder / name, known[name]):
                self.sha256[name] = known[name]
            elif name in known:
                log.warning("%s changed since it was written, or is gone; computing it again", self.folder / name)
        gaps: list[tuple[int, int]] = []
        for shard in shards:
            if _shard_name(shard) not in self.sha256:
                start, stop = shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.shape[0])
                joined = gaps.pop()[0] if gaps and gaps[-1][1] == start else start
                gaps.append((joined, stop))
        return gaps

    def write(self, start: int, stop: int, blocks: Iterable[np.ndarray]) -> Iterator[int]:
        """Write rows start..stop from arrays [b, D] shard by shard, in a thread; yield the rows done so far.

        Raises:
            TfxferError: Features that are not finite, too few rows, or a full disk; finished shards are kept.
        """
        with ThreadPoolExecutor(1) as writer:
            pending: Future | None = None
            shard, filled = self._buffer(start), 0
            for block in blocks:
                while len(block):
                    part = block[: len(shard) - filled]
                    shard[filled : filled + len(part)] = part
                    block, filled = block[len(part) :], filled + len(part)
                    if filled == len(shard):
                        if pending:
                            pending.result()  # at most one shard waits in memory
                        pending = writer.submit(self._save, start, shard)
                        start += filled
                        yield start
                        if start == stop:
                            break
                        shard, filled = self._buffer(start), 0
                if start == stop:
                    break
            if pending:
                pending.result()
        if start != stop:
            raise TfxferError(f"the data ended at row {start + filled}, before the {self.shape[0]} rows it announced")

    def finish(self, labels: np.ndarray | None) -> Features:
        """Write the labels and the complete manifest, and open the result with every byte verified."""
        if labels is not None:
            self._write_array(LABELS, np.ascontiguousarray(labels, np.int32))
        self._write_manifest(complete=True)
        return Features.open(self.folder)

    def _buffer(self, start: int) -> np.ndarray:
        return np.empty((min(self.shard_rows, self.shape[0] - start), *self.shape[1:]), np.float32)

    def _save(self, start: int, shard: np.ndarray) -> None:
        bad = np.flatnonzero(~np.isfinite(shard.reshape(len(shard), -1)).all(1))
        if len(bad):
            rows = ", ".join(str(start + row) for row in bad[:5]) + (", …" if len(bad) > 5 else "")
            raise TfxferError(
                f"{len(bad)} rows have features that are not finite (row {rows}). Look at these inputs, at "
                "the weights of φ, and at mixed_float16, which overflows above 65,504"
            )
        self._write_array(_shard_name(start // self.shard_rows), shard)
        self._write_manifest(complete=False)

    def _write_array(self, name: str, array: np.ndarray) -> None:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
        digest = hashlib.sha256()
        with atomic_file(self.folder / name) as path, path.open("wb") as file:
            for piece in (header.getvalue(), array.data.cast("B")):
                file.write(piece)  # ndarray.tofile would hide the reason of a failure
                digest.update(piece)
        self.sha256[name] = digest.hexdigest()

    def _write_manifest(self, *, complete: bool) -> None:
        write_own_json(self.folder / "manifest.json", self._manifest(self.sha256, complete=complete))

    def _manifest(self, digests: dict[str, str], *, complete: bool) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "shape": list(self.shape),
            "dtype": "float32",
            "shard_rows": self.shard_rows,
            "complete": complete,
            "sha256": digests,
        }


def _shard_name(shard: int) -> str:
    return f"shard-{shard:06d}.npy"


def _intact(path: Path, digest: str) -> bool:
    return path.exists() and sha256_file(path) == digest


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest, or {} when there is none that can be read."""
    try:
        return read_own_json(folder / "manifest.json", "the features are computed anew", KINDS)
    except FileNotFoundError:
        return {}
    except DamagedFile as error:
        log.warning("%s", error)
        return {}


def _verify(folder: Path, manifest: dict[str, Any]) -> None:
    for file, digest in manifest["sha256"].items():
        if not _intact(folder / file, digest):
            raise TfxferError(
                f"{folder / file}: its bytes are not the ones that were written. Delete it and run "
                "the same command again: only this part is computed anew."
            )
