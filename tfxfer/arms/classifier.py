"""Training whole networks as arms: one compiled model an arm, its learning rate chosen on validation."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.config import TaskConfig
from tfxfer.errors import TfxferError
from tfxfer.experiment import Outcome, sweep
from tfxfer.fit import cosine, train
from tfxfer.models.randomness import reseed, seeded
from tfxfer.records import Record
from tfxfer.runs import Run
from tfxfer.streams import prompt, shuffled
from tfxfer.tasks.classification import Task

BUFFER = 10_000  # examples among which the next one is drawn
TINY = 1e-7  # a probability below it counts as this much, as in Keras
BATCH = 128  # examples read at once, and answered at once
HELD = 256 * 2**20  # bytes of a split's inputs up to which they are held in memory; more are read each time
KEPT = 32 * 2**20  # bytes of first weights that are kept, and not built again for the next budget
Bridge = Callable[[tf.Tensor], tf.Tensor]
ModelOf = Callable[[int], keras.Model]  # seed -> a model: the trained one, or one with fresh weights


class ClassifierArm:
    """An arm that trains a network again for every budget, seed and learning rate, compiled once.

    Compiling and tracing cost seconds, and the steps of a small budget less, so one model stays and its variables
    are set back before each training.

    Args:
        build: seed -> functional model [B, …] -> probabilities [B, C], its trainable set already chosen.
        data: (budget, seed) -> data set with `batches(split, size, keys=…, shuffle_seed=…)`, `labels(split)` and
            `sizes`. Validation and test are the same for every budget and seed.
        key: Column that the model takes.
        reading: Further keyword arguments of `batches`, e.g. image_size.
        config: epochs or updates, batch_size, learning_rates and jit. The first seed of a budget sweeps the learning
            rates, the others use the one that validated best.
        on_training: Called with a row for each training.
        bridge: What stands between column and model and does not train, applied once to every example.
        keep: The (budget, seed) whose weights `kept` holds afterwards.

    Attributes:
        twin: Another arm that builds the same architecture with the same trainable set; its compiled model is used.
    """

    def __init__(
        self,
        build: ModelOf,
        data: Callable[[int | None, int], Any],
        key: str,
        reading: dict[str, Any],
        config: TaskConfig,
        *,
        on_training: Callable[[dict[str, Any]], None] | None = None,
        bridge: Bridge | None = None,
        keep: tuple[int | None, int] | None = None,
    ) -> None:
        self.build, self.data, self.key, self.reading, self.config = build, data, key, reading, config
        self.on_training, self.bridge, self.keep = on_training, bridge, keep
        self.model: keras.Model | None = None
        self.kept: list[np.ndarray] | None = None
        self.twin: Network | None = None
        self.chosen: dict[int | None, float] = {}
        self._rows: tuple[Any, tf.data.Dataset, int] | None = None
        self._asked: dict[str, tf.data.Dataset] = {}  # split -> inputs, decoded once for all trainings
        self._starts: dict[int, list[np.ndarray]] = {}

    @classmethod
    def on(
        cls, task: Task, build: ModelOf, config: TaskConfig, run: Run, name: str, bridge: Bridge | None = None
    ) -> "Network":
        """Return an arm that trains what `build` builds on a task; `keep` is the greatest budget, the first seed."""

        def note(row: dict[str, Any]) -> None:
            run.metric("arm training", arm=name, **row)

        keep = (max(config.labels_per_class), config.seed)
        return cls(build, task.train, task.key, task.reading, config, on_training=note, bridge=bridge, keep=keep)

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Train, choose the learning rate on validation, and answer the test split."""
        start, data = self._start(seed), self.data(budget, seed)
        model = self._compiled(seed)
        rates = (self.chosen[budget],) if budget in self.chosen else self.config.learning_rates
        rate, weights, scores = sweep(rates, lambda rate: self._attempt(start, rate, budget, seed, data))
        self.chosen[budget] = rate
        model.set_weights(weights)
        if (budget, seed) == self.keep:
            self.kept = weights
        updates = self.config.updates
        trained = {"updates": updates} if updates else {"epochs": self.config.epochs}
        settings = {"learning_rate": rate, "validation": scores, **trained}
        trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
        return Outcome(self._answers(model, data, "test"), settings, trainable)

    def recall(self, record: Record) -> None:
        """Go on with the learning rate that an earlier run's first seed chose."""
        self.chosen.setdefault(record.budget, record.settings["learning_rate"])

    def final(self) -> keras.Model:
        """Return the model with the weights of `keep`, trained again when its record came from elsewhere."""
        assert self.keep is not None
        if self.kept is None:
            self(*self.keep)
        assert self.kept is not None
        model = self._compiled(self.keep[1])
        model.set_weights(self.kept)
        return model

    def _start(self, seed: int) -> list[np.ndarray]:
        """Return the weights that a training with this seed starts from, the same for every budget."""
        if seed in self._starts:
            return self._starts[seed]
        seeded(seed)
        model = self.build(seed)
        if self.twin is None and self.model is None:
            self.model = model
        weights = [np.array(w) for w in model.get_weights()]
        if sum(w.nbytes for w in weights) < KEPT:
            self._starts[seed] = weights
        return weights

    def _compiled(self, seed: int) -> keras.Model:
        if self.twin is not None:
            return self.twin._compiled(seed)
        if self.model is None:
            self.model = self.build(seed)
        if not self.model.compiled:
            self.model.compile(
                keras.optimizers.Adam(global_clipnorm=1.0),  # few steps at a high rate: none of them may be a leap
                keras.losses.SparseCategoricalCrossentropy(),
                metrics=["accuracy"],
                jit_compile=self.config.jit,
            )
            self.model.optimizer.build(self.model.trainable_variables)
        return self.model

    def _attempt(
        self, start: list[np.ndarray], rate: float, budget: int | None, seed: int, data: Any
    ) -> tuple[float, list[np.ndarray]]:
        """Train once from `start`; return validation accuracy (ties go to the smaller loss) and the weights."""
        model = self._compiled(seed)
        model.set_weights(start)
        reseed(model, seed)
        for variable in model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        note, updates = self.on_training, self._length(data)
        train(
            model,
            lambda epoch, skip: self._batches(data, seed, updates),
            1,
            step_rate=warmed(rate, updates),
            on_epoch=note
            and (lambda row: note({**row, "learning_rate": rate, "budget": budget, "seed": seed})),
        )
        model.jit_compile = False  # the step is compiled; XLA would compile anew for each size of batch that is asked
        answers, labels = self._answers(model, data, "validation"), data.labels("validation")
        loss = -float(np.log(np.maximum(answers[np.arange(len(labels)), labels], TINY)).mean())
        if not math.isfinite(loss):
            raise TfxferError(f"learning rate {rate:g} ended in a loss of {loss}")
        return float(np.mean(answers.argmax(1) == labels)) - 1e-6 * loss, model.get_weights()

    def _answers(self, model: keras.Model, data: Any, split: str) -> np.ndarray:
        """Return probabilities float32 [N, C]; one function, traced once, answers validation and test."""
        if self.twin is not None:
            return self.twin._answers(model, data, split)
        if split not in self._asked:  # a budget reduces training alone
            inputs = self._pairs(data, split).map(lambda x, y: x)
            fits = data.sizes[split] <= _room(inputs.element_spec)
            self._asked[split] = prompt(inputs.cache() if fits else inputs)
        return np.asarray(model.predict(self._asked[split], verbose=0), np.float32)

    def _length(self, data: Any) -> int:
        """Return the number of steps of a training."""
        steps = math.ceil(data.sizes["train"] / self.config.batch_size)
        return self.config.updates or self.config.epochs * steps

    def _batches(self, data: Any, seed: int, updates: int) -> tf.data.Dataset:
        """Return `updates` batches of one size, for which XLA compiles one step; each pass has another order."""
        size = min(self.config.batch_size, data.sizes["train"])
        rows, room = self._examples(data)
        rows = shuffled(rows, min(data.sizes["train"], BUFFER, room), seed)
        return rows.repeat().batch(size, drop_remainder=True).take(updates).prefetch(tf.data.AUTOTUNE)

    def _examples(self, data: Any) -> tuple[tf.data.Dataset, int]:
        """Return the training examples one by one, and how many of them may be held.

        They are decoded once for all trainings of a budget and seed. Those that cannot all be held come in a random
        order, for a buffer that is smaller than they are does not mix what is sorted.
        """
        if self._rows is None or self._rows[0] is not data:
            pairs = self._pairs(data, "train")
            room = _room(pairs.element_spec[0])
            fits = data.sizes["train"] <= room
            rows = pairs.unbatch().cache() if fits else self._pairs(data, "train", shuffle_seed=0).unbatch()
            self._rows = data, rows, room
        return self._rows[1:]

    def _pairs(self, data: Any, split: str, shuffle_seed: int | None = None) -> tf.data.Dataset:
        keys = (self.key, "label")
        batches = data.batches(split, BATCH, keys=keys, shuffle_seed=shuffle_seed, **self.reading)
        bridge = self.bridge or (lambda x: x)
        return batches.map(lambda row: (bridge(row[self.key]), row["label"]))


def _room(batch: tf.TensorSpec) -> int:
    """Return how many examples may be held in memory; the spec of a batch tells how large one is."""
    each = math.prod(batch.shape[1:]) * batch.dtype.size  # 0 for strings, which are small
    return max(1, HELD // max(1, each))


def warmed(rate: float, steps: int) -> Callable[[int], float]:
    """Return a schedule that rises over the first sixth of the steps and falls as a cosine.

    >>> [round(warmed(1.0, 12)(i), 2) for i in (0, 1, 2, 7, 11)]
    [0.33, 0.65, 0.92, 0.3, 0.01]
    """
    falling, rising = cosine(rate, steps), steps // 6
    return lambda i: falling(i) * min(1.0, (i + 1) / (rising + 1))


class FeatureRows:
    """Cached features in the place of a data set: `batches` of {"features": [B, D], "label": [B]}.

    Args:
        splits: split -> (features [N, D], labels [N]).
    """

    def __init__(self, splits: dict[str, tuple[Any, np.ndarray]]) -> None:
        self.splits = splits

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples of each split."""
        return {split: len(labels) for split, (_, labels) in self.splits.items()}

    def labels(self, split: str) -> np.ndarray:
        """Return int [N], the class of every example of a split."""
        return np.asarray(self.splits[split][1])

    def batches(
        self,
        split: str,
        batch_size: int,
        *,
        keys: tuple[str, str],
        shuffle_seed: int | None = None,
    ) -> tf.data.Dataset:
        """Return batches of features and labels, permuted by a seed."""
        features, labels = (np.asarray(part) for part in self.splits[split])
        if shuffle_seed is not None:
            order = np.random.default_rng(shuffle_seed).permutation(len(labels))
            features, labels = features[order], labels[order]
        rows = tf.data.Dataset.from_tensor_slices({"features": features, "label": labels})
        return rows.batch(batch_size).prefetch(tf.data.AUTOTUNE)
