"""The header of a safetensors file, checked completely before a tensor is read.

A file is 8 bytes with a number n, n bytes of JSON that name every tensor, and the values, without gaps
(https://huggingface.co/docs/safetensors). A header from an unknown author may be wrong or malicious, so every entry is
compared with the file.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tfxfer.errors import UserError, suggest
from tfxfer.given_files import unique_keys
from tfxfer.transfer.structure.weight_map.tensors import Shape

LARGEST = 100_000_000  # bytes of JSON; the limit of the format's own library
# The format's names of dtypes -> NumPy's, and bytes of a number.
DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U64": ("uint64", 8),
    "U32": ("uint32", 4),
    "U16": ("uint16", 2),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
FIELDS = {"dtype", "shape", "data_offsets"}
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # the first bytes of PyTorch's files
AGAIN = "download or write it again"


@dataclass(frozen=True)
class Entry:
    """The place of a tensor in its file, its shape and its dtype.

    Attributes:
        dtype: NumPy's name of its dtype, or "bfloat16".
        shape: Its shape.
        start: Its first byte, counted from the beginning of the file.
        stop: The byte after its last.
    """

    dtype: str
    shape: Shape
    start: int
    stop: int


def read_header(file: BinaryIO, path: Path) -> dict[str, Entry]:
    """Return the tensors of a safetensors file, in the order of the file.

    Args:
        file: The file, open for reading at its beginning.
        path: Its name in error messages.

    Raises:
        UserError: The file is not a safetensors file, is truncated, or its header is inconsistent with it.
    """
    size = os.fstat(file.fileno()).st_size
    length = _length(file.read(8), size, path)
    text = file.read(length)
    try:
        if text[:1] != b"{":
            raise UserError("the header does not begin with '{'")
        data = json.loads(text.decode("utf-8"), object_pairs_hook=unique_keys)
        _check_metadata(data.pop("__metadata__", {}))
    except UserError as error:
        raise UserError(f"{path}: {error}; {AGAIN}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: the header is not JSON ({error}); {AGAIN}") from error
    found = {name: _entry(name, fields, 8 + length, size, path) for name, fields in data.items()}
    ordered = dict(sorted(found.items(), key=lambda item: (item[1].start, item[1].stop)))
    _check_cover(ordered, 8 + length, size, path)
    return ordered


def _length(first: bytes, size: int, path: Path) -> int:
    """Return the number of bytes of JSON."""
    if len(first) < 8:
        raise UserError(f"{path}: has {size} bytes, too few for a safetensors file; {AGAIN}")
    length = int.from_bytes(first, "little")
    if (length > LARGEST or 8 + length > size) and first.startswith(PICKLES):
        raise UserError(
            f"{path}: is a pickle of PyTorch under another name, and reading a pickle can run any code in it; "
            "ask its author for safetensors"
        )
    if length > LARGEST:
        raise UserError(
            f"{path}: the header should have {length:,} bytes; {LARGEST:,} is the maximum. "
            f"It is not a safetensors file, or damaged; {AGAIN}"
        )
    if 8 + length > size:
        raise UserError(
            f"{path}: the header should have {length:,} bytes and the file has {size:,}: it is truncated; {AGAIN}"
        )
    return length


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise UserError("'__metadata__' in the header may contain strings only")


def _entry(name: str, fields: Any, begin: int, size: int, path: Path) -> Entry:
    """Return the header's entry of a tensor, compared with the size of the file."""
    place = f"{path}: tensor '{name}'"
    if not isinstance(fields, dict) or set(fields) != FIELDS:
        raise UserError(f"{place}: the header must give dtype, shape and data_offsets, and nothing else; {AGAIN}")
    shape, offsets = fields["shape"], fields["data_offsets"]
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise UserError(
            f"{place}: shape {shape} or data_offsets {offsets} are not lists of non-negative integers; {AGAIN}"
        )
    if not isinstance(fields["dtype"], str) or fields["dtype"] not in DTYPES:
        raise UserError(
            f"{place}: has the dtype {fields['dtype']!r}, which cannot be read here; "
            f"{suggest(str(fields['dtype']), DTYPES)} Convert the file to F32 or BF16"
        )
    dtype, width = DTYPES[fields["dtype"]]
    start, stop = offsets
    if start > stop or begin + stop > size:
        raise UserError(
            f"{place}: should be at bytes {start:,} to {stop:,}, and there are {size - begin:,}: "
            f"the file is truncated or its header wrong; {AGAIN}"
        )
    if math.prod(shape) * width != stop - start:
        raise UserError(
            f"{place}: {fields['dtype']} {shape} takes {math.prod(shape) * width:,} bytes, and the header gives it "
            f"{stop - start:,}; {AGAIN}"
        )
    return Entry(dtype, tuple(shape), begin + start, begin + stop)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_cover(entries: dict[str, Entry], begin: int, size: int, path: Path) -> None:
    """Check that the tensors cover the file without gaps and overlaps."""
    end, last = begin, ""
    for name, entry in entries.items():
        if entry.start < end:
            raise UserError(f"{path}: tensors '{last}' and '{name}' overlap; {AGAIN}")
        if entry.start > end:
            raise UserError(f"{path}: {entry.start - end:,} bytes before tensor '{name}' belong to no tensor; {AGAIN}")
        end, last = entry.stop, name
    if end != size:
        raise UserError(f"{path}: the last {size - end:,} bytes belong to no tensor; {AGAIN}")
