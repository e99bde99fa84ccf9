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
def flipped(files, chance):
    """Change one byte of each file during the block; give the places."""
    before = {file: file.read_bytes() for file in files}
    places = {}
    for file, content in before.items():
        places[file] = at = chance.randrange(len(content))
        damaged = bytearray(content)
        damaged[at] ^= 1 << chance.randrange(8)
        stat = file.stat()
        file.write_bytes(damaged)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    try:
        yield places
    finally:
        for file, content in before.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


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
            with flipped([file], chance) as places:
                at = places[file]
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

    A run has one damaged file in each entry of the cache, since it looks at each entry by itself. Records are damaged
    in runs of their own: finished records would hide what is below them.

    Returns:
        file -> (flips after which the run ended alike, what went wrong in words).
    """
    chance, found = random.Random(seed), {}
    data, whole = data_folder(prepared, work / "data"), work / "whole"
    outcome = call(*WORDS, "--run-dir", whole, "--data-dir", data)
    assert outcome.code == 0, outcome.printed
    kept = {
        path: path.read_bytes() for name in MADE_BY_RUNS for path in sorted((data / name).rglob("*")) if stays(path)
    }
    records = [path for path in kept if "records" in path.relative_to(data).parts]
    for number, files in enumerate(chosen(kept, records, flips, chance)):
        for path, content in kept.items():  # what the last run made anew is put back
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if files[0] not in records:
            shutil.rmtree(data / "records", ignore_errors=True)
        run = work / f"run-{number}"
        with flipped(files, chance) as places:
            outcome = here(train.work, *WORDS[1:], "--run-dir", run, "--data-dir", data)
        wrong = [f"exit code {outcome.code}: {outcome.printed[-200:]}"] if outcome.code or outcome.raw else []
        if not wrong and (differ := differences(run, whole)):
            wrong = [f"{', '.join(differ)} differ"]
        flipped_at = ", ".join(f"{path.relative_to(data)} byte {at}" for path, at in places.items())
        for file in files:
            alike, earlier = found.get(name := "/".join(file.relative_to(data).parts[:1] + file.parts[-1:]), (0, []))
            found[name] = alike + (not wrong), earlier + [f"{each} ({flipped_at})" for each in wrong]
        shutil.rmtree(run, ignore_errors=True)
    return found


def stays(path):
    """Return whether a file is kept with content: no lock, and not empty."""
    return path.is_file() and path.stat().st_size > 0 and path.suffix != ".lock"


def chosen(kept, records, flips, chance):
    """Yield the files that a run has damaged: `flips` times all records, then each other file about `flips` times."""
    for _ in range(flips):
        yield records
    entries = {}
    for path in kept:
        if path not in records:
            entries.setdefault(path.parent, []).append(path)
    for _ in range(flips * max(map(len, entries.values()))):
        yield [chance.choice(files) for files in entries.values()]
