"""Which files data are read from: regular ones. A pipe or a device may make a reader wait for ever, or never end."""

import os
import stat
from functools import cache
from pathlib import Path

MAX_IMAGE_BYTES = 2**30  # more than the largest image that is read has without compression


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
