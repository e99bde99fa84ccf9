"""What all searches share: their configuration, their result, and the tokens that are forbidden next."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError

Step = Callable[..., tuple[Any, Any]]
MASKED = -1e9  # score of what is forbidden or empty; no hypothesis has so low a score


class Generated(NamedTuple):
    """The result of a search, the best sequence first.

    Attributes:
        tokens: int32 [B, R, L], from the start token on; padded after the end token.
        scores: float [B, R], the sum of log-probabilities over the length to the power of the length penalty. −∞ where
            fewer than R sequences are possible, NaN where the logits of an image are not finite; such sequences are
            the start token alone.
        lengths: int32 [B, R], tokens with the start and, where there is one, the end token.
    """

    tokens: Any
    scores: Any
    lengths: Any


@dataclass(frozen=True)
class GenerationConfig:
    """The configuration of a search, with the names of Hugging Face; the same for every image of a batch.

    Attributes:
        start_id: Token that begins a sequence.
        end_id: Token that ends a sequence.
        pad_id: Token after the end.
        num_beams: Hypotheses K kept at each step.
        max_length: Longest sequence L in tokens, with the start token.
        min_length: Fewest tokens of a sequence that ends, with the start and the end token. Hugging Face counts
            the tokens before the end: its `min_length` 8 is 9 here.
        length_penalty: A score is divided by length^length_penalty, the length without the start token; above 0
            this favours long sequences, because log-probabilities are negative.
        early_stopping: Stop at K finished sequences; otherwise when the best running one, with its score divided by its
            length so far, is no better than the worst of them. With a length penalty above 0 it could still become
            better at a greater length; Hugging Face's `early_stopping=False` stops at the same step.
        no_repeat_ngram_size: No n-gram of this length occurs twice; 0 allows all.
        num_return_sequences: Sequences R returned for each image.
    """

    start_id: int
    end_id: int
    pad_id: int = 0
    num_beams: int = 4
    max_length: int = 50
    min_length: int = 0
    length_penalty: float = 1.0
    early_stopping: bool = True
    no_repeat_ngram_size: int = 0
    num_return_sequences: int = 1

    def __post_init__(self) -> None:
        """Check the values that need no model."""
        if self.num_beams < 1 or self.max_length < 2:
            raise UserError(f"num_beams {self.num_beams} and max_length {self.max_length}: need at least 1 and 2")
        count, size = self.num_return_sequences, self.no_repeat_ngram_size
        if not 1 <= count <= self.num_beams:
            raise UserError(f"num_return_sequences {count}: must be from 1 to num_beams ({self.num_beams})")
        if size < 0:
            raise UserError(f"no_repeat_ngram_size {size}: give the tokens of an n-gram, or 0 to allow all")
        if not math.isfinite(self.length_penalty):
            raise UserError(f"length_penalty {self.length_penalty}: give a finite number, such as 1.0")
        if self.min_length > self.max_length:
            raise UserError(f"min_length {self.min_length} is above max_length {self.max_length}")


def with_vocabulary_first(step: Step, vocabulary_first: bool) -> Step:
    """Return the step with logits float32 [V, B, K]; those of `step` are [B, K, V] unless `vocabulary_first`."""

    def transposed(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        logits, cache = step(*args, **kwargs)
        return tf.cast(logits if vocabulary_first else tf.transpose(logits, [2, 0, 1]), tf.float32), cache

    return transposed


def mask_forbidden(logits: Any, tokens: Any, position: Any, config: GenerationConfig) -> Any:
    """Mask logits [V, B, K] of forbidden next tokens: an early end token, the last token of a repeated n-gram."""
    vocabulary_size = tf.shape(logits)[0]
    if config.min_length:
        early = (tf.range(vocabulary_size) == config.end_id) & (position + 2 < config.min_length)
        logits = tf.where(early[:, None, None], MASKED, logits)
    n = config.no_repeat_ngram_size
    return tf.where(_repeats(tokens, position, n, vocabulary_size), MASKED, logits) if n else logits


def _repeats(tokens: Any, position: Any, n: int, vocabulary_size: Any) -> Any:
    """Return bool [V, B, K]: the tokens that would complete an n-gram that the hypothesis already has."""
    length = tokens.shape[2]
    positions = tf.range(length)
    same = positions >= n - 1  # [L]: the token at this position ends an n-gram …
    same &= positions <= position  # … that has been written
    same = tf.broadcast_to(same, tf.shape(tokens))
    for back in range(1, n):
        now = tf.gather(tokens, tf.maximum(position - back + 1, 0), axis=2)  # the last n − 1 tokens, from the end
        same &= tf.roll(tokens, back, axis=2) == now[:, :, None]
    same &= position + 1 >= n - 1
    batch, beams = tf.shape(tokens)[0], tf.shape(tokens)[1]
    indices = tf.meshgrid(tf.range(batch), tf.range(beams), positions, indexing="ij")[:2]  # each [B, K, L]
    shape = [vocabulary_size, batch, beams]
    return tf.scatter_nd(tf.stack([tokens, *indices], -1), tf.cast(same, tf.int32), shape) > 0


def write_token(tokens: Any, position: Any, token: Any) -> Any:
    """Return tokens [B, M, L] with `token` [B, M] at a position."""
    here = tf.range(tokens.shape[2]) == position
    return tf.where(here, token[:, :, None], tokens)


def finalize(tokens: Any, scores: Any, invalid: Any, config: GenerationConfig) -> Generated:
    """Return the result of a search, from tokens [B, R, L] and scores [B, R].

    Args:
        tokens: int32 [B, R, L].
        scores: float [B, R]; MASKED where there is no sequence.
        invalid: bool [B]: the logits of this image are not finite.
        config: Configuration of the search.

    Raises:
        UserError: An image is invalid; only outside of a `tf.function`.
    """
    if tf.executing_eagerly() and bool(tf.reduce_any(invalid)):
        image = int(tf.argmax(tf.cast(invalid, tf.int32)))
        raise UserError(f"the logits of image {image} are NaN or infinite; check its memory and the weights")
    scores = tf.where(invalid[:, None], np.nan, tf.where(scores > MASKED / 2, scores, -np.inf))
    missing = ~tf.math.is_finite(scores)
    tokens = tf.where(missing[..., None] & (tf.range(config.max_length) > 0), config.pad_id, tokens)
    return Generated(tokens, scores, tf.where(missing, 1, lengths_of(tokens, config)))


def lengths_of(tokens: Any, config: GenerationConfig) -> Any:
    """Return the number of tokens up to the end token, or all of them where there is none."""
    is_end = tokens[..., 1:] == config.end_id
    position = tf.argmax(tf.cast(is_end, tf.int32), axis=-1, output_type=tf.int32)
    return tf.where(tf.reduce_any(is_end, -1), position + 2, tf.shape(tokens)[-1])
