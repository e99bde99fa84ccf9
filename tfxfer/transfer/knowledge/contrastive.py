"""The contrastive loss: in a batch of pairs, each image is classified among the texts and each text among the images.

    L = ½ · mean over rows of −log softmax(K)[i, i]  +  ½ · mean over columns of the same          (InfoNCE both ways)

K [B, B] has images as rows and their texts, in the same order, as columns (Radford et al. 2021; Zhai et al. 2022).
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfxfer")
class InfoNCE(keras.losses.Loss):
    """InfoNCE of K [B, B] in both directions, in nats; log B when all of K is equal.

    Pairs with the same id are positives of each other: an image with five captions may be in a batch twice. The target
    of a row is shared equally among its positives.

    The ids [B] are the targets of `fit`: what each pair shows, whole numbers below 2²⁴ (Keras makes them float32).

    Example:
        >>> loss = InfoNCE()(ids, K(images, texts))                     # doctest: +SKIP
    """

    def __init__(self, name: str = "info_nce", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, ids: Any, k: Any) -> Any:
        """Return the loss of each pair, float [B], from ids [B] or [B, 1] and K [B, B]."""
        ids = ops.reshape(ids, (-1,))
        positive = ops.cast(ids[:, None] == ids[None], k.dtype)  # [B, B], symmetric
        positive = positive / ops.sum(positive, axis=1, keepdims=True)
        rows = ops.sum(positive * ops.log_softmax(k, axis=1), axis=1)
        columns = ops.sum(positive * ops.log_softmax(ops.transpose(k), axis=1), axis=1)
        return -(rows + columns) / 2
