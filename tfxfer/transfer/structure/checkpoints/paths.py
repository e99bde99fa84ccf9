"""Files of a model folder: which of them may be opened, wherever a name or a link leads, and the JSON among them."""

import json
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tfxfer.errors import UserError, suggest


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder.

    A link may lead anywhere in the folder. Hugging Face's download cache, DIR/snapshots/REVISION with links to
    DIR/blobs, is one folder in this sense.

    Args:
        folder: The model's folder.
        name: The file's name in it, as a user or an index gives it.

    Raises:
        UserError: The name, or a link behind it, leads out of the folder.
    """
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        if path.is_absolute() or path.drive or ".." in path.parts or not path.parts:
            raise UserError(f"{folder}: '{name}' leads out of the folder; a model's files stand in its own folder")
    found = folder / name
    allowed = [folder.resolve()]
    if folder.resolve().parent.name == "snapshots":
        allowed.append(folder.resolve().parent.parent / "blobs")
    try:
        real = found.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise UserError(f"{found}: cannot be followed ({error})") from error
    if not any(real.is_relative_to(root) for root in allowed):
        raise UserError(
            f"{found}: is a link to {real}, outside of the folder; copy the file into the folder, or give that folder"
        )
    return found


def read_json(path: Path, largest: int) -> dict[str, Any]:
    """Return a JSON file that holds a dictionary.

    Raises:
        UserError: It cannot be read, is larger than `largest` bytes, says something twice, or holds something else.
    """
    try:
        if path.stat().st_size > largest:
            raise UserError(f"{path}: has more than {largest:,} bytes; it is not what its name says")
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: _once(pairs, path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: is no JSON ({error}); download it again") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds a {type(data).__name__} and no dictionary; download it again")
    return data


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise UserError(f"{path}: '{name}' occurs twice; download it again")
        found[name] = value
    return found


def stamp_of(said: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file is written again or replaced."""
    return said.st_dev, said.st_ino, said.st_size, said.st_mtime_ns


def beside(path: Path) -> str:
    """Return the name of the file that was perhaps meant, as the end of an error; "" when there is no folder."""
    files = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    return f"; {suggest(path.name, files)}" if files else ""
