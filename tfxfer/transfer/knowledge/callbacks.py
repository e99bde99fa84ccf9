"""What is done at each step of a training: its learning rate is set, and its loss looked at."""

import math
from typing import Any

import keras

from tfxfer.errors import TfxferError
from tfxfer.fit import warmup_cosine
from tfxfer.transfer.knowledge.caption_training import DiscriminativeAdam


class WarmupCosine(keras.callbacks.Callback):
    """Sets the learning rate of each step, and stops at the first loss that is no number.

    Args:
        rate: The largest learning rate; it rises over a sixth of the steps and falls as half a cosine, to 1 %.
        steps: Steps of the training.
        first: Steps of it that were done before this `fit`.
    """

    def __init__(self, rate: float, steps: int, first: int = 0) -> None:
        super().__init__()
        self.schedule, self.first = warmup_cosine(rate, steps), first

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the learning rate of this step."""
        self.model.optimizer.learning_rate = self.schedule(self.first + batch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop when the loss so far is not finite."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise TfxferError(f"the loss became {loss} in step {self.first + batch + 1}; try a smaller learning rate")


class DecoderLearningRate(keras.callbacks.Callback):
    """Lets the carried weights learn at their own share of the rate, and not at all in the first `frozen` steps."""

    def __init__(self, optimizer: DiscriminativeAdam, share: float, frozen: int) -> None:
        super().__init__()
        self.optimizer, self.share, self.frozen = optimizer, share, frozen

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the share of this step."""
        self.optimizer.carried.assign(0.0 if batch < self.frozen else self.share)
