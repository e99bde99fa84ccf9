"""Weights in fewer bytes: integers with scales, half precision, the two factors of a matrix, only what was not pruned.

A coded `.keras` file holds `coded.npz` in the place of `model.weights.h5`. `tfxfer.models.saved.load_model` makes the
weights float32 again, so everything that reads a model works as before: the file is smaller, the model computes as
before, in as much memory.

A weight is a matrix [rows, columns] of its inputs and outputs, or the product of two. Of a matrix W

    float16   W is rounded to half precision
    int8      column j: q = round(W / s), s = max|W[:, j]| / 127; an embedding has a scale for each row
    int4      groups of 32 rows of a column: q = round(W / s) within ±7; s is the best of some that cut the largest
    kept      a bit for each entry says whether it was kept; the others are 0 and take no more than that bit
"""

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tfxfer.errors import UserError, reason
from tfxfer.models.saved_archive import AGAIN, SMALL

CODED, WEIGHTS = "coded.npz", "model.weights.h5"
LAYOUT = "layout"  # the array of coded.npz that says what the others hold
MOST_DECODED = 64  # how many times its size a coded file may have when it is decoded
GROUP = 32  # rows that share a scale in int4
CLIPS = (1.0, 0.9, 0.8, 0.7)  # shares of the largest entry of a group that int4 tries
BITS = {"float32": 32, "float16": 16, "int8": 8, "int4": 4}
Pieces = dict[str, list[np.ndarray]]  # dtype -> arrays one after the other


@dataclass(frozen=True)
class Matrix:
    """A matrix of a weight, and how it is stored.

    Attributes:
        values: float32 [R, C].
        dtype: One of `BITS`.
        by_rows: Whether the scales are those of rows, as of embeddings, and not of columns.
        kept: bool [R, C]: which entries were not pruned; None where none was.
    """

    values: np.ndarray
    dtype: str = "float32"
    by_rows: bool = False
    kept: np.ndarray | None = None

    @property
    def stored(self) -> int:
        """How many numbers are stored, without scales."""
        return int(self.values.size if self.kept is None else self.kept.sum())

    def decoded(self) -> np.ndarray:
        """Return float32 [R, C], as it is read again."""
        pieces: Pieces = {}
        row = _encode(self, pieces)
        return _decode(row, _Reader({name: np.concatenate(parts) for name, parts in pieces.items()}))


@dataclass(frozen=True)
class CodedWeight:
    """A weight as a matrix or as the product of two.

    Attributes:
        shape: Of the weight.
        parts: One `Matrix` [rows, columns], or two, [rows, K] and [K, columns].
    """

    shape: tuple[int, ...]
    parts: tuple[Matrix, ...]

    @property
    def stored(self) -> int:
        """How many numbers are stored."""
        return sum(part.stored for part in self.parts)

    @property
    def values(self) -> np.ndarray:
        """What it stands for before it is rounded, float32 [rows, columns]."""
        return _product([part.values for part in self.parts])

    def decoded(self) -> np.ndarray:
        """Return the weight as it is read again, float32 of its shape."""
        return _product([part.decoded() for part in self.parts]).reshape(self.shape)

    def stored_as(self, dtype: str) -> "CodedWeight":
        """Return the same, stored in another type."""
        return replace(self, parts=tuple(replace(part, dtype=dtype) for part in self.parts))


def _product(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else (parts[0] @ parts[1]).astype(np.float32)


# === One matrix ===


def _encode(matrix: Matrix, pieces: Pieces) -> dict[str, Any]:
    """Append the arrays of a matrix to `pieces`, and return what has to be known to read them."""
    values = np.asarray(matrix.values, np.float32)
    kept = matrix.kept
    row = {"shape": list(values.shape), "dtype": matrix.dtype, "by_rows": matrix.by_rows, "kept": kept is not None}
    if matrix.by_rows:
        values, kept = values.T, None if kept is None else kept.T
    if kept is not None:
        values = np.where(kept, values, np.float32(0))
        _append(pieces, np.packbits(kept.ravel()))
    if matrix.dtype == "int8":
        scale = int8_scales(values)
        _append(pieces, scale)
        values = np.rint(values / scale).astype(np.int8)
    elif matrix.dtype == "int4":
        scale = int4_scales(values)
        _append(pieces, scale)
        values = np.clip(np.rint(values / _per_row(scale, len(values))), -7, 7).astype(np.int8)
    else:
        values = values.astype(matrix.dtype)
    flat = values[kept] if kept is not None else values.ravel()
    _append(pieces, _two_in_a_byte(flat) if matrix.dtype == "int4" else flat)
    return row


def _decode(row: Mapping[str, Any], read: "_Reader") -> np.ndarray:
    """Return the matrix that `_encode` wrote, float32 [R, C]."""
    shape, dtype = tuple(row["shape"]), row["dtype"]
    if dtype not in BITS:
        raise ValueError(f"'{dtype}' is no type of coded weights")
    shape = shape[::-1] if row["by_rows"] else shape
    size, kept, scale = math.prod(shape), None, None
    if row["kept"]:
        kept = np.unpackbits(read("uint8", -(-size // 8)))[:size].astype(bool).reshape(shape)
    if dtype == "int8":
        scale = read("float32", shape[1])
    elif dtype == "int4":
        groups = -(-shape[0] // GROUP)
        scale = _per_row(read("float16", groups * shape[1]).reshape(groups, shape[1]), shape[0])
    count = size if kept is None else int(kept.sum())
    if dtype == "int4":
        flat = _from_bytes(read("uint8", -(-count // 2)), count)
    else:
        flat = read(dtype, count)
    if kept is None:
        values = flat.reshape(shape).astype(np.float32)
    else:
        values = np.zeros(shape, np.float32)
        values[kept] = flat
    values = values if scale is None else values * scale.astype(np.float32)
    return np.ascontiguousarray(values.T if row["by_rows"] else values)


def int8_scales(values: np.ndarray) -> np.ndarray:
    """Return the scale of each column of a matrix [R, C], float32 [C]; 1 for a column of zeros.

    >>> int8_scales(np.array([[1.27], [-0.5]])).round(4).tolist()
    [0.009999999776482582]
    """
    largest = np.abs(values).max(0) if len(values) else np.zeros(values.shape[1])
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)


def int4_scales(values: np.ndarray) -> np.ndarray:
    """Return the scale of each group of `GROUP` rows of each column, float16 [⌈R / GROUP⌉, C].

    Of some scales, the largest of which cuts nothing, each group gets the one with the smallest squared error.
    """
    rows, columns = values.shape
    groups = -(-rows // GROUP)
    padded = np.zeros((groups * GROUP, columns), np.float32)
    padded[:rows] = values
    grouped = padded.reshape(groups, GROUP, columns)
    largest = np.abs(grouped).max(1)
    best, least = np.ones((groups, columns), np.float16), np.full((groups, columns), np.inf)
    for clip in CLIPS:
        scale = (largest * clip / 7).astype(np.float16)
        scale = np.where(scale > 0, scale, np.float16(1))
        step = scale.astype(np.float32)[:, None]
        error = np.square(grouped - np.clip(np.rint(grouped / step), -7, 7) * step).sum(1)
        better = error < least
        best, least = np.where(better, scale, best), np.where(better, error, least)
    return best.astype(np.float16)


def _per_row(scale: np.ndarray, rows: int) -> np.ndarray:
    """Return the scales of groups as those of rows, float32 [R, C]."""
    return np.repeat(scale.astype(np.float32), GROUP, axis=0)[:rows]


def _two_in_a_byte(values: np.ndarray) -> np.ndarray:
    nibbles = (np.append(values, np.int8(0)) if len(values) % 2 else values).astype(np.uint8) & 15
    return (nibbles[::2] | (nibbles[1::2] << 4)).astype(np.uint8)


def _from_bytes(packed: np.ndarray, count: int) -> np.ndarray:
    nibbles = np.stack([packed & 15, packed >> 4], 1).ravel()[:count].astype(np.int8)
    return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)


def _append(pieces: Pieces, array: np.ndarray) -> None:
    pieces.setdefault(array.dtype.name, []).append(np.ascontiguousarray(array).ravel())


class _Reader:
    """Takes the arrays of each dtype one after the other."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays, self.places = arrays, dict.fromkeys(arrays, 0)

    def __call__(self, dtype: str, count: int) -> np.ndarray:
        start = self.places.get(dtype, 0)
        found = self.arrays[dtype][start : start + count] if count else np.zeros(0, dtype)
        if len(found) != count:
            raise ValueError(f"{count} values of {dtype} are missing")
        self.places[dtype] = start + count
        return found


# === Many weights ===


def encoded_arrays(weights: Mapping[str, CodedWeight | np.ndarray], about: Any = None) -> dict[str, np.ndarray]:
    """Return arrays for an .npz file that hold all weights; those that are no `CodedWeight` are kept as they are."""
    pieces: Pieces = {}
    rows = []
    for name, weight in weights.items():
        if isinstance(weight, CodedWeight):
            parts = [_encode(part, pieces) for part in weight.parts]
            rows.append({"name": name, "shape": list(weight.shape), "parts": parts})
        else:
            array = np.asarray(weight)
            _append(pieces, array)
            rows.append({"name": name, "shape": list(array.shape), "dtype": array.dtype.name})
    layout = json.dumps({"weights": rows, "about": about}, separators=(",", ":")).encode()
    arrays = {name: np.concatenate(parts) for name, parts in pieces.items()}
    return {LAYOUT: np.frombuffer(layout, np.uint8), **arrays}


def decoded_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], Any]:
    """Return the weights that `encoded_arrays` got, float32 where they were coded, and `about`."""
    layout = json.loads(np.asarray(arrays[LAYOUT]).tobytes())
    read, found = _Reader(arrays), {}
    for row in layout["weights"]:
        shape = tuple(row["shape"])
        if "parts" in row:
            found[row["name"]] = _product([_decode(part, read) for part in row["parts"]]).reshape(shape)
        else:
            found[row["name"]] = read(row["dtype"], math.prod(shape)).reshape(shape)
    return found, layout["about"]


def with_decoded(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file, those that were coded in `LAYOUT` decoded; others as they are."""
    if LAYOUT not in arrays:
        return dict(arrays)
    found, about = decoded_arrays(arrays)
    return {name: arrays[f"plain/{name}"] for name in about} | found


# === A `.keras` file ===


def is_coded(path: Path) -> bool:
    """Return whether the weights of a `.keras` file are coded."""
    with zipfile.ZipFile(path) as archive:
        return CODED in archive.namelist()


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """Return the arrays of a plain `.keras` file by their paths, and the attributes of all groups."""
    import h5py

    arrays: dict[str, np.ndarray] = {}
    groups: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read(WEIGHTS)), "r") as file:

        def visit(name: str, one: Any) -> None:
            if isinstance(one, h5py.Dataset):
                arrays[name] = one[()]
            else:
                groups[name] = {key: _plain(value) for key, value in one.attrs.items()}

        file.visititems(visit)
        groups["/"] = {key: _plain(value) for key, value in file.attrs.items()}
    return arrays, groups


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value.tolist() if hasattr(value, "tolist") else value


def write_coded(
    source: Path,
    path: Path,
    weights: Mapping[str, CodedWeight | np.ndarray],
    groups: Mapping[str, Mapping[str, Any]],
    config: bytes | None = None,
) -> None:
    """Write a coded `.keras` file.

    Args:
        source: A plain `.keras` file, for everything but the weights.
        path: Where to.
        weights: Path in the weights' file -> weight.
        groups: Attributes of all groups, from `read_weights`.
        config: Another config.json.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **encoded_arrays(weights, dict(groups)))  # type: ignore[arg-type]
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for member in old.infolist():
            if member.filename != WEIGHTS:
                given = config if config is not None and member.filename == "config.json" else old.read(member)
                new.writestr(zipfile.ZipInfo(member.filename), given, zipfile.ZIP_DEFLATED, 9)
        new.writestr(zipfile.ZipInfo(CODED), buffer.getvalue(), zipfile.ZIP_STORED)


@contextmanager
def plain_file(path: Path) -> Iterator[Path]:
    """Give a `.keras` file with plain weights: the file itself, or a decoded copy that lasts as long as the block.

    Raises:
        UserError: The coded weights are damaged, or are far more than the file holds.
    """
    if not is_coded(path):
        yield path
        return
    with TemporaryDirectory(prefix="tfxfer-") as folder:
        plain = Path(folder) / "model.keras"
        try:
            _decode_file(path, plain)
        except UserError:
            raise
        except Exception as error:  # zipfile, zlib, json, h5py and NumPy raise many types for changed bytes
            raise UserError(f"{path}: its coded weights cannot be read ({reason(error)}); {AGAIN}") from error
        yield plain


def _decode_file(path: Path, plain: Path) -> None:
    import h5py

    with zipfile.ZipFile(path) as old, zipfile.ZipFile(plain, "w") as new:
        with np.load(io.BytesIO(old.read(CODED)), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        rows = json.loads(arrays[LAYOUT].tobytes())["weights"]
        needed = sum(4 * math.prod(row["shape"]) for row in rows)
        if needed > SMALL + MOST_DECODED * path.stat().st_size:
            raise UserError(
                f"{path}: has {path.stat().st_size:,} bytes and would unpack to {needed:,}; do not trust this file"
            )
        weights, groups = decoded_arrays(arrays)
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            for name, attributes in groups.items():
                file.require_group(name).attrs.update(attributes)
            for name, values in weights.items():
                file.create_dataset(name, data=values)
        for member in old.infolist():
            if member.filename != CODED:
                new.writestr(member.filename, old.read(member))
        new.writestr(WEIGHTS, buffer.getvalue())
