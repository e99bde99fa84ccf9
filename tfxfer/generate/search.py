"""How a search goes and what it finds, and the tokens that must not come next."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError

Step = Callable[..., tuple[Any, Any]]
NEVER = -1e9  # a score that no hypothesis reaches


class Generated(NamedTuple):
    """What a search found, the best first.

    Attributes:
        tokens: int32 [B, R, L], from the start token on; padded after the end token.
        scores: float [B, R], the sum of log-probabilities over the length to the power of the length penalty. −∞ where
            fewer than R sequences can be said at all, NaN where a picture's logits are no numbers; such sequences are
            the start token alone.
        lengths: int32 [B, R], tokens with the start and, where there is one, the end token.
    """

    tokens: Any
    scores: Any
    lengths: Any


@dataclass(frozen=True)
class Search:
    """How a search goes; the same for every picture of a batch.

    Attributes:
        start_id: Token every sequence begins with.
        end_id: Token that ends a sequence.
        pad_id: What stands after the end.
        num_beams: Hypotheses K kept at each step.
        max_length: Longest sequence L in tokens, the start token among them.
        min_length: Fewest tokens of a sequence that ends, the start and the end token among them. Hugging Face counts
            the tokens before the end: its `min_length` 8 is 9 here.
        length_penalty: A score is divided by length^length_penalty, the length without the start token; above 0
            this favours long sequences, because log-probabilities are negative.
        early_stopping: Stop at K finished sequences; otherwise when the likeliest running one, divided by its length so
            far, is no better than the worst of them. With a length penalty above 0 it might still have become better
            by growing; Hugging Face's `early_stopping=False` stops at the same place.
        no_repeat_ngram: No n-gram of this length comes twice; 0 allows all.
        num_return: Sequences R returned for each picture.
    """

    start_id: int
    end_id: int
    pad_id: int = 0
    num_beams: int = 4
    max_length: int = 50
    min_length: int = 0
    length_penalty: float = 1.0
    early_stopping: bool = True
    no_repeat_ngram: int = 0
    num_return: int = 1

    def __post_init__(self) -> None:
        """Check what no model has to be asked for."""
        if self.num_beams < 1 or self.max_length < 2:
            raise UserError(f"num_beams {self.num_beams} and max_length {self.max_length}: need at least 1 and 2")
        if not 1 <= self.num_return <= self.num_beams:
            raise UserError(f"num_return {self.num_return}: must be from 1 to num_beams ({self.num_beams})")
        if self.no_repeat_ngram < 0:
            raise UserError(f"no_repeat_ngram {self.no_repeat_ngram}: give the tokens of an n-gram, or 0 to allow all")
        if not math.isfinite(self.length_penalty):
            raise UserError(f"length_penalty {self.length_penalty}: give a finite number, such as 1.0")
        if self.min_length > self.max_length:
            raise UserError(f"min_length {self.min_length} is above max_length {self.max_length}")


def with_words_first(step: Step, words_first: bool) -> Step:
    """Return the step with logits that are float32 [V, B, K], whichever way its own lie."""

    def turned(*given: Any, **more: Any) -> tuple[Any, Any]:
        logits, cache = step(*given, **more)
        return tf.cast(logits if words_first else tf.transpose(logits, [2, 0, 1]), tf.float32), cache

    return turned


def allowed(logits: Any, tokens: Any, position: Any, search: Search) -> Any:
    """Take away the tokens that must not come next, [V, B, K]: an end that is too early, an n-gram that was there."""
    words = tf.shape(logits)[0]
    if search.min_length:
        early = (tf.range(words) == search.end_id) & (position + 2 < search.min_length)
        logits = tf.where(early[:, None, None], NEVER, logits)
    n = search.no_repeat_ngram
    return tf.where(_would_repeat(tokens, position, n, words), NEVER, logits) if n else logits


def _would_repeat(tokens: Any, position: Any, n: int, words: Any) -> Any:
    """Return bool [V, B, K]: the tokens that would complete an n-gram that is there already."""
    length = tokens.shape[2]
    places = tf.range(length)
    same = places >= n - 1  # [L]: the token at this place ends an n-gram …
    same &= places <= position  # … that has been written
    same = tf.broadcast_to(same, tf.shape(tokens))
    for back in range(1, n):
        now = tf.gather(tokens, tf.maximum(position - back + 1, 0), axis=2)  # the last n − 1 tokens, from the end
        same &= tf.roll(tokens, back, axis=2) == now[:, :, None]
    same &= position + 1 >= n - 1
    batch, beams = tf.shape(tokens)[0], tf.shape(tokens)[1]
    at = tf.meshgrid(tf.range(batch), tf.range(beams), places, indexing="ij")[:2]  # each [B, K, L]
    return tf.scatter_nd(tf.stack([tokens, *at], -1), tf.cast(same, tf.int32), [words, batch, beams]) > 0


def put(tokens: Any, position: Any, token: Any) -> Any:
    """Return tokens [B, M, L] with `token` [B, M] at a place."""
    here = tf.range(tokens.shape[2]) == position
    return tf.where(here, token[:, :, None], tokens)


def answer(tokens: Any, scores: Any, broken: Any, search: Search) -> Generated:
    """Return what was found, [B, R, L] and [B, R], with the marks of what was not; `broken` is bool [B].

    Raises:
        UserError: A picture is broken and can be named, because no graph is being made.
    """
    if tf.executing_eagerly() and bool(tf.reduce_any(broken)):
        picture = int(tf.argmax(tf.cast(broken, tf.int32)))
        raise UserError(f"the logits of picture {picture} are NaN or infinite; look at its memory and the weights")
    scores = tf.where(broken[:, None], np.nan, tf.where(scores > NEVER / 2, scores, -np.inf))
    nothing = ~tf.math.is_finite(scores)
    tokens = tf.where(nothing[..., None] & (tf.range(search.max_length) > 0), search.pad_id, tokens)
    return Generated(tokens, scores, tf.where(nothing, 1, lengths_of(tokens, search)))


def lengths_of(tokens: Any, search: Search) -> Any:
    """Return the number of tokens up to the end token, or all of them where there is none."""
    after_start = tokens[..., 1:] == search.end_id
    place = tf.argmax(tf.cast(after_start, tf.int32), axis=-1, output_type=tf.int32)
    return tf.where(tf.reduce_any(after_start, -1), place + 2, tf.shape(tokens)[-1])
