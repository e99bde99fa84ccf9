"""Beam search: K hypotheses a picture grow side by side, finished ones apart."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfxfer.generate.search import NEVER, Generated, Search, Step, answer, put, with_words_first
from tfxfer.generate.top_k import likeliest


class _Beams(NamedTuple):
    """The state of a beam search: running hypotheses and finished ones, each K a picture."""

    position: Any  # int32 []: place of the last token
    tokens: Any  # int32 [B, K, L]
    scores: Any  # float [B, K], sums of log-probabilities
    cache: Any
    places: Any  # int32 [B, K, L]: the place among the K in which the hypothesis' token at a position was written
    done_tokens: Any  # int32 [B, K, L]
    done_scores: Any  # float [B, K], divided by the length
    closed: Any  # bool [B]: this picture's search has ended, and it changes no more
    broken: Any  # bool [B]: a running hypothesis had log-probabilities that are no numbers


def beam_search(
    step: Step,
    cache: Any,
    batch_size: int,
    search: Search,
    *,
    in_place: bool = False,
    words_first: bool = False,
    seen: Any = None,
    halvings: int = 0,
) -> Generated:
    """Return the best sequences that a beam of K hypotheses finds, scored as Hugging Face scores them.

    Finished sequences are kept apart from the running ones and take no more part; a sequence that reaches
    `max_length` counts as finished. Each picture goes on until it is closed and then changes no more, so a picture's
    answer does not depend on the others in its batch. With `halvings`, closed pictures also leave the batch: it is cut
    in half when half of it is closed, and so on.

    Args:
        step: See `tfxfer.generate`.
        cache: The step's first cache, tensors [B, …], copied for the K hypotheses; with `in_place` as it is.
        batch_size: Number of pictures B.
        search: How to search.
        in_place: The step writes its cache in place; see `tfxfer.generate`.
        words_first: The step's logits are [V, B, K].
        seen: What the step reads of each picture and never changes, tensors [B, …]; see `tfxfer.generate`.
        halvings: How often the batch may be cut in half. Each time costs another body of the loop to compile, so it
            pays for long searches and large models. Whatever the step reads of a picture must then be in `seen`.

    Raises:
        UserError: The logits of a picture are no numbers (only outside of a `tf.function`; see `Generated`).
    """
    state, pictures = _first(cache, batch_size, search, in_place), tf.range(batch_size)
    tokens, scores, broken = state.done_tokens, state.done_scores, state.broken
    sizes = _sizes(batch_size, halvings)
    step = with_words_first(step, words_first)
    for size, smaller in zip(sizes, [*sizes[1:], 0]):
        if size < state.closed.shape[0]:
            left = tf.argsort(tf.cast(state.closed, tf.int32), stable=True)[:size]  # the open ones are among them
            state, seen, pictures = _only(left, state), _gathered(seen, left), tf.gather(pictures, left)
        state = _run(step, state, search, in_place, seen, smaller)
        at = pictures[:, None]
        tokens = tf.tensor_scatter_nd_update(tokens, at, state.done_tokens)
        scores = tf.tensor_scatter_nd_update(scores, at, state.done_scores)
        broken = tf.tensor_scatter_nd_update(broken, at, state.broken)
    return answer(tokens[:, : search.num_return], scores[:, : search.num_return], broken, search)


def _sizes(batch_size: int, halvings: int) -> list[int]:
    """Return how many pictures the batch has room for, one stage after the other."""
    halves = [-(-batch_size // 2**i) for i in range(halvings + 1)]
    return [size for i, size in enumerate(halves) if i == 0 or size < halves[i - 1]]


def _first(cache: Any, batch_size: int, search: Search, in_place: bool) -> _Beams:
    """Return the state before the first step."""
    beams, length = search.num_beams, search.max_length
    if not in_place:
        cache = tf.nest.map_structure(lambda t: tf.repeat(t[:, None], beams, axis=1), cache)
    tokens = tf.fill([batch_size, beams, length], search.pad_id)
    tokens = tf.concat([tf.fill([batch_size, beams, 1], search.start_id), tokens[:, :, 1:]], axis=2)
    one = tf.constant([[0.0] + [NEVER] * (beams - 1)])  # hypotheses are equal at first; one may run
    return _Beams(
        position=tf.constant(0),
        tokens=tokens,
        scores=tf.repeat(one, batch_size, axis=0),
        cache=cache,
        places=tf.zeros_like(tokens),
        done_tokens=tokens,
        done_scores=tf.fill([batch_size, beams], NEVER),
        closed=tf.fill([batch_size], False),
        broken=tf.fill([batch_size], False),
    )


def _gathered(nest: Any, rows: Any) -> Any:
    return tf.nest.map_structure(lambda t: tf.gather(t, rows), nest)


def _only(rows: Any, state: _Beams) -> _Beams:
    """Return the state of some pictures."""
    return _Beams(state.position, *_gathered(tuple(state[1:]), rows))


def _run(step: Step, state: _Beams, search: Search, in_place: bool, seen: Any, enough: int) -> _Beams:
    """Go on until no more than `enough` pictures are open."""
    most = search.max_length - 1

    def goes_on(s: _Beams) -> Any:
        return (s.position < most) & (tf.reduce_sum(tf.cast(~s.closed, tf.int32)) > enough)

    def advanced(s: _Beams) -> tuple[_Beams]:
        return (_advance(step, s, search, in_place, seen),)

    return tf.while_loop(goes_on, advanced, (state,), maximum_iterations=most)[0]


def _advance(step: Step, state: _Beams, search: Search, in_place: bool, seen: Any) -> _Beams:
    """Add one token to every running hypothesis."""
    beams = search.num_beams
    last = tf.gather(state.tokens, state.position, axis=2)
    places = put(state.places, state.position, tf.range(beams)[None])  # each writes its last token in its own place
    more = ({"places": places} if in_place else {}) | ({"seen": seen} if seen is not None else {})
    logits, cache = step(last, state.position, state.cache, **more)  # [V, B, K]
    gains, words = likeliest(logits, state.tokens, state.position, search, 2 * beams)  # [B, K, n]
    lost = tf.reduce_any(tf.math.is_nan(gains[:, :, 0]) & (state.scores > NEVER / 2), 1)
    each = gains.shape[2]
    total = tf.reshape(state.scores[:, :, None] + gains, [-1, beams * each])
    scores, chosen = tf.math.top_k(total, min(2 * beams, beams * each))  # [B, 2K]: K of them at most are ends
    count, parents = chosen.shape[1], chosen // each
    token = tf.gather(tf.reshape(words, [-1, beams * each]), chosen, batch_dims=1)
    grown = put(tf.gather(state.tokens, parents, batch_dims=1), state.position + 1, token)

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
    if not in_place:
        cache = tf.nest.map_structure(lambda t: tf.gather(t, from_beam, batch_dims=1), cache)
    return _Beams(
        position=state.position + 1,
        tokens=tf.gather(grown, kept, batch_dims=1),
        scores=running,
        cache=cache,
        places=tf.gather(places, from_beam, batch_dims=1),
        done_tokens=done_tokens,
        done_scores=done_scores,
        closed=state.closed | lost | _closed(running, done_scores, length, search),
        broken=state.broken | (lost & ~state.closed),
    )


def _closed(running: Any, done: Any, length: Any, search: Search) -> Any:
    """Tell for each picture whether it has K finished sequences and stops there.

    Without early stopping it does when the likeliest running hypothesis, were it finished as it is, would be no better
    than the worst of them. That is no bound: where the length penalty is above 0, a longer one may still be better.
    Hugging Face's `early_stopping=False` asks the same.
    """
    worst = done[:, -1]
    filled = worst > NEVER / 2
    if search.early_stopping:
        return filled
    return filled & (running[:, 0] / length**search.length_penalty <= worst)
