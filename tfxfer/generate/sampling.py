"""One sequence a picture: greedy search and nucleus sampling."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.generate.search import NEVER, Generated, Search, Step, allowed, answer, lengths_of, put, with_words_first


def greedy(
    step: Step,
    cache: Any,
    batch_size: int,
    search: Search,
    *,
    in_place: bool = False,
    words_first: bool = False,
    seen: Any = None,
) -> Generated:
    """Return the sequence that takes the most probable token at each step; the beam's settings do not count.

    Where every token is forbidden there is no such sequence, and its score is −∞; see `Generated`.
    """

    def best(logits: Any, position: Any) -> Any:
        return tf.argmax(logits, 0, tf.int32)

    return _one_by_one(with_words_first(step, words_first), cache, batch_size, search, best, in_place, seen)


def sample(
    step: Step,
    cache: Any,
    batch_size: int,
    search: Search,
    *,
    seed: tuple[int, int],
    top_p: float = 0.9,
    temperature: float = 1.0,
    in_place: bool = False,
    words_first: bool = False,
    seen: Any = None,
) -> Generated:
    """Return one random sequence a picture by nucleus sampling (Holtzman et al. 2020).

    Where every token is forbidden there is no such sequence, and its score is −∞; see `Generated`.

    Args:
        step: See `tfxfer.generate`.
        cache: The step's first cache, tensors [B, …].
        batch_size: Number of pictures B.
        search: Length, end token and forbidden n-grams.
        seed: Two numbers; equal seeds give equal sequences.
        top_p: The fewest tokens whose probabilities sum to this are drawn from.
        temperature: Divides the logits; below 1 it sharpens.
        in_place: The step writes its cache in place, as in `beam_search`.
        words_first: The step's logits are [V, B, K], as in `beam_search`.
        seen: What the step reads of each picture, as in `beam_search`.
    """
    if not 0 < top_p <= 1 or temperature <= 0:
        raise UserError(f"top_p {top_p} must be above 0 and at most 1, temperature {temperature} above 0")

    def draw(logits: Any, position: Any) -> Any:
        logits = tf.transpose(logits) / temperature  # [B, V]
        ordered = tf.sort(logits, direction="DESCENDING")
        before = tf.cumsum(tf.nn.softmax(ordered), axis=-1, exclusive=True)  # probability of the likelier tokens
        least = tf.reduce_min(tf.where(before < top_p, ordered, tf.float32.max), -1, keepdims=True)
        at = tf.random.experimental.stateless_fold_in(tf.constant(seed), position)
        kept = tf.where(logits >= least, logits, NEVER)
        return tf.random.stateless_categorical(kept, 1, at, tf.int32)[:, 0]

    return _one_by_one(with_words_first(step, words_first), cache, batch_size, search, draw, in_place, seen)


class _Single(NamedTuple):
    position: Any  # int32 []
    tokens: Any  # int32 [B, 1, L]
    scores: Any  # float [B, 1]
    ended: Any  # bool [B]
    cache: Any


def _one_by_one(
    step: Step, cache: Any, batch_size: int, search: Search, choose: Callable[..., Any], in_place: bool, seen: Any
) -> Generated:
    """Grow one sequence a picture.

    The step's logits are [V, B, 1]; `choose` takes them as [V, B], with the position, and returns tokens [B].
    """

    def grow(s: _Single) -> tuple[_Single]:
        last = tf.gather(s.tokens, s.position, axis=2)
        more = {"places": tf.zeros_like(s.tokens)} if in_place else {}  # there is one place only
        more |= {"seen": seen} if seen is not None else {}
        logits, new = step(last, s.position, s.cache, **more)
        gains = tf.nn.log_softmax(logits, axis=0)  # [V, B, 1]
        may = allowed(gains, s.tokens, s.position, search)[..., 0]  # [V, B]
        token = choose(may, s.position)
        gain = tf.gather(tf.transpose(may), token, batch_dims=1)  # NEVER where all are forbidden: nothing can be said
        token = tf.where(s.ended, search.pad_id, token)
        return (
            _Single(
                s.position + 1,
                put(s.tokens, s.position + 1, token[:, None]),
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
                cache if in_place else tf.nest.map_structure(lambda t: t[:, None], cache),
            ),
        ),
        maximum_iterations=search.max_length - 1,
    )[0]
    lengths = lengths_of(state.tokens, search)
    scores = state.scores / tf.cast(lengths - 1, tf.float32) ** search.length_penalty
    scores = tf.where(state.scores > NEVER / 2, scores, NEVER)
    return answer(state.tokens, scores, tf.math.is_nan(state.scores[:, 0]), search)
