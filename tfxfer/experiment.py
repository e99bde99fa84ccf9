"""Arms side by side under one budget: `compare(experiment)` runs them, keeps what failed, and draws the verdicts."""

import json
import logging
import re
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tfxfer.cache import atomic_file
from tfxfer.errors import DamagedFile, TfxferError, UserError
from tfxfer.evaluate import classification, verdicts
from tfxfer.own_files import read_own_npz, reading_own
from tfxfer.records import Comparison, Record

log = logging.getLogger("tfxfer")


@dataclass(frozen=True)
class Outcome:
    """What one arm gives back: its answers on the test split.

    Attributes:
        probabilities: float32 [N, C]; None where answers are not classes.
        settings: What validation chose, JSON-like.
        trainable: Number of trained parameters.
        scores: measure -> float [N], the higher the better, where answers are not classes.
        answers: Texts [N] that were answered, to be shown.
        checkpoints: Step -> what the network answered after that step of its training, where that was asked for.
        elsewhere: Other test set -> float [M], the score of each of its examples, the higher the better.
        parameters: Number of all parameters of the network that trained.
        optimizer_bytes: Size of the state of its optimizer.
    """

    probabilities: np.ndarray | None
    settings: dict[str, Any] = field(default_factory=dict)
    trainable: int = 0
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    answers: Sequence[str] | None = None
    checkpoints: dict[int, "Outcome"] = field(default_factory=dict)
    elsewhere: dict[str, np.ndarray] = field(default_factory=dict)
    parameters: int = 0
    optimizer_bytes: int = 0


@dataclass(frozen=True)
class Arm:
    """One way of doing the task: `run(budget, seed) -> Outcome`.

    Attributes:
        name: "transfer", "random", …
        run: Trains on the training split reduced to a budget, chooses on validation, answers the test split.
        budgets: Label budgets this arm is run at; None for all of the experiment's.
        one_seed: One seed is enough: the answer is the same for every seed, or the arm is a control that costs much.
        recall: Told of each record that is taken up instead of run, in the order of the seeds.
        plain: It trains no network, and runs in a thread beside those that do.
        probe: It fits a linear model, or none, on features that are fixed: it costs little, and runs with all
            `Experiment.probe_seeds`.
        key: What decides its records and not those of the other arms, as part of a file's name.
        asked: It runs because an option asks for it, whatever `--arms` says.
    """

    name: str
    run: Callable[[int | None, int], Outcome]
    budgets: tuple[int | None, ...] | None = None
    one_seed: bool = False
    recall: Callable[[Record], None] | None = None
    plain: bool = False
    probe: bool = False
    key: str = ""
    asked: bool = False


@dataclass(frozen=True)
class Part:
    """A part of the source that `--explain` leaves out.

    Attributes:
        name: For people, such as "convolution 1".
        family: "weights" (a group of tensors), "towers" (an encoder or decoder) or "classes" (source examples).
        arm: Transfer without it; its name names its records.
    """

    name: str
    family: str
    arm: Arm


def arm_without(part: str) -> str:
    """Return the name of the arm of transfer without a part; it can name a file, whatever the part is called.

    >>> arm_without("convolution 1"), arm_without("a/b")
    ('without convolution 1', 'without a%2Fb')
    """
    return f"without {quote(part, safe=' ')}"


@dataclass(frozen=True)
class Experiment:
    """Source, bridge, method, target and budget come in through the arms; the test split is common to all.

    Attributes:
        title: One line for people.
        class_names: Names of the C classes; none where answers are not classes.
        labels: int [N], true classes of the test split; zeros where answers are not classes.
        arms: The arms, the one under study ("transfer") first.
        budgets: Label budgets; None stands for all labels.
        seeds: Random seeds.
        probe_seeds: Random seeds of the arms that cost little (`Arm.probe`); `seeds` where there are none. More seeds
            make an interval narrower.
        source_seeds: Number of trained sources that the seeds take in turn (`Comparison.source_seeds`).
        contrasts: Pairs of arms that are compared too (`Comparison.contrasts`).
        examples: Test examples to show, dicts with "index" and "text" or "png".
        measures: What the arms are compared by; the first decides the primary verdict.
        unit: What a budget counts.
        recipe: Which recipe runs it, for the report.
    """

    title: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    arms: tuple[Arm, ...]
    budgets: tuple[int | None, ...]
    seeds: tuple[int, ...]
    examples: tuple[dict[str, Any], ...] = ()
    measures: tuple[str, ...] = ("accuracy",)
    unit: str = "labels a class"
    recipe: str = ""
    probe_seeds: tuple[int, ...] = ()
    source_seeds: int = 1
    contrasts: tuple[tuple[str, str], ...] = ()


def compare(
    experiment: Experiment,
    *,
    on_record: Callable[[Record, int, int], None] | None = None,
    kept: str | Path | None = None,
    shared: Sequence[Path] = (),
) -> Comparison:
    """Run every arm at every budget with every seed, and compare them.

    An arm that fails becomes a failed record with its error; the others go on. Only the user's interrupt and a
    `UserError` (the request itself is wrong) end the comparison.

    Args:
        experiment: What to run.
        on_record: Called with each record, how many are done, and how many there are.
        kept: Folder that keeps finished records: what it holds is taken up without running it again, after a kill
            or in a later run. The caller names the folder after everything that decides a record.
        shared: Folders with finished records of the same experiment, which are read only.

    Returns:
        A `Comparison` with a verdict of `transfer` against every other arm.
    """
    jobs = _jobs(experiment)
    names = [f"{'.'.join(filter(None, (arm.name, arm.key)))}-{n or 'all'}-{seed}.npz" for arm, n, seed in jobs]
    places = [Path(kept) / name if kept else None for name in names]
    records = []

    def run(i: int) -> Record:
        record = _run(*jobs[i], experiment)
        place = places[i]
        if place and record.status == "ok":
            _keep(record, place)
        return record

    found = [_taken_up(place) for place in places]
    for folder in shared:
        found = [record or _taken_up(folder / name) for record, name in zip(found, names)]
    missing = [i for i, (arm, _, _) in enumerate(jobs) if arm.plain and found[i] is None]
    beside = ThreadPoolExecutor(1)  # TensorFlow and SciPy let go of Python's lock while they work
    try:
        plain = {i: beside.submit(run, i) for i in missing}
        for i, ((arm, _, _), record) in enumerate(zip(jobs, found)):
            if record is None:
                record = plain[i].result() if i in plain else run(i)
            elif arm.recall:
                arm.recall(record)
            records.append(record)
            if on_record:
                on_record(record, i + 1, len(jobs))
    finally:
        beside.shutdown(cancel_futures=True)
    comparison = Comparison(
        experiment.title,
        tuple(experiment.class_names),
        np.asarray(experiment.labels, np.int32),
        tuple(records),
        examples=tuple(experiment.examples),
        measures=experiment.measures,
        unit=experiment.unit,
        recipe=experiment.recipe,
        source_seeds=experiment.source_seeds,
        contrasts=experiment.contrasts,
    )
    return with_verdicts(comparison)


def earlier_records(experiment: Experiment, folders: Sequence[Path], arms: Sequence[str]) -> Comparison:
    """Return what is kept of earlier runs of the same experiment: records of some arms, with whichever seeds."""
    found: dict[str, Record] = {}
    for folder in folders:
        for name in (f"{arm}-{budget or 'all'}-*.npz" for arm in arms for budget in experiment.budgets):
            for record in map(_taken_up, sorted(folder.glob(name))):
                if record is not None:
                    found.setdefault(record.key, record)
    return Comparison(
        experiment.title,
        tuple(experiment.class_names),
        np.asarray(experiment.labels, np.int32),
        tuple(found.values()),
        measures=experiment.measures,
        unit=experiment.unit,
        source_seeds=experiment.source_seeds,
    )


def with_verdicts(comparison: Comparison) -> Comparison:
    """Return the comparison with the verdicts of `transfer` against every other arm, and of its contrasts."""
    rows = [row for measure in comparison.measures for row in verdicts(comparison, measure=measure)]
    rows += [row for pair in comparison.contrasts for row in verdicts(comparison, *pair)]
    return replace(comparison, verdicts=tuple(rows))


def _jobs(experiment: Experiment) -> list[tuple[Arm, int | None, int]]:
    jobs = []
    for budget in experiment.budgets:
        for arm in experiment.arms:
            if arm.budgets is None or budget in arm.budgets:
                seeds = (experiment.probe_seeds or experiment.seeds) if arm.probe else experiment.seeds
                seeds = seeds[:1] if arm.one_seed else seeds
                jobs += [(arm, budget, seed) for seed in seeds]
    return jobs


def _run(arm: Arm, budget: int | None, seed: int, experiment: Experiment) -> Record:
    started = time.perf_counter()
    try:
        outcome = arm.run(budget, seed)
        metrics = _metrics(outcome, experiment)
    except UserError:
        raise
    except Exception as error:  # reported in the record, so that the other arms still count
        plain = re.sub(r"\x1b\[\d+m", "", str(error))  # Keras prints some lines bold
        said = " ".join([line.strip() for line in plain.splitlines() if line.strip()][:2])
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = "" if isinstance(error, TfxferError) else f" ({Path(where.filename).name}:{where.lineno})"
        message = f"{type(error).__name__}: {said}{place}"
        return Record(arm.name, budget, seed, "failed", message, seconds=time.perf_counter() - started)
    return Record(
        arm.name,
        budget,
        seed,
        metrics=metrics,
        settings=outcome.settings,
        trainable=outcome.trainable,
        seconds=round(time.perf_counter() - started, 3),
        probabilities=None if outcome.probabilities is None else np.asarray(outcome.probabilities, np.float32),
        scores={name: np.asarray(values, np.float32) for name, values in outcome.scores.items()},
        answers=None if outcome.answers is None else np.array(outcome.answers, dtype=np.str_),
        checkpoints={step: _example_scores(one, experiment) for step, one in outcome.checkpoints.items()},
        elsewhere={name: np.asarray(values, np.float32) for name, values in outcome.elsewhere.items()},
        parameters=outcome.parameters,
        optimizer_bytes=outcome.optimizer_bytes,
    )


def _example_scores(outcome: Outcome, experiment: Experiment) -> dict[str, np.ndarray]:
    """Return measure -> score of each test example, float32 [N], of an answer at a checkpoint."""
    scores = dict(outcome.scores)
    if outcome.probabilities is not None:
        scores["accuracy"] = np.asarray(outcome.probabilities).argmax(-1) == experiment.labels
    found = {name: np.asarray(values, np.float32) for name, values in scores.items()}
    return {name: values for name, values in found.items() if np.isfinite(values).all()}


def _metrics(outcome: Outcome, experiment: Experiment) -> dict[str, float]:
    """Return the figures of an outcome over the whole test split.

    Raises:
        TfxferError: A probability or score is not finite, or there is none of the measures.
    """
    given = {"probabilities": outcome.probabilities, **outcome.scores}
    for name, values in given.items():
        if values is not None and not np.isfinite(values).all():
            raise TfxferError(f"the model answers with {name.replace('_', ' ')} that are no numbers")
    found = {name: float(np.mean(values)) for name, values in outcome.scores.items()}
    if outcome.probabilities is not None:
        whole = classification(experiment.labels, outcome.probabilities, list(experiment.class_names))
        found |= {name: value for name, value in whole.items() if isinstance(value, float)}
    if not set(experiment.measures) & set(found):
        raise TfxferError(f"the arm gives no {experiment.measures[0]}")
    return found


def _keep(record: Record, place: Path) -> None:
    """Write a record whole; it is read back only by the same tfxfer on the same machine."""
    with atomic_file(place) as temporary, temporary.open("wb") as file:
        np.savez(file, record=np.array(json.dumps(record.plain())), **record.arrays())  # type: ignore[arg-type]


def _taken_up(place: Path | None) -> Record | None:
    """Return a kept record, or None when there is none, or its file is damaged, which is said."""
    if place is None or not place.exists():
        return None
    try:
        arrays = read_own_npz(place, "this arm is run again", needed=("record",))
        with reading_own(place, "this arm is run again"):
            return Record.of(json.loads(str(arrays["record"])), arrays)
    except DamagedFile as error:
        log.warning("%s", error)
        return None
