"""The arms of retrieval: a `DualEncoder`, compiled once, whose text tower trains from different starts.

transfer              both encoders bring what they learned
random                both are fresh; the image encoder stays so
random_image_encoder  only the image encoder is fresh
random_text_encoder   only the text tower is fresh
shuffled              as transfer, but texts belong to other images
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras

from tfxfer.arms.trained import Report, TrainedArm, Weights
from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError
from tfxfer.experiment import Outcome
from tfxfer.tasks.image_text_pairs import ImageTextPairs
from tfxfer.transfer.knowledge import DualEncoder


class ContrastiveArm(TrainedArm):
    """An arm that trains the text tower of a `DualEncoder` for every budget and seed.

    Args:
        encoder: The same object for all arms.
        start: seed -> weights of its model that training begins with.
        drawn: (budget, seed) -> what is learned and answered.
        training: Steps, pairs a step, learning rates.
        keep: The (budget, seed) whose weights `final` returns.
        ridge_init: Whether the last layer of g starts at the ridge regression from texts to their images.
        report: Called with a row after each training.
    """

    def __init__(
        self,
        encoder: DualEncoder,
        start: Callable[[int], Weights],
        drawn: Callable[[int | None, int], ImageTextPairs],
        training: TrainingConfig,
        keep: tuple[int, int],
        ridge_init: bool = True,
        report: Report | None = None,
    ) -> None:
        super().__init__(training, start, keep, report)
        self.encoder, self.drawn, self.ridge_init = encoder, drawn, ridge_init

    @property
    def model(self) -> keras.Model:
        """The network that trains."""
        return self.encoder.model

    def train(self, learning_rate: float, budget: int | None, seed: int) -> tuple[float, dict[str, Any]]:
        """Train once; return the mean reciprocal rank on validation."""
        pairs = self.drawn(budget, seed)
        history = self.encoder.fit(
            pairs.features["train"],
            pairs.texts("train"),
            image_index=pairs.image_index("train"),
            ids=pairs.ids["train"],
            training=replace(self.training.at(learning_rate), steps=self.steps(budget)),
            ridge_init=self.ridge_init,
            seed=seed,
            callbacks=self.watching(self.steps(budget)),
        )
        score = pairs.validate(self.encoder.predict(pairs.features["validation"], pairs.texts("validation")))
        if score != score:
            raise TfxferError(f"learning rate {learning_rate:g} ended in a reciprocal rank that is not finite")
        return score, {"loss": history.history["loss"][-1], "validation": score}

    def answer(self, budget: int | None, seed: int) -> Outcome:
        """Return what K ranks first among the test pairs."""
        pairs = self.drawn(budget, seed)
        temperature = round(1 / float(self.encoder.matrix.scale()), 4)
        settings = {"steps": self.steps(budget), "temperature": temperature}

        def k(split: str) -> Any:
            return self.encoder.predict(pairs.features[split], pairs.texts(split))

        return pairs.outcome(k("test"), settings, validation=lambda: k("validation"))

    def steps(self, budget: int | None) -> int:
        """Return the steps of a training at a budget."""
        most = self.keep[0] or 1
        return self.training.steps_for(budget or most, (budget or most) / most)

    def final_encoder(self) -> DualEncoder:
        """Return the encoder with the weights of `keep`."""
        self.final()
        return self.encoder
