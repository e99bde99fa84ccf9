"""Attention for one token at a time: what came before is kept as keys and values, and only read.

Hypotheses are columns: x [D, B · K] of B pictures with K hypotheses each. Every projection is one product of a kernel
[n, D] and x, which XLA's CPU computes faster than a few rows times a kernel [D, n]. Keys are upright, [B, H, d, N].
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

PART = 16  # positions: a cache is read as far as it is written, rounded up to about so many
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
        self._kernels = {p: tf.reshape(weights[f"{p}/kernel"], [-1, self.heads * self.depth]) for p in parts}
        self._biases = {p: tf.reshape(weights[f"{p}/bias"], [-1]) for p in parts}
        self.query = self.projection("query")
        output = weights["attention_output/kernel"]
        self.output = upright(tf.reshape(output, [-1, output.shape[-1]]), weights["attention_output/bias"])

    def projection(self, *parts: str) -> tuple[Any, Any]:
        """Return one kernel [n · H · d, D] and one bias for n of queries, keys and values; make it outside loops."""
        kernel, bias = [self._kernels[p] for p in parts], [self._biases[p] for p in parts]
        return upright(tf.concat(kernel, 1), tf.concat(bias, 0))

    def project(self, x: Any, count: int, projection: tuple[Any, Any], *forms: str) -> list[Any]:
        """Return x [D, B · count] as what a projection is made for.

        Args:
            x: See above.
            count: Columns of a picture.
            projection: A kernel and a bias of `projection`.
            *forms: For each part "rows" [B, H, count, d], as queries and values are, or "upright" [B, H, d, count].
        """
        kernel, bias = projection
        flat = tf.reshape(tf.matmul(kernel, x) + bias, [len(forms), self.heads, self.depth, -1, count])
        orders = {"rows": [2, 0, 3, 1], "upright": [2, 0, 1, 3]}
        return [tf.transpose(flat[i], orders[form]) for i, form in enumerate(forms)]

    def look(self, queries: Any, keys: Any, values: Any, visible: Any = None) -> Any:
        """Return what queries find among keys and values, as [D, B · K].

        Args:
            queries: [B, H, K, d].
            keys: [B, H, d, N].
            values: [B, H, N, d].
            visible: bool, broadcast to [B, H, K, N]; None shows all.
        """
        scores = tf.matmul(queries * self.depth**-0.5, keys)  # [B, H, K, N]
        if visible is not None:
            scores = tf.where(visible, scores, FAR)
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(scores), values), [0, 2, 1, 3])  # [B, K, H, d]
        rows, (kernel, bias) = tf.reshape(mixed, [-1, self.heads * self.depth]), self.output
        return tf.matmul(kernel, rows, transpose_b=True) + bias  # [D, B · K]

    def look_back(self, queries: Any, keys: Any, values: Any, visible: Any, row: Any) -> Any:
        """Return what `look` does, without reading all of a long cache of N rows while only its begin is written.

        Args:
            queries: As in `look`.
            keys: As in `look`.
            values: As in `look`.
            visible: As in `look`; nothing after the K rows from `row` on is visible.
            row: int [], first row that was written last.
        """
        rows, beams = values.shape[2], queries.shape[2]
        parts = max(1, rows // (PART * beams))
        ends = [beams * -(-rows * (i + 1) // (beams * parts)) for i in range(parts)]

        def first(end: int) -> Callable[[], Any]:
            return lambda: self.look(queries, keys[..., :end], values[:, :, :end], visible[..., :end])

        if parts == 1:
            return self.look(queries, keys, values, visible)
        return tf.switch_case(tf.reduce_sum(tf.cast(row >= ends, tf.int32)), [first(end) for end in ends])


def upright(kernel: Any, bias: Any) -> tuple[Any, Any]:
    """Return the kernel [n, D] and the bias [n, 1] for columns, of those for rows, [D, n] and [n]."""
    return tf.transpose(kernel), bias[:, None]


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
