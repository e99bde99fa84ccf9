"""Decoding: beam search, greedy search and nucleus sampling over a step function and its cache. Knows no model.

A step function answers with the next token's logits for every hypothesis:

    step(tokens int32 [B, K], position int32 [], cache) -> (logits [B, K, V], cache)

`tokens` are the last tokens, `position` their place (0 for the start token), and `cache` is any nested structure of
tensors [B, K, …] that follows the hypotheses, such as self-attention keys and values. What does not depend on the
hypotheses, such as the picture's cross-attention keys, belongs into the step function itself, once a picture.
All shapes are fixed, so that one graph serves every call inside a `tf.function`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from tfxfer.errors import UserError

Step = Callable[[Any, Any, Any], tuple[Any, Any]]
NEVER = -1e9  # a score that no hypothesis reaches


class Generated(NamedTuple):
    """What a search found, the best first.

    Attributes:
        tokens: int32 [B, R, L], from the start token on; padded after the end token.
        scores: float [B, R], the sum of log-probabilities over the length to the power of the length penalty.
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
        min_length: No end before this many tokens, the start token among them.
        length_penalty: A score is divided by length^length_penalty, the length without the start token; above 0
            this favours long sequences, because log-probabilities are negative.
        early_stopping: Stop at K finished sequences; otherwise when no running one can still be better.
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
        if self.min_length > self.max_length:
            raise UserError(f"min_length {self.min_length} is above max_length {self.max_length}")


class _Beams(NamedTuple):
    """The state of a beam search: running hypotheses and finished ones, each K a picture."""

    position: Any  # int32 []: place of the last token
    tokens: Any  # int32 [B, K, L]
    scores: Any  # float [B, K], sums of log-probabilities
    cache: Any
    done_tokens: Any  # int32 [B, K, L]
    done_scores: Any  # float [B, K], divided by the length
    closed: Any  # bool [B]: nothing can change for this picture any more


def beam_search(step: Step, cache: Any, batch_size: int, search: Search) -> Generated:
    """Return the best sequences that a beam of K hypotheses finds, scored as Hugging Face scores them.

    Finished sequences are kept apart from the running ones and take no more part; a sequence that reaches
    `max_length` counts as finished. Each picture goes on until it is closed and then changes no more, so a picture's
    answer does not depend on the others in its batch.

    Args:
        step: See the module.
        cache: The step's first cache, tensors [B, …]; copied for the K hypotheses.
        batch_size: Number of pictures B.
        search: How to search.
    """
    beams, length = search.num_beams, search.max_length
    tokens = tf.fill([batch_size, beams, length], search.pad_id)
    tokens = tf.concat([tf.fill([batch_size, beams, 1], search.start_id), tokens[:, :, 1:]], axis=2)
    first = tf.constant([[0.0] + [NEVER] * (beams - 1)])  # hypotheses are equal at first; one may run
    state = _Beams(
        position=tf.constant(0),
        tokens=tokens,
        scores=tf.repeat(first, batch_size, axis=0),
        cache=tf.nest.map_structure(lambda t: tf.repeat(t[:, None], beams, axis=1), cache),
        done_tokens=tokens,
        done_scores=tf.fill([batch_size, beams], NEVER),
        closed=tf.fill([batch_size], False),
    )
    state = tf.while_loop(
        lambda s: (s.position < length - 1) & ~tf.reduce_all(s.closed),
        lambda s: (_advance(step, s, search),),
        (state,),
        maximum_iterations=length - 1,
    )[0]
    best = state.done_tokens[:, : search.num_return]
    return Generated(best, state.done_scores[:, : search.num_return], _lengths(best, search))


def _advance(step: Step, state: _Beams, search: Search) -> _Beams:
    """Add one token to every running hypothesis."""
    beams = search.num_beams
    last = tf.gather(state.tokens, state.position, axis=2)
    logits, cache = step(last, state.position, state.cache)
    gains = _allowed(tf.nn.log_softmax(tf.cast(logits, tf.float32)), state.tokens, state.position, search)
    total = state.scores[:, :, None] + gains  # [B, K, V]
    words = total.shape[-1] or tf.shape(total)[-1]
    flat = tf.reshape(total, [tf.shape(total)[0], -1])
    count = min(2 * beams, beams * words) if isinstance(words, int) else 2 * beams
    scores, chosen = tf.math.top_k(flat, count)  # [B, 2K]: K of them at most are ends
    parents, token = chosen // words, chosen % words
    grown = _set(tf.gather(state.tokens, parents, batch_dims=1), state.position + 1, token)

    full = state.position + 1 == search.max_length - 1
    ended = (token == search.end_id) | full
    length = tf.cast(state.position + 1, tf.float32)
    counts = ended & (tf.range(count) < beams) & (scores > NEVER / 2)
    finished = tf.where(counts, scores / length**search.length_penalty, NEVER)
    finished = tf.where(state.closed[:, None], NEVER, finished)
    done_scores, best = tf.math.top_k(tf.concat([state.done_scores, finished], 1), beams)
    done_tokens = tf.gather(tf.concat([state.done_tokens, grown], 1), best, batch_dims=1)

    running, kept = tf.math.top_k(tf.where(ended, NEVER, scores), beams)
    from_beam = tf.gather(parents, kept, batch_dims=1)
    return _Beams(
        position=state.position + 1,
        tokens=tf.gather(grown, kept, batch_dims=1),
        scores=running,
        cache=tf.nest.map_structure(lambda t: tf.gather(t, from_beam, batch_dims=1), cache),
        done_tokens=done_tokens,
        done_scores=done_scores,
        closed=state.closed | _closed(running, done_scores, length, search),
    )


def greedy(step: Step, cache: Any, batch_size: int, search: Search) -> Generated:
    """Return the sequence that takes the most probable token at each step; the beam's settings do not count."""
    return _one_by_one(step, cache, batch_size, search, lambda logits, position: tf.argmax(logits, -1, tf.int32))


def sample(
    step: Step,
    cache: Any,
    batch_size: int,
    search: Search,
    *,
    seed: tuple[int, int],
    top_p: float = 0.9,
    temperature: float = 1.0,
) -> Generated:
    """Return one random sequence a picture by nucleus sampling (Holtzman et al. 2020).

    Args:
        step: See the module.
        cache: The step's first cache, tensors [B, …].
        batch_size: Number of pictures B.
        search: Length, end token and forbidden n-grams.
        seed: Two numbers; equal seeds give equal sequences.
        top_p: The fewest tokens whose probabilities sum to this are drawn from.
        temperature: Divides the logits; below 1 it sharpens.
    """
    if not 0 < top_p <= 1 or temperature <= 0:
        raise UserError(f"top_p {top_p} must be above 0 and at most 1, temperature {temperature} above 0")

    def draw(logits: Any, position: Any) -> Any:
        logits = logits / temperature
        ordered = tf.sort(logits, direction="DESCENDING")
        before = tf.cumsum(tf.nn.softmax(ordered), axis=-1, exclusive=True)  # probability of the likelier tokens
        least = tf.reduce_min(tf.where(before < top_p, ordered, tf.float32.max), -1, keepdims=True)
        at = tf.random.experimental.stateless_fold_in(tf.constant(seed), position)
        kept = tf.where(logits >= least, logits, NEVER)
        return tf.random.stateless_categorical(kept, 1, at, tf.int32)[:, 0]

    return _one_by_one(step, cache, batch_size, search, draw)


class _Single(NamedTuple):
    position: Any  # int32 []
    tokens: Any  # int32 [B, 1, L]
    scores: Any  # float [B, 1]
    ended: Any  # bool [B]
    cache: Any


def _one_by_one(
    step: Step, cache: Any, batch_size: int, search: Search, choose: Callable[[Any, Any], Any]
) -> Generated:
    """Grow one sequence a picture; `choose` takes logits [B, V] and the position, and returns tokens [B]."""

    def grow(s: _Single) -> tuple[_Single]:
        logits, new = step(tf.gather(s.tokens, s.position, axis=2), s.position, s.cache)
        gains = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        token = choose(_allowed(gains, s.tokens, s.position, search)[:, 0], s.position)
        gain = tf.gather(gains[:, 0], token, batch_dims=1)
        token = tf.where(s.ended, search.pad_id, token)
        return (
            _Single(
                s.position + 1,
                _set(s.tokens, s.position + 1, token[:, None]),
                s.scores + tf.where(s.ended, 0.0, gain)[:, None],
                s.ended | (token == search.end_id),
                new,
            ),
        )

    tokens = tf.fill([batch_size, 1, search.max_length], search.pad_id)
    tokens = tf.concat([tf.fill([batch_size, 1, 1], search.start_id), tokens[:, :, 1:]], axis=2)
    state = tf.while_loop(
        lambda s: (s.position < search.max_length - 1) & ~tf.reduce_all(s.ended),
        grow,
        (
            _Single(
                tf.constant(0),
                tokens,
                tf.zeros([batch_size, 1]),
                tf.fill([batch_size], False),
                tf.nest.map_structure(lambda t: t[:, None], cache),
            ),
        ),
        maximum_iterations=search.max_length - 1,
    )[0]
    lengths = _lengths(state.tokens, search)
    scores = state.scores / tf.cast(lengths - 1, tf.float32) ** search.length_penalty
    return Generated(state.tokens, scores, lengths)


def _closed(running: Any, done: Any, length: Any, search: Search) -> Any:
    """Tell for each picture whether it has K finished sequences that no running hypothesis can displace."""
    worst = done[:, -1]
    filled = worst > NEVER / 2
    if search.early_stopping:
        return filled
    return filled & (running[:, 0] / length**search.length_penalty <= worst)


def _allowed(gains: Any, tokens: Any, position: Any, search: Search) -> Any:
    """Take away the tokens that must not come next: an end that is too early, an n-gram that was there.

    What is left keeps its log-probability [B, K, V], so that scores of different searches can be compared.
    """
    words = tf.shape(gains)[-1]
    early = (tf.range(words) == search.end_id) & (position + 2 < search.min_length)
    gains = tf.where(early, NEVER, gains)
    n = search.no_repeat_ngram
    return tf.where(_would_repeat(tokens, position, n, words), NEVER, gains) if n else gains


def _would_repeat(tokens: Any, position: Any, n: int, words: Any) -> Any:
    """Return bool [B, K, V]: the tokens that would complete an n-gram that is there already."""
    length = tokens.shape[2]
    places = tf.range(length)
    same = places >= n - 1  # [L]: the token at this place ends an n-gram …
    same &= places <= position  # … that has been written
    same = tf.broadcast_to(same, tf.shape(tokens))
    for back in range(1, n):
        now = tf.gather(tokens, tf.maximum(position - back + 1, 0), axis=2)  # the last n − 1 tokens, from the end
        same &= tf.roll(tokens, back, axis=2) == now[:, :, None]
    same &= position + 1 >= n - 1
    hits = tf.cast(tf.where(same), tf.int32)  # [m, 3]
    cells = tf.concat([hits[:, :2], tf.gather_nd(tokens, hits)[:, None]], 1)
    shape = tf.stack([tf.shape(tokens)[0], tf.shape(tokens)[1], words])
    return tf.scatter_nd(cells, tf.ones(tf.shape(cells)[:1], tf.int32), shape) > 0


def _set(tokens: Any, position: Any, token: Any) -> Any:
    """Return tokens [B, M, L] with `token` [B, M] at a place."""
    here = tf.range(tokens.shape[2]) == position
    return tf.where(here, token[:, :, None], tokens)


def _lengths(tokens: Any, search: Search) -> Any:
    """Return the number of tokens up to the end token, or all of them where there is none."""
    after_start = tokens[..., 1:] == search.end_id
    place = tf.argmax(tf.cast(after_start, tf.int32), axis=-1, output_type=tf.int32)
    return tf.where(tf.reduce_any(after_start, -1), place + 2, tf.shape(tokens)[-1])
