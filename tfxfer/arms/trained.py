"""The one arm that trains a network, whatever the network is: start weights, learning rate, seeds, what is kept.

Learning rates: at each budget, the first seed climbs the grid to the rate that validates best, and the other seeds
train with that rate. A seed that validates worse with it than the first seed did with the next smaller rate steps
down, so that a rate at the edge of divergence harms no seed (docs/decisions/0012-learning-rate.md).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError
from tfxfer.experiment import Outcome
from tfxfer.fit import sweep
from tfxfer.records import Record

Weights = list[np.ndarray]
Report = Callable[[dict[str, Any]], None]


class TrainedArm:
    """An arm that trains a network again for every budget and seed, from the same start.

    A subclass says how the network is trained and validated (`train`) and what it answers (`answer`). Arms of one
    architecture may share a model: it is compiled once, and its weights are set before each training.

    Args:
        training: Steps, batch size and the grid of learning rates.
        start: seed -> the weights that training begins with.
        keep: The (budget, seed) whose weights `final` returns.
        report: Called with a row after each training.

    Attributes:
        rates: budget -> the learning rate chosen, and the validation score of each that was tried.
    """

    def __init__(
        self,
        training: TrainingConfig,
        start: Callable[[int], Weights],
        keep: tuple[int | None, int],
        report: Report | None = None,
    ) -> None:
        self.training, self.start, self.keep, self.report = training, start, keep, report
        self.rates: dict[int | None, tuple[float, dict[str, float]]] = {}
        self.kept: Weights | None = None

    @property
    def model(self) -> keras.Model:
        """The Keras model that trains."""
        raise NotImplementedError

    def train(self, learning_rate: float, budget: int | None, seed: int) -> tuple[float, dict[str, Any]]:
        """Train `model` from the weights it has; leave the best weights in it.

        Returns:
            The validation score, the greater the better, and a row of figures for the log.
        """
        raise NotImplementedError

    def answer(self, budget: int | None, seed: int) -> Outcome:
        """Return what `model`, as its weights are now, answers on the test split."""
        raise NotImplementedError

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Train at one budget with one seed, the learning rate chosen on validation; answer the test split."""
        if budget in self.rates:
            rate, tried = self.rates[budget]
            rate, weights = self._stepped_down(rate, tried, budget, seed)
        else:
            grid = self.training.learning_rates
            rate, weights, tried = sweep(grid, lambda rate: self._trained(rate, budget, seed))
            self.rates[budget] = rate, tried
        self.model.set_weights(weights)
        if (budget, seed) == self.keep:
            self.kept = weights
        outcome = self.answer(budget, seed)
        settings = {"learning_rate": rate, "validation": tried, **outcome.settings}
        trainable = sum(int(np.prod(v.shape)) for v in self.model.trainable_variables)
        return replace(outcome, settings=settings, trainable=trainable)

    def recall(self, record: Record) -> None:
        """Go on with the learning rate that an earlier run's first seed chose."""
        chosen = record.settings["learning_rate"], record.settings["validation"]
        self.rates.setdefault(record.budget, chosen)

    def final(self) -> keras.Model:
        """Return `model` with the weights of `keep`, trained again when its record came from an earlier run."""
        if self.kept is None:
            self(*self.keep)
        assert self.kept is not None  # the line above sets it
        self.model.set_weights(self.kept)
        return self.model

    def _stepped_down(
        self, rate: float, tried: dict[str, float], budget: int | None, seed: int
    ) -> tuple[float, Weights]:
        """Train at the first seed's rate; while that validates worse than a smaller one did, try the smaller one.

        Args:
            rate: The rate that the first seed chose.
            tried: Rate -> validation score of the first seed; NaN where it failed.
            budget: The budget.
            seed: This seed.
        """
        best: tuple[float, float, Weights | None] = (-math.inf, rate, None)
        failure: TfxferError | None = None
        smaller = sorted((float(one) for one in tried if float(one) < rate * (1 - 1e-6)), reverse=True)
        for each, below in zip((rate, *smaller), (*smaller, None)):
            try:
                score, weights = self._trained(each, budget, seed)
                best = max(best, (score, each, weights), key=lambda row: row[0])
            except TfxferError as error:
                failure = error
            if below is None or not best[0] < tried[f"{below:g}"]:
                break
        if best[2] is None:
            assert failure is not None  # one or the other
            raise failure
        return best[1], best[2]

    def _trained(self, rate: float, budget: int | None, seed: int) -> tuple[float, Weights]:
        """Train once from the start; return the validation score and the weights."""
        self.model.set_weights(self.start(seed))
        score, row = self.train(rate, budget, seed)
        if self.report:
            self.report({**row, "learning_rate": rate, "budget": budget, "seed": seed})
        return score, self.model.get_weights()
