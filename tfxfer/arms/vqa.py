"""The arms of visual question answering: a `VisualQA`, compiled once, with one thing changed at a time.

transfer              image encoder and text encoder learned before
random                both with fresh weights
random_image_encoder  only the image encoder is fresh
random_text_encoder   only the text encoder is fresh
question_only         as transfer, and every image is the mean training image
shuffled              as transfer, but training questions are about other images
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from scipy.special import log_softmax

from tfxfer.arms.trained import Report, TrainedArm, Weights
from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError
from tfxfer.experiment import Outcome
from tfxfer.tasks.visual_questions import Questions, outcome
from tfxfer.transfer.knowledge import VisualQA
from tfxfer.transfer.knowledge.question_batches import QuestionBatch


@dataclass(frozen=True)
class VQAExamples:
    """Questions of the three splits, with what the model takes of them."""

    questions: dict[str, Questions]
    batches: dict[str, QuestionBatch]

    def blind(self) -> "VQAExamples":
        """Return the same with every image replaced by the mean training image."""
        images = self.batches["train"].images
        mean = images.mean(0, keepdims=True, dtype=np.float64)
        mean = (mean.round() if images.dtype == np.uint8 else mean).astype(images.dtype)
        blank = {s: b._replace(images=np.repeat(mean, len(b.images), 0)) for s, b in self.batches.items()}
        return replace(self, batches=blank)

    def shuffled(self, seed: int) -> "VQAExamples":
        """Return the same with the training questions, and their answers, about other images."""
        train = self.questions["train"].shuffled(seed)
        batch = self.batches["train"]._replace(image_index=train.image_index.astype(np.int32))
        return VQAExamples(self.questions | {"train": train}, self.batches | {"train": batch})


class VQAArm(TrainedArm):
    """An arm that trains a `VisualQA` for every budget and seed.

    Args:
        qa: The same object for all arms.
        start: seed -> weights of its model that training begins with.
        examples: (budget, seed) -> what is learned and answered.
        training: Steps, questions a step, learning rates.
        keep: The (budget, seed) whose weights `final` returns.
        jit: Compile with XLA.
        report: Called with a row after each training.
    """

    def __init__(
        self,
        qa: VisualQA,
        start: Callable[[int], Weights],
        examples: Callable[[int | None, int], VQAExamples],
        training: TrainingConfig,
        keep: tuple[int, int],
        jit: bool = False,
        report: Report | None = None,
    ) -> None:
        super().__init__(training, start, keep, report)
        self.qa, self.examples, self.jit = qa, examples, jit

    @property
    def model(self) -> keras.Model:
        """The network that trains."""
        return self.qa.model

    def train(self, learning_rate: float, budget: int | None, seed: int) -> tuple[float, dict[str, Any]]:
        """Train once; return the validation accuracy (of equal ones, the smaller loss is better)."""
        batches = self.examples(budget, seed).batches
        training = self.training.at(learning_rate)
        steps = training.steps_for(int((batches["train"].labels >= 0).sum()))
        watching = self.watching(steps)
        history = self.qa.fit(batches["train"], training=training, seed=seed, jit=self.jit, callbacks=watching)
        accuracy, loss = validated(self.qa.logits(batches["validation"]), batches["validation"].labels)
        if not np.isfinite(loss):
            raise TfxferError(f"learning rate {learning_rate:g} ended in a loss of {loss}")
        return accuracy - 1e-6 * loss, {"loss": history.history["loss"][-1], "validation": accuracy}

    def answer(self, budget: int | None, seed: int) -> Outcome:
        """Answer the test questions."""
        examples = self.examples(budget, seed)
        answers = self.qa.predict(examples.batches["test"]).texts
        return outcome(answers, examples.questions, {"steps": self.training.steps})

    def final_qa(self) -> VisualQA:
        """Return the model with the weights of `keep`."""
        self.final()
        return self.qa


def validated(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the accuracy, an unknown answer (−1) being wrong, and the mean loss in nats of the known ones."""
    known = labels >= 0
    loss = -log_softmax(logits, axis=1)[known, labels[known]].mean() if known.any() else 0.0
    return float((logits.argmax(1) == labels).mean()), float(loss)
