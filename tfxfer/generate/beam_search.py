"""Beam search: K running hypotheses an image, and K finished ones."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfxfer.generate.search import (
    MASKED,
    Generated,
    GenerationConfig,
    Step,
    finalize,
    with_vocabulary_first,
    write_token,
)
from tfxfer.generate.top_k import most_probable


class _Beams(NamedTuple):
    """The state of a beam search: running hypotheses and finished ones, each K an image."""

    position: Any  # int32 []: position of the last token
    tokens: Any  # int32 [B, K, L]
    scores: Any  # float [B, K], sums of log-probabilities
    cache: Any
    beam_indices: Any  # int32 [B, K, L]: the beam in which each token of a hypothesis was written
    finished_tokens: Any  # int32 [B, K, L]
    finished_scores: Any  # float [B, K], divided by the length
    done: Any  # bool [B]: the search of this image has ended, and its result changes no more
    invalid: Any  # bool [B]: a running hypothesis had log-probabilities that are not finite


def beam_search(
    step: Step,
    cache: Any,
    batch_size: int,
    config: GenerationConfig,
    *,
    in_place: bool = False,
    vocabulary_first: bool = False,
    context: Any = None,
) -> Generated:
    """Return the best sequences of a beam search with K hypotheses, with the scores of Hugging Face.

    A sequence that ends, or that reaches `max_length`, is finished: it is moved from the running hypotheses to the
    finished ones. The result of an image does not depend on the others in its batch; the search ends when all are
    done.

    Args:
        step: See `tfxfer.generate`.
        cache: The step's first cache, tensors [B, …], copied for the K hypotheses; with `in_place` as it is.
        batch_size: Number of images B.
        config: Configuration of the search.
        in_place: The step writes its cache in place; see `tfxfer.generate`.
        vocabulary_first: The step's logits are [V, B, K].
        context: Constant inputs of the step for each image, tensors [B, …]; see `tfxfer.generate`.

    Raises:
        UserError: The logits of an image are not finite (only outside of a `tf.function`; see `Generated`).
    """
    step = with_vocabulary_first(step, vocabulary_first)
    last_position = config.max_length - 1

    def condition(s: _Beams) -> Any:
        return (s.position < last_position) & ~tf.reduce_all(s.done)

    def body(s: _Beams) -> tuple[_Beams]:
        return (_add_token(step, s, config, in_place, context),)

    first = _initial_state(cache, batch_size, config, in_place)
    state = tf.while_loop(condition, body, (first,), maximum_iterations=last_position)[0]
    count = config.num_return_sequences
    return finalize(state.finished_tokens[:, :count], state.finished_scores[:, :count], state.invalid, config)


def _initial_state(cache: Any, batch_size: int, config: GenerationConfig, in_place: bool) -> _Beams:
    """Return the state before the first step."""
    beams, length = config.num_beams, config.max_length
    if not in_place:
        cache = tf.nest.map_structure(lambda t: tf.repeat(t[:, None], beams, axis=1), cache)
    tokens = tf.fill([batch_size, beams, length], config.pad_id)
    tokens = tf.concat([tf.fill([batch_size, beams, 1], config.start_id), tokens[:, :, 1:]], axis=2)
    scores = tf.constant([[0.0] + [MASKED] * (beams - 1)])  # the hypotheses are equal at first; all but one are masked
    return _Beams(
        position=tf.constant(0),
        tokens=tokens,
        scores=tf.repeat(scores, batch_size, axis=0),
        cache=cache,
        beam_indices=tf.zeros_like(tokens),
        finished_tokens=tokens,
        finished_scores=tf.fill([batch_size, beams], MASKED),
        done=tf.fill([batch_size], False),
        invalid=tf.fill([batch_size], False),
    )


def _add_token(step: Step, state: _Beams, config: GenerationConfig, in_place: bool, context: Any) -> _Beams:
    """Add one token to every running hypothesis."""
    beams = config.num_beams
    last = tf.gather(state.tokens, state.position, axis=2)
    beam_indices = write_token(state.beam_indices, state.position, tf.range(beams)[None])  # of the last tokens
    kwargs = ({"beam_indices": beam_indices} if in_place else {}) | ({} if context is None else {"context": context})
    logits, cache = step(last, state.position, state.cache, **kwargs)  # [V, B, K]
    gains, next_tokens = most_probable(logits, state.tokens, state.position, config, 2 * beams)  # [B, K, n]
    invalid = tf.reduce_any(tf.math.is_nan(gains[:, :, 0]) & (state.scores > MASKED / 2), 1)
    each = gains.shape[2]
    total = tf.reshape(state.scores[:, :, None] + gains, [-1, beams * each])
    scores, chosen = tf.math.top_k(total, min(2 * beams, beams * each))  # [B, 2K]: at most K of them end
    count, parents = chosen.shape[1], chosen // each
    token = tf.gather(tf.reshape(next_tokens, [-1, beams * each]), chosen, batch_dims=1)
    candidates = write_token(tf.gather(state.tokens, parents, batch_dims=1), state.position + 1, token)

    longest = state.position + 1 == config.max_length - 1
    ended = (token == config.end_id) | longest
    length = tf.cast(state.position + 1, tf.float32)
    eligible = ended & (tf.range(count) < beams) & (scores > MASKED / 2) & ~state.done[:, None]
    new_scores = tf.where(eligible, scores / length**config.length_penalty, MASKED)
    finished_scores, best = tf.math.top_k(tf.concat([state.finished_scores, new_scores], 1), beams)
    finished_tokens = tf.gather(tf.concat([state.finished_tokens, candidates], 1), best, batch_dims=1)

    running, kept = tf.math.top_k(tf.where(ended, MASKED, scores), beams)
    from_beam = tf.gather(parents, kept, batch_dims=1)
    if not in_place:
        cache = tf.nest.map_structure(lambda t: tf.gather(t, from_beam, batch_dims=1), cache)
    return _Beams(
        position=state.position + 1,
        tokens=tf.gather(candidates, kept, batch_dims=1),
        scores=running,
        cache=cache,
        beam_indices=tf.gather(beam_indices, from_beam, batch_dims=1),
        finished_tokens=finished_tokens,
        finished_scores=finished_scores,
        done=state.done | invalid | _is_done(running, finished_scores, length, config),
        invalid=state.invalid | (invalid & ~state.done),
    )


def _is_done(running: Any, finished: Any, length: Any, config: GenerationConfig) -> Any:
    """Return bool [B]: whether an image has K finished sequences and its search ends.

    Without early stopping it ends when the best running hypothesis, at its present length, is no better than the worst
    of the finished ones. This is not a bound: with a length penalty above 0, a longer one may still be better. The rule
    is that of Hugging Face's `early_stopping=False`.
    """
    worst = finished[:, -1]
    filled = worst > MASKED / 2
    if config.early_stopping:
        return filled
    return filled & (running[:, 0] / length**config.length_penalty <= worst)
