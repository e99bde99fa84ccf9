"""The contrastive loss: in a batch of pairs, each picture is to find its text and each text its picture.

    L = ½ · mean over rows of −log softmax(K)[i, i]  +  ½ · mean over columns of the same          (InfoNCE both ways)

K [B, B] holds pictures in rows and their texts, in the same order, in columns (Radford et al. 2021; Zhai et al. 2022).
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfxfer")
class InfoNCE(keras.losses.Loss):
    """Bidirectional InfoNCE of K [B, B] in nats; log B when K says nothing.

    Rows that show the same thing are right answers to each other and not wrong ones: a picture with five captions may
    stand in a batch twice. The target of a row is shared equally among its right answers.

    The ids [B] are the targets of `fit`: what each pair shows, whole numbers below 2²⁴ (Keras makes them float32).

    Example:
        >>> loss = InfoNCE()(ids, K(pictures, texts))                   # doctest: +SKIP
    """

    def __init__(self, name: str = "info_nce", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, ids: Any, k: Any) -> Any:
        """Return the loss of each pair, float [B], from ids [B] or [B, 1] and K [B, B]."""
        ids = ops.reshape(ids, (-1,))
        right = ops.cast(ids[:, None] == ids[None], k.dtype)  # [B, B], symmetric
        right = right / ops.sum(right, axis=1, keepdims=True)
        rows = ops.sum(right * ops.log_softmax(k, axis=1), axis=1)
        columns = ops.sum(right * ops.log_softmax(ops.transpose(k), axis=1), axis=1)
        return -(rows + columns) / 2
