"""Reading the files that tfxfer wrote. A damaged one raises `DamagedFile`: a cache is made again, a result is named.

JSON carries its own digest, and the arrays of an .npz their checksums: a changed byte is found rather than read.
"""

import errno
import hashlib
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer.cache import write_json
from tfxfer.errors import DamagedFile, TfxferError, reason

if TYPE_CHECKING:
    import numpy as np

DIGEST = "digest"  # the key of a JSON object's digest
LARGEST_JSON = 2**30  # bytes
LARGEST_ARRAY = 2**33  # bytes that a compressed array may take; one that is stored as it is cannot outgrow its file
NOT_DAMAGE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.ENOTDIR, errno.ESTALE)


@contextmanager
def reading_own(path: str | os.PathLike, remedy: str) -> Iterator[None]:
    """Turn whatever a damaged file raises in the block into `DamagedFile`. Keep the block to the reading itself.

    Args:
        path: The file.
        remedy: What the person can do, e.g. "run the experiment again".

    Raises:
        DamagedFile: The block failed, other than by a file that is missing or may not be read.
    """
    try:
        yield
    except TfxferError:
        raise
    except Exception as error:  # zipfile, zlib, NumPy, h5py and json raise many types for changed bytes
        if isinstance(error, OSError) and error.errno in NOT_DAMAGE:
            raise
        raise damaged(path, reason(error), remedy) from error


def damaged(path: str | os.PathLike, why: str, remedy: str) -> DamagedFile:
    """Return the error for a damaged file: which, why, and what to do."""
    return DamagedFile(f"{path}: is damaged ({why}); {remedy}")


# === JSON ===


def write_own_json(path: str | os.PathLike, value: Mapping[str, Any]) -> None:
    """Write a JSON object with its digest, whole or not at all."""
    plain = json.loads(json.dumps(value))
    write_json(path, plain | {DIGEST: _digest(plain)})


def read_own_json(
    path: str | os.PathLike, remedy: str, kinds: Mapping[str, type | tuple[type, ...]] | None = None
) -> dict[str, Any]:
    """Return the JSON object that tfxfer wrote into a file, without its digest.

    Args:
        path: The file.
        remedy: What the person can do when it is damaged.
        kinds: Keys that it must have -> the types of their values.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFile: It is no JSON object, its digest is another, or a key is missing or of another type.
    """
    path = Path(path)
    with reading_own(path, remedy):
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"more than {LARGEST_JSON:,} bytes")
        value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise damaged(path, "holds no JSON object", remedy)
    if DIGEST in value and value.pop(DIGEST) != _digest(value):
        raise damaged(path, f'its content does not fit its digest, the line "{DIGEST}"', remedy)
    check_kinds(path, value, kinds or {}, remedy)
    return value


def check_kinds(
    path: str | os.PathLike, value: Mapping[str, Any], kinds: Mapping[str, type | tuple[type, ...]], remedy: str
) -> None:
    """Raise `DamagedFile` for a key that is missing or of another type."""
    for key, kind in kinds.items():
        if key not in value:
            raise damaged(path, f"'{key}' is missing", remedy)
        if not isinstance(value[key], kind):
            raise damaged(path, f"'{key}' is a {type(value[key]).__name__}", remedy)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()


# === Arrays ===


def read_own_npz(path: str | os.PathLike, remedy: str, needed: tuple[str, ...] = ()) -> dict[str, "np.ndarray"]:
    """Return the arrays of an .npz file by name, each compared with its checksum.

    `numpy.load` stops reading where the header of an array says so, and a checksum counts only at the end.

    Args:
        path: The file.
        remedy: What the person can do when it is damaged.
        needed: Names of arrays that it must have.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFile: A byte has changed, the file is cut short, or an array is missing.
    """
    with reading_own(path, remedy), zipfile.ZipFile(path) as archive:
        found = {member.filename.removesuffix(".npy"): _array(archive, member) for member in archive.infolist()}
        for name in needed:
            if name not in found:
                raise KeyError(name)
    return found


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> "np.ndarray":
    """Return an array; its size is compared with the file's before memory is taken."""
    from numpy.lib import format as npy

    if member.compress_type != zipfile.ZIP_STORED and member.file_size > LARGEST_ARRAY:
        raise ValueError(f"'{member.filename}' has more than {LARGEST_ARRAY:,} bytes")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.hasobject or file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(f"'{member.filename}' has another size than its header says")
    with archive.open(member) as file:
        array = npy.read_array(file, allow_pickle=False)
        file.read()  # the checksum is compared at the end of the member
    return array
