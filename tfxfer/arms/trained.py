"""The one arm that trains a network, whatever the network is: start weights, learning rate, seeds, what is kept.

Checkpoints: where they are asked for, the weights after some steps of the chosen training answer the test split too.
They choose nothing, and the arm's answer is the same without them (docs/checkpoints.md).

Learning rates: at each budget, the first seed climbs the grid to the rate that validates best, and the other seeds
train with that rate. A seed that validates worse with it than the first seed did with the next smaller rate steps
down, so that a rate at the edge of divergence harms no seed (docs/decisions/0012-learning-rate.md).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np

from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError
from tfxfer.experiment import Outcome
from tfxfer.fit import WeightsAt, sweep
from tfxfer.models.low_rank import begin, optimizer_bytes, trained_parameters
from tfxfer.records import Record

Weights = list[np.ndarray]
Report = Callable[[dict[str, Any]], None]


class Trained(NamedTuple):
    """What one training left.

    Attributes:
        weights: Of the model that answers.
        at: Step -> the weights after that step, of the checkpoints.
    """

    weights: Weights
    at: dict[int, Weights]


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
        own_task: Trained model -> scores of the source's own task, by their names in `Record.elsewhere`; None
            where there is no such task.
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
        self.own_task: Callable[[keras.Model], dict[str, np.ndarray]] | None = None
        self._watch: WeightsAt | None = None

    @property
    def model(self) -> keras.Model:
        """The Keras model that trains."""
        raise NotImplementedError

    def train(self, learning_rate: float, budget: int | None, seed: int) -> tuple[float, dict[str, Any]]:
        """Train `model` from the weights it has, with the callbacks of `watching`; leave the best weights in it.

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
            rate, trained = self._stepped_down(rate, tried, budget, seed)
        else:
            rate, trained, tried = self.search(budget, seed)
            self.rates[budget] = rate, tried
        if (budget, seed) == self.keep:
            self.kept = trained.weights
        earlier = self._answered_at(trained, budget, seed)
        self.model.set_weights(trained.weights)
        outcome = self.answer(budget, seed)
        settings = {"learning_rate": rate, "validation": tried, **outcome.settings}
        costs = {
            "trainable": trained_parameters(self.model),
            "parameters": self.model.count_params(),
            "optimizer_bytes": optimizer_bytes(self.model),
        }
        checkpoints = {step: earlier.get(step, outcome) for step in trained.at}
        own = self.own_task(self.model) if self.own_task else {}
        return replace(outcome, settings=settings, checkpoints=checkpoints, elsewhere=outcome.elsewhere | own, **costs)

    def search(self, budget: int | None, seed: int) -> tuple[float, Trained, dict[str, float]]:
        """Climb the grid of learning rates; return the chosen one, its training, and the score of each that was tried.

        A subclass that chooses more than the learning rate does it here.
        """
        return sweep(self.training.learning_rates, lambda rate: self._trained(rate, budget, seed))

    def watching(self, steps: int) -> list[keras.callbacks.Callback]:
        """Return the callbacks that a training of so many steps needs: what keeps the weights of its checkpoints."""
        at = self.training.checkpoint_steps(steps)
        self._watch = WeightsAt(self.model, at) if at else None
        return [self._watch] if self._watch else []

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

    def _answered_at(self, trained: Trained, budget: int | None, seed: int) -> dict[int, Outcome]:
        """Return the answers at the checkpoints whose weights are others than those that answer in the end."""
        found = {}
        for step, weights in trained.at.items():
            if not all(map(np.array_equal, weights, trained.weights)):
                self.model.set_weights(weights)
                found[step] = self.answer(budget, seed)
        return found

    def _stepped_down(
        self, rate: float, tried: dict[str, float], budget: int | None, seed: int
    ) -> tuple[float, Trained]:
        """Train at the first seed's rate; while that validates worse than a smaller one did, try the smaller one.

        Args:
            rate: The rate that the first seed chose.
            tried: Rate -> validation score of the first seed; NaN where it failed.
            budget: The budget.
            seed: This seed.
        """
        best: tuple[float, float, Trained | None] = (-math.inf, rate, None)
        failure: TfxferError | None = None
        smaller = sorted((float(one) for one in tried if float(one) < rate * (1 - 1e-6)), reverse=True)
        for each, below in zip((rate, *smaller), (*smaller, None)):
            try:
                score, trained = self._trained(each, budget, seed)
                best = max(best, (score, each, trained), key=lambda row: row[0])
            except TfxferError as error:
                failure = error
            if below is None or not best[0] < tried[f"{below:g}"]:
                break
        if best[2] is None:
            assert failure is not None  # one or the other
            raise failure
        return best[1], best[2]

    def _trained(self, rate: float, budget: int | None, seed: int) -> tuple[float, Trained]:
        """Train once from the start; return the validation score and the weights."""
        self._watch = None
        self.model.set_weights(self.start(seed))
        begin(self.model, seed)
        score, row = self.train(rate, budget, seed)
        if self.report:
            self.report({**row, "learning_rate": rate, "budget": budget, "seed": seed})
        return score, Trained(self.model.get_weights(), self._watch.kept if self._watch else {})
