"""The `align` bridge: a head that was fitted on pictures alone classifies texts, unseen.

    on pictures    W, b  ←  labels, f(X)         a linear probe in the space of a locked picture tower
    on texts       W·g(Y) + b                    the same W and b; g learned to land beside f on pairs without labels

It is the strict form of f(x) = W·φ(x) + b across modalities: no text had a label (LiT, Zhai et al. 2022,
locks the pictures too; DeViSE, Frome et al. 2013, is the other way round: its pictures move to locked words).
"""

from typing import Any

import keras
import numpy as np

from tfxfer.transfer.feature.probe import STRENGTHS, Probe, linear_probe
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder


def picture_head(
    towers: DualEncoder,
    pictures: Any,
    labels: Any,
    *,
    validation: tuple[Any, Any] | None = None,
    strengths: Any = STRENGTHS,
    num_classes: int | None = None,
) -> Probe:
    """Fit W and b on pictures, in the space that texts land in too.

    Args:
        towers: A trained `DualEncoder`; with dim=None its picture side is φ itself, standardised, at length 1.
        pictures: Features [N, D] from `extract`, or pictures [N, H, W, C].
        labels: int [N].
        validation: Pictures and labels that choose the strength of L2; pictures again, so texts stay unseen.
        strengths: The strengths to choose from; one needs no validation.
        num_classes: C.

    Returns:
        A `Probe` of vectors [N, dim].
    """
    held_out = (towers.picture_vectors(validation[0]), validation[1]) if validation is not None else None
    vectors = towers.picture_vectors(pictures)
    return linear_probe(vectors, labels, validation=held_out, strengths=strengths, num_classes=num_classes)


def on_text(towers: DualEncoder, head: Probe) -> keras.Model:
    """Return the head behind the text tower: strings [B] -> class probabilities [B, C].

    Example:
        >>> head = picture_head(towers, features, labels, strengths=[1e-3])     # doctest: +SKIP
        >>> on_text(towers, head).predict(texts)                                # doctest: +SKIP
    """
    texts = keras.Input((), dtype="string", name="text")
    return keras.Model(texts, head.as_layer()(towers.text_side()(texts)), name="align")


def gap(towers: DualEncoder, pictures: Any, texts: Any) -> float:
    """Return the distance between the mean vectors of both sides, 0..2: the modality gap (Liang et al. 2022).

    A head reads texts worse the greater it is, because it was fitted where the pictures are.
    """
    means = towers.picture_vectors(pictures).mean(0) - towers.text_vectors(texts).mean(0)
    return float(np.linalg.norm(means))
