"""The atlas: what helped where, measured, and a prediction from it of what a transfer will gain.

Its table (`tfxfer.choose.atlas_table`) has one row for each cell: a source, a bridge, a method, a target and a number
of labels a class. `python -m benchmarks.atlas` makes it; docs/atlas.md shows it. The prediction is a line in the gain
of a short pilot training, with an offset for each bridge and method:

    gain = α + β · gain of the pilot + γ · log₂(labels / labels of the pilot) + δ(bridge, method)

fitted by least squares with an L2 penalty on δ. Its interval comes from the errors that such lines make on targets
they were not fitted on. How often it is right: `tfxfer.choose.track_record`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tfxfer.choose.atlas_table import GAINS, MAKE, METHODS, Cell, Pilot, check_pair, load
from tfxfer.errors import UserError

PAIRS = tuple((bridge, method) for bridge, methods in METHODS.items() for method in methods)
LEVEL = 0.9  # of an interval
PENALTY = 6.0  # on δ: an offset from so many rows is halved. Two runs of three label counts
FEWEST_TARGETS = 3


@dataclass(frozen=True)
class Gain:
    """A predicted gain in accuracy: its mean, and the ends of a 90 % interval, within −1 and 1."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Prediction:
    """What a transfer is expected to gain over random weights and over the native baseline.

    Attributes:
        over_random: Gain over random weights.
        over_native: Gain over the native baseline.
        cells: How many cells of the atlas have this bridge and method.
    """

    over_random: Gain
    over_native: Gain
    cells: int


def predict(bridge: str, method: str, *, labels: int, pilot: Pilot | None = None) -> Prediction:
    """Predict the gain of a transfer, by the atlas.

    Args:
        bridge: A key of `METHODS`.
        method: One of its methods.
        labels: Labels a class of the training that is asked about.
        pilot: A short training of this candidate. Without one the prediction is a mean by bridge and method, and its
            interval is wide.

    Raises:
        UserError: There is no such bridge or method, labels below 1, or a pilot with more labels or with an accuracy
            outside 0 and 1.

    Example:
        >>> found = predict("render", "probe", labels=20, pilot=Pilot(5, transfer=0.2, random=0.15, native=0.35))
        >>> found.over_native.low < found.over_native.mean < found.over_native.high < 0.2
        True
    """
    check_pair(bridge, method)
    if labels < 1:
        raise UserError(f"{labels} labels a class: it must be at least 1")
    if pilot is not None:
        _check_pilot(pilot, labels)
    return _predictor().predict(bridge, method, labels=labels, pilot=pilot)


@cache
def _predictor() -> "Predictor":
    return Predictor(load())


def _check_pilot(pilot: Pilot, labels: int) -> None:
    for name in ("transfer", "random", "native"):
        value = getattr(pilot, name)
        if not 0 <= value <= 1:
            raise UserError(f"pilot: the accuracy of {name} is {value:g}; an accuracy is within 0 and 1")
    if not 1 <= pilot.labels <= labels:
        raise UserError(
            f"pilot: {pilot.labels} labels a class; a pilot has at least 1 and at most the {labels} asked about"
        )


# === The predictor ===


class Predictor:
    """Lines fitted to cells, one for each gain with a pilot and without; see the module.

    Args:
        cells: Cells of three targets or more.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        targets = {cell.target for cell in cells}
        if len(targets) < FEWEST_TARGETS:
            raise UserError(
                f"the atlas has {len(targets)} targets; a prediction needs {FEWEST_TARGETS} or more; {MAKE}"
            )
        self.cells = tuple(cells)
        self._lines = {(gain, piloted): _Line(cells, gain, piloted) for gain in GAINS for piloted in (True, False)}

    def predict(self, bridge: str, method: str, *, labels: int, pilot: Pilot | None = None) -> Prediction:
        """Return the prediction for arguments that were checked, as `tfxfer.choose.atlas.predict` does."""
        row = _Row(bridge, method, labels, pilot)
        gains = {gain: self._lines[gain, pilot is not None].gain(row) for gain in GAINS}
        return Prediction(**gains, cells=sum((cell.bridge, cell.method) == (bridge, method) for cell in self.cells))


@dataclass(frozen=True)
class _Row:
    """What a prediction is made from."""

    bridge: str
    method: str
    labels: int
    pilot: Pilot | None

    @property
    def alike(self) -> bool:
        """Whether the pilot learned from as many labels."""
        return self.pilot is not None and self.pilot.labels == self.labels

    def inputs(self, gain: str) -> np.ndarray:
        """Return [1 + (2 with a pilot) + pairs]: what the line multiplies."""
        pair = [float((self.bridge, self.method) == one) for one in PAIRS]
        if self.pilot is None:
            return np.array([1.0, *pair])
        return np.array([1.0, self.pilot.gain(gain), math.log2(self.labels / self.pilot.labels), *pair])


class _Line:
    """One line, and how wrong lines like it are on targets they were not fitted on."""

    def __init__(self, cells: Sequence[Cell], gain: str, piloted: bool) -> None:
        rows = [(cell, row) for cell in cells for row in _rows_of(cell, cells, piloted)]
        self.gain_name = gain
        X = np.stack([row.inputs(gain) for _, row in rows])
        y = np.array([getattr(cell, gain) for cell, _ in rows])
        targets = np.array([cell.target for cell, _ in rows])
        alike = np.array([row.alike for _, row in rows])
        self.weights = _solve(X, y)
        errors = np.empty(len(y))
        for target in np.unique(targets):
            out = targets == target
            errors[out] = np.abs(y[out] - X[out] @ _solve(X[~out], y[~out]))
        self._half = {kind: quantile(errors[alike == kind]) for kind in np.unique(alike)}

    def gain(self, row: _Row) -> Gain:
        """Return the predicted gain and its interval."""
        mean = float(np.clip(row.inputs(self.gain_name) @ self.weights, -1, 1))
        half = self._half.get(row.alike, max(self._half.values()))
        return Gain(mean, max(mean - half, -1.0), min(mean + half, 1.0))


def _rows_of(cell: Cell, cells: Sequence[Cell], piloted: bool) -> list[_Row]:
    """Return what a cell could be predicted from: every cell of its run with as many labels or fewer is a pilot."""
    if not piloted:
        return [_Row(cell.bridge, cell.method, cell.labels, None)]
    pilots = [one.pilot for one in cells if one.run == cell.run and one.labels <= cell.labels]
    return [_Row(cell.bridge, cell.method, cell.labels, pilot) for pilot in pilots]


def _solve(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the weights of least squares with `PENALTY` on the offsets of bridge and method alone."""
    penalty = np.zeros(X.shape[1])
    penalty[-len(PAIRS) :] = PENALTY
    return np.linalg.lstsq(X.T @ X + np.diag(penalty), X.T @ y, rcond=None)[0]


def quantile(errors: np.ndarray, level: float = LEVEL) -> float:
    """Return the error that a share `level` of further ones stays within: the ⌈(n + 1) · level⌉-th smallest.

    Raises:
        UserError: There is no error.

    References:
        Lei et al. 2018, "Distribution-Free Predictive Inference for Regression".

    >>> quantile(np.arange(1, 20) / 100)
    0.18
    """
    if not len(errors):
        raise UserError("no errors, so there is no interval")
    rank = min(math.ceil((len(errors) + 1) * level), len(errors))
    return float(np.sort(errors)[rank - 1])
