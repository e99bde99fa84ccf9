"""Files that outlive a run: where they stand, how they are named, and how they are written whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from tfxfer.errors import TfxferError, UserError

CACHES = {  # folder in the data folder -> its contents
    "tfds": "prepared data sets",
    "inspected": "sizes and hashes of images",
    "images": "images of Parquet files",
    "bad_items": "lists of unusable items",
    "sources": "trained source models",
    "features": "outputs of feature extractors",
    "records": "results of trained arms",
}
TEMPORARY = ".unfinished-"  # begins the name of a folder that holds one file while it is written
UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


# === Data folders ===

exists, is_dir = os.path.exists, os.path.isdir  # Path's own fail below a folder that may not be read


def named_dirs(given: str | os.PathLike | None = None) -> list[Path]:
    """Return the folders for prepared data and caches that `given` names, else `$TFXFER_DATA`, else the user's own.

    Args:
        given: One folder, or several as in a PATH: "A:B" ("A;B" on Windows).

    Raises:
        UserError: No folder is named, or a file stands where one of them, or one above it, should be.
    """
    wanted = os.fspath(given or os.environ.get("TFXFER_DATA") or "")
    if not wanted:
        return [user_dir()]
    parts = [wanted] if is_dir(wanted) else [part for part in wanted.split(os.pathsep) if part]
    folders = list(dict.fromkeys(Path(part).expanduser() for part in parts))
    if not folders:
        raise UserError(f"'{wanted}' names no folder; name one with --data-dir or $TFXFER_DATA")
    for folder in folders:
        blocking = next((path for path in (folder, *folder.parents) if exists(path) and not is_dir(path)), None)
        if blocking:
            raise UserError(f"{folder}: {blocking} is a file; name a folder with --data-dir or $TFXFER_DATA")
    return folders


def user_dir() -> Path:
    """Return the user's own folder for prepared data and caches, whether it exists or not."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "tfxfer"


@dataclass(frozen=True)
class DataDirs:
    """The folders for prepared data and caches.

    Attributes:
        searched: Where entries are looked for, in this order.
        own: The first of them that can be written: what is missing is made there.
        shared_alone: None of the folders that were named can be written, and `own` is the user's.
    """

    searched: tuple[Path, ...]
    own: Path
    shared_alone: bool = False

    def shared(self, *names: str) -> list[Path]:
        """Return the path of an entry in each folder but `own` where it exists; they are read, and never written."""
        return [folder.joinpath(*names) for folder in self.searched if folder != self.own and _is_in(folder, names)]


def data_dirs(given: str | os.PathLike | None = None) -> DataDirs:
    """Return the folders that `named_dirs` returns. When none can be written, the user's own folder comes last.

    Raises:
        UserError: As for `named_dirs`; or no named folder exists and none can be made.
    """
    folders = named_dirs(given)
    own = next(filter(_writable, folders), None)
    if own is None:
        if user_dir() not in folders and not any(map(is_dir, folders)):
            raise UserError(f"{folders[0]}: no folder can be made there; name another with --data-dir or $TFXFER_DATA")
        own = user_dir()
    return DataDirs(tuple(dict.fromkeys([*folders, own])), own, own not in folders)


def data_dir(given: str | os.PathLike | None = None) -> Path:
    """Return the folder in which prepared data and caches are made: the first of `data_dirs` that can be written."""
    return data_dirs(given).own


def _is_in(folder: Path, names: Iterable[str]) -> bool:
    return exists(folder.joinpath(*names))


def _writable(folder: Path) -> bool:
    """Return whether files can be made in a folder, which need not exist yet."""
    there = next((path for path in (folder, *folder.parents) if exists(path)), folder)
    return is_dir(there) and os.access(there, os.W_OK | os.X_OK)


# === Names ===


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


def digests_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return file name -> SHA-256, for the manifest of a cache entry."""
    return {name: sha256_file(folder / name) for name in names}


def changed_files(folder: Path, digests: dict[str, str]) -> list[str]:
    """Return the files of a manifest that are missing or whose bytes changed."""
    found = []
    for name, digest in digests.items():
        try:
            whole = sha256_file(folder / name) == digest
        except OSError:
            whole = False
        found += [] if whole else [name]
    return found


# === Locks ===


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

    Raises:
        UserError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(lock_of(path))
    try:
        with unwritable_named(path):
            lock_of(path).parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


# === Writing ===


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path that is moved to `path` (fsync, `os.replace`) when the block ends well.

    After an exception, `path` is as it was and the temporary file is gone. It has the name of `path`, because Keras
    chooses a file format by it, in a hidden folder beside it, so that nobody takes it for a finished file. After a kill
    `sweep` removes it. A full disk becomes a `TfxferError` that names the file.
    """
    path = Path(path)
    with full_disk_named(path), _temporary_folder(path) as folder:
        temporary = folder / path.name
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`, with a lock in it that tells `sweep` that its process lives."""
    from filelock import FileLock, Timeout

    while True:
        with unwritable_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent))
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
            break
        except (Timeout, FileNotFoundError):  # swept by another process before it was locked
            continue
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)  # what is left is swept


def sweep(*folders: Path) -> None:
    """Remove the temporary files that killed processes left in some folders; those of living processes stay."""
    from filelock import FileLock, Timeout

    for left in [path for folder in folders for path in folder.glob(f"{TEMPORARY}*")]:
        lock = FileLock(left / ".lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # of a living process, gone meanwhile, or of another user
            continue
        shutil.rmtree(left, ignore_errors=True)
        lock.release()


def sweep_caches(folder: Path) -> None:
    """Remove what killed processes left in the caches of a data folder."""
    for cache in CACHES:
        if cache != "tfds":  # TensorFlow Datasets has its own, which a builder removes
            sweep(folder / cache, *(folder / cache).glob("*/"))


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


@contextmanager
def unwritable_named(path: str | os.PathLike) -> Iterator[None]:
    """Turn 'read-only' and 'permission denied' into a `UserError` that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise UserError(
            f"{path}: cannot be written ({error.strerror}). Point --data-dir or --run-dir to a folder of yours; "
            f"--data-dir SHARED{os.pathsep}YOURS reads what is in both and writes what is missing into the second"
        ) from error


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # half a surrogate pair as JSON has it
