"""Reading files that other people and programs wrote: regular files only, with bounds, and errors that say what to do.

Every error is a `UserError`.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfxfer.errors import TfxferError, UserError, suggest

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


def reason(error: Exception) -> str:
    """Return what an error says, in one short line.

    >>> reason(RecursionError("maximum recursion depth exceeded"))
    'nested too deeply'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return " ".join(str(error).split())[:200] or type(error).__name__


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
    if not stat.S_ISREG(facts.st_mode):
        kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "a pipe or a device"
        raise UserError(f"{path}: is {kind}, not a file; name a file")
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
