"""How often predictions from the atlas are right: coverage of their intervals, and regret of following them.

Always leave one target out: a cell is predicted by a `Predictor` that saw no cell of its target. A choice is made at
each target and number of labels, among all cells there and the native baseline. Its regret is the accuracy that it
loses against the best of them on the test split.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tfxfer.choose.atlas import Gain, Prediction, Predictor
from tfxfer.choose.atlas_table import GAINS, Cell, Pilot, load

RULE = "Texts in letters that the reader knows: read them, beside their n-grams. Everything else: the native baseline."
SCORES = ("cross_validated_probe", "logme", "h_score_shrunk", "knn_probe")
ADVICE, ALWAYS_NATIVE, STATIC, PILOT, RANDOM = (
    "prediction",
    "always native",
    "static rule",
    "best pilot",
    "random choice",
)


@dataclass(frozen=True)
class Situation:
    """A target and a number of labels: what there is to choose from.

    Attributes:
        target: The target.
        labels: Labels a class.
        cells: The candidates, beside the native baseline.
        pilots: The pilot of each candidate, with as few labels as there are cells of.
        predictions: The prediction of each, made without this target.
    """

    target: str
    labels: int
    cells: tuple[Cell, ...]
    pilots: tuple[Pilot, ...]
    predictions: tuple[Prediction, ...]

    @property
    def native(self) -> float:
        """Accuracy of the native baseline: the mean over the candidates' runs, which draw seeds of their own."""
        return float(np.mean([cell.native for cell in self.cells]))

    @property
    def best(self) -> float:
        """The greatest accuracy that there is, native included."""
        return max(self.native, *(cell.accuracy for cell in self.cells))

    def regret(self, choice: int | None) -> float:
        """Return the accuracy that a choice loses: the place of a candidate, or None for native."""
        return self.best - (self.native if choice is None else self.cells[choice].accuracy)


def situations(cells: Sequence[Cell]) -> tuple[Situation, ...]:
    """Return all targets and numbers of labels, each with predictions by a predictor that saw other targets only."""
    groups: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.target, cell.labels].append(cell)
    predictors = {
        target: Predictor([cell for cell in cells if cell.target != target])
        for target in {cell.target for cell in cells}
    }
    found = []
    for (target, labels), here in groups.items():
        pilots = [least_pilot(cell, cells) for cell in here]
        predictions = [
            predictors[target].predict(cell.bridge, cell.method, labels=labels, pilot=pilot)
            for cell, pilot in zip(here, pilots)
        ]
        found.append(Situation(target, labels, tuple(here), tuple(pilots), tuple(predictions)))
    return tuple(found)


def least_pilot(cell: Cell, cells: Sequence[Cell]) -> Pilot:
    """Return the pilot of a cell's run with the fewest labels."""
    return min((one.pilot for one in cells if one.run == cell.run), key=lambda pilot: pilot.labels)


def coverage(found: Sequence[Situation]) -> dict[str, float]:
    """Return gain -> the share of outcomes that lie within their 90 % interval, ends included."""
    return {
        gain: float(np.mean([ends.low <= value <= ends.high for ends, value in outcomes(found, gain)]))
        for gain in GAINS
    }


def outcomes(found: Sequence[Situation], gain: str) -> list[tuple[Gain, float]]:
    """Return the predicted and the measured gain of every cell."""
    return [
        (getattr(prediction, gain), getattr(cell, gain))
        for one in found
        for cell, prediction in zip(one.cells, one.predictions)
    ]


# === Ways to choose ===


def by_prediction(one: Situation) -> int | None:
    """Return the candidate with the greatest predicted gain over native; None where none is above 0."""
    gains = [prediction.over_native.mean for prediction in one.predictions]
    return int(np.argmax(gains)) if max(gains) > 0 else None


def by_rule(one: Situation) -> tuple[int | None, ...]:
    """Return all that `RULE` allows: it does not choose between sources."""
    read = tuple(i for i, cell in enumerate(one.cells) if cell.letters and cell.method == "ngrams")
    return read or (None,)


def by_pilot(one: Situation) -> int | None:
    """Return the candidate with the greatest accuracy of the pilot; None where that of native is greater."""
    best = max(range(len(one.pilots)), key=lambda i: one.pilots[i].transfer)
    native = float(np.mean([pilot.native for pilot in one.pilots]))
    return best if one.pilots[best].transfer > native else None


def by_score(one: Situation, name: str) -> int | None:
    """Return the candidate with the greatest score of its source's features; None where no candidate has one.

    No score says anything of native, nor of a φ that is trained or that reads.
    """
    values = [getattr(cell, name) for cell in one.cells]
    there = [i for i, value in enumerate(values) if value is not None]
    return max(there, key=lambda i: values[i]) if there else None


def regrets(found: Sequence[Situation]) -> dict[str, np.ndarray]:
    """Return way to choose -> its regret in each situation, accuracy [S]; the score is the one with the least."""
    ways: dict[str, list[float]] = {
        ADVICE: [one.regret(by_prediction(one)) for one in found],
        PILOT: [one.regret(by_pilot(one)) for one in found],
        STATIC: [float(np.mean([one.regret(choice) for choice in by_rule(one)])) for one in found],
        ALWAYS_NATIVE: [one.regret(None) for one in found],
    }
    scores = {name: [one.regret(by_score(one, name)) for one in found] for name in SCORES}
    best = min(scores, key=lambda name: float(np.mean(scores[name])))
    ways[f"best single score ({best})"] = scores[best]
    ways[RANDOM] = [float(np.mean([one.regret(choice) for choice in (None, *range(len(one.cells)))])) for one in found]
    return {name: np.array(values) for name, values in ways.items()}


@cache
def track_record() -> str:
    """Return in a paragraph how often predictions were right, by the atlas that comes with tfxfer."""
    return sentence(situations(load()))


def sentence(found: Sequence[Situation]) -> str:
    """Return coverage and regret in words."""
    held, lost = coverage(found), {name: float(values.mean()) for name, values in regrets(found).items()}
    cells, targets = sum(len(one.cells) for one in found), len({one.target for one in found})
    rivals = ", ".join(f"{name} {value:.3f}" for name, value in lost.items() if name != ADVICE)
    return (
        f"On {cells} measured cells, each predicted from the {targets - 1} other targets, the 90 % intervals "
        f"held {held['over_random']:.0%} of the gains over random weights and {held['over_native']:.0%} of those over "
        f"native. Choosing by the prediction lost {lost[ADVICE]:.3f} accuracy against the best choice on average; the "
        f"rivals lost: {rivals}."
    )
