"""Training whole networks as arms: a classifier of a task's own examples, read batch by batch."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.arms.trained import Report, TrainedArm, Weights
from tfxfer.config import RunConfig, TrainingConfig
from tfxfer.data.augment.copies import SHARES
from tfxfer.experiment import Outcome
from tfxfer.fit import rate_schedule, train, validation_score
from tfxfer.models.low_rank import optimizer_for
from tfxfer.models.randomness import reset_seed_generators, set_initializer_seed
from tfxfer.records import SHIFT
from tfxfer.streams import prompt, shuffled
from tfxfer.tasks.classification import Task

BUFFER = 10_000  # examples among which the next one is drawn
BATCH = 128  # examples read at once, and answered at once
HELD = 256 * 2**20  # bytes of a split's inputs up to which they are held in memory; more are read each time
KEPT = 32 * 2**20  # bytes of first weights that are kept, and not built again for the next budget
ModelOf = Callable[[int], keras.Model]  # seed -> a model: the pretrained one, or one with fresh weights


class TaskBatches:
    """The batches of a task, decoded once for all trainings; arms of one architecture share them.

    Args:
        task: What is learned and answered.
        bridge: What stands between a column and the model and does not train, applied once to every example.
    """

    def __init__(self, task: Task, bridge: Callable[[tf.Tensor], tf.Tensor] | None = None) -> None:
        self.task, self.bridge = task, bridge or (lambda x: x)
        self._inputs: dict[str, tf.data.Dataset] = {}  # split -> inputs
        self._rows: tuple[Any, tf.data.Dataset, int, int] | None = None
        self._copied: tuple[tuple[int, int], tf.data.Dataset, int] | None = None

    def inputs(self, split: str) -> tf.data.Dataset:
        """Return batches of a split's inputs, the same whatever the budget; held in memory where they fit.

        "shift" is the shifted test set.
        """
        if split not in self._inputs:
            dataset, own = (self.task.shift, "test") if split == SHIFT else (self.task.dataset, split)
            assert dataset is not None  # "shift" is asked for only where there is one
            inputs = self._pairs(dataset, own).map(lambda x, y: x)
            fits = dataset.sizes[own] <= _room(inputs.element_spec)
            self._inputs[split] = prompt(inputs.cache() if fits else inputs)
        return self._inputs[split]

    def training(self, data: Any, size: int, steps: int, seed: int) -> tf.data.Dataset:
        """Return `steps` batches of one size, for which XLA compiles one step; each pass has another order.

        With augmentation, the examples stand among as many edited copies as there are draws.
        """
        rows, room, count = self._examples(data, seed, size * steps)
        rows = shuffled(rows, min(count, BUFFER, room), seed)
        return rows.repeat().batch(size, drop_remainder=True).take(steps).prefetch(tf.data.AUTOTUNE)

    def _examples(self, data: Any, seed: int, draws: int) -> tuple[tf.data.Dataset, int, int]:
        """Return the training examples one by one, how many of them may be held, and how many there are.

        They are decoded once for all trainings of a budget and seed. Those that cannot all be held come in a random
        order, for a buffer that is smaller than they are does not mix what is sorted.
        """
        if self._rows is None or self._rows[0] is not data:
            pairs = self._pairs(data, "train")
            room = _room(pairs.element_spec[0])
            fits, count = data.sizes["train"] <= room, data.sizes["train"]
            rows = pairs.unbatch().cache() if fits else self._pairs(data, "train", shuffle_seed=0).unbatch()
            self._rows = data, rows, room, count
            self._copied = None
        rows, room, count = self._rows[1:]
        if self._copied is None or self._copied[0] != (seed, draws):  # with all labels, all seeds have the same data
            copies = self.task.copies(data, seed, draws)
            both = rows if copies is None else self._with_copies(rows, copies)
            self._copied = (seed, draws), both, count + (copies.sizes["train"] if copies is not None else 0)
        return self._copied[1], room, self._copied[2]

    def _with_copies(self, rows: tf.data.Dataset, copies: Any) -> tf.data.Dataset:
        """Return examples and their copies one by one; where labels are mixed, all are shares of the classes [C]."""
        arrays, classes = copies.arrays("train"), len(self.task.class_names)
        labels = arrays.get(SHARES, arrays["label"])
        if SHARES in arrays:
            rows = rows.map(lambda x, y: (x, tf.one_hot(y, classes)))
        inputs = arrays["image"] if "image" in arrays else arrays["text"]
        made = tf.data.Dataset.from_tensor_slices((inputs, labels))
        if self.task.key in arrays:  # texts that are drawn with the copies are images already
            made = made.batch(BATCH).map(lambda x, y: (self.bridge(x), y)).unbatch()
        return rows.concatenate(made.cache())

    def _pairs(self, data: Any, split: str, shuffle_seed: int | None = None) -> tf.data.Dataset:
        key, reading = self.task.key, self.task.reading
        batches = data.batches(split, BATCH, keys=(key, "label"), shuffle_seed=shuffle_seed, **reading)
        return batches.map(lambda row: (self.bridge(row[key]), row["label"]))


def _room(batch: tf.TensorSpec) -> int:
    """Return how many examples may be held in memory; the spec of a batch tells how large one is."""
    each = math.prod(batch.shape[1:]) * batch.dtype.size  # 0 for strings, which are small
    return max(1, HELD // max(1, each))


class ClassifierArm(TrainedArm):
    """An arm that trains a whole network, or the trainable part of one, on a task.

    Args:
        batches: The task's examples.
        build: seed -> functional model [B, …] -> probabilities [B, C], its trainable set already chosen.
        training: Steps or epochs, batch size, learning rates.
        config: Its first seed, and whether to compile with XLA.
        keep: The (budget, seed) whose weights `final` returns.
        report: Called with a row after each training.
        like: Another arm with the same architecture and trainable set: its compiled model serves both.
    """

    def __init__(
        self,
        batches: TaskBatches,
        build: ModelOf,
        training: TrainingConfig,
        config: RunConfig,
        keep: tuple[int | None, int],
        report: Report | None = None,
        like: "ClassifierArm | None" = None,
    ) -> None:
        super().__init__(training, self._first_weights, keep, report)
        self.batches, self.task, self.build = batches, batches.task, build
        self._compiled: Callable[[], keras.Model]
        self._compiled = (
            like._compiled
            if like
            else cache(lambda: compiled(build(config.seed), config.jit, mixed=batches.task.mixes_labels))
        )
        self._firsts: dict[int, Weights] = {}

    @property
    def model(self) -> keras.Model:
        """The compiled network."""
        return self._compiled()

    def train(self, learning_rate: float, budget: int | None, seed: int) -> tuple[float, dict[str, Any]]:
        """Train once; return validation accuracy (of equal ones, the smaller loss is better) and a row."""
        model, data = self.model, self.task.train(budget, seed)
        reset_seed_generators(model, seed)
        for variable in model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        steps = self.training.steps_for(data.sizes["train"])
        size = min(self.training.batch_size, data.sizes["train"])
        batches = self.batches.training(data, size, steps, seed)
        rates = rate_schedule(self.training.at(learning_rate), steps)
        history = train(model, lambda epoch, skip: batches, 1, step_rate=rates, callbacks=self.watching(steps))
        model.jit_compile = False  # the step is compiled; XLA would compile anew for each size of batch to predict
        return validation_score(self._predict("validation"), self.task.labels("validation")), history.rows[-1]

    def answer(self, budget: int | None, seed: int) -> Outcome:
        """Return the probabilities of the test split."""
        length = {"steps": self.training.steps} if self.training.steps else {"epochs": self.training.epochs}
        return Outcome(self._predict("test"), length, elsewhere=self.task.shifted(lambda: self._predict(SHIFT)))

    def _predict(self, split: str) -> np.ndarray:
        return np.asarray(self.model.predict(self.batches.inputs(split), verbose=0), np.float32)

    def _first_weights(self, seed: int) -> Weights:
        """Return the weights that a training with this seed starts from, the same for every budget."""
        if seed not in self._firsts:
            set_initializer_seed(seed)
            weights = [np.array(weight) for weight in self.build(seed).get_weights()]
            if sum(weight.nbytes for weight in weights) >= KEPT:
                return weights
            self._firsts[seed] = weights
        return self._firsts[seed]


def compiled(model: keras.Model, jit: bool, mixed: bool = False) -> keras.Model:
    """Compile a classifier with cross-entropy and return it, its optimizer built.

    Args:
        model: Inputs -> probabilities [B, C].
        jit: Compile with XLA.
        mixed: Labels are shares of the classes [B, C], not int [B].
    """
    losses = keras.losses
    model.compile(
        optimizer_for(model),
        losses.CategoricalCrossentropy() if mixed else losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
        jit_compile=jit,
    )
    model.optimizer.build(model.trainable_variables)
    return model
