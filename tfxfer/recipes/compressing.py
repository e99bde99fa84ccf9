"""A run's model made smaller in several ways, beside what it was: bytes, cost, score, and whether it is non-inferior.

`tfxfer compress` runs it (docs/compress.md). The source run is only read. Which result is saved is chosen on the
validation split; each then answers the test split, once.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError, UserError
from tfxfer.evaluate.non_inferiority import non_inferiority
from tfxfer.evaluate.verdict import interval, verdict
from tfxfer.recipes.compress_methods import Wanted
from tfxfer.recipes.compress_tasks import CompressedRun, Examples
from tfxfer.recipes.compressed_files import MODEL, Maker, Result, model_files, numbers_of, zipped_bytes
from tfxfer.recipes.inference_cost import measure
from tfxfer.records import Comparison, Record
from tfxfer.saved import from_run

TRAINED_ON = "trained_on.npz"
ROWS = ("splits.npz", TRAINED_ON)  # which rows a run was trained and scored on
SOURCE, SAVED = "source", "transfer"


@dataclass(frozen=True)
class Compressed:
    """What `compress` found.

    Attributes:
        comparison: Test answers of the source and of each result; the saved one is the arm "transfer".
        rows: A row for each, the source first: "name", "bytes", "ratio", "numbers", "validation", "score", "low",
            "high", "difference", "bound", "shown" and the costs.
        saved: Name of the result whose model is saved.
        measure: What is scored.
        margin: What may be lost.
        zipped: Bytes of the source's files when they are only packed, without any loss.
        validation: Number of validation examples.
        notes: Sentences.
    """

    comparison: Comparison
    rows: tuple[dict[str, Any], ...]
    saved: str
    measure: str
    margin: float
    zipped: int
    validation: int
    notes: tuple[str, ...] = ()


def compress(
    run: CompressedRun,
    wanted: Sequence[Wanted],
    examples: Examples,
    margin: float,
    *,
    training: TrainingConfig,
    calibrate: int,
    costs: bool,
    work: Path,
    say: Callable[[str], None],
) -> tuple[Compressed, Result]:
    """Make the results, choose by validation, and then answer the test split once.

    Args:
        run: What is compressed; it is only read.
        wanted: The results that are asked for.
        examples: Of the run.
        margin: What may be lost.
        training: Of a narrower model.
        calibrate: How many training examples, without their labels, correct biases; 0 for none.
        costs: Whether to measure times and memory.
        work: An empty folder for the results.
        say: Called with a line on each step.

    Returns:
        What was found, and the result that is to be saved.
    """
    source = Result(SOURCE, run.folder, numbers_of(run.folder / MODEL))
    made = [one for want in wanted for one in Maker(run, examples, training, calibrate, work, say).results(want)]
    every = [_validated(one, examples, run, say) for one in (source, *made)]
    chosen = _chosen(every, run.measure, margin)
    say(f"{chosen.name} is saved: {_why_chosen(every, chosen, run.measure, margin)}")
    for one in every:
        one.answers["test"] = examples.score(one.model, "test")
    if run.own_test:
        _check_reproduced(run, every[0], say)
    if costs:
        every = [_with_cost(one, examples, say) if one.name in (SOURCE, chosen.name) else one for one in every]
    comparison = _comparison(run, every, chosen, examples)
    found = Compressed(
        comparison=comparison,
        rows=tuple(_rows(run, every, margin)),
        saved=chosen.name,
        measure=run.measure,
        margin=margin,
        zipped=zipped_bytes(run.folder, work / "zipped"),
        validation=len(every[0].answers["validation"].scores[run.measure]),
        notes=tuple(note for one in every for note in one.notes),
    )
    return found, chosen


# === Scoring ===


def _validated(one: Result, examples: Examples, run: CompressedRun, say: Callable[[str], None]) -> Result:
    model = from_run(one.folder)
    answers = examples.score(model, "validation")
    score = float(answers.scores[run.measure].mean())
    if not np.isfinite(score):
        raise TfxferError(f"{one.name}: its validation score is {score}; are the weights of {run.folder} finite?")
    say(f"{one.name}: {one.bytes:,} bytes, validation {score:.3f}")
    return replace(one, answers={"validation": answers}, model=model)


def _with_cost(one: Result, examples: Examples, say: Callable[[str], None]) -> Result:
    """Measure what a prediction costs; where that fails, say so: the scores are worth more."""
    try:
        return replace(one, cost=measure(one.folder, examples.inputs()))
    except TfxferError as error:
        say(f"note: {error}")
        return one


def _score(one: Result, measure: str, split: str = "validation") -> float:
    return float(one.answers[split].scores[measure].mean())


def _chosen(every: Sequence[Result], measure: str, margin: float) -> Result:
    """Return the smallest result that validates within the margin, else the one that validates best."""
    source, results = every[0], [one for one in every[1:] if not one.control]
    within = [one for one in results if _score(one, measure) > _score(source, measure) - margin]
    if within:
        return min(within, key=lambda one: one.bytes)
    return max(results, key=lambda one: _score(one, measure))


def _why_chosen(every: Sequence[Result], chosen: Result, measure: str, margin: float) -> str:
    if _score(chosen, measure) > _score(every[0], measure) - margin:
        return f"the smallest that validates within {margin:g} of the source"
    return f"none validates within {margin:g} of the source, and this one is the best"


def _check_reproduced(run: CompressedRun, source: Result, say: Callable[[str], None]) -> None:
    """Compare the source's test scores with those in its records; raises `UserError` where the data are others."""
    budget, seed = run.saved
    now = source.answers["test"].scores[run.measure]
    rows = {r.seed: scores for r, scores in zip(run.comparison.select(SAVED, budget),
                                                run.comparison.scores(SAVED, budget, run.measure))}  # fmt: skip
    if len(now) != len(run.comparison.labels):
        raise UserError(
            f"{run.folder}: was tested on {len(run.comparison.labels):,} examples, and its data have {len(now):,} now; "
            "put the data back as they were, or run the experiment again"
        )
    if seed in rows:
        differ = float(np.mean(np.abs(rows[seed].astype(float) - now) > 1e-3))
        if differ > 0.02:
            say(f"note: the saved model scores differently from its record on {differ:.1%} of the test examples")


def _comparison(run: CompressedRun, every: Sequence[Result], chosen: Result, examples: Examples) -> Comparison:
    """Return the records with what each arm is."""
    budget, seed = run.saved
    records, arms = [], {}
    for one in every:
        arm, answers = SAVED if one is chosen or one.name == chosen.name else one.name, one.answers["test"]
        metrics = {name: float(values.mean()) for name, values in answers.scores.items()}
        plain = answers.probabilities is not None
        records.append(
            Record(
                arm, budget, seed, metrics=metrics,
                settings={"to": one.name, "bytes": one.bytes, "validation": _score(one, run.measure), **one.cost},
                probabilities=answers.probabilities, scores={} if plain else answers.scores, answers=answers.texts,
            )
        )  # fmt: skip
        what = "The model that was compressed." if one.name == SOURCE else f"Compressed: {one.name}."
        arms[arm] = {"text": what, "phrase": "the model before compression" if one.name == SOURCE else one.name,
                     "role": "control" if one.control else "baseline"}  # fmt: skip
    source, measured = run.comparison, every[0].answers["test"].scores[run.measure]
    names = [name for name in source.measures if name in every[0].answers["test"].scores]
    return Comparison(
        title=f"{run.folder.name} compressed",
        class_names=source.class_names,
        labels=examples.task.labels("test") if examples.task is not None else np.zeros(len(measured), np.int32),
        records=tuple(records),
        examples=source.examples if run.own_test else (),
        measures=tuple(names),
        unit=source.unit,
        recipe="compress",
        about={"arms": arms},
    )


def _rows(run: CompressedRun, every: Sequence[Result], margin: float) -> Iterator[dict[str, Any]]:
    """Yield the row of the source, then one for each result, with its paired difference to the source."""
    source = every[0]
    theirs = source.answers["test"].scores[run.measure]
    for one in every:
        own = one.answers["test"].scores[run.measure]
        score, low, high = interval(own)
        row = {"name": one.name, "bytes": one.bytes, "ratio": source.bytes / one.bytes, "numbers": one.numbers}
        row |= {"validation": _score(one, run.measure), "score": score, "low": low, "high": high}
        row |= {"control": one.control} | {key: one.cost.get(key) for key in ("ms_1", "ms_32", "mib", "start_mib")}
        if one is not source:
            found = verdict(own, theirs, names=(one.name, SOURCE), one_model=True)
            answers, before = one.answers["test"], source.answers["test"]
            test = non_inferiority(own, theirs, margin, answers.given != before.given)
            row |= {"difference": found.difference, "difference_low": found.low, "difference_high": found.high}
            row |= {name: getattr(test, name) for name in ("bound", "shown", "changed", "answers", "widened")}
        yield row


def save(chosen: Result, run: CompressedRun, examples: Examples, folder: Path) -> None:
    """Write the chosen model into the folder of a run, with what belongs to it."""
    for name in model_files(chosen.folder):
        shutil.copyfile(chosen.folder / name, folder / name)
    for name in ROWS if run.own_test else (TRAINED_ON,):
        if (run.folder / name).is_file():
            shutil.copyfile(run.folder / name, folder / name)
    examples.finish(folder, chosen.model)


def as_json(found: Compressed) -> dict[str, Any]:
    """Return everything that was found, as JSON can hold it."""
    plain = {name: getattr(found, name) for name in ("saved", "measure", "margin", "zipped", "validation", "notes")}
    return json.loads(json.dumps(plain | {"rows": list(found.rows)}))
