"""Attention for one token at a time: what came before is kept as keys and values, and only read.

Hypotheses are rows: x [B · K, D] of B pictures with K hypotheses each, so that every projection is one product of two
matrices.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

FAR = -1e9  # the score of a token that must not be seen


class Attention:
    """The weights of a Keras attention layer as matrices.

    Args:
        weights: "query/kernel" [D, H, d], "query/bias" [H, d], the same of "key" and "value", and
            "attention_output/kernel" [H, d, D] and "attention_output/bias" [D].
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        parts = ("query", "key", "value")
        _, self.heads, self.depth = weights["query/kernel"].shape
        self.kernels = {p: tf.reshape(weights[f"{p}/kernel"], [-1, self.heads * self.depth]) for p in parts}
        self.biases = {p: tf.reshape(weights[f"{p}/bias"], [-1]) for p in parts}
        output = weights["attention_output/kernel"]
        self.output = tf.reshape(output, [-1, output.shape[-1]]), weights["attention_output/bias"]

    def project(self, x: Any, count: int, *parts: str) -> list[Any]:
        """Return x [B · count, D] as queries, keys or values [B, H, count, d], as `parts` names them."""
        kernel = tf.concat([self.kernels[part] for part in parts], 1)
        bias = tf.concat([self.biases[part] for part in parts], 0)
        flat = tf.reshape(tf.matmul(x, kernel) + bias, [-1, count, len(parts) * self.heads, self.depth])
        return tf.split(tf.transpose(flat, [0, 2, 1, 3]), len(parts), axis=1)

    def look(self, queries: Any, keys: Any, values: Any, visible: Any = None) -> Any:
        """Return what queries [B, H, K, d] find among keys and values [B, H, N, d], as [B · K, D].

        Args:
            queries: See above.
            keys: See above.
            values: See above.
            visible: bool, broadcast to [B, H, K, N]; None shows all.
        """
        scores = tf.matmul(queries * self.depth**-0.5, keys, transpose_b=True)  # [B, H, K, N]
        if visible is not None:
            scores = tf.where(visible, scores, FAR)
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(scores), values), [0, 2, 1, 3])  # [B, K, H, d]
        kernel, bias = self.output
        return tf.matmul(tf.reshape(mixed, [-1, self.heads * self.depth]), kernel) + bias


def own_tokens(position: Any, places: Any, beams: int, length: int) -> Any:
    """Return bool [B, 1, K, L · K]: which of the tokens written by all hypotheses are a hypothesis' own.

    Args:
        position: int []: place of the last token.
        places: int [B, K, L]: in which of the K places each token of a hypothesis was written; None for one hypothesis.
        beams: Hypotheses K.
        length: Longest sequence L.
    """
    past = tf.range(length) <= position
    if places is None:
        return past[None, None, None]
    own = (places[..., None] == tf.range(beams)) & past[:, None]  # [B, K, L, K]
    return tf.reshape(own, [-1, 1, beams, length * beams])
