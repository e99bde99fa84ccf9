"""One sequence an image: greedy search and nucleus sampling."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.generate.search import (
    MASKED,
    Generated,
    GenerationConfig,
    Step,
    finalize,
    lengths_of,
    mask_forbidden,
    with_vocabulary_first,
    write_token,
)


def greedy(
    step: Step,
    cache: Any,
    batch_size: int,
    config: GenerationConfig,
    *,
    in_place: bool = False,
    vocabulary_first: bool = False,
    context: Any = None,
) -> Generated:
    """Return the sequence of the most probable token at each step; `num_beams` is not used.

    Where every token is forbidden there is no sequence, and the score is −∞; see `Generated`. Arguments are those of
    `beam_search`.
    """

    def most_probable(logits: Any, position: Any) -> Any:
        return tf.argmax(logits, 0, tf.int32)

    step = with_vocabulary_first(step, vocabulary_first)
    return _generate(step, cache, batch_size, config, most_probable, in_place, context)


def sample(
    step: Step,
    cache: Any,
    batch_size: int,
    config: GenerationConfig,
    *,
    seed: tuple[int, int],
    top_p: float = 0.9,
    temperature: float = 1.0,
    in_place: bool = False,
    vocabulary_first: bool = False,
    context: Any = None,
) -> Generated:
    """Return one random sequence an image by nucleus sampling (Holtzman et al. 2020).

    Where every token is forbidden there is no sequence, and the score is −∞; see `Generated`.

    Args:
        step: See `tfxfer.generate`.
        cache: The step's first cache, tensors [B, …].
        batch_size: Number of images B.
        config: Length, special tokens and forbidden n-grams.
        seed: Two numbers; equal seeds give equal sequences.
        top_p: Tokens are drawn from the smallest set whose probabilities sum to this.
        temperature: Divides the logits; below 1 the distribution becomes sharper.
        in_place: The step writes its cache in place, as in `beam_search`.
        vocabulary_first: The step's logits are [V, B, K], as in `beam_search`.
        context: Constant inputs of the step for each image, as in `beam_search`.
    """
    if not 0 < top_p <= 1 or temperature <= 0:
        raise UserError(f"top_p {top_p} must be above 0 and at most 1, temperature {temperature} above 0")

    def draw(logits: Any, position: Any) -> Any:
        logits = tf.transpose(logits) / temperature  # [B, V]
        ordered = tf.sort(logits, direction="DESCENDING")
        before = tf.cumsum(tf.nn.softmax(ordered), axis=-1, exclusive=True)  # probability of the more probable tokens
        lowest = tf.reduce_min(tf.where(before < top_p, ordered, tf.float32.max), -1, keepdims=True)
        step_seed = tf.random.experimental.stateless_fold_in(tf.constant(seed), position)
        kept = tf.where(logits >= lowest, logits, MASKED)
        return tf.random.stateless_categorical(kept, 1, step_seed, tf.int32)[:, 0]

    step = with_vocabulary_first(step, vocabulary_first)
    return _generate(step, cache, batch_size, config, draw, in_place, context)


class _State(NamedTuple):
    position: Any  # int32 []
    tokens: Any  # int32 [B, 1, L]
    scores: Any  # float [B, 1]
    ended: Any  # bool [B]
    cache: Any


def _generate(
    step: Step,
    cache: Any,
    batch_size: int,
    config: GenerationConfig,
    choose: Callable[..., Any],
    in_place: bool,
    context: Any,
) -> Generated:
    """Generate one sequence an image, token by token.

    The step's logits are [V, B, 1]; `choose` takes them as [V, B], with the position, and returns tokens [B].
    """

    def add_token(s: _State) -> tuple[_State]:
        last = tf.gather(s.tokens, s.position, axis=2)
        kwargs = {"beam_indices": tf.zeros_like(s.tokens)} if in_place else {}  # there is one beam only
        kwargs |= {} if context is None else {"context": context}
        logits, new_cache = step(last, s.position, s.cache, **kwargs)
        gains = tf.nn.log_softmax(logits, axis=0)  # [V, B, 1]
        allowed = mask_forbidden(gains, s.tokens, s.position, config)[..., 0]  # [V, B]
        token = choose(allowed, s.position)
        gain = tf.gather(tf.transpose(allowed), token, batch_dims=1)  # MASKED where every token is forbidden
        token = tf.where(s.ended, config.pad_id, token)
        return (
            _State(
                s.position + 1,
                write_token(s.tokens, s.position + 1, token[:, None]),
                s.scores + tf.where(s.ended, 0.0, gain)[:, None],
                s.ended | (token == config.end_id),
                new_cache,
            ),
        )

    tokens = tf.fill([batch_size, 1, config.max_length], config.pad_id)
    tokens = tf.concat([tf.fill([batch_size, 1, 1], config.start_id), tokens[:, :, 1:]], axis=2)
    state = tf.while_loop(
        lambda s: (s.position < config.max_length - 1) & ~tf.reduce_all(s.ended),
        add_token,
        (
            _State(
                tf.constant(0),
                tokens,
                tf.zeros([batch_size, 1]),
                tf.fill([batch_size], False),
                cache if in_place else tf.nest.map_structure(lambda t: t[:, None], cache),
            ),
        ),
        maximum_iterations=config.max_length - 1,
    )[0]
    lengths = lengths_of(state.tokens, config)
    scores = state.scores / tf.cast(lengths - 1, tf.float32) ** config.length_penalty
    scores = tf.where(state.scores > MASKED / 2, scores, MASKED)
    return finalize(state.tokens, scores, tf.math.is_nan(state.scores[:, 0]), config)
