"""Training that survives: exact resume after a kill, a stop at the first NaN, the best weights kept.

Keras' own `BackupAndRestore` forgets random states and the place inside an epoch, and `Model.save` is not atomic.
Here one file holds every variable of model and optimizer and the place in the data; it is replaced, never rewritten.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf

from tfxfer.cache import atomic_file
from tfxfer.config import TrainingConfig
from tfxfer.errors import DamagedFile, TfxferError, UserError
from tfxfer.own_files import read_own_npz, reading_own
from tfxfer.streams import prompt, shuffled

log = logging.getLogger("tfxfer")
WARM_UP = 10  # steps in which a constant learning rate rises, the same for trainings of any length
TINY = 1e-7  # a probability below it counts as this much, as in Keras
_SHAPES: WeakKeyDictionary[keras.Model, Any] = WeakKeyDictionary()  # model -> shapes and types of its last batches
Batches = Callable[[int, int], tf.data.Dataset]  # (epoch, batches to skip) -> (inputs, targets) batches


@dataclass
class History:
    """The rows of a training: one dict an epoch with "epoch", "loss", "seconds" and the metrics."""

    rows: list[dict[str, float]] = field(default_factory=list)
    resumed_at: tuple[int, int] | None = None  # (epoch, step) where an interrupted training was taken up

    def best(self, monitor: str) -> dict[str, float]:
        """Return the row with the greatest `monitor`, the smallest for losses."""
        sign = -1 if monitor.endswith("loss") else 1
        return max(self.rows, key=lambda row: sign * row.get(monitor, -sign * math.inf))


def train(
    model: keras.Model,
    batches: Batches,
    epochs: int,
    *,
    validation: tf.data.Dataset | None = None,
    learning_rate: Callable[[int], float] | None = None,
    step_rate: Callable[[int], float] | None = None,
    monitor: str | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 30.0,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> History:
    """Fit a compiled model through `Model.fit`, one epoch at a time.

    Args:
        model: Compiled functional model.
        batches: Function (epoch, skip) -> `tf.data` of (inputs, targets); must give the same batches in the same
            order for the same epoch, so that an interrupted epoch can go on after `skip` batches.
        epochs: Number of epochs.
        validation: Batches of (inputs, targets) evaluated after each epoch.
        learning_rate: Function epoch -> learning rate, set at the start of each epoch; None leaves it alone.
        step_rate: Function step of the epoch -> learning rate, set before each step.
        monitor: Metric whose best epoch's weights the model ends with, e.g. "val_accuracy"; None: the last epoch's.
        checkpoint: File that holds the state of an unfinished training; removed by the caller when all is done.
        checkpoint_seconds: Seconds between two checkpoints inside an epoch.
        on_epoch: Called with each finished epoch's row.
        callbacks: Further callbacks of Keras, such as `WeightsAt`.

    Returns:
        The `History`; the model holds the monitored best (or last) weights.

    Raises:
        TfxferError: the loss became NaN or infinite (names epoch and step; the model holds the weights of the last
            good epoch), or the data set gave no batch.
    """
    state = _State(model, Path(checkpoint) if checkpoint else None, checkpoint_seconds, monitor)
    state.restore()
    for epoch in range(state.epoch, epochs):
        started = time.perf_counter()
        if learning_rate:
            model.optimizer.learning_rate = learning_rate(epoch)
        watching = [_Watch(state, epoch, step_rate), *callbacks]
        fitted = fit_batches(model, prompt(batches(epoch, state.step)), watching)
        logs = {k: float(v[-1]) for k, v in fitted.history.items()}
        if not logs and not state.step:
            raise TfxferError("training got no batch: the training split is empty")
        state.check_weights(epoch)
        if validation is not None:
            scores = model.evaluate(prompt(validation), verbose=0, return_dict=True)
            logs |= {f"val_{name}": float(value) for name, value in scores.items()}
        row = {"epoch": epoch + 1, **logs, "seconds": round(time.perf_counter() - started, 3)}
        state.end_epoch(row)
        if on_epoch:
            on_epoch(row)
    state.load_best()
    return state.history


def fit_batches(
    model: keras.Model, batches: tf.data.Dataset, callbacks: Sequence[keras.callbacks.Callback]
) -> keras.callbacks.History:
    """Fit a compiled model on batches in their order, once; equal to the last bit whatever it was fitted on before.

    When batches of another shape come, Keras would trace the training step again with open shapes, for them and for all
    that follow. Such a step rounds in another way, so a training would depend on those before it in the process, and an
    interrupted run would end with other weights. Here a new shape gets a step of its own.
    """
    shape = batches.element_spec
    if _SHAPES.get(model, shape) != shape:
        model.train_function = None  # Keras makes it when it is None
    _SHAPES[model] = shape
    return model.fit(batches, verbose=0, shuffle=False, callbacks=list(callbacks))


def cosine(rate: float, epochs: int) -> Callable[[int], float]:
    """Return the schedule that lowers `rate` along half a cosine, to 1 % of it in the last epoch.

    >>> schedule = cosine(1.0, 11)
    >>> schedule(0), round(schedule(5), 3), round(schedule(10), 3)
    (1.0, 0.505, 0.01)
    """
    last = max(1, epochs - 1)
    return lambda epoch: rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(epoch, last) / last)))


def warmup_cosine(rate: float, steps: int) -> Callable[[int], float]:
    """Return the schedule that rises over the first sixth of the steps and falls along half a cosine, to 1 %.

    >>> [round(warmup_cosine(1.0, 12)(i), 2) for i in (0, 1, 2, 7, 11)]
    [0.33, 0.65, 0.92, 0.3, 0.01]
    """
    falling, rising = cosine(rate, steps), steps // 6
    return lambda step: falling(step) * min(1.0, (step + 1) / (rising + 1))


def warmup_constant(rate: float) -> Callable[[int], float]:
    """Return the schedule that rises over the first `WARM_UP` steps and stays, however many steps follow.

    >>> [round(warmup_constant(1.0)(i), 2) for i in (0, 4, 9, 10, 1000)]
    [0.1, 0.5, 1.0, 1.0, 1.0]
    """
    return lambda step: rate * min(1.0, (step + 1) / WARM_UP)


def rate_schedule(training: TrainingConfig, steps: int) -> Callable[[int], float]:
    """Return the learning rate of each step of a training: `warmup_cosine` or `warmup_constant`."""
    if training.schedule == "constant":
        return warmup_constant(training.learning_rate)
    return warmup_cosine(training.learning_rate, steps)


class WeightsAt(keras.callbacks.Callback):
    """Keep the weights of a model as they are after some steps of its training, which it does not change.

    One callback may go through several calls of `fit` that are parts of one training.

    Args:
        of: The model whose weights are kept; it may be a part of the one that trains.
        steps: After which steps, the first being 1.

    Attributes:
        kept: Step -> weights. Those that never changed are the same arrays, so a frozen body is held once.
    """

    def __init__(self, of: keras.Model, steps: Sequence[int]) -> None:
        super().__init__()
        self.of, self.steps, self.done = of, frozenset(steps), 0
        self.first = of.get_weights()
        self.kept: dict[int, list[np.ndarray]] = {}

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the step, and keep the weights where they are wanted."""
        self.done += 1
        if self.done in self.steps:
            pairs = zip(self.first, self.of.get_weights())
            self.kept[self.done] = [old if np.array_equal(old, new) else new for old, new in pairs]


def fit_in_memory(
    model: keras.Model, inputs: np.ndarray, labels: np.ndarray, training: TrainingConfig, seed: int
) -> History:
    """Fit a compiled model on arrays, in batches of one size and in orders that a seed draws.

    Args:
        model: Compiled.
        inputs: [N, …].
        labels: int [N].
        training: Steps (or epochs), batch size, and one learning rate.
        seed: Of the order.
    """
    steps = training.steps_for(len(labels))
    size = min(training.batch_size, len(labels))
    rows = shuffled(tf.data.Dataset.from_tensor_slices((inputs, labels)), len(labels), seed)
    batches = rows.repeat().batch(size, drop_remainder=True).take(steps)
    return train(model, lambda epoch, skip: batches, 1, step_rate=rate_schedule(training, steps))


def sweep(values: Sequence[float], train: Callable[[float], tuple[float, Any]]) -> tuple[float, Any, dict[str, float]]:
    """Climb a grid of settings from its middle value to one whose two neighbours validate no better.

    A grid much wider than what is tried keeps the choice away from the edge: of ten learning rates, three or four
    are trained. A setting that fails counts as the worst.

    Args:
        values: Learning rates (or strengths) that may be tried.
        train: value -> (validation score, result); the greatest score wins.

    Returns:
        The chosen value, its result, and the scores of all values that were tried (NaN for those that failed).

    Raises:
        TfxferError: every value that was tried failed; carries the last error.
    """
    grid = sorted(set(values))
    scores: dict[int, float] = {}  # place in the grid -> score
    best: tuple[int, Any] | None = None
    failure: Exception | None = None
    queue = [(len(grid) - 1) // 2]
    while queue:
        place = queue.pop(0)
        try:
            scores[place], result = train(grid[place])
        except UserError:
            raise
        except (TfxferError, ArithmeticError) as error:
            scores[place], failure = -math.inf, error
            result = None
        if result is not None and (best is None or scores[place] > scores[best[0]]):
            best = (place, result)
        # where nothing works yet, a smaller value may
        next_to = (best[0] + 1, best[0] - 1) if best else (min(scores) - 1,)
        queue = [p for p in next_to if 0 <= p < len(grid) and p not in scores][:1]
    tried = {f"{grid[p]:g}": round(float(s), 6) if math.isfinite(s) else math.nan for p, s in sorted(scores.items())}
    if best is None:
        raise TfxferError(f"none of the settings {list(tried)} worked; the last said: {failure}") from failure
    return grid[best[0]], best[1], tried


def validation_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return what validation chooses a classifier by: accuracy; of equal ones, the smaller mean loss is better.

    Args:
        probabilities: float [N, C].
        labels: int [N].

    Raises:
        TfxferError: The loss is not finite.
    """
    loss = -float(np.log(np.maximum(probabilities[np.arange(len(labels)), labels], TINY)).mean())
    if not math.isfinite(loss):
        raise TfxferError(f"the validation loss is {loss}; try a smaller learning rate")
    return float(np.mean(probabilities.argmax(1) == labels)) - 1e-6 * loss


class _State:
    """Everything an interrupted training needs, in memory and in one file."""

    def __init__(self, model: keras.Model, path: Path | None, every: float, monitor: str | None) -> None:
        self.model, self.path, self.every, self.monitor = model, path, every, monitor
        self.epoch, self.step = 0, 0
        self.history = History()
        self.best: list[np.ndarray] | None = None
        self.good: list[np.ndarray] = model.get_weights()  # of the last finished epoch
        self.saved_at = time.monotonic()
        model.optimizer.build(model.trainable_variables)

    def variables(self) -> list[Any]:
        """Model variables with the states of random generators, then the optimizer's, each once."""
        both = [*self.model.variables, *self.model.optimizer.variables]
        return list({id(v): v for v in both}.values())

    def save(self) -> None:
        if self.path is None:
            return
        arrays = {f"v{i}": np.asarray(v) for i, v in enumerate(self.variables())}
        arrays |= {f"best{i}": w for i, w in enumerate(self.best or [])}
        arrays |= {f"good{i}": w for i, w in enumerate(self.good)}
        place = {"epoch": self.epoch, "step": self.step, "rows": self.history.rows}
        with atomic_file(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, place=np.array(json.dumps(place)), **arrays)  # type: ignore[arg-type]
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        if self.path is None or not self.path.exists():
            return
        variables, remedy = self.variables(), "the training begins anew"
        try:
            file = read_own_npz(self.path, remedy, needed=("place",))
            with reading_own(self.path, remedy):
                place = json.loads(str(file["place"]))
                epoch, step, rows = int(place["epoch"]), int(place["step"]), list(place["rows"])
                values = [file[f"v{i}"] for i in range(sum(name[:1] == "v" for name in file))]
                good = [file[f"good{i}"] for i in range(len(self.good))]
                best = [file[f"best{i}"] for i in range(len(self.good))] if "best0" in file else None
        except DamagedFile as error:
            log.warning("%s", error)
            return
        if [value.shape for value in values] != [tuple(v.shape) for v in variables]:
            raise TfxferError(f"{self.path}: belongs to another model; delete it and start again")
        for variable, value in zip(variables, values):
            variable.assign(value)
        self.good, self.best = good, best
        self.epoch, self.step, self.history.rows = epoch, step, rows
        self.history.resumed_at = (self.epoch, self.step)

    def check_weights(self, epoch: int) -> None:
        """Stop when a weight is no number, which a ReLU can hide from the loss."""
        for weight in self.model.weights:
            if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
                self.stop(f"the weights {weight.path} became NaN or infinite in epoch {epoch + 1}", epoch)

    def stop(self, what: str, epoch: int) -> None:
        """Put the last good epoch's weights back and raise."""
        self.model.set_weights(self.good)
        kept = f"the weights of epoch {epoch} are kept" if epoch else "no epoch was finished"
        place = f" in {self.path}" if epoch and self.path else ""
        raise TfxferError(
            f"{what}; {kept}{place}. Try a smaller learning rate, or float32 instead of a mixed precision."
        )

    def end_epoch(self, row: dict[str, float]) -> None:
        self.history.rows.append(row)
        self.epoch, self.step = int(row["epoch"]), 0
        self.good = self.model.get_weights()
        if self.monitor and self.history.best(self.monitor) is row:
            self.best = self.good
        self.save()

    def load_best(self) -> None:
        if self.best is not None:
            self.model.set_weights(self.best)


class _Watch(keras.callbacks.Callback):
    """Inside an epoch: sets the learning rate, saves now and then, stops at the first loss that is not a number."""

    def __init__(self, state: _State, epoch: int, rate: Callable[[int], float] | None) -> None:
        super().__init__()
        self.state, self.epoch, self.first, self.rate = state, epoch, state.step, rate

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.rate:
            self.model.optimizer.learning_rate = self.rate(self.first + batch)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        state = self.state
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            step = self.first + batch + 1
            state.stop(f"the loss became {loss} in epoch {self.epoch + 1}, step {step}", self.epoch)
        state.step = self.first + batch + 1
        if time.monotonic() - state.saved_at > state.every:
            state.save()
