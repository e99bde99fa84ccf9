"""Decoding: beam search, greedy search and nucleus sampling with a step function and its cache, for any model.

A step function returns the logits of the next token for every hypothesis:

    step(tokens int32 [B, K], position int32 [], cache) -> (logits [B, K, V], cache)

`tokens` are the last tokens and `position` is their position, 0 for the start token. `cache` is any nested structure of
tensors [B, K, …], such as self-attention keys and values; it is reordered with the hypotheses. Inputs that are the same
for all hypotheses of an image, such as cross-attention keys, are kept once an image: in the step function itself, or in
`context`, tensors [B, …] that the step receives as a keyword. With a context a beam search may drop images whose search
is done from the batch (`halvings`), so that the last images do not cost as much as all.

    step(tokens, position, cache, context={…}) -> (logits, cache)

All shapes are fixed, so one graph serves every call inside a `tf.function`, compiled by XLA or not.

When hypotheses are reordered, the cache is gathered. This copies the keys and values of all layers at every step, which
costs more than reading them. So a step may also write its cache in place (`in_place=True`). It then receives, for every
hypothesis, in which of the K beams each of its tokens was written:

    step(tokens, position, cache, beam_indices=int32 [B, K, L]) -> (logits [B, K, V], cache)

Internally logits are [V, B, K]: the product of token embeddings [V, D] and hypotheses has this layout. A step with
logits of this layout says so with `vocabulary_first=True`, and they are not transposed.
"""

from typing import Any

from tfxfer.generate.beam_search import beam_search as _beam_search
from tfxfer.generate.sampling import greedy, sample
from tfxfer.generate.search import Generated, GenerationConfig

__all__ = ["Generated", "GenerationConfig", "Search", "beam_search", "greedy", "sample"]


# TRANSITION: the old names; when their importers are changed, delete all below and import `beam_search` above.
def Search(*args: Any, num_return: int = 1, no_repeat_ngram: int = 0, **settings: Any) -> GenerationConfig:  # noqa: D103
    old = {"num_return_sequences": num_return, "no_repeat_ngram_size": no_repeat_ngram}
    return GenerationConfig(*args, **(old | settings))


def beam_search(step: Any, *args: Any, words_first: bool = False, seen: Any = None, **options: Any) -> Generated:  # noqa: D103
    if not words_first and seen is None:
        return _beam_search(step, *args, **options)
    old = {"context": "seen", "beam_indices": "places"}

    def renamed(tokens: Any, position: Any, cache: Any, **kwargs: Any) -> Any:
        return step(tokens, position, cache, **{old[name]: value for name, value in kwargs.items()})

    return _beam_search(renamed, *args, vocabulary_first=words_first, context=seen, **options)
