"""Signals at random moments, and several processes on one cold cache: the end must be that of an undisturbed run."""

import random
import shutil
import signal
import time

from torture.runs import MADE_BY_RUNS, call, data_folder, differences, finish, start, stop

from tfxfer.run_folder import is_finished

SIGNALS = {"kill −9": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT}


def undisturbed(recipe, prepared, work):
    """Run a recipe's smoke run from cold caches; return its folder and its seconds."""
    run = work / "undisturbed"
    outcome = call("train", recipe, "--smoke", "--run-dir", run, "--data-dir", data_folder(prepared, work / "data-0"))
    assert outcome.code == 0, outcome.printed
    return run, outcome.seconds


def interrupted(recipe, how, times, prepared, work, seed):
    """Interrupt one command `times` times at random moments, each time with the same words; then let it end.

    Returns:
        (wrong, interruptions that met it at work): what went wrong in words, none when all is well.
    """
    chance = random.Random(seed)
    whole, seconds = undisturbed(recipe, prepared, work)
    wrong, met, round_ = [], 0, 0

    def fresh():
        nonlocal round_
        round_ += 1
        return work / f"run-{round_}", data_folder(prepared, work / f"data-{round_}")

    run, data = fresh()
    while met < times:
        started = start(["train", recipe, "--smoke", "--run-dir", run, "--data-dir", data])
        until = time.monotonic() + chance.uniform(0, seconds)
        while time.monotonic() < until and started[0].poll() is None:
            time.sleep(0.02)
        ended = started[0].poll() is not None
        if not ended:
            stop(started[0], SIGNALS[how])
        outcome = finish(started, 60)
        refused = ended and outcome.code != 0
        unlike_ctrl_c = how == "Ctrl-C" and not ended and outcome.code not in (0, 130, -signal.SIGINT)
        if refused or unlike_ctrl_c or outcome.raw:
            wrong.append(f"exit code {outcome.code}: {outcome.printed[-300:]}")
            if len(wrong) > 20:
                return wrong, met
        met += not ended
        if is_finished(run):  # before its time, or by the end of the process: begin again from nothing
            wrong += differences(run, whole)
            shutil.rmtree(run)
            run, data = fresh()
    outcome = call("train", recipe, "--smoke", "--run-dir", run, "--data-dir", data)
    if outcome.code:
        return [*wrong, f"the last run ended with {outcome.code}: {outcome.printed[-300:]}"], met
    return wrong + differences(run, whole) + left_behind(data), met


def left_behind(data):
    """Return the temporary files that a finished run left in the caches."""
    return [
        f"left behind: {path.name}" for name in MADE_BY_RUNS for path in (data / name).rglob(".*") if path.is_file()
    ]


def together(recipe, processes, kills, prepared, work, seed):
    """Start several processes on one cold cache, each with a folder of its own; kill some; all must end alike."""
    chance = random.Random(seed)
    whole, seconds = undisturbed(recipe, prepared, work)
    data = data_folder(prepared, work / "shared")
    words = [["train", recipe, "--smoke", "--run-dir", work / f"run-{i}", "--data-dir", data] for i in range(processes)]
    started = [start(each) for each in words]
    for _ in range(kills):
        time.sleep(chance.uniform(0.1, seconds * processes / 2 / max(kills, 1)))
        which = chance.randrange(processes)
        if started[which][0].poll() is None:
            stop(started[which][0], signal.SIGKILL)
            finish(started[which])
            started[which] = start(words[which])
    wrong = []
    for i, each in enumerate(started):
        outcome = finish(each, 1200)
        if outcome.code:
            wrong.append(f"process {i} ended with {outcome.code}: {outcome.printed[-300:]}")
        else:
            wrong += differences(work / f"run-{i}", whole)
    return wrong


def one_folder(recipe, prepared, work):
    """Start two processes with one --run-dir: the first ends well, the second says who holds the folder."""
    data = data_folder(prepared, work / "data-0")
    words = ["train", recipe, "--smoke", "--run-dir", work / "run", "--data-dir", data]
    first = start(words)
    while not (work / "run").is_dir() and first[0].poll() is None:
        time.sleep(0.05)
    second = call(*words)
    outcome = finish(first)
    wrong = [] if outcome.code == 0 else [f"the first ended with {outcome.code}: {outcome.printed[-300:]}"]
    if second.code != 2 or str(first[0].pid) not in second.printed:
        wrong.append(f"the second ended with {second.code}: {second.printed[-300:]}")
    return wrong
