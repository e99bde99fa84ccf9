"""Decoding: beam search, greedy search and nucleus sampling with a step function and its cache, for any model.

A step function returns the logits of the next token for every hypothesis:

    step(tokens int32 [B, K], position int32 [], cache) -> (logits [B, K, V], cache)

`tokens` are the last tokens and `position` is their position, 0 for the start token. `cache` is any nested structure of
tensors [B, K, …], such as self-attention keys and values; it is reordered with the hypotheses. Inputs that are the same
for all hypotheses of an image, such as cross-attention keys, are kept once an image: in the step function itself, or in
`context`, tensors [B, …] that the step receives as a keyword.

    step(tokens, position, cache, context={…}) -> (logits, cache)

All shapes are fixed, so one graph serves every call inside a `tf.function`, compiled by XLA or not.

When hypotheses are reordered, the cache is gathered. This copies the keys and values of all layers at every step, which
costs more than reading them. So a step may also write its cache in place (`in_place=True`). It then receives, for every
hypothesis, in which of the K beams each of its tokens was written:

    step(tokens, position, cache, beam_indices=int32 [B, K, L]) -> (logits [B, K, V], cache)

Internally logits are [V, B, K]: the product of token embeddings [V, D] and hypotheses has this layout. A step with
logits of this layout says so with `vocabulary_first=True`, and they are not transposed.
"""

from tfxfer.generate.beam_search import beam_search
from tfxfer.generate.sampling import greedy, sample
from tfxfer.generate.search import Generated, GenerationConfig

__all__ = ["Generated", "GenerationConfig", "beam_search", "greedy", "sample"]
