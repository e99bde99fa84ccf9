"""Errors written for the person who meets them: what was wrong, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class TfxferError(Exception):
    """Something went wrong while working; a command ends with exit code 1."""

    exit_code = 1


class UserError(TfxferError, ValueError):
    """The request or its data cannot be used as they are; a command ends with exit code 2."""

    exit_code = 2


class DamagedFile(UserError):
    """A file that tfxfer wrote is not as it was written; a cache is made again, a result has to be."""


def reason(error: Exception) -> str:
    """Return what an error of another library says, in one short line.

    >>> reason(RecursionError("maximum recursion depth exceeded")), reason(KeyError("epoch"))
    ('nested too deeply', "'epoch' is missing")
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, MemoryError):
        return "asks for more memory than there is"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    first = " ".join(str(error).split())[:200] or type(error).__name__
    return f"{first} is missing" if isinstance(error, KeyError) else first


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that offers the nearest known name, or lists what there is.

    >>> suggest("colour", ["color", "shape"])
    "did you mean 'color'?"
    >>> suggest("zzz", ["color", "shape"])
    'known: color, shape'
    """
    names = [str(k) for k in known]
    near = get_close_matches(str(name), names, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"known: {shown}" if names else "there is none to choose from"
