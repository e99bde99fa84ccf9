"""Disks that are full or read-only. A file system of a given size needs root on Linux; without it, this is said."""

import os
import subprocess
import sys
from contextlib import contextmanager

from torture.runs import call, data_folder, differences

TINY = ["--source-epochs", "1", "--source-max-examples", "512", "--labels-per-class", "2", "--seeds", "1"]


class NotHere(Exception):
    """This machine cannot make the file system that a trial needs."""


@contextmanager
def mounted(folder, *options):
    """Mount a file system at a folder during the block.

    Raises:
        NotHere: Not Linux, or not root.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform != "linux" or os.geteuid():
        raise NotHere("mounting needs root on Linux")
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise NotHere(f"mount: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full(kib, prepared, work, whole):
    """Run with caches on a disk of `kib` KiB, then with room: the first names the disk, the second ends as ever."""
    words = ["train", "feature", "--smoke", *TINY]
    with mounted(work / "small", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs") as small:
        data = data_folder(prepared, small / "data")
        first = call(*words, "--run-dir", work / "first", "--data-dir", data)
        wrong = []
        if first.raw or first.code not in (0, 1, 2):
            wrong.append(f"exit code {first.code}: {first.printed[-300:]}")
        elif first.code and "full" not in first.printed + log_of(work / "first"):
            wrong.append(f"the disk is not named: {first.printed[-300:]}")
        elif not first.code:
            wrong += differences(work / "first", whole)
        subprocess.run(["mount", "-o", "remount,size=1g", str(small)], check=True)
        again = work / ("again" if not first.code else "first")
        second = call(*words, "--run-dir", again, "--data-dir", data)
        if second.code:
            wrong.append(f"with room again, exit code {second.code}: {second.printed[-300:]}")
        else:
            wrong += differences(again, whole)
    return wrong, first.code


def log_of(run):
    """Return a run's log, or nothing where there is none."""
    file = run / "log.txt"
    return file.read_text("utf-8") if file.is_file() else ""


def read_only(prepared, work, people):
    """A class on one read-only shared folder where all is cached: each person's run must end, one after another."""
    shared = data_folder(prepared, work / "shared")
    words = ["train", "feature", "--smoke"]
    first = call(*words, "--run-dir", work / "teacher", "--data-dir", shared)
    assert first.code == 0, first.printed
    wrong = []
    with mounted(work / "locked", "--bind", str(shared)) as locked:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(locked)], check=True)
        for person in range(people):
            own = work / f"home-{person}"
            outcome = call(*words, "--run-dir", work / f"run-{person}", "--data-dir", f"{locked}{os.pathsep}{own}")
            if outcome.code:
                wrong.append(f"person {person}: exit code {outcome.code}: {outcome.printed[-300:]}")
            else:
                wrong += differences(work / f"run-{person}", work / "teacher")
        alone = call(*words, "--run-dir", work / "alone", "--data-dir", locked)
        if alone.code:
            wrong.append(f"the read-only folder alone: exit code {alone.code}: {alone.printed[-300:]}")
    return wrong
