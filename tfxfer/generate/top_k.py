"""The most probable next tokens of a vocabulary, without a softmax over it and without sorting it."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxfer.generate.search import GenerationConfig, mask_forbidden

GROUP_SIZE = 64  # tokens of a group; a power of two
SMALL_VOCABULARY = 4096  # below it, groups are no faster


def most_probable(logits: Any, tokens: Any, position: Any, config: GenerationConfig, count: int) -> tuple[Any, Any]:
    """Return the log-probabilities of the most probable next tokens, and the tokens, each [B, K, n].

    Forbidden tokens do not change the probabilities of the others, so that scores of different searches can be
    compared. Log-probabilities are NaN where a logit is NaN or +∞, or where all are −∞.

    Args:
        logits: float32 [V, B, K].
        tokens: int32 [B, K, L], the hypotheses so far.
        position: int32 [], position of their last tokens.
        config: Configuration of the search, with the tokens that are forbidden.
        count: Tokens n of each hypothesis; V when there are fewer.
    """
    count = min(count, logits.shape[0])
    best, next_tokens = top_k(mask_forbidden(logits, tokens, position, config), count)
    return best - log_sum_exp(logits)[..., None], next_tokens


def log_sum_exp(logits: Any) -> Any:
    """Return ln Σ exp of logits [V, B, K] over the vocabulary, [B, K]."""
    if logits.shape[0] < SMALL_VOCABULARY:
        return tf.reduce_logsumexp(logits, 0)
    maximum = tf.maximum(*(tf.reduce_max(part, 0) for part in _grouped(logits, tf.maximum)))
    sums = [tf.reduce_sum(part, 0) for part in _grouped(tf.exp(logits - maximum), tf.add)]
    return maximum + tf.math.log(sums[0] + sums[1])


def top_k(values: Any, k: int) -> tuple[Any, Any]:
    """Return the k largest of values [V, B, K] and their indices, each [B, K, k].

    The result is that of `tf.math.top_k`, except for the order of ties. The k largest values are in the k groups of the
    largest maxima, or in the rest that fills no group. Maxima cost one pass over the values, and only k groups are
    sorted.
    """
    size = values.shape[0]
    if size < SMALL_VOCABULARY:
        return tf.math.top_k(_vocabulary_last(values), k)
    maxima, rest = _grouped(values, tf.maximum)
    groups, shape = maxima.shape[0], tf.shape(values)[1:]
    chosen = tf.math.top_k(_vocabulary_last(maxima), min(k, groups))[1]  # [B, K, k]
    indices = tf.reshape(chosen[..., None] + tf.range(GROUP_SIZE) * groups, [*tf.unstack(shape), -1])
    pairs = tf.meshgrid(*(tf.range(n) for n in tf.unstack(tf.shape(indices))), indexing="ij")[:2]
    grouped = groups * GROUP_SIZE
    rest_indices = tf.broadcast_to(tf.range(grouped, size), tf.concat([shape, [size - grouped]], 0))
    candidates = tf.gather_nd(values, tf.stack([indices, *pairs], -1))
    best, at = tf.math.top_k(tf.concat([candidates, _vocabulary_last(rest)], -1), k)
    return best, tf.gather(tf.concat([indices, rest_indices], -1), at, batch_dims=2)


def _vocabulary_last(values: Any) -> Any:
    return tf.transpose(values, [1, 2, 0])


def _grouped(values: Any, merge: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Merge values [V, B, K] in groups of GROUP_SIZE; return [V // GROUP_SIZE, B, K] and the rest that fills no group.

    Group g holds the values at g + i · (V // GROUP_SIZE). One half is merged with the other, again and again: XLA
    compiles a plain reduction of one axis on a CPU into windows, which take two or three times as long.
    """
    groups = values.shape[0] // GROUP_SIZE
    merged, rest = values[: groups * GROUP_SIZE], values[groups * GROUP_SIZE :]
    while merged.shape[0] > groups:
        half = merged.shape[0] // 2
        merged = merge(merged[:half], merged[half:])
    return merged, rest
