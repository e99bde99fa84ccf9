"""The losses of a student: soft targets, labels, features and attention maps.

`keras.distillation` gives the losses, where they are right. Its `LogitsDistillation` with the default loss string takes
the divergence of raw logits; with a `KLDivergence` object it is Hinton's. Its `Distiller` is not used: it asks that
teacher and student take inputs of one kind, which a cross-modal pair does not, and calls the frozen teacher again in
every epoch.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

TINY = 1e-7  # a probability below it counts as this much, as in Keras


def targets(teacher: np.ndarray | None, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return what `SoftTargets` compares with, float32 [N, 2 · C + 1].

    Args:
        teacher: Probabilities [N, C]; a row of NaN where the teacher has no answer. None: it has none at all.
        labels: int [N]; −1 where unknown.
        num_classes: C.
    """
    one_hot = np.zeros((len(labels), num_classes), np.float32)
    known = np.flatnonzero(labels >= 0)
    one_hot[known, labels[known]] = 1
    soft = np.full_like(one_hot, np.nan) if teacher is None else np.asarray(teacher, np.float32)
    answered = np.isfinite(soft.sum(1))
    logits = np.log(np.maximum(np.where(answered[:, None], soft, 1), TINY))
    return np.concatenate([logits, one_hot, answered[:, None]], 1).astype(np.float32)


class SoftTargets(keras.losses.Loss):
    """(1 − α) · T² · KL(teacher ‖ student), both at temperature T, + α · cross-entropy of the labels (Hinton et al.
    2015).

    Both terms are means over the batch. An example without a label has no cross-entropy, one without an answer of the
    teacher no divergence. T² keeps the size of the gradient when T changes. The logarithms of probabilities are logits,
    so the student may end in a softmax.

    Args:
        temperature: T.
        label_weight: α, from 0 (no labels) to 1 (labels alone).
    """

    def __init__(self, temperature: float = 2.0, label_weight: float = 0.5, name: str = "soft_targets") -> None:
        super().__init__(name=name)
        self.temperature, self.label_weight = float(temperature), float(label_weight)
        self._soft = keras.distillation.LogitsDistillation(self.temperature, loss=keras.losses.KLDivergence())

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of a batch, a scalar.

        Args:
            y_true: What `targets` gives, [B, 2 · C + 1].
            y_pred: The student's probabilities [B, C], of any dtype.
        """
        count = y_pred.shape[-1]
        student = ops.log(ops.clip(ops.cast(y_pred, "float32"), TINY, 1.0))
        teacher, labels, answered = y_true[:, :count], y_true[:, count : 2 * count], y_true[:, -1:]
        teacher = ops.where(answered > 0, teacher, ops.stop_gradient(student))  # of itself, the divergence is 0
        soft = self._soft.compute_loss(teacher, student) if self.label_weight < 1 else 0.0
        hard = -ops.mean(ops.sum(labels * student, -1))
        return (1 - self.label_weight) * soft + self.label_weight * hard


class FeatureMatch(keras.losses.Loss):
    """Mean squared difference of the student's projected features and the teacher's (Romero et al. 2015).

    The same serves attention maps (Zagoruyko & Komodakis 2017): both sides are vectors [B, D]. A row of NaN in the
    targets, where the teacher has no answer, counts nothing.
    """

    def __init__(self, name: str = "feature_match") -> None:
        super().__init__(name=name)
        self._match = keras.distillation.FeatureDistillation(loss=keras.losses.MeanSquaredError())

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of a batch, a scalar, of features [B, D]."""
        student = ops.cast(y_pred, "float32")
        teacher = ops.where(ops.isnan(y_true), ops.stop_gradient(student), y_true)
        return self._match.compute_loss(teacher, student)


class AttentionMap(keras.layers.Layer):
    """Where a map is large: [B, H, W, D] → [B, h · w], the mean square over D, of norm √(h · w).

    Zagoruyko & Komodakis (2017), equation 1 with p = 2. The norm makes the mean squared difference of two maps one of
    their shapes, whatever their number of places.

    Args:
        size: (h, w) that the map is resized to; None keeps it.
    """

    def __init__(self, size: tuple[int, int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = tuple(size) if size else None

    def call(self, maps: Any) -> Any:
        """Return the attention of each place."""
        found = ops.mean(ops.square(ops.cast(maps, "float32")), -1, keepdims=True)
        found = ops.image.resize(found, self.size) if self.size else found
        flat = ops.reshape(found, (ops.shape(found)[0], -1))
        places = ops.cast(ops.shape(flat)[1], "float32")
        return flat * ops.sqrt(places) / (ops.norm(flat, axis=1, keepdims=True) + TINY)

    def compute_output_spec(self, maps: Any) -> keras.KerasTensor:
        """Return the symbolic output."""
        height, width = self.size or maps.shape[1:3]
        places = None if None in (height, width) else height * width
        return keras.KerasTensor((maps.shape[0], places), dtype="float32")
