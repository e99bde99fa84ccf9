"""The `align` bridge: a linear head fitted on labelled images classifies texts.

    on images      W, b  ←  labels, f(X)         a linear probe on the vectors of a frozen image encoder
    on texts       W·g(Y) + b                    the same W and b; g was trained on image–text pairs without labels

It is f(x) = W·φ(x) + b across modalities: no text has a label. LiT (Zhai et al. 2022) freezes the image encoder too; in
DeViSE (Frome et al. 2013) it is the other way round: the image encoder is trained towards frozen word vectors.
"""

from typing import Any, Protocol

import keras
import numpy as np

from tfxfer.transfer.feature.probe import STRENGTHS, Probe, linear_probe


class TwoTowers(Protocol):
    """An image encoder and a text encoder with one vector space, such as `tfxfer.transfer.knowledge.DualEncoder`."""

    def encode_images(self, images: Any) -> np.ndarray:
        """Return float32 [N, dim] of images or their features."""
        ...

    def encode_texts(self, texts: Any) -> np.ndarray:
        """Return float32 [N, dim] of N strings."""
        ...

    def text_side(self) -> keras.Model:
        """Return the text encoder: strings [B] → [B, dim]."""
        ...


def image_head(
    towers: TwoTowers,
    images: Any,
    labels: Any,
    *,
    validation: tuple[Any, Any] | None = None,
    strengths: Any = STRENGTHS,
    num_classes: int | None = None,
) -> Probe:
    """Fit W and b on the vectors of labelled images.

    Args:
        towers: A trained `DualEncoder`; with dim=None the vector of an image is φ itself, standardised, of length 1.
        images: Features [N, D] from `extract`, or images [N, H, W, C].
        labels: int [N].
        validation: Images and labels that choose the L2 penalty; texts stay unseen.
        strengths: The L2 penalties to choose from; one needs no validation.
        num_classes: C.

    Returns:
        A `Probe` of vectors [N, dim].
    """
    held_out = (towers.encode_images(validation[0]), validation[1]) if validation is not None else None
    vectors = towers.encode_images(images)
    return linear_probe(vectors, labels, validation=held_out, strengths=strengths, num_classes=num_classes)


def text_classifier(towers: TwoTowers, head: Probe) -> keras.Model:
    """Return the head behind the text encoder: strings [B] → class probabilities [B, C].

    Example:
        >>> head = image_head(towers, features, labels, strengths=[1e-3])       # doctest: +SKIP
        >>> text_classifier(towers, head).predict(texts)                        # doctest: +SKIP
    """
    texts = keras.Input((), dtype="string", name="text")
    return keras.Model(texts, head.as_layer()(towers.text_side()(texts)), name="align")


def modality_gap(towers: TwoTowers, images: Any, texts: Any) -> float:
    """Return the distance between the mean vectors of images and of texts, 0..2 (Liang et al. 2022).

    A head is fitted on image vectors, so the greater the gap, the worse it classifies texts.
    """
    means = towers.encode_images(images).mean(0) - towers.encode_texts(texts).mean(0)
    return float(np.linalg.norm(means))
