"""`tfxfer clean [CACHE …]`: show what is cached in the data folder, and remove it. Runs are never removed.

Everything that is removed can be made again: prepared data, features, trained sources and records from the data and
the code, downloaded data sets by another download.
"""

import os
import re
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tfxfer import cli
from tfxfer.cache import CACHES, lock_of, locked, named_dirs, sweep_caches
from tfxfer.errors import TfxferError, UserError, suggest
from tfxfer.in_use import unused

KEYED = re.compile(  # names that `tfxfer.cache.key_of` gave, and hashes of images
    r"([a-z_]+-)?[0-9a-f]{16}(\.(json|npz|txt))?|[0-9a-f]{64}"
)
REMOVED = ".removed-"  # begins the name of an entry while it is removed
HOURS = {"h": 1, "d": 24, "w": 24 * 7}


@dataclass(frozen=True)
class Entry:
    """A file or folder in a cache that is removed as a whole.

    Attributes:
        cache: The cache's name, a key of `tfxfer.cache.CACHES`.
        path: Where it stands.
        files: Number of files.
        size: Their size in bytes.
        changed: When the newest was changed, in seconds since 1970.
    """

    cache: str
    path: Path
    files: int
    size: int
    changed: float


def parser() -> cli.CommandParser:
    """Return the parser of this command."""
    made = cli.CommandParser(
        cli.program("clean"), "Show what is cached, and remove what is named. Runs are never removed."
    )
    made.add_argument("caches", nargs="*", metavar="CACHE", help=f"what to remove: {', '.join(CACHES)}")
    made.add_argument("--older-than", metavar="AGE", help="remove only what did not change for so long: 12h, 30d, 8w")
    made.add_argument("--yes", action="store_true", help="remove without asking")
    made.add_argument(
        "--data-dir", metavar="DIR", help="the data folder, or several: A:B (default: $TFXFER_DATA or the user cache)"
    )
    return made


def work(argv: Sequence[str]) -> None:
    """Show the caches; where any is named, or an age, remove what fits."""
    asked = parser().parse_args(argv)
    check_names(asked.caches)
    latest = time.time() - (seconds_of(asked.older_than) if asked.older_than else 0)
    folders = named_dirs(asked.data_dir)
    for folder in folders:
        _clean(folder, asked, latest)


def _clean(folder: Path, asked: Namespace, latest: float) -> None:
    """Show one data folder, or remove what is asked for from it."""
    found = list(entries(folder))
    if not asked.caches and not asked.older_than:
        show(folder, found)
        return
    sweep_caches(folder)
    chosen = [one for one in found if one.cache in (asked.caches or CACHES) and one.changed <= latest]
    if not chosen:
        print(f"nothing to remove in {folder}")
        return
    if not asked.yes and not agreed(folder, chosen):
        print("nothing is removed")
        return
    remove_all(folder, chosen)


def check_names(names: Sequence[str]) -> None:
    """Raise `UserError` for a name that is no cache."""
    for name in names:
        if name == "runs":
            raise UserError("runs are never removed; delete a run's folder yourself if you do not need it")
        if name not in CACHES:
            raise UserError(f"there is no cache '{name}'; {suggest(name, CACHES)}")


def seconds_of(age: str) -> float:
    """Return the seconds of an age such as 12h, 30d or 8w.

    >>> seconds_of("2d")
    172800.0
    """
    written = re.fullmatch(r"(\d+)([hdw])", age)
    if not written:
        raise UserError(f"--older-than {age}: write a number of hours, days or weeks, e.g. 12h, 30d, 8w")
    return float(written[1]) * HOURS[written[2]] * 3600


# === What there is ===


def entries(folder: Path) -> Iterator[Entry]:
    """Yield all entries of the caches in a data folder; files that tfxfer did not name are none.

    A cache that is a link to a place outside the data folder is left out.
    """
    for cache in CACHES:
        place = folder / cache
        if place.is_dir() and place.resolve().is_relative_to(folder.resolve()):
            for path in sorted(_prepared(place) if cache == "tfds" else _keyed(place)):
                yield Entry(cache, path, *_measured(path))


def _keyed(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if KEYED.fullmatch(path.name) or path.name.startswith(REMOVED)]


def _prepared(place: Path) -> list[Path]:
    """Return the folders NAME/VERSION and NAME/CONFIG/VERSION of TensorFlow Datasets, and what it downloaded."""
    found = {path.parent for depth in ("*/*", "*/*/*") for path in place.glob(f"{depth}/dataset_info.json")}
    found |= {path for depth in ("*", "*/*") for path in place.glob(f"{depth}/{REMOVED}*")}
    found |= {path for path in [place / "downloads", *place.glob(f"{REMOVED}*")] if path.is_dir()}
    inside = [path for path in found if path.parent.resolve().is_relative_to(place.resolve())]
    return [path for path in inside if "incomplete" not in path.name]  # which another process is about to finish


def _measured(path: Path) -> tuple[int, int, float]:
    """Return number of files, bytes, and the time of the last change of a file or folder; links are not followed."""
    files, size, changed = 0, 0, path.lstat().st_mtime
    if path.is_symlink() or not path.is_dir():
        return 1, path.lstat().st_size, changed
    for here, _, names in os.walk(path):
        for name in names:
            try:
                facts = Path(here, name).lstat()
            except FileNotFoundError:  # another process replaced it just now
                continue
            files, size, changed = files + 1, size + facts.st_size, max(changed, facts.st_mtime)
    return files, size, changed


def show(folder: Path, found: Sequence[Entry]) -> None:
    """Print a line for each cache: entries, files, size, age of the newest and of the oldest entry."""
    print(f"{folder}\n\n{'cache':<9}{'entries':>8}{'files':>7}{'size':>10}{'age':>14}  contents")
    for cache, contents in CACHES.items():
        own = [one for one in found if one.cache == cache]
        figures = f"{len(own):>8}{sum(one.files for one in own):>7}{human(sum(one.size for one in own)):>10}"
        print(f"{cache:<9}{figures}{_ages(own):>14}  {contents}")
    print("\n'tfxfer clean CACHE ...' removes caches; '--older-than 30d' only what is older")


def _ages(own: Sequence[Entry]) -> str:
    now, changes = time.time(), [one.changed for one in own]
    newest, oldest = (age(now - pick(changes, default=now)) for pick in (max, min))
    return "-" if not own else newest if newest == oldest else f"{newest} to {oldest}"


def human(size: float) -> str:
    """Return a number of bytes for people.

    >>> human(0), human(2048), human(3.5 * 2**30)
    ('0 B', '2.0 KiB', '3.5 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} B" if unit == "B" else f"{size:,.1f} {unit}"


def age(seconds: float) -> str:
    """Return an age for people: hours below two days, else days.

    >>> age(7200.0), age(40 * 86400.0)
    ('2 h', '40 d')
    """
    return f"{max(seconds, 0) / 3600:.0f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} d"


# === Removing it ===


def agreed(folder: Path, chosen: Sequence[Entry]) -> bool:
    """Return whether the person at the terminal agrees.

    Raises:
        UserError: There is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise UserError("there is no terminal to ask on; give --yes to remove without asking")
    print(f"{summed(chosen)} in {folder}: {', '.join(dict.fromkeys(one.cache for one in chosen))}")
    try:
        return input("Remove them? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def summed(chosen: Sequence[Entry]) -> str:
    """Return number of entries and files, and their size, for people."""
    files, size = sum(one.files for one in chosen), sum(one.size for one in chosen)
    plural = "entry" if len(chosen) == 1 else "entries"
    return f"{len(chosen)} {plural}, {files} file{'s' * (files != 1)}, {human(size)}"


def remove_all(folder: Path, chosen: Sequence[Entry]) -> None:
    """Remove entries; print what was freed, and what another process uses.

    Raises:
        TfxferError: Some could not be removed; the others are.
    """
    freed, failed = [], []
    for one in chosen:
        try:
            if remove(one.path):
                freed.append(one)
            else:
                print(f"{one.path}: another process uses it; it stays")
        except OSError as error:
            failed.append(f"{one.path}: {error.strerror}")
    print(f"removed {summed(freed)} in {folder}")
    if failed:
        raise TfxferError(f"{len(failed)} could not be removed; the first: {failed[0]}")


def remove(path: Path) -> bool:
    """Remove a file or folder unless another process makes or uses it; return whether it is removed.

    An entry whose cache uses locks has had its lock file since it was made. It is renamed first, so that no process
    ever finds half of it, and a removal that was interrupted is taken up by the next.
    """
    with ExitStack() as stack:
        free = stack.enter_context(unused(path))
        if free and lock_of(path).exists():
            free = stack.enter_context(locked(path, wait=False))
        if free:
            _delete(path)
        return free


def _delete(path: Path) -> None:
    doomed = path
    if not path.name.startswith(REMOVED):
        doomed = path.with_name(f"{REMOVED}{os.getpid()}-{path.name}")
        try:
            path.rename(doomed)
        except FileNotFoundError:  # removed by another process meanwhile
            return
    if doomed.is_dir() and not doomed.is_symlink():
        shutil.rmtree(doomed)
    else:
        doomed.unlink(missing_ok=True)
