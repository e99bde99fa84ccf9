"""Files that outlive a run: where they stand, how they are named, and how they are written whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from tfxfer.errors import TfxferError, UserError

CACHES = {  # folder in the data folder -> its contents
    "tfds": "prepared data sets",
    "inspected": "sizes and hashes of images",
    "sources": "trained source models",
    "features": "outputs of feature extractors",
    "records": "results of trained arms",
}


def data_dir(given: str | os.PathLike | None = None) -> Path:
    """Return the folder for prepared data and caches: `given`, else `$TFXFER_DATA`, else the user's cache folder.

    Raises:
        UserError: a file stands where the folder, or one above it, should be.
    """
    wanted = given or os.environ.get("TFXFER_DATA")
    if wanted:
        folder = Path(wanted).expanduser()
        blocking = next((path for path in (folder, *folder.parents) if path.is_file()), None)
        if blocking:
            raise UserError(f"{folder}: {blocking} is a file; name a folder with --data-dir or $TFXFER_DATA")
        return folder
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "tfxfer"


def key_of(*parts: Any) -> str:
    """Return a 16-digit hexadecimal key of JSON-like parts and dataclasses; equal parts give equal keys.

    >>> key_of({"b": 1, "a": 2}) == key_of({"a": 2, "b": 1})
    True
    """

    def plain(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
        return str(value)

    text = json.dumps(parts, sort_keys=True, default=plain, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def code_key() -> str:
    """Return a key of tfxfer's own source files: results of other code are not taken for results of this one."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return key_of([[file.name, file.read_text(encoding="utf-8")] for file in files])


def sha256_file(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lock_of(path: str | os.PathLike) -> Path:
    """Return the lock file of a path; once made, it stays, because all processes must lock the same file."""
    return Path(f"{os.fspath(path)}.lock")


@contextmanager
def locked(path: str | os.PathLike, *, wait: bool = True) -> Iterator[bool]:
    """Hold the inter-process lock of `path` during the block.

    Args:
        path: A file or folder that this process is about to write or remove.
        wait: Wait while another process holds the lock. False: go on at once without it.

    Yields:
        Whether the lock is held; always True where `wait` is.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(lock_of(path))
    lock_of(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`, moved into place (fsync, `os.replace`) when the block ends well.

    After an exception, `path` is as it was and the temporary file is gone. The temporary name keeps the
    suffix, because Keras chooses a file format by it. A full disk becomes a `TfxferError` that names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with full_disk_named(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp makes it private
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def full_disk_named(path: str | os.PathLike) -> Iterator[None]:
    """Turn 'no space left' into an error that names the file, the free space and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        parent = Path(path).parent
        free = shutil.disk_usage(parent).free / 2**20
        raise TfxferError(
            f"{path}: the disk is full ({free:.0f} MiB free in {parent}). What was there before is kept. "
            "Free some space, or point --data-dir or --run-dir elsewhere, and run the same command again."
        ) from error


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
