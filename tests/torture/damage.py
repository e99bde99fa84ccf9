"""Flipped bytes in every file that tfxfer keeps: results are named, caches are made again, nothing wrong is served."""

import contextlib
import io
import os
import random
import shutil

from torture.runs import MADE_BY_RUNS, Outcome, call, data_folder, differences

from tfxfer import predict, train
from tfxfer.cli import main
from tfxfer.commands.list import work as list_work

WORDS = ["train", "feature", "--smoke", "--source-epochs", "1", "--source-max-examples", "512"]
WORDS += ["--labels-per-class", "2", "--controls-at", "2", "--seeds", "1", "--arms", "transfer", "random", "native"]
FLIPS = 30


def here(work, *words):
    """Run a command in this process, which saves the start of TensorFlow; an error that is none of ours is raw."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(work, [*map(str, words)])
        except BaseException as error:  # whatever a damaged file brings: it is written into the table
            return Outcome(70, f"Traceback (most recent call last)\n{type(error).__name__}: {error}", 0.0)
    return Outcome(code, out.getvalue(), 0.0)


@contextlib.contextmanager
def flipped(file, chance):
    """Change one byte of a file during the block."""
    before = file.read_bytes()
    at = chance.randrange(len(before))
    damaged = bytearray(before)
    damaged[at] ^= 1 << chance.randrange(8)
    stat = file.stat()
    file.write_bytes(damaged)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    try:
        yield at
    finally:
        file.write_bytes(before)


def results(run, text="mare", flips=FLIPS, seed=0):
    """Flip bytes in a run's files, and read the run by `predict` and `list`.

    Returns:
        file -> (answers that are right, errors that name the file or the folder, what went wrong in words).
    """
    chance, found = random.Random(seed), {}
    right = here(predict.work, run, "--text", text, "--json").printed
    for file in sorted(path for path in run.iterdir() if path.is_file() and path.stat().st_size):
        well, named, wrong = 0, 0, []
        for _ in range(flips):
            with flipped(file, chance) as at:
                answer = here(predict.work, run, "--text", text, "--json")
                wrong += [f"byte {at}: {each.printed[-200:]}" for each in (answer, here(list_work, "runs")) if each.raw]
                if answer.code == 0 and answer.printed == right:
                    well += 1
                elif answer.code in (1, 2) and run.name in answer.printed:
                    named += 1
                elif answer.code == 0:
                    wrong.append(f"byte {at}: another answer")
                else:
                    wrong.append(f"byte {at}: exit code {answer.code}: {answer.printed[-200:]}")
        found[file.name] = (well, named, wrong)
    return found


def caches(prepared, work, flips=FLIPS, seed=0):
    """Flip bytes in every cached file, and run the same command again: it must end as the undisturbed run did.

    Returns:
        file -> (runs that ended alike, what went wrong in words).
    """
    chance, found = random.Random(seed), {}
    data = data_folder(prepared, work / "data")
    whole = work / "whole"
    outcome = call(*WORDS, "--run-dir", whole, "--data-dir", data)
    assert outcome.code == 0, outcome.printed
    files = [path for name in MADE_BY_RUNS for path in sorted((data / name).rglob("*")) if path.is_file()]
    files = [path for path in files if path.stat().st_size and path.suffix != ".lock"]
    kept = {path: path.read_bytes() for path in files}
    for file in files:
        alike, wrong = 0, []
        for number in range(flips):
            for path, content in kept.items():  # what the last run made anew is put back
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            if file.parts[-3:-2] != ("records",):  # finished records would hide what is below them
                shutil.rmtree(data / "records", ignore_errors=True)
            run = work / f"run-{file.stem}-{number}"
            with flipped(file, chance) as at:
                outcome = here(train.work, *WORDS[1:], "--run-dir", run, "--data-dir", data)
            if outcome.code or outcome.raw:
                wrong.append(f"byte {at}: exit code {outcome.code}: {outcome.printed[-200:]}")
            elif differ := differences(run, whole):
                wrong.append(f"byte {at}: {', '.join(differ)} differ")
            else:
                alike += 1
            shutil.rmtree(run, ignore_errors=True)
        found["/".join(file.relative_to(data).parts[:1] + file.parts[-1:])] = (alike, wrong)
    return found
