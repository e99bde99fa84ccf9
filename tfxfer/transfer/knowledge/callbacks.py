"""Keras callbacks of a training by steps: the learning rate of each step, and a stop at a loss that is not finite."""

import math
from collections.abc import Callable
from typing import Any

import keras

from tfxfer.errors import TfxferError
from tfxfer.transfer.knowledge.caption_training import DiscriminativeAdam


class StepRates(keras.callbacks.Callback):
    """Set the learning rate of each step; stop at the first loss that is not finite.

    Args:
        schedule: Step -> learning rate, as `tfxfer.fit.rate_schedule` returns it.
        first: Steps of the training that were done before this `fit`.
    """

    def __init__(self, schedule: Callable[[int], float], first: int = 0) -> None:
        super().__init__()
        self.schedule, self.first = schedule, first

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the learning rate of this step."""
        self.model.optimizer.learning_rate = self.schedule(self.first + batch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop when the mean loss is not finite."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise TfxferError(f"the loss became {loss} in step {self.first + batch + 1}; try a smaller learning rate")


class PretrainedScale(keras.callbacks.Callback):
    """Let pretrained decoder weights learn at their own fraction of the rate, and not at all in the first steps.

    Args:
        optimizer: Of the model that trains.
        scale: `decoder_lr_scale`.
        frozen: Steps at the start in which these weights are frozen.
    """

    def __init__(self, optimizer: DiscriminativeAdam, scale: float, frozen: int) -> None:
        super().__init__()
        self.optimizer, self.scale, self.frozen = optimizer, scale, frozen

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the scale of this step."""
        self.optimizer.pretrained_scale.assign(0.0 if batch < self.frozen else self.scale)
