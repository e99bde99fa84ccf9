"""The likeliest next tokens out of a whole vocabulary, without a softmax over it and without sorting it."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxfer.generate.search import Search, allowed

FOLDS = 64  # words of a group; a power of two
FEW = 4096  # words that are not worth folding


def likeliest(logits: Any, tokens: Any, position: Any, search: Search, most: int) -> tuple[Any, Any]:
    """Return the log-probabilities of the likeliest tokens that may come next, and the tokens, each [B, K, n].

    What is forbidden does not change the probabilities of the rest, so that scores of different searches can be
    compared. Log-probabilities are NaN where the logits have no sum: where one is NaN or +∞, or all are −∞.

    Args:
        logits: float32 [V, B, K].
        tokens: int32 [B, K, L], the hypotheses so far.
        position: int32 [], place of their last tokens.
        search: Says what is forbidden.
        most: Tokens n wanted of each hypothesis; V when there are fewer.
    """
    most = min(most, logits.shape[0])
    best, words = top_k(allowed(logits, tokens, position, search), most)
    return best - log_sum_exp(logits)[..., None], words


def log_sum_exp(logits: Any) -> Any:
    """Return ln Σ exp of logits [V, B, K] over the words, [B, K]."""
    if logits.shape[0] < FEW:
        return tf.reduce_logsumexp(logits, 0)
    greatest = tf.maximum(*(tf.reduce_max(part, 0) for part in _folded(logits, tf.maximum)))
    sums = [tf.reduce_sum(part, 0) for part in _folded(tf.exp(logits - greatest), tf.add)]
    return greatest + tf.math.log(sums[0] + sums[1])


def top_k(values: Any, k: int) -> tuple[Any, Any]:
    """Return the k largest of values [V, B, K] and their places, each [B, K, k].

    As `tf.math.top_k` finds them, but for the order of ties. The k largest lie in the k groups whose greatest are
    largest, or in the rest that fills no group. Greatest ones are found at the speed of the memory, and only k groups
    are sorted.
    """
    words = values.shape[0]
    if words < FEW:
        return tf.math.top_k(_words_last(values), k)
    greatest, rest = _folded(values, tf.maximum)
    groups, shape = greatest.shape[0], tf.shape(values)[1:]
    chosen = tf.math.top_k(_words_last(greatest), min(k, groups))[1]  # [B, K, k]
    places = tf.reshape(chosen[..., None] + tf.range(FOLDS) * groups, [*tf.unstack(shape), -1])
    pairs = tf.meshgrid(*(tf.range(n) for n in tf.unstack(tf.shape(places))), indexing="ij")[:2]
    last = tf.broadcast_to(tf.range(groups * FOLDS, words), tf.concat([shape, [words - groups * FOLDS]], 0))
    inside = tf.gather_nd(values, tf.stack([places, *pairs], -1))
    best, at = tf.math.top_k(tf.concat([inside, _words_last(rest)], -1), k)
    return best, tf.gather(tf.concat([places, last], -1), at, batch_dims=2)


def _words_last(values: Any) -> Any:
    return tf.transpose(values, [1, 2, 0])


def _folded(values: Any, merge: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Return values [V, B, K] merged in groups of FOLDS, [V // FOLDS, B, K], and the rest that fills no group.

    Group g holds the values at g + i · (V // FOLDS). Halves are laid on each other, which runs along the memory in wide
    strides; XLA turns a plain reduction of one axis on a CPU into windows that take two or three times as long.
    """
    groups = values.shape[0] // FOLDS
    folded, rest = values[: groups * FOLDS], values[groups * FOLDS :]
    while folded.shape[0] > groups:
        half = folded.shape[0] // 2
        folded = merge(folded[:half], folded[half:])
    return folded, rest
