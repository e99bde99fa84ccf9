"""The arms of knowledge fusion: one training protocol, and one thing changed at a time.

transfer                   the head under study over both pretrained encoders
random                     the same head over both encoders with fresh weights
shuffled                   the same head, trained and tested with the image of another example
image_only, text_only      a hidden layer over one side alone
better_single              of these two the one that validates better
average … cross_attention  the other heads
native                     n-grams of the text and logistic regression
native_with_image          the same beside φ(image), in one linear model
native_with_random_image   the same beside φ(image) of an encoder with fresh weights
majority                   no input at all
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import keras
import numpy as np

from tfxfer.arms.beside_ngrams import beside_ngrams
from tfxfer.arms.trained import Report, Trained, TrainedArm
from tfxfer.baselines.classification import native_text
from tfxfer.config import TrainingConfig, middle
from tfxfer.experiment import Outcome
from tfxfer.fit import sweep, validation_score
from tfxfer.records import Record
from tfxfer.tasks.fused_pairs import FusedPairs, PairFeatures, vectors
from tfxfer.transfer.knowledge.fusion.training import HeadTrainer, Sides

FeaturesOf = Callable[[int], PairFeatures]  # seed -> features of all examples


class FusionArm(TrainedArm):
    """A head, trained on the features of both sides; validation chooses the learning rate, then the L2 penalty.

    Args:
        trainer: The head; arms with the same head share it.
        pairs: The task.
        features: Seed -> features.
        training: Steps, batch size, learning rates.
        strengths: Grid of the L2 penalty.
        keep: The (budget, seed) whose weights `final` returns.
        report: Called with a row after each training.
    """

    def __init__(
        self,
        trainer: HeadTrainer,
        pairs: FusedPairs,
        features: FeaturesOf,
        training: TrainingConfig,
        strengths: Sequence[float],
        keep: tuple[int | None, int],
        report: Report | None = None,
    ) -> None:
        super().__init__(training, trainer.start, keep, report)
        self.trainer, self.pairs, self.features, self.strengths = trainer, pairs, features, strengths
        self.chosen: dict[int | None, tuple[float, dict[str, float]]] = {}  # budget -> strength, score of each
        self.outcomes: dict[tuple[int | None, int], Outcome] = {}

    @property
    def model(self) -> keras.Model:
        """The head's model."""
        return self.trainer.model

    def sides(self, split: str, budget: int | None, seed: int) -> Sides:
        """Return the examples of a split; of training those that a budget draws."""
        found = self.features(seed).sides(self.pairs, split)
        return found.take(self.pairs.rows(budget, seed)) if split == "train" else found

    def train(self, learning_rate: float, budget: int | None, seed: int) -> tuple[float, dict[str, Any]]:
        """Train once; return the validation accuracy (of equal ones, the smaller loss is better) and a row."""
        strength = self.strength(budget)
        train = self.sides("train", budget, seed)
        loss = self.trainer.fit(train, self.training.at(learning_rate), strength, seed)
        score = validation_score(*self.answered("validation", budget, seed))
        return score, {"loss": loss, "validation": score, "strength": strength}

    def search(self, budget: int | None, seed: int) -> tuple[float, Trained, dict[str, float]]:
        """Choose the learning rate at the middle strength, and then the strength at that rate."""
        start = middle(self.strengths)
        self.chosen[budget] = start, {}
        rate, trained, tried = super().search(budget, seed)
        begun = tried[f"{rate:g}"], trained

        def at(strength: float) -> tuple[float, Trained]:
            if strength == start:
                return begun
            self.chosen[budget] = strength, {}
            return self._trained(rate, budget, seed)

        strength, trained, scores = sweep(self.strengths, at)
        self.chosen[budget] = strength, scores
        return rate, trained, tried

    def recall(self, record: Record) -> None:
        """Go on with what an earlier run's first seed chose."""
        super().recall(record)
        chosen = record.settings["strength"], record.settings["validation of strength"]
        self.chosen.setdefault(record.budget, chosen)

    def strength(self, budget: int | None) -> float:
        """Return the L2 penalty that was chosen at a budget, or where its search begins."""
        return self.chosen[budget][0] if budget in self.chosen else middle(self.strengths)

    def answered(self, split: str, budget: int | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities [N, C] and labels [N] of a split, with the weights that the model has."""
        sides = self.sides(split, budget, seed)
        return np.exp(self.trainer.log_probabilities(sides.image, sides.text)), sides.labels

    def answer(self, budget: int | None, seed: int) -> Outcome:
        """Answer the test split."""
        strength, tried = self.chosen.get(budget, (self.strength(budget), {}))
        settings = {"steps": self.training.steps, "strength": strength, "validation of strength": tried}
        settings |= {"validated": validation_score(*self.answered("validation", budget, seed))}
        return Outcome(self.answered("test", budget, seed)[0], settings)

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Train and answer; an answer is given again without a second training."""
        if (budget, seed) not in self.outcomes:
            self.outcomes[budget, seed] = super().__call__(budget, seed)
        return self.outcomes[budget, seed]


def better_single(arms: Sequence[FusionArm], names: Sequence[str]) -> Callable[[int | None, int], Outcome]:
    """Return the arm that answers as the one of several arms which validates best at this budget with this seed."""

    def run(budget: int | None, seed: int) -> Outcome:
        found = [arm(budget, seed) for arm in arms]
        scores = [outcome.settings["validated"] for outcome in found]
        best = int(np.argmax(scores))
        settings = {"chosen": names[best], "validation": dict(zip(names, scores))}
        return Outcome(found[best].probabilities, settings, found[best].trainable)

    return run


class NativeText:
    """The usual method for texts, alone and beside φ(image).

    Args:
        pairs: The task.
        features: Seed -> features, of which the image's are used.
    """

    def __init__(self, pairs: FusedPairs, features: FeaturesOf) -> None:
        self.pairs, self.features = pairs, features

    def texts(self, budget: int | None, seed: int) -> dict[str, list[str]]:
        """Return the texts of each split; of training those that a budget draws."""
        train = self.pairs.dataset.texts("train")
        drawn = [train[row] for row in self.pairs.rows(budget, seed)]
        return {"train": drawn} | {split: self.pairs.dataset.texts(split) for split in ("validation", "test")}

    def labels(self, budget: int | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of the drawn training examples, and of validation."""
        return self.pairs.labels("train")[self.pairs.rows(budget, seed)], self.pairs.labels("validation")

    def alone(self, budget: int | None, seed: int) -> Outcome:
        """Answer by n-grams."""
        texts, (train, held) = self.texts(budget, seed), self.labels(budget, seed)
        classes = len(self.pairs.class_names)
        return native_text((texts["train"], train), (texts["validation"], held), texts["test"], classes)

    def with_image(self, budget: int | None, seed: int) -> Outcome:
        """Answer by n-grams beside φ(image)."""
        texts, (train, held) = self.texts(budget, seed), self.labels(budget, seed)
        image = {split: vectors(rows) for split, rows in self.features(seed).image.items()}
        drawn = image["train"][self.pairs.rows(budget, seed)]
        return beside_ngrams(
            (texts["train"], drawn, train),
            (texts["validation"], image["validation"], held),
            (texts["test"], image["test"]),
            len(self.pairs.class_names),
        )


def shuffled_features(features: FeaturesOf) -> FeaturesOf:
    """Return features with the image of another example of the same split, the same order for each call of a seed."""
    return lru_cache(maxsize=1)(lambda seed: features(seed).shuffled(seed))
