"""Files of a model folder: the check that names and links stay inside the folder."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from tfxfer.errors import UserError, suggest


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


def stamp_of(stat: os.stat_result) -> tuple[int, ...]:
    """Return a key that changes when a file is written again or replaced."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def beside(path: Path) -> str:
    """Return a suggestion of a similar file name, as the end of an error; "" when there is no folder."""
    files = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    return f"; {suggest(path.name, files)}" if files else ""
