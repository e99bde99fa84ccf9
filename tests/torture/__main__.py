"""`make torture`: interrupt runs, fill disks, damage files, fuzz readers, and write what came out into a table.

The table is docs/torture.md. A part is chosen by its name: `make torture ARGS="kills damage"` makes the rows of these
parts anew and leaves the others.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

from torture import damage, disks, fuzz, kills
from torture.disks import NotHere
from torture.runs import ROOT, call

from tfxfer.cache import data_dir
from tfxfer.recipes import RECIPES

TABLE = ROOT / "docs" / "torture.md"
ROW = re.compile(
    r"^\| (?P<part>[^|]+) \| (?P<what>[^|]+) \| (?P<count>[^|]+) \| (?P<result>[^|]+) \| (?P<day>[^|]+) \|$"
)
SIZES = (64, 256, 512, 1024, 2048, 3072, 4096, 6144, 8192, 16384)  # KiB of a small disk


class Trials:
    """The trials so far: they are printed as they end, and written as one table.

    Attributes:
        prepared: Folder of prepared data sets.
        work: Folder for runs.
        recipes: Recipes that are interrupted.
        readers: What is fuzzed.
        kept: Whether each row is written into the table at once.
        rows: (part, what was tried, trials, result, day).
        failures: What went wrong, in words.
    """

    def __init__(self, prepared, work, recipes, readers, kept):
        self.prepared, self.work, self.recipes, self.readers, self.kept = prepared, work, recipes, readers, kept
        self.rows, self.failures = [], []

    def folder(self):
        """Return a new empty folder."""
        return Path(tempfile.mkdtemp(dir=self.work))

    def add(self, part, what, count, wrong, note=""):
        """Keep a row and print it."""
        result = "as promised" if not wrong else f"**{len(wrong)} wrong**"
        self.rows.append((part, what, f"{count:,}", result + (f"; {note}" if note else ""), str(date.today())))
        self.failures += [f"{part}, {what}: {each}" for each in wrong]
        print(f"{time.strftime('%H:%M:%S')} {part}: {what}: {count}: {result} {note}", *wrong, sep="\n  ", flush=True)
        if self.kept:
            TABLE.write_text(table(self), encoding="utf-8")


def run_kills(trials, scale):
    """Interrupt each recipe at random moments."""
    for recipe in trials.recipes:
        for how, times in (("kill −9", 20), ("SIGTERM", 3), ("Ctrl-C", 3)):
            work = trials.folder()
            wrong, met = kills.interrupted(recipe, how, max(1, times // scale), trials.prepared, work, seed=0)
            trials.add("interrupted", f"`{recipe}`, {how}, then the same command", met, wrong)
            shutil.rmtree(work)


def run_together(trials, scale):
    """Start several processes on one cold cache."""
    for processes in (2, 4)[: 2 if scale == 1 else 1]:
        work = trials.folder()
        wrong = kills.together("feature", processes, processes, trials.prepared, work, seed=1)
        trials.add("one cold cache", f"{processes} processes, {processes} kills", processes, wrong)
        shutil.rmtree(work)
    work = trials.folder()
    trials.add("one run folder", "2 processes", 2, kills.one_folder("feature", trials.prepared, work))
    shutil.rmtree(work)


def run_disks(trials, scale):
    """Fill a disk, and lock one."""
    work = trials.folder()
    whole = work / "whole"
    try:
        outcome = call("train", "feature", "--smoke", *disks.TINY, "--run-dir", whole, "--data-dir", work / "data")
        assert outcome.code == 0, outcome.printed
        for kib in SIZES[::scale]:
            wrong, code = disks.full(kib, trials.prepared, trials.folder(), whole)
            trials.add("full disk", f"{kib} KiB", 1, wrong, f"exit code {code}")
        people = 30 // scale
        wrong = disks.read_only(trials.prepared, trials.folder(), people)
        trials.add("read-only shared folder", f"{people} people, one after another", people, wrong)
    except NotHere as error:
        trials.add("full and read-only disks", f"left out: {error}", 0, [])


def run_damage(trials, scale):
    """Flip bytes in results and caches."""
    flips = damage.FLIPS // scale
    for name, (alike, wrong) in damage.caches(trials.prepared, trials.folder(), flips).items():
        trials.add("flipped byte in a cache", f"`{name}`", alike + len(wrong), wrong, f"{alike} ended alike")
    work = trials.folder()
    outcome = call(*damage.WORDS, "--run-dir", work / "run", "--data-dir", trials.prepared)
    assert outcome.code == 0, outcome.printed
    for name, (well, named, wrong) in damage.results(work / "run", flips=flips).items():
        note = f"{well} answered as before, {named} named"
        trials.add("flipped byte in a result", f"`{name}`", well + named + len(wrong), wrong, note)


def run_fuzz(trials, scale):
    """Feed the readers of people's files."""
    for name in trials.readers:
        read, refused, wrong = fuzz.fuzz(name, trials.folder(), 120 / scale)
        trials.add("fuzzed reader", name, read + refused + len(wrong), wrong, f"{read:,} read, {refused:,} refused")


def run_hostile(trials, scale):
    """Run the tests of files that are made to do harm."""
    for name, files in HOSTILE.items():
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *files]
        done = subprocess.run([*words, f"--junitxml={trials.work / 'hostile.xml'}"], cwd=ROOT, capture_output=True)
        suite = ElementTree.parse(trials.work / "hostile.xml").getroot().find("testsuite")
        kinds = ("failure", "error")
        failed = [case.get("name") for kind in kinds for case in suite.iterfind(f"testcase/{kind}/..")]
        wrong = failed or ([f"exit code {done.returncode}"] if done.returncode else [])
        trials.add("hostile file", name, int(suite.get("tests")), wrong)


HOSTILE = {  # what is read -> files of tests
    "`.keras` and HDF5: bombs, huge layers, endless heaps": ["tests/models/test_hostile_models.py"],
    "JSON, NPZ, YAML, `.keras`: pickles, bombs, other types": ["tests/test_damaged_files.py"],
    "safetensors and HDF5 checkpoints": ["tests/transfer/structure/checkpoints"],
    "images: pipes, devices, damage": ["tests/data/test_images.py", "-k", "bad or regular or damage or utf8"],
    "HTML and terminal: tags and escapes in names": ["tests/report/test_page.py", "tests/test_terminal.py"],
}
NAMES = (
    "interrupted",
    "one cold cache",
    "one run folder",
    "full disk",
    "read-only shared folder",
    "flipped byte in a cache",
    "flipped byte in a result",
    "hostile file",
    "fuzzed reader",
    "full and read-only disks",
)
PARTS = {"kills": run_kills, "together": run_together, "disks": run_disks, "damage": run_damage}
PARTS |= {"hostile": run_hostile, "fuzz": run_fuzz}


def table(trials):
    """Return the table in Markdown; what was not tried now keeps its row."""
    ran = {row[:2] for row in trials.rows}
    kept = TABLE.read_text(encoding="utf-8").splitlines() if TABLE.exists() else []
    older = [found.groups() for found in map(ROW.match, kept) if found and found["day"][:2] == "20"]
    rows = sorted([row for row in older if row[:2] not in ran] + trials.rows, key=lambda row: NAMES.index(row[0]))
    lines = [
        "# What was tried to break tfxfer",
        "",
        f"`make torture` on {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} CPU cores. What "
        "is promised is in [security.md](security.md). A smaller form runs in `make test`.",
        "",
        "| part | what was tried | trials | result | date |",
        "|---|---|---:|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    if trials.failures:
        lines += ["## What went wrong", "", *(f"- {' '.join(each.split())}" for each in trials.failures), ""]
    return "\n".join(lines)


def main():
    """Run the parts that are named, all by default; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--scale", type=int, default=1, help="divide the trials and the times by this")
    parser.add_argument("--recipe", nargs="*", default=list(RECIPES), help="what is interrupted; all by default")
    parser.add_argument("--reader", nargs="*", default=list(fuzz.READERS), help="what is fuzzed; all by default")
    asked = parser.parse_args()
    unknown = sorted(set(asked.parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="torture-") as work:
        trials = Trials(data_dir(), Path(work), asked.recipe, asked.reader, asked.scale == 1)
        for name in asked.parts or PARTS:
            PARTS[name](trials, asked.scale)
    print(table(trials))
    return 1 if trials.failures else 0


if __name__ == "__main__":
    sys.exit(main())
