"""Files of a model folder: the check that names and links stay inside the folder, and the reading of JSON."""

import json
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.weight_map.json_object import unique_keys


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder.

    A link may point anywhere in the folder. Hugging Face's download cache, DIR/snapshots/REVISION with links to
    DIR/blobs, counts as one folder.

    Args:
        folder: The model's folder.
        name: The file's name in it, from a user or an index.

    Raises:
        UserError: The name, or a link, leads out of the folder.
    """
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        if path.is_absolute() or path.drive or ".." in path.parts or not path.parts:
            raise UserError(f"{folder}: '{name}' leads out of the folder; a model's files must be in its own folder")
    found = folder / name
    allowed = [folder.resolve()]
    if folder.resolve().parent.name == "snapshots":
        allowed.append(folder.resolve().parent.parent / "blobs")
    try:
        real = found.resolve()
    except (OSError, RuntimeError) as error:  # cyclic links
        raise UserError(f"{found}: cannot be followed ({error})") from error
    if not any(real.is_relative_to(root) for root in allowed):
        raise UserError(
            f"{found}: is a link to {real}, outside of the folder; copy the file into the folder, or give that folder"
        )
    return found


def read_json(path: Path, largest: int) -> dict[str, Any]:
    """Return the dictionary in a JSON file.

    Raises:
        UserError: It cannot be read, is larger than `largest` bytes, has a duplicate key, or contains something else.
    """
    try:
        if path.stat().st_size > largest:
            raise UserError(f"has more than {largest:,} bytes, too many for such a file")
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UserError as error:
        raise UserError(f"{path}: {error}; download it again") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}); download it again") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: contains a {type(data).__name__} and not a dictionary; download it again")
    return data


def stamp_of(stat: os.stat_result) -> tuple[int, ...]:
    """Return a key that changes when a file is written again or replaced."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def beside(path: Path) -> str:
    """Return a suggestion of a similar file name, as the end of an error; "" when there is no folder."""
    files = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    return f"; {suggest(path.name, files)}" if files else ""
