"""Beam search: K hypotheses a picture grow side by side, finished ones apart."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfxfer.generate.search import NEVER, Generated, Search, Step, allowed, lengths_of, put


class _Beams(NamedTuple):
    """The state of a beam search: running hypotheses and finished ones, each K a picture."""

    position: Any  # int32 []: place of the last token
    tokens: Any  # int32 [B, K, L]
    scores: Any  # float [B, K], sums of log-probabilities
    cache: Any
    places: Any  # int32 [B, K, L]: the place among the K in which the hypothesis' token at a position was written
    done_tokens: Any  # int32 [B, K, L]
    done_scores: Any  # float [B, K], divided by the length
    closed: Any  # bool [B]: nothing can change for this picture any more


def beam_search(step: Step, cache: Any, batch_size: int, search: Search, *, in_place: bool = False) -> Generated:
    """Return the best sequences that a beam of K hypotheses finds, scored as Hugging Face scores them.

    Finished sequences are kept apart from the running ones and take no more part; a sequence that reaches
    `max_length` counts as finished. Each picture goes on until it is closed and then changes no more, so a picture's
    answer does not depend on the others in its batch.

    Args:
        step: See `tfxfer.generate`.
        cache: The step's first cache, tensors [B, …], copied for the K hypotheses; with `in_place` as it is.
        batch_size: Number of pictures B.
        search: How to search.
        in_place: The step writes its cache in place; see `tfxfer.generate`.
    """
    beams, length = search.num_beams, search.max_length
    if not in_place:
        cache = tf.nest.map_structure(lambda t: tf.repeat(t[:, None], beams, axis=1), cache)
    tokens = tf.fill([batch_size, beams, length], search.pad_id)
    tokens = tf.concat([tf.fill([batch_size, beams, 1], search.start_id), tokens[:, :, 1:]], axis=2)
    first = tf.constant([[0.0] + [NEVER] * (beams - 1)])  # hypotheses are equal at first; one may run
    state = _Beams(
        position=tf.constant(0),
        tokens=tokens,
        scores=tf.repeat(first, batch_size, axis=0),
        cache=cache,
        places=tf.zeros_like(tokens),
        done_tokens=tokens,
        done_scores=tf.fill([batch_size, beams], NEVER),
        closed=tf.fill([batch_size], False),
    )
    state = tf.while_loop(
        lambda s: (s.position < length - 1) & ~tf.reduce_all(s.closed),
        lambda s: (_advance(step, s, search, in_place),),
        (state,),
        maximum_iterations=length - 1,
    )[0]
    best = state.done_tokens[:, : search.num_return]
    return Generated(best, state.done_scores[:, : search.num_return], lengths_of(best, search))


def _advance(step: Step, state: _Beams, search: Search, in_place: bool) -> _Beams:
    """Add one token to every running hypothesis."""
    beams = search.num_beams
    last = tf.gather(state.tokens, state.position, axis=2)
    places = put(state.places, state.position, tf.range(beams)[None])  # each writes its last token in its own place
    logits, cache = step(last, state.position, state.cache, *([places] if in_place else []))
    gains, words = _likeliest(logits, state.tokens, state.position, search, 2 * beams)  # [B, K, n]
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
        closed=state.closed | _closed(running, done_scores, length, search),
    )


def _closed(running: Any, done: Any, length: Any, search: Search) -> Any:
    """Tell for each picture whether it has K finished sequences that no running hypothesis can displace."""
    worst = done[:, -1]
    filled = worst > NEVER / 2
    if search.early_stopping:
        return filled
    return filled & (running[:, 0] / length**search.length_penalty <= worst)


def _likeliest(logits: Any, tokens: Any, position: Any, search: Search, most: int) -> tuple[Any, Any]:
    """Return the log-probabilities of the likeliest tokens that may come next, and the tokens, each [B, K, n].

    No more of a hypothesis can be among the best 2K of all. What is forbidden does not change the probabilities of
    the rest, so that scores of different searches can be compared.
    """
    logits = tf.cast(logits, tf.float32)
    whole = tf.reduce_logsumexp(logits, -1, keepdims=True)
    best, words = tf.math.top_k(allowed(logits, tokens, position, search), min(most, logits.shape[-1]))
    return best - whole, words
