"""A logit for each word from the image as a whole: the term f(X)·g(y) inside a decoder, beside h.

    f(X)   the mean of the image's feature map, through one linear map                    [B, E] → [B, D]
    g(y)   the word embedding that the language model came with; it does not train            [V, D]
    K      logits = f(X)·g(y) + h(X, y so far, y), f·g is the same at every position of the caption

Cross-attention learns slowly, and until then a decoder writes fluent captions that ignore the image. f alone is a
convex problem: the log-linear model of a caption's words as a bag, with g given. `fit_image_word_logits` solves it in
seconds, and training goes on from there.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.transfer.knowledge.interactions import ELEMENTS

STRENGTH = 3.0  # of the penalty |f|², against the nats of all words
ITERATIONS = 30


@keras.saving.register_keras_serializable("tfxfer")
class ImageWordLogits(keras.layers.Layer):
    """Turn maps [B, h, w, E] into f(X)·g(y) for every word, [B, 1, V]. f starts at zero.

    g is a table of all words, kept as a weight that does not train; see docs/knowledge.md for the relation to
    `KnowledgeMatrix`.

    Args:
        vocabulary_size: Words V.
        dim: Width D of the word embeddings.
    """

    def __init__(self, vocabulary_size: int, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size, self.dim = vocabulary_size, dim

    def build(self, shape: Any) -> None:
        """Make f [E, D] and the place of g [V, D]."""
        self.f = self.add_weight(name="f", shape=(shape[-1], self.dim), initializer="zeros")
        self.g = self.add_weight(name="g", shape=(self.vocabulary_size, self.dim), trainable=False)

    def call(self, maps: Any) -> Any:
        """Return f(X)·g(y) of each image and word."""
        mean = keras.ops.mean(maps, (1, 2))
        return keras.ops.matmul(keras.ops.matmul(mean, self.f), keras.ops.transpose(self.g))[:, None]

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"vocabulary_size": self.vocabulary_size, "dim": self.dim}


def fit_image_word_logits(g: np.ndarray, means: np.ndarray, bags: Any, strength: float = STRENGTH) -> np.ndarray:
    """Return f, float32 [E, D], that makes the words of each image's captions likely: softmax(b + f(X)·g), by L-BFGS.

    Captions are processed in blocks, so that what is dense of [N, V] at a time stays some tens of MiB.

    Args:
        g: Word embeddings [V, D].
        means: Mean features of N captions' images [N, E].
        bags: How often each word occurs in each caption, [N, V], sparse or dense.
        strength: Of the penalty |f|², against the nats of all words together.

    Raises:
        UserError: There is no word to learn from, or a feature is not finite.
    """
    from scipy.optimize import minimize
    from scipy.sparse import csr_array

    bags = csr_array(bags)
    if not bags.sum() or not np.isfinite(means).all():
        why = "a feature is not finite" if bags.sum() else "no caption has a word"
        raise UserError(f"f·g cannot be learned: {why}")
    rows = max(1, ELEMENTS // bags.shape[1])
    blocks = [slice(start, start + rows) for start in range(0, len(means), rows)]
    seen = [tf.constant(means[block], tf.float32) for block in blocks]
    words, counts, total = (tf.constant(each, tf.float32) for each in (g, bags.sum(0), bags.sum()))

    def at(flat: np.ndarray) -> tuple[float, np.ndarray]:
        f, loss, slope = tf.constant(flat.reshape(shape), tf.float32), 0.0, np.zeros(shape)
        for x, block in zip(seen, blocks):
            share = tf.constant(strength * len(x) / len(means), tf.float32)  # of the penalty: each block has its part
            bag = tf.constant(bags[block].toarray(), tf.float32)
            own = _loss_and_slope(f, x, bag, words, counts, total, share)
            loss, slope = loss + float(own[0]), slope + own[1].numpy()
        return loss, slope.ravel()

    shape = (means.shape[1], g.shape[1])
    found = minimize(at, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS})
    return found.x.reshape(shape).astype(np.float32)


@tf.function(reduce_retracing=True)
def _loss_and_slope(f: Any, x: Any, bags: Any, words: Any, counts: Any, total: Any, strength: Any) -> tuple[Any, Any]:
    """Return what some captions add to the mean nats of a word with the penalty, and its gradient by f [E, D]."""
    often = tf.math.log(counts + 0.1)  # b stays what the words' frequencies say
    with tf.GradientTape() as tape:
        tape.watch(f)
        gains = tf.nn.log_softmax(often + tf.matmul(tf.matmul(x, f), words, transpose_b=True))
        loss = -tf.reduce_sum(bags * gains) / total + (strength / total) * tf.reduce_sum(f * f)
    return loss, tape.gradient(loss, f)


def bags_of_words(token_ids: np.ndarray, vocabulary_size: int, ignore: Sequence[int]) -> Any:
    """Return how often each word occurs in each row of token ids [N, T], sparse float32 [N, V], some left out.

    >>> bags_of_words(np.array([[1, 3, 3, 2]]), 4, ignore=(1, 2)).toarray().tolist()
    [[0.0, 0.0, 0.0, 2.0]]
    """
    from scipy.sparse import csr_array

    kept = ~np.isin(token_ids, ignore)
    ones = np.ones(int(kept.sum()), np.float32)
    return csr_array((ones, (np.nonzero(kept)[0], token_ids[kept])), shape=(len(token_ids), vocabulary_size))


def add_image_word_logits(step: Callable[..., Any], context: Any, fg: Any) -> tuple[Callable[..., Any], Any]:
    """Return a decoder's step whose logits [V, B, K] are h plus f·g [B, 1, V], and the context that it then takes."""

    def both(tokens: Any, position: Any, cache: Any, context: Any, beam_indices: Any = None) -> tuple[Any, Any]:
        logits, cache = step(tokens, position, cache, context[0], beam_indices)
        return logits + tf.transpose(context[1], [2, 0, 1]), cache

    return both, (context, fg)
