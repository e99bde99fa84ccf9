"""What trained teachers answer: computed once for each example, and kept on disk as features are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfxfer.models.fresh import fresh_copy
from tfxfer.transfer.distill.network import attention_model, feature_model
from tfxfer.transfer.feature import extract


@dataclass(frozen=True)
class Teacher:
    """A trained classifier that stays as it is.

    Attributes:
        model: Raw input → probabilities [B, C].
        order: Place of each of the task's classes among its own, int [C].
        key: "text" or "image": what it reads.
        image_size: (H, W) of its images; None for texts.
    """

    model: keras.Model
    order: np.ndarray
    key: str
    image_size: tuple[int, int] | None = None

    def random(self, seed: int) -> "Teacher":
        """Return the same network with fresh weights; what reads letters out of pictures keeps its own.

        A teacher that cannot read would answer nothing of the text, and its control would change two things at once.
        """
        fresh = fresh_copy(self.model, seed)
        for ours, theirs in zip(fresh._flatten_layers(), self.model._flatten_layers()):
            if type(ours).__name__ == "ReadText":
                ours.set_weights(theirs.get_weights())
        return Teacher(fresh, self.order, self.key, self.image_size)


@dataclass(frozen=True)
class Answers:
    """What teachers say of N examples.

    Attributes:
        probabilities: float32 [N, C], the mean over the teachers.
        features: float32 [N, D], those before the head of each teacher, side by side; None where not asked for.
        attention: float32 [N, h · w] of the first teacher; None where not asked for.
    """

    probabilities: np.ndarray
    features: np.ndarray | None = None
    attention: np.ndarray | None = None


def answers(
    teachers: Sequence[Teacher], dataset: Any, split: str, match: Sequence[str] = ("logits",), data_dir: Any = None
) -> Answers:
    """Return what teachers say of a split; they read what they take of it.

    Args:
        teachers: One, or an ensemble.
        dataset: Has the column that each teacher reads.
        split: "train", "validation" or "test".
        match: With "features" and "attention" these are given too.
        data_dir: Where features are kept, as for `extract`.
    """
    features, probabilities = [], []
    for teacher in teachers:
        phi, head = feature_model(teacher.model), teacher.model.layers[-1]
        rows = _extracted(phi, teacher, dataset, split, data_dir)
        features.append(rows)
        if isinstance(head, keras.layers.Dense) and head.kernel.shape[0] == rows.shape[-1]:  # as it follows φ
            found = keras.ops.convert_to_numpy(head(rows))
        else:
            found = _extracted(teacher.model, teacher, dataset, split, data_dir)
        probabilities.append(np.asarray(found, np.float32)[:, teacher.order])
    attention = None
    if "attention" in match:
        network, _ = attention_model(teachers[0].model, teachers[0].image_size)
        attention = _extracted(network, teachers[0], dataset, split, data_dir)
    wide = np.concatenate(features, 1) if "features" in match else None
    return Answers(np.asarray(np.mean(probabilities, 0), np.float32), wide, attention)


def attention_places(teacher: Teacher) -> tuple[int, int]:
    """Return (h, w) of the last maps of a teacher; raises `UserError` where it has none."""
    return attention_model(teacher.model, teacher.image_size)[1]


def _extracted(network: keras.Model, teacher: Teacher, dataset: Any, split: str, data_dir: Any) -> np.ndarray:
    found = extract(
        network, dataset, split=split, key=teacher.key, image_size=teacher.image_size, data_dir=data_dir, jit=False
    )
    return np.asarray(found, np.float32)
