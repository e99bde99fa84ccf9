"""Merges of fine-tuned classifiers, each with its settings chosen on the validation split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from tfxfer.arms.classifier import TaskBatches
from tfxfer.fit import TINY, validation_score
from tfxfer.models.batch_statistics import take_statistics
from tfxfer.recipes.merge_parents import START, Opened
from tfxfer.tasks.classification import Task
from tfxfer.transfer.structure import merging
from tfxfer.transfer.structure.merging import Weights
from tfxfer.transfer.structure.weight_map.sources import KerasSource

KEEP = (0.1, 0.2, 0.5, 1.0)  # k of TIES
SCALES = (0.5, 1.0, 1.5)  # λ, as a multiple of that with which the changes are averaged
DROP = (0.1, 0.5, 0.9)  # p of DARE
EXAMPLES, BATCH = 256, 64  # training examples, without their labels, that give statistics of batch normalisation
LINE = tuple(round(0.1 * step, 1) for step in range(11))  # shares at which a line is scored


@dataclass(frozen=True)
class Settings:
    """Settings that are given, and so not chosen on validation; None for those that are chosen.

    Attributes:
        scale: λ of task vectors and of TIES.
        keep: k of TIES.
        drop: p of DARE.
        alpha: α of WiSE-FT.
        seeds: How many masks DARE draws.
        statistics: "train" estimates the statistics of batch normalisation again for each merge, on training examples;
            "mean" leaves what the merge made of the parents'.
    """

    scale: float | None = None
    keep: float | None = None
    drop: float | None = None
    alpha: float | None = None
    seeds: int = 5
    statistics: str = "train"


@dataclass(frozen=True)
class Scored:
    """Weights that were scored on the validation split.

    Attributes:
        accuracy: On validation.
        loss: Cross-entropy on validation, in nats.
        score: What is chosen by: accuracy, and of equal ones the smaller loss.
    """

    accuracy: float
    loss: float
    score: float


@dataclass(frozen=True)
class Merged:
    """A merge, its settings chosen.

    Attributes:
        how: A name of `HOW`.
        settings: Setting -> its value, in words.
        weights: Of each seed; one where there is none. Empty for the ensemble.
        scored: On validation; of several seeds the mean.
        tried: Settings in words -> validation accuracy.
    """

    how: str
    settings: dict[str, str]
    weights: tuple[Weights, ...]
    scored: Scored
    tried: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """What is scored on the line between two models, on validation.

    Attributes:
        first: Name of the model at share 0.
        second: Name of the model at share 1.
        points: Dicts with "share", "loss" and "accuracy".
        barrier: How far the loss rises above the straight line between those of both ends, in nats.
        drop: How far accuracy falls below the straight line between those of both ends.
    """

    first: str
    second: str
    points: tuple[dict[str, float], ...]
    barrier: float
    drop: float


class Merger:
    """Merges parents of one task and scores what comes out.

    Args:
        opened: The parents.
        task: Their task.
        settings: What is given.
    """

    def __init__(self, opened: Opened, task: Task, settings: Settings) -> None:
        self.opened, self.task, self.settings = opened, task, settings
        self.batches = TaskBatches(task)
        rows = task.dataset.batches("train", BATCH, keys=(task.key,), shuffle_seed=0, **task.reading)
        self.examples = rows.take(EXAMPLES // BATCH).map(lambda row: row[task.key]).cache()
        self.models = [opened.weights[name] for name in opened.names]
        self.scored = {name: self.score(weights) for name, weights in opened.weights.items()}
        self.best = max(opened.names, key=lambda name: self.scored[name].score)

    def predict(self, weights: Weights, split: str) -> np.ndarray:
        """Return the class probabilities float32 [N, C] of a split."""
        found = self.opened.put(weights).predict(self.batches.inputs(split), verbose=0)
        return np.asarray(found, np.float32)

    def score(self, weights: Weights) -> Scored:
        """Return what weights score on validation."""
        return self.scored_of(self.predict(weights, "validation"))

    def scored_of(self, probabilities: np.ndarray) -> Scored:
        """Return what probabilities [N, C] score on validation."""
        labels = self.task.labels("validation")
        loss = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], TINY)).mean()
        accuracy = np.mean(probabilities.argmax(1) == labels)
        return Scored(float(accuracy), float(loss), validation_score(probabilities, labels))

    def finished(self, weights: Weights) -> Weights:
        """Return merged weights with the statistics that belong to them."""
        if self.settings.statistics == "mean" or not self.opened.statistics:
            return weights
        network = self.opened.put(weights)
        take_statistics(network, self.examples)
        weights_now = KerasSource(network)
        return {**weights, **{path: weights_now.read(path) for path in self.opened.statistics}}

    def between(self, first: str, second: str, share: float) -> Weights:
        """Return a point of the line between two models; at its ends the models as they are."""
        ends = self.opened.weights[first], self.opened.weights[second]
        return ends[int(share)] if share in (0, 1) else self.finished(merging.interpolate(*ends, share))

    def line(self, first: str, second: str) -> Line:
        """Score the line between two models."""
        points = []
        for share in LINE:
            known = self.scored[(first, second)[int(share)]] if share in (0, 1) else None
            found = known or self.score(self.between(first, second, share))
            points.append({"share": share, "loss": found.loss, "accuracy": found.accuracy, "score": found.score})
        drop = merging.loss_barrier([-point["accuracy"] for point in points])
        return Line(first, second, tuple(points), merging.loss_barrier([point["loss"] for point in points]), drop)

    # === Merges ===

    def soup(self) -> Merged:
        """Return the plain average."""
        weights = self.finished(merging.uniform_soup(self.models))
        return Merged("soup", {}, (weights,), self.score(weights))

    def greedy(self) -> Merged:
        """Return the greedy soup."""
        known = [self.scored[name].score for name in self.opened.names]
        soup, kept = merging.greedy_soup(self.models, lambda one: self.score(self.finished(one)).score, known)
        weights = self.finished(soup) if len(kept) > 1 else self.models[kept[0]]
        members = ", ".join(self.opened.names[place].removeprefix("parent ") for place in kept)
        return Merged("greedy", {"parents": members}, (weights,), self.score(weights))

    def task_vectors(self) -> Merged:
        """Return the task vectors with the λ that validates best."""
        even = 1 / len(self.models)
        grid = [self.settings.scale] if self.settings.scale is not None else [even * scale for scale in SCALES]

        def made(scale: float) -> list[Weights]:
            return [merging.task_vectors(self._start, self.models, scale, self.opened.statistics)]

        return self._chosen("task", [{"λ": scale} for scale in grid], lambda one: made(one["λ"]))

    def ties(self) -> Merged:
        """Return the TIES merge with the k and λ that validate best."""
        keeps = KEEP if self.settings.keep is None else (self.settings.keep,)
        scales = SCALES if self.settings.scale is None else (self.settings.scale,)

        def made(one: Mapping[str, float]) -> list[Weights]:
            return [merging.ties(self._start, self.models, one["k"], one["λ"], self.opened.statistics)]

        return self._chosen("ties", [{"k": keep, "λ": scale} for keep, scale in product(keeps, scales)], made)

    def dare(self) -> Merged:
        """Return the DARE merges of all seeds with the p whose mean over them validates best."""
        even = 1 / len(self.models)
        drops = DROP if self.settings.drop is None else (self.settings.drop,)

        def made(one: Mapping[str, float]) -> list[Weights]:
            return [
                merging.dare(self._start, self.models, one["p"], even, seed, self.opened.statistics)
                for seed in range(self.settings.seeds)
            ]

        return self._chosen("dare", [{"p": drop} for drop in drops], made)

    def wise(self, line: Line | None = None) -> Merged:
        """Return the point of the line from the start to the best parent that validates best."""
        if self.settings.alpha is not None:
            given = self.settings.alpha
            weights = self.between(START, self.best, given)
            return Merged("wise", {"α": f"{given:g}"}, (weights,), self.score(weights))
        points = (line or self.line(START, self.best)).points
        chosen = max(points, key=lambda point: point["score"])
        tried = {f"α {point['share']:g}": point["accuracy"] for point in points}
        scored = Scored(chosen["accuracy"], chosen["loss"], chosen["score"])
        weights = self.between(START, self.best, chosen["share"])
        return Merged("wise", {"α": f"{chosen['share']:g}"}, (weights,), scored, tried)

    def ensemble(self) -> Merged:
        """Return the ensemble of the parents, which has no weights of its own."""
        parts = [self.predict(weights, "validation") for weights in self.models]
        return Merged("ensemble", {}, (), self.scored_of(merging.ensemble(parts)))

    @property
    def _start(self) -> Weights:
        return self.opened.weights[START]

    def _chosen(
        self, how: str, grid: Sequence[dict[str, float]], made: Callable[[dict[str, float]], list[Weights]]
    ) -> Merged:
        """Return the merge with the settings of a grid that validate best, in the mean over its seeds."""
        best: tuple[float, Merged] | None = None
        tried = {}
        for settings in grid:
            weights = [self.finished(one) for one in made(settings)]
            scored = _mean([self.score(one) for one in weights])
            words = {name: f"{value:.3g}" for name, value in settings.items()}
            tried[", ".join(f"{name} {value}" for name, value in words.items())] = scored.accuracy
            if best is None or scored.score > best[0]:
                best = scored.score, Merged(how, words, tuple(weights), scored, tried)
        assert best is not None  # a grid has a value
        return best[1]


def _mean(rows: Sequence[Scored]) -> Scored:
    return Scored(*(float(np.mean([getattr(row, name) for row in rows])) for name in ("accuracy", "loss", "score")))
