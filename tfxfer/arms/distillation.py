"""A student trained with a teacher, alone, or with a random teacher: one network, one number of steps.

Each training is validated four times, and ends with the weights that validated best. So an arm with few labels, which
overfits when it trains as long as one with many examples, is not judged by its last step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.arms.trained import Report, Trained, TrainedArm
from tfxfer.config import TrainingConfig
from tfxfer.experiment import Outcome
from tfxfer.fit import Batches, rate_schedule, train, validation_score
from tfxfer.models.batching import in_batches
from tfxfer.models.randomness import reset_seed_generators
from tfxfer.streams import shuffled

PARTS = 4  # of a training, each followed by a validation
BUFFER = 50_000  # examples among which the next one is drawn


@dataclass(frozen=True)
class Examples:
    """What one arm trains on.

    Attributes:
        inputs: Texts [N] or images [N, H, W, C].
        targets: Output of the training network → what it is compared with, float32 [N, …].
    """

    inputs: np.ndarray
    targets: dict[str, np.ndarray]


@dataclass(frozen=True)
class Held:
    """Validation and test, which no arm trains on.

    Attributes:
        inputs: Split → texts [N] or images [N, H, W, C].
        labels: Split → int [N].
    """

    inputs: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


class StudentArm(TrainedArm):
    """A student that learns from some examples.

    Args:
        build: seed → the training network, of which the output "probabilities" is the student.
        examples: seed → what it trains on.
        held: Validation and test.
        training: Batch size and the grid of learning rates.
        steps: Steps of a training, the same for all arms.
        seed: The seed whose weights `student` returns.
        told: The student's validation probabilities → what the record keeps besides; for the hypothesis.
        report: Called with a row after each training.
    """

    def __init__(
        self,
        build: Callable[[int], keras.Model],
        examples: Callable[[int], Examples],
        held: Held,
        training: TrainingConfig,
        steps: int,
        seed: int,
        told: Callable[[np.ndarray], dict[str, Any]] | None = None,
        report: Report | None = None,
    ) -> None:
        super().__init__(training, self._first_weights, (None, seed), report)
        self.build, self.examples, self.held, self.steps, self.seed, self.told = (
            build,
            examples,
            held,
            steps,
            seed,
            told,
        )
        self._network: keras.Model | None = None
        self._firsts: dict[int, list[np.ndarray]] = {}

    @property
    def model(self) -> keras.Model:
        """The compiled training network."""
        if self._network is None:
            self._network = self.build(self.seed)
            self._predict = in_batches(self.student_of(self._network))
        return self._network

    @staticmethod
    def student_of(network: keras.Model) -> keras.Model:
        """Return the student inside a training network, which shares its weights."""
        return keras.Model(network.input, network.output["probabilities"], name="student")

    def train(self, learning_rate: float, budget: int | None, seed: int) -> tuple[float, dict[str, Any]]:
        """Train once; leave the weights in `model` that validated best, and return their score and a row."""
        network, examples = self.model, self.examples(seed)
        reset_seed_generators(network, seed)
        for variable in network.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        size = min(self.training.batch_size, len(examples.inputs))
        rates, ends = rate_schedule(self.training.at(learning_rate), self.steps), _ends(self.steps)
        best: tuple[float, list[np.ndarray]] | None = None
        row: dict[str, Any] = {}
        for part, (first, last) in enumerate(zip((0, *ends), ends)):
            batches = _batches(examples, size, last - first, PARTS * seed + part)
            history = train(network, constant(batches), 1, step_rate=partial(_later, rates, first))
            score = validation_score(self.predict("validation"), self.held.labels["validation"])
            row = {**history.rows[-1], "validation": score}
            if best is None or score > best[0]:
                best = score, network.get_weights()
        assert best is not None  # there is at least one part
        network.set_weights(best[1])
        return best[0], row

    def answer(self, budget: int | None, seed: int) -> Outcome:
        """Return the probabilities of the test split."""
        kept = self.told(self.predict("validation")) if self.told else {}
        return Outcome(self.predict("test"), {"steps": self.steps, **kept})

    def predict(self, split: str) -> np.ndarray:
        """Return the student's probabilities of a split, float32 [N, C]."""
        assert self.model is not None
        return self._predict(self.held.inputs[split])

    def student(self) -> keras.Model:
        """Return the student of the first seed, trained."""
        return self.student_of(self.final())

    def _trained(self, rate: float, budget: int | None, seed: int) -> tuple[float, Trained]:
        self._firsts = {seed: self.start(seed)}  # built once for all rates of a seed
        return super()._trained(rate, budget, seed)

    def _first_weights(self, seed: int) -> list[np.ndarray]:
        if seed not in self._firsts:
            self._firsts[seed] = [np.array(weight) for weight in self.build(seed).get_weights()]
        return self._firsts[seed]


def constant(batches: tf.data.Dataset) -> Batches:
    """Return these batches in every epoch: each part of a training is one."""
    return lambda epoch, skip: batches


def _later(rates: Callable[[int], float], first: int, step: int) -> float:
    return rates(first + step)


def _ends(steps: int) -> list[int]:
    """Return the last step of each part of a training.

    >>> _ends(10), _ends(2)
    ([2, 5, 8, 10], [1, 2])
    """
    return sorted({max(1, round(steps * (part + 1) / PARTS)) for part in range(PARTS)})


def _batches(examples: Examples, size: int, steps: int, seed: int) -> tf.data.Dataset:
    """Return batches of (inputs, targets) in an order that the seed draws."""
    inputs = examples.inputs.astype(str).tolist() if examples.inputs.dtype == object else examples.inputs
    rows = tf.data.Dataset.from_tensor_slices((inputs, examples.targets))
    mixed = shuffled(rows, min(len(examples.inputs), BUFFER), seed)
    return mixed.repeat().batch(size, drop_remainder=True).take(steps).prefetch(tf.data.AUTOTUNE)
