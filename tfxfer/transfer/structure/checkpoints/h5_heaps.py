"""A check of an h5 file's heaps of texts, in which the HDF5 library can search for ever.

Keras keeps the names of layers there. A heap is "GCOL", a version, its size, and objects one after the other, each with
its own size (HDF5 File Format Specification, III.E). The library steps from object to object by these sizes, and an
empty step is not refused (HDF5 1.14.6).
"""

import mmap
from pathlib import Path

from tfxfer.errors import UserError

SIGNATURE = b"GCOL\x01"  # with the only version
HEADER = 16  # bytes before the first object, and of an object before its content


def check_heaps(path: Path) -> None:
    """Raise `UserError` when a heap of the file has an object that does not end inside it, or is empty."""
    if not path.stat().st_size:
        return  # nothing can be mapped; h5py says what is wrong
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(SIGNATURE)
        while start >= 0:
            _check_heap(data, start, path)
            start = data.find(SIGNATURE, start + 1)


def _check_heap(data: mmap.mmap, start: int, path: Path) -> None:
    end = min(len(data), start + int.from_bytes(data[start + 8 : start + HEADER], "little"))
    place = start + HEADER
    while place + HEADER <= end:
        number = int.from_bytes(data[place : place + 2], "little")
        size = int.from_bytes(data[place + 8 : place + HEADER], "little")
        step = HEADER + -(-size // 8) * 8 if number else size  # object 0 is free space, with its header
        if not 0 < step <= end - place:
            raise UserError(f"{path}: the names in it are damaged at byte {place:,}; save or download it again")
        place += step
