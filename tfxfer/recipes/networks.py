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
from tfxfer.recipes.task import Task
from tfxfer.records import Record
from tfxfer.runs import Run

BUFFER = 10_000  # examples among which the next one is drawn
TINY = 1e-7  # a probability below it counts as this much, as in Keras
HELD = 256 * 2**20  # bytes of validation or test inputs up to which they are held; more are read each time
KEPT = 32 * 2**20  # bytes of first weights that are kept, and not built again for the next budget
ModelOf = Callable[[int], keras.Model]  # seed -> a model: the trained one, or one with fresh weights


class Network:
    """An arm that trains a network again for every budget, seed and learning rate, compiled once.

    Compiling and tracing cost seconds, and the steps of a small budget less, so one model stays and its variables
    are set back before each training.

    Args:
        build: seed -> functional model [B, …] -> probabilities [B, C], its trainable set already chosen.
        data: (budget, seed) -> data set with `batches(split, size, keys=…, shuffle_seed=…, skip=…)` and
            `labels(split)`. Validation and test are the same for every budget and seed.
        key: Column that the model takes.
        reading: Further keyword arguments of `batches`, e.g. image_size.
        config: epochs or updates, batch_size, learning_rates and jit. The first seed of a budget sweeps the learning
            rates, the others use the one that validated best.
        on_epoch: Called with a row for each epoch.
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
        on_epoch: Callable[[dict[str, Any]], None] | None = None,
        keep: tuple[int | None, int] | None = None,
    ) -> None:
        self.build, self.data, self.key, self.reading, self.config = build, data, key, reading, config
        self.on_epoch, self.keep = on_epoch, keep
        self.model: keras.Model | None = None
        self.kept: list[np.ndarray] | None = None
        self.twin: Network | None = None
        self.chosen: dict[int | None, float] = {}
        self._rows: tuple[Any, tf.data.Dataset] | None = None
        self._asked: dict[str, tf.data.Dataset] = {}  # split -> inputs, decoded once for all trainings
        self._starts: dict[int, list[np.ndarray]] = {}

    @classmethod
    def on(cls, task: Task, build: ModelOf, config: TaskConfig, run: Run, name: str) -> "Network":
        """Return an arm that trains what `build` builds on a task; `keep` is the greatest budget, the first seed."""

        def on_epoch(row: dict[str, Any]) -> None:
            run.metric("arm training", arm=name, **row)

        keep = (max(config.labels_per_class), config.seed)
        return cls(build, task.train, task.key, task.reading, config, on_epoch=on_epoch, keep=keep)

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
        self.chosen.setdefault(record.labels_per_class, record.settings["learning_rate"])

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
        keras.utils.set_random_seed(seed)
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
            clip = 1.0 if self.config.updates else None  # few steps at a high rate: none of them may be a leap
            self.model.compile(
                keras.optimizers.Adam(global_clipnorm=clip),
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
        _draw_from(seed, model)
        for variable in model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        report, updates = self.on_epoch, self.config.updates
        epochs = self.config.epochs
        train(
            model,
            lambda epoch, skip: (
                self._updates(data, seed, updates) if updates else self._pairs(data, "train", 1000 * seed + epoch, skip)
            ),
            1 if updates else epochs,
            learning_rate=None if updates else cosine(rate, epochs),
            step_rate=warmed(rate, updates) if updates else None,
            on_epoch=report
            and (lambda row: report({**row, "learning_rate": rate, "labels_per_class": budget, "seed": seed})),
        )
        model.jit_compile = False  # the step is compiled; XLA would compile anew for each size of batch that is asked
        answers, labels = self._answers(model, data, "validation"), data.labels("validation")
        loss = -float(np.log(np.maximum(answers[np.arange(len(labels)), labels], TINY)).mean())
        if not math.isfinite(loss):
            raise TfxferError(f"learning rate {rate:g} ended in a loss of {loss}")
        return float(np.mean(answers.argmax(1) == labels)) - 1e-6 * loss, model.get_weights()

    def _answers(self, model: keras.Model, data: Any, split: str) -> np.ndarray:
        """Return probabilities float32 [N, C]; one function, traced once, answers validation and test."""
        if split not in self._asked:  # a budget reduces training alone
            inputs = self._pairs(data, split).map(lambda x, y: x)
            spec = inputs.element_spec
            small = data.sizes[split] * math.prod(spec.shape[1:]) * spec.dtype.size <= HELD
            self._asked[split] = inputs.cache() if small else inputs
        return np.asarray(model.predict(self._asked[split], verbose=0), np.float32)

    def _updates(self, data: Any, seed: int, updates: int) -> tf.data.Dataset:
        """Return `updates` batches of one size, for which XLA compiles one step; each pass has another order."""
        size = min(self.config.batch_size, data.sizes["train"])
        rows = self._cached(data).shuffle(min(data.sizes["train"], BUFFER), seed=seed)
        return rows.repeat().batch(size, drop_remainder=True).take(updates).prefetch(tf.data.AUTOTUNE)

    def _cached(self, data: Any) -> tf.data.Dataset:
        """Return the training examples one by one; decoded once for all trainings of a budget and seed."""
        if self._rows is None or self._rows[0] is not data:
            self._rows = data, self._pairs(data, "train").unbatch().cache()
        return self._rows[1]

    def _pairs(self, data: Any, split: str, shuffle: int | None = None, skip: int = 0) -> tf.data.Dataset:
        size = self.config.batch_size if split == "train" else 128
        keys = (self.key, "label")
        batches = data.batches(split, size, keys=keys, shuffle_seed=shuffle, skip=skip, **self.reading)
        return batches.map(lambda row: (row[self.key], row["label"]))


def _draw_from(seed: int, model: keras.Model) -> None:
    """Make the order of examples and dropout the same for a seed, whatever ran before in this process."""
    keras.utils.set_random_seed(seed)
    states = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    for i, state in enumerate(states):
        state.assign(np.array([1000 * seed + i, 0], state.dtype))


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
        skip: int = 0,
    ) -> tf.data.Dataset:
        """Return batches of features and labels, permuted by a seed."""
        features, labels = (np.asarray(part) for part in self.splits[split])
        if shuffle_seed is not None:
            order = np.random.default_rng(shuffle_seed).permutation(len(labels))
            features, labels = features[order], labels[order]
        columns = {"features": features, "label": labels}
        return tf.data.Dataset.from_tensor_slices(columns).batch(batch_size).skip(skip).prefetch(tf.data.AUTOTUNE)
