"""Arms side by side under one budget: `compare(experiment)` runs them, keeps what failed, and draws the verdicts."""

import json
import re
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.cache import atomic_file
from tfxfer.errors import TfxferError, UserError
from tfxfer.evaluate import classification, verdicts
from tfxfer.records import Comparison, Record


@dataclass(frozen=True)
class Outcome:
    """What one arm gives back: its answers on the test split.

    Attributes:
        probabilities: float32 [N, C].
        settings: What validation chose, JSON-like.
        trainable: Number of trained parameters.
    """

    probabilities: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)
    trainable: int = 0


@dataclass(frozen=True)
class Arm:
    """One way of doing the task: `run(labels_per_class, seed) -> Outcome`.

    Attributes:
        name: "transfer", "random", …
        run: Trains on the training split reduced to a budget, chooses on validation, answers the test split.
        budgets: Label budgets this arm is run at; None for all of the experiment's.
        one_seed: The arm gives the same answer for every seed, so one is enough.
    """

    name: str
    run: Callable[[int | None, int], Outcome]
    budgets: tuple[int | None, ...] | None = None
    one_seed: bool = False


@dataclass(frozen=True)
class Experiment:
    """Source, bridge, method, target and budget come in through the arms; the test split is common to all.

    Attributes:
        title: One line for people.
        class_names: Names of the C classes.
        labels: int [N], true classes of the test split.
        arms: The arms, the one under study ("transfer") first.
        budgets: Label budgets; None stands for all labels.
        seeds: Random seeds.
        examples: Test examples to show, dicts with "index" and "text" or "png".
    """

    title: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    arms: tuple[Arm, ...]
    budgets: tuple[int | None, ...]
    seeds: tuple[int, ...]
    examples: tuple[dict[str, Any], ...] = ()


def compare(
    experiment: Experiment,
    *,
    on_record: Callable[[Record, int, int], None] | None = None,
    unfinished: str | Path | None = None,
) -> Comparison:
    """Run every arm at every budget with every seed, and compare them.

    An arm that fails becomes a failed record with its error; the others go on. Only the user's interrupt and a
    `UserError` (the request itself is wrong) end the comparison.

    Args:
        experiment: What to run.
        on_record: Called with each record, how many are done, and how many there are.
        unfinished: Folder that keeps finished records, so that the same experiment can go on after a kill; its
            records are taken up without running them again.

    Returns:
        A `Comparison` with a verdict of `transfer` against every other arm.
    """
    jobs = _jobs(experiment)
    records = []
    for done, (arm, budget, seed) in enumerate(jobs, start=1):
        place = Path(unfinished) / f"{arm.name}-{budget or 'all'}-{seed}.npz" if unfinished else None
        record = _taken_up(place) or _run(arm, budget, seed, experiment)
        if place and record.status == "ok":
            _keep(record, place)
        records.append(record)
        if on_record:
            on_record(record, done, len(jobs))
    comparison = Comparison(
        experiment.title,
        tuple(experiment.class_names),
        np.asarray(experiment.labels, np.int32),
        tuple(records),
        examples=tuple(experiment.examples),
    )
    return with_verdicts(comparison)


def with_verdicts(comparison: Comparison) -> Comparison:
    """Return the comparison with the verdicts of `transfer` against every other arm."""
    return replace(comparison, verdicts=tuple(verdicts(comparison)))


def _jobs(experiment: Experiment) -> list[tuple[Arm, int | None, int]]:
    jobs = []
    for budget in experiment.budgets:
        for arm in experiment.arms:
            if arm.budgets is None or budget in arm.budgets:
                seeds = experiment.seeds[:1] if arm.one_seed else experiment.seeds
                jobs += [(arm, budget, seed) for seed in seeds]
    return jobs


def _run(arm: Arm, budget: int | None, seed: int, experiment: Experiment) -> Record:
    started = time.perf_counter()
    try:
        outcome = arm.run(budget, seed)
        if not np.isfinite(outcome.probabilities).all():
            raise TfxferError("the model answers with probabilities that are no numbers")
        scores = classification(experiment.labels, outcome.probabilities, list(experiment.class_names))
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
        metrics={k: v for k, v in scores.items() if isinstance(v, float)},
        settings=outcome.settings,
        trainable=outcome.trainable,
        seconds=round(time.perf_counter() - started, 3),
        probabilities=np.asarray(outcome.probabilities, np.float32),
    )


def _keep(record: Record, place: Path) -> None:
    """Write a record whole; it is read back only by the same tfxfer on the same machine."""
    if place.exists():
        return
    plain = {k: v for k, v in asdict(record).items() if k != "probabilities"}
    with atomic_file(place) as temporary, temporary.open("wb") as file:
        np.savez(file, record=np.array(json.dumps(plain)), probabilities=record.probabilities)  # type: ignore[arg-type]


def _taken_up(place: Path | None) -> Record | None:
    if place is None or not place.exists():
        return None
    with np.load(place) as file:
        return Record(**json.loads(str(file["record"])), probabilities=file["probabilities"])


def sweep(values: Sequence[float], train: Callable[[float], tuple[float, Any]]) -> tuple[float, Any, dict[str, float]]:
    """Try settings, keep the one that validates best; a setting that fails only drops out.

    Args:
        values: Learning rates (or strengths) to try.
        train: value -> (validation score, result); the greatest score wins.

    Returns:
        The chosen value, its result, and all scores by value (NaN for those that failed).

    Raises:
        TfxferError: every value failed; carries the last error.
    """
    scores: dict[str, float] = {}
    best: tuple[float, float, Any] | None = None
    failure: Exception | None = None
    for value in values:
        try:
            score, result = train(value)
        except UserError:
            raise
        except (TfxferError, ArithmeticError) as error:
            scores[f"{value:g}"], failure = float("nan"), error
            continue
        scores[f"{value:g}"] = round(float(score), 6)
        if best is None or score > best[0]:
            best = (score, value, result)
    if best is None:
        raise TfxferError(f"none of the settings {list(values)} worked; the last said: {failure}") from failure
    return best[1], best[2], scores
