"""Runs for the torture: a command in a process group of its own, what it left, and whether two runs left the same."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CHANGING = ("seconds", "costs", "about")  # of comparison.json: times, and the command line
MADE_BY_RUNS = ("sources", "features", "records")


@dataclass
class Outcome:
    """What a command did.

    Attributes:
        code: Its exit code; negative when a signal ended it.
        printed: Standard output and error together.
        seconds: Wall time.
    """

    code: int
    printed: str
    seconds: float

    @property
    def raw(self):
        """Whether a person would see a raw traceback."""
        return "Traceback (most recent call last)" in self.printed


def start(words, **environment):
    """Start `python -m tfxfer WORDS`; return the process, and the file that its output goes to."""
    output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 closed by finish
    settings = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)} | environment
    argv = [sys.executable, "-m", "tfxfer", *map(str, words)]
    process = subprocess.Popen(argv, stdout=output, stderr=output, env=settings, start_new_session=True)
    return process, output


def finish(started, timeout=600.0):
    """Wait for a started command; a command that hangs is killed and has the exit code −9."""
    process, output = started
    began = time.monotonic()
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        stop(process, signal.SIGKILL)
        process.wait()
    output.seek(0)
    printed = output.read()
    output.close()
    return Outcome(process.returncode, printed, time.monotonic() - began)


def call(*words, timeout=600.0, **environment):
    """Run `python -m tfxfer WORDS` to its end."""
    return finish(start(words, **environment), timeout)


def stop(process, how):
    """Send a signal to a command and all that it started."""
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:  # it ended by itself a moment ago
        return


def data_folder(prepared, folder):
    """Make a data folder with the prepared data sets of another, and with no cache of any run."""
    folder.mkdir(parents=True)
    for built in prepared.iterdir():
        if built.name not in MADE_BY_RUNS and not built.name.endswith(".lock"):
            (folder / built.name).symlink_to(built)
    return folder


def weights_hash(run):
    """Return the SHA-256 of all weights in a run's model.keras, whatever the time in the archive is."""
    found = hashlib.sha256()
    with (
        zipfile.ZipFile(run / "model.keras") as archive,
        archive.open("model.weights.h5") as file,
        h5py.File(file) as weights,
    ):
        names = []
        weights.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in sorted(names):
            found.update(name.encode())
            found.update(np.ascontiguousarray(weights[name][()]).tobytes())
    return found.hexdigest()


def without_times(value):
    """Return JSON without what differs between two runs of one command."""
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if name not in CHANGING}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def differences(run, other):
    """Return what differs between two finished runs, in words; nothing when weights, records and verdicts are equal."""
    found = []
    if weights_hash(run) != weights_hash(other):
        found.append("weights")
    one, two = (without_times(json.loads((each / "comparison.json").read_text("utf-8"))) for each in (run, other))
    found += [name for name in ("records", "verdicts") if one[name] != two[name]]
    with np.load(run / "probabilities.npz") as first, np.load(other / "probabilities.npz") as second:
        if set(first) != set(second) or any(not np.array_equal(first[name], second[name]) for name in first):
            found.append("answers")
    return found
