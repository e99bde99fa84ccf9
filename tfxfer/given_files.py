"""Reading files that other people and programs wrote: regular files only, with bounds, and errors that say what to do.

Every error is a `UserError`.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tfxfer.errors import TfxferError, UserError, reason, suggest

LARGEST_TEXT = 10_000_000  # bytes of a configuration


@contextmanager
def reading_given(path: str | os.PathLike, remedy: str) -> Iterator[None]:
    """Turn whatever a reader raises for a file in the block into `UserError`. Keep the block to the reading itself.

    Args:
        path: The file.
        remedy: What the person can do, e.g. "download it again".

    Raises:
        UserError: The block failed.
    """
    try:
        yield
    except TfxferError:
        raise
    except Exception as error:  # h5py, zipfile, json and yaml raise many types for odd bytes
        raise UserError(f"{path}: cannot be read ({reason(error)}); {remedy}") from error


def file_problem(found: os.stat_result) -> str | None:
    """Return what is wrong with a path as a file to read, and the remedy; None for a regular file.

    Args:
        found: What `os.stat` returns for the path; links are followed.

    >>> file_problem(os.stat(os.devnull))
    'is a device, not a file; copy its content into a regular file'
    """
    if stat.S_ISDIR(found.st_mode):
        return "is a folder, not a file; name a file in it"
    if not stat.S_ISREG(found.st_mode):
        device = stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)
        return f"is {'a device' if device else 'a pipe or socket'}, not a file; copy its content into a regular file"
    if found.st_dev in _kernel_devices():
        return "is made by the kernel while it is read; copy its content into a regular file"
    return None


@cache
def _kernel_devices() -> frozenset[int]:
    """Return the device numbers of /proc and /sys, whose files look regular and may wait or never end."""
    return frozenset(path.stat().st_dev for path in (Path("/proc"), Path("/sys")) if path.is_mount())


def shown(name: str) -> str:
    """Return a file name that can be written as UTF-8: bytes that are not UTF-8 are escaped.

    >>> print(shown(os.fsdecode(bytes([0x63, 0xE9]))))
    c\\xe9
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def regular_file(path: str | os.PathLike, largest: int | None = None) -> Path:
    """Return the path of a regular file: a pipe or a device would be waited for without an end.

    Args:
        path: The file; a link to one is followed.
        largest: Most bytes that it may have.

    Raises:
        UserError: There is none, it is something else, or it is larger.
    """
    path = Path(path)
    try:
        facts = path.stat()
    except FileNotFoundError as error:
        beside = sorted(one.name for one in path.parent.iterdir()) if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such file; {suggest(path.name, beside)}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"{path}: cannot be read ({reason(error)}); look at its name and its permissions") from error
    problem = file_problem(facts)
    if problem:
        raise UserError(f"{path}: {problem}")
    if largest is not None and facts.st_size > largest:
        raise UserError(f"{path}: has more than {largest:,} bytes, too many for such a file")
    return path


def read_given_text(path: str | os.PathLike, remedy: str, largest: int = LARGEST_TEXT) -> str:
    """Return the UTF-8 text of a file.

    Raises:
        UserError: It is no regular file, cannot be read, is larger than `largest` bytes, or is not UTF-8.
    """
    path = regular_file(path, largest)
    with reading_given(path, remedy):
        return path.read_text(encoding="utf-8")


def read_given_json(path: str | os.PathLike, remedy: str, largest: int = LARGEST_TEXT) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        UserError: As `read_given_text`; it is no JSON, no object, or has a key twice.
    """
    text = read_given_text(path, remedy, largest)
    try:
        value = json.loads(text, object_pairs_hook=unique_keys)
    except UserError as error:
        raise UserError(f"{path}: {error}; {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({reason(error)}); {remedy}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: contains a {type(value).__name__} and not a dictionary; {remedy}")
    return value


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dictionary; an `object_pairs_hook` for `json.loads`.

    Raises:
        UserError: A key occurs twice. JSON would keep the last value.

    >>> unique_keys([("a", 1), ("b", 2)])
    {'a': 1, 'b': 2}
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise UserError(f"'{next(name for name in names if names.count(name) > 1)}' occurs twice in one object")
    return found
