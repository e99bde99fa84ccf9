"""Which entries of the caches running processes use: `tfxfer clean` leaves them.

An entry's own lock is held while it is made, and let go of when others may read it. A process that reads it says so in
`<data folder>/in_use/<name>.txt`, a path a line, beside a lock that it holds until it ends. After a kill
the lock is free.
"""

import atexit
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfxfer.cache import CACHES, atomic_file, locked, sweep
from tfxfer.errors import UserError

FOLDER = "in_use"
_used: dict[tuple[int, Path], tuple[Path, Any, list[str]]] = {}  # (process, data folder) -> its file, lock and entries


def use(entry: Path) -> None:
    """Say that this process uses an entry of a cache until it ends. Do so before the entry is opened.

    An entry that stands in no data folder, or in one that cannot be written, is left alone: `tfxfer clean` does not
    remove the first, and cannot be told in the second.
    """
    folder = _data_folder(entry)
    if folder is None:
        return
    try:
        with locked(folder / FOLDER / "all"):
            file, _, entries = _own(folder)
            if str(entry.absolute()) not in entries:
                entries.append(str(entry.absolute()))
                with atomic_file(file) as temporary:
                    temporary.write_text("\n".join(entries), encoding="utf-8", errors="surrogateescape")
    except UserError:  # a shared folder that cannot be written
        return


@contextmanager
def unused(entry: Path) -> Iterator[bool]:
    """Yield whether no running process uses an entry; none can begin to during the block."""
    folder = _data_folder(entry)
    if folder is None or not (folder / FOLDER).is_dir():
        yield True
        return
    with locked(folder / FOLDER / "all"):
        yield str(entry.absolute()) not in _entries_in_use(folder / FOLDER)


def _data_folder(entry: Path) -> Path | None:
    """Return the data folder of an entry: the one above the nearest folder that is called as a cache."""
    cache = next((path for path in entry.absolute().parents if path.name in CACHES), None)
    return cache.parent if cache else None


def _own(folder: Path) -> tuple[Path, Any, list[str]]:
    """Return this process's file in a data folder, its lock, which is held from now on, and its entries."""
    from filelock import FileLock

    key = (os.getpid(), folder)
    if key not in _used:
        _entries_in_use(folder / FOLDER)
        file = folder / FOLDER / f"{uuid.uuid4().hex}.txt"
        lock = FileLock(file.with_suffix(".lock"))
        lock.acquire(timeout=0)
        _used[key] = (file, lock, [])
        atexit.register(_ended, key)
    return _used[key]


def _ended(key: tuple[int, Path]) -> None:
    if key[0] == os.getpid():  # not in a process that was forked from the one that uses the entries
        file, lock, _ = _used.pop(key)
        file.unlink(missing_ok=True)
        file.with_suffix(".lock").unlink(missing_ok=True)
        lock.release()


def _entries_in_use(folder: Path) -> set[str]:
    """Return the entries that running processes use; what ended processes left is removed."""
    from filelock import FileLock, Timeout

    found: set[str] = set()
    sweep(folder)
    for file in folder.glob("*.txt"):
        lock = FileLock(file.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            found |= set(file.read_text(encoding="utf-8", errors="surrogateescape").splitlines())
            continue
        file.unlink(missing_ok=True)
        file.with_suffix(".lock").unlink(missing_ok=True)
        lock.release()
    return found
