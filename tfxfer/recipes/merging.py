"""Merges of fine-tuned classifiers, beside each parent: settings by validation, one look at the test split.

`tfxfer merge` runs it (docs/merge.md). Weights alone are merged; the arithmetic is in
`tfxfer.transfer.structure.merging`, what may be merged in `tfxfer.recipes.merge_parents`, the choice of settings in
`tfxfer.recipes.merger`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfxfer.evaluate.arms import capitalised
from tfxfer.evaluate.holm import with_adjusted
from tfxfer.evaluate.verdict import interval, verdict
from tfxfer.recipes.merge_parents import HOW, START, Opened
from tfxfer.recipes.merger import Line, Merged, Merger, Settings
from tfxfer.records import Comparison, Record
from tfxfer.tasks.classification import Task
from tfxfer.transfer.structure.merging import ensemble

AGAINST = ("best parent", "mean parent", "soup", START)  # what each merge is compared with, besides every parent
WORDS = {"helped": "better", "hurt": "worse"}


@dataclass(frozen=True)
class Merges:
    """What `merge` found.

    Attributes:
        comparison: Test probabilities of the start, each parent and each merge, as those of arms; the first verdict is
            the one that was named before: the merge that validates best against the parent that does.
        rows: A row for each: "name", "settings", "validation", "score", "low", "high", "seeds", "spread".
        pairs: Verdicts of each merge against each of `AGAINST` and each parent, with "outcome" and "adjusted_outcome".
        lines: Between the first two parents and, where there is a start, from it to the best parent.
        best: Name of the parent that validates best.
        chosen: The merge of weights that validates best: its model is saved.
        similarity: Parent -> median correlation of its kernels with those of the first.
        validation: Number of validation examples.
    """

    comparison: Comparison
    rows: tuple[dict[str, Any], ...]
    pairs: tuple[dict[str, Any], ...]
    lines: tuple[Line, ...]
    best: str
    chosen: Merged
    similarity: dict[str, float]
    validation: int


def merge(opened: Opened, task: Task, how: Sequence[str], settings: Settings, say: Callable[[str], None]) -> Merges:
    """Make the merges, choose by validation, and then answer the test split once.

    Args:
        opened: The parents, and the start where a merge needs it.
        task: Their task.
        how: Names of `HOW`, those of weights among them.
        settings: What is given and not chosen.
        say: Called with a line on each step.
    """
    merger = Merger(opened, task, settings)
    lines = [merger.line(*opened.names[:2])]
    if opened.start:
        lines.append(merger.line(START, merger.best))
    say(f"parents: {merger.best} of {len(opened.names)} validates best, {merger.scored[merger.best].accuracy:.3f}")
    made: list[Merged] = []
    for name in (one for one in HOW if one in how or one == "soup"):  # the plain average stands beside all others
        merged = _made(merger, name, lines[-1] if opened.start else None)
        made.append(merged)
        say(f"{name}: {_settings(merged) or 'nothing to choose'}, validation accuracy {merged.scored.accuracy:.3f}")
    weights_only = [merged for merged in made if merged.weights and merged.how in how]
    chosen = max(weights_only, key=lambda merged: merged.scored.score)
    records = tuple(_records(merger, made))
    comparison = _comparison(merger, records, made)
    pairs = _pairs(comparison, merger, made, chosen)
    comparison = replace(comparison, verdicts=tuple(pairs))
    return Merges(
        comparison=comparison,
        rows=tuple(_rows(comparison, merger, made)),
        pairs=tuple(pairs),
        lines=tuple(lines),
        best=merger.best,
        chosen=chosen,
        similarity=opened.similarity,
        validation=len(task.labels("validation")),
    )


def _made(merger: Merger, name: str, line: Line | None) -> Merged:
    """Return the merge of a name."""
    if name == "wise":
        return merger.wise(line)
    return getattr(merger, "task_vectors" if name == "task" else name)()


def _settings(merged: Merged) -> str:
    return ", ".join(f"{name} {value}" for name, value in merged.settings.items())


def _records(merger: Merger, made: Sequence[Merged]) -> Iterator[Record]:
    """Answer the test split with every model, once; yield the records."""
    labels, parts = merger.task.labels("test"), []

    def record(arm: str, seed: int, probabilities: np.ndarray, settings: dict[str, Any]) -> Record:
        accuracy = float(np.mean(probabilities.argmax(1) == labels))
        return Record(arm, None, seed, metrics={"accuracy": accuracy}, settings=settings, probabilities=probabilities)

    for name, weights in merger.opened.weights.items():
        probabilities = merger.predict(weights, "test")
        parts += [probabilities] if name in merger.opened.names else []
        yield record(name, 0, probabilities, {"validation": merger.scored[name].accuracy})
    for merged in made:
        own = {**merged.settings, "validation": merged.tried or merged.scored.accuracy}
        answers = [merger.predict(weights, "test") for weights in merged.weights] or [ensemble(parts)]
        for seed, probabilities in enumerate(answers):
            yield record(merged.how, seed, probabilities, own)


def _comparison(merger: Merger, records: tuple[Record, ...], made: Sequence[Merged]) -> Comparison:
    """Return the records with what each arm is."""
    task, opened = merger.task, merger.opened
    arms: dict[str, Any] = {parent.name: f"A parent, {parent.folder.name}." for parent in opened.parents}
    arms |= {START: "The model that the parents were fine-tuned from."} if opened.start else {}
    arms |= {merged.how: capitalised(HOW[merged.how].text) for merged in made}
    return Comparison(
        title=f"{len(opened.parents)} models of {task.dataset.name} merged",
        class_names=task.class_names,
        labels=task.labels("test"),
        records=records,
        recipe="merge",
        about={"arms": arms},
    )


def _rows(comparison: Comparison, merger: Merger, made: Sequence[Merged]) -> Iterator[dict[str, Any]]:
    """Yield a row for the start, for each parent and for each merge."""
    merges = {merged.how: merged for merged in made}
    for name in sorted(comparison.arms, key=lambda arm: (arm in merges, arm != START)):  # start, parents, merges
        scores = comparison.scores(name, None)
        score, low, high = interval(scores)
        seeds = [float(row.mean()) for row in scores]
        merged = merges.get(name)
        yield {
            "name": name,
            "settings": _settings(merged) if merged else "",
            "validation": (merged.scored if merged else merger.scored[name]).accuracy,
            "score": score,
            "low": low,
            "high": high,
            "seeds": len(seeds),
            "spread": [min(seeds), max(seeds)] if len(seeds) > 1 else None,
        }


def _pairs(comparison: Comparison, merger: Merger, made: Sequence[Merged], chosen: Merged) -> list[dict[str, Any]]:
    """Return the verdicts of each merge; the first is the one that was named before the test split was looked at.

    The family of Holm's adjustment are the merges against the best parent, the mean parent and the plain average.
    """
    names, best = merger.opened.names, merger.best
    parents = np.concatenate([comparison.scores(name, None) for name in names])
    others = {"best parent": comparison.scores(best, None), "mean parent": parents}
    others |= {name: comparison.scores(name, None) for name in ("soup", START, *names) if name in comparison.arms}
    rows = []
    for merged in made:
        scores = comparison.scores(merged.how, None)
        for other, theirs in others.items():
            if other != merged.how:
                found = verdict(scores, theirs, names=(merged.how, other), one_model=True)
                primary = merged is chosen and other == "best parent"
                role = "primary" if primary else "secondary" if other in AGAINST[:3] else "detail"
                rows.append(found.to_dict() | {"budget": None, "budgets": [None], "measure": "accuracy", "role": role})
    family = with_adjusted(row for row in rows if row["role"] != "detail")
    for row in (*family, *(one for one in rows if one["role"] == "detail")):
        row["outcome"] = WORDS.get(row["word"], row["word"])
        adjusted = row.get("adjusted", row["word"])
        row["adjusted_outcome"] = WORDS.get(adjusted, adjusted)
    details = [row for row in rows if row["role"] == "detail"]
    return sorted(family, key=lambda row: row["role"] != "primary") + details
