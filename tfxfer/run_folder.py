"""The folder of a run: whether it is finished, and which process works in it."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfxfer.cache import unwritable_named, write_json
from tfxfer.errors import UserError

LOG = "log.txt"  # a run writes it first
LAST_FILE = "report.html"  # a run writes it last
LOCK = ".lock"  # stays, because all processes must lock the same file
HOLDER = ".running.json"  # who holds the lock


def is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run, finished or not; the folder of a saved model alone is none."""
    return any((folder / name).is_file() for name in ("config.yaml", "comparison.json"))


def is_begun(folder: Path) -> bool:
    """Return whether a run began in a folder: it has a log. Files that were copied from a run's folder are no run."""
    return (folder / LOG).is_file()


def is_finished(folder: Path) -> bool:
    """Return whether the run in a folder has written its last file."""
    return (folder / LAST_FILE).is_file()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Work in a run's folder during the block; no other process can do so meanwhile.

    The same process may hold a folder several times. After a kill, the operating system lets go of it.

    Raises:
        UserError: Another process works in it; its id, its host and since when are named. Or it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder.absolute() / LOCK, is_singleton=True, thread_local=False)
    try:
        with unwritable_named(folder):
            lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"--run-dir {folder}: {_holder(folder)} works in it; wait until it ends, or name another folder"
        ) from error
    try:
        if lock.lock_counter == 1:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            write_json(folder / HOLDER, {"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        yield
    finally:
        if lock.lock_counter == 1:
            (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    """Return which process holds a folder, as it wrote itself."""
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']},"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or has just ended
        return "another process"
