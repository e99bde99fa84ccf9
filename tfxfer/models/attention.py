"""Attention for one token at a time, over cached keys and values of the tokens before.

Hypotheses are columns: x [D, B · K] of B images with K hypotheses each. Every projection is one product of a kernel
[n, D] and x, which XLA computes faster on a CPU than a few rows times a kernel [D, n]. Keys are [B, H, d, N], values
[B, H, N, d].
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

PART = 16  # positions: the cache is read up to the last written position, rounded up to about so many
MASKED = -1e9  # score of a token that is not visible


class Attention:
    """The weights of a Keras attention layer as matrices.

    Args:
        weights: "query/kernel" [D, H, d], "query/bias" [H, d], the same of "key" and "value", and
            "attention_output/kernel" [H, d, D] and "attention_output/bias" [D].
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        parts = ("query", "key", "value")
        _, self.heads, self.depth = weights["query/kernel"].shape
        self._kernels = {p: tf.reshape(weights[f"{p}/kernel"], [-1, self.heads * self.depth]) for p in parts}
        self._biases = {p: tf.reshape(weights[f"{p}/bias"], [-1]) for p in parts}
        self.query = self.projection("query")
        output = weights["attention_output/kernel"]
        self.output = transposed(tf.reshape(output, [-1, output.shape[-1]]), weights["attention_output/bias"])

    def projection(self, *parts: str) -> tuple[Any, Any]:
        """Return one kernel [n · H · d, D] and one bias of n parts: "query", "key", "value". Call it outside loops."""
        kernel, bias = [self._kernels[p] for p in parts], [self._biases[p] for p in parts]
        return transposed(tf.concat(kernel, 1), tf.concat(bias, 0))

    def project(self, x: Any, count: int, projection: tuple[Any, Any], *layouts: str) -> list[Any]:
        """Apply a projection to x [D, B · count].

        Args:
            x: float [D, B · count].
            count: Columns of an image.
            projection: A kernel and a bias of `projection`.
            *layouts: For each part "rows" [B, H, count, d], for queries and values, or "columns" [B, H, d, count],
                for keys.
        """
        kernel, bias = projection
        flat = tf.reshape(tf.matmul(kernel, x) + bias, [len(layouts), self.heads, self.depth, -1, count])
        orders = {"rows": [2, 0, 3, 1], "columns": [2, 0, 1, 3]}
        return [tf.transpose(flat[i], orders[layout]) for i, layout in enumerate(layouts)]

    def attend(self, queries: Any, keys: Any, values: Any, visible: Any = None) -> Any:
        """Return the output of scaled dot-product attention, [D, B · K].

        Args:
            queries: [B, H, K, d].
            keys: [B, H, d, N].
            values: [B, H, N, d].
            visible: bool, broadcast to [B, H, K, N]; None: all are visible.
        """
        scores = tf.matmul(queries * self.depth**-0.5, keys)  # [B, H, K, N]
        if visible is not None:
            scores = tf.where(visible, scores, MASKED)
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(scores), values), [0, 2, 1, 3])  # [B, K, H, d]
        rows, (kernel, bias) = tf.reshape(mixed, [-1, self.heads * self.depth]), self.output
        return tf.matmul(kernel, rows, transpose_b=True) + bias  # [D, B · K]

    def attend_to_cache(self, queries: Any, keys: Any, values: Any, visible: Any, row: Any) -> Any:
        """Return what `attend` returns; of a cache of N rows, only the part that is written is read.

        Args:
            queries: As in `attend`.
            keys: As in `attend`.
            values: As in `attend`.
            visible: As in `attend`; nothing after the K rows from `row` on is visible.
            row: int [], first of the K rows that were written last.
        """
        rows, beams = values.shape[2], queries.shape[2]
        parts = max(1, rows // (PART * beams))
        ends = [beams * -(-rows * (i + 1) // (beams * parts)) for i in range(parts)]

        def first(end: int) -> Callable[[], Any]:
            return lambda: self.attend(queries, keys[..., :end], values[:, :, :end], visible[..., :end])

        if parts == 1:
            return self.attend(queries, keys, values, visible)
        return tf.switch_case(tf.reduce_sum(tf.cast(row >= ends, tf.int32)), [first(end) for end in ends])


def transposed(kernel: Any, bias: Any) -> tuple[Any, Any]:
    """Return kernel [n, D] and bias [n, 1] for columns, from kernel [D, n] and bias [n] for rows."""
    return tf.transpose(kernel), bias[:, None]


def visible_tokens(position: Any, beam_indices: Any, num_beams: int, length: int) -> Any:
    """Return bool [B, 1, K, L · K]: which of the cached tokens of all hypotheses belong to a hypothesis.

    Args:
        position: int []: position of the last token.
        beam_indices: int [B, K, L]: in which of the K beams each token of a hypothesis was written; None when K is 1.
        num_beams: Hypotheses K.
        length: Longest sequence L.
    """
    past = tf.range(length) <= position
    if beam_indices is None:
        return past[None, None, None]
    own = (beam_indices[..., None] == tf.range(num_beams)) & past[:, None]  # [B, K, L, K]
    return tf.reshape(own, [-1, 1, num_beams, length * num_beams])
