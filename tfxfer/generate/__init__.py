"""Decoding: beam search, greedy search and nucleus sampling over a step function and its cache. Knows no model.

A step function answers with the next token's logits for every hypothesis:

    step(tokens int32 [B, K], position int32 [], cache) -> (logits [B, K, V], cache)

`tokens` are the last tokens, `position` their place (0 for the start token), and `cache` is any nested structure of
tensors [B, K, …] that follows the hypotheses, such as self-attention keys and values. What does not depend on the
hypotheses, such as the picture's cross-attention keys, is kept once a picture: in the step function itself, or in
`seen`, tensors [B, …] that the step is then handed as a keyword. Then a beam search may drop pictures that are closed
from the batch (`halvings`), so that the last ones do not cost as much as all.

    step(tokens, position, cache, seen={…}) -> (logits, cache)

All shapes are fixed, so that one graph serves every call inside a `tf.function`, compiled by XLA or not.

When hypotheses change places, the cache is gathered. Moving the keys and values of all layers at every step costs
more than reading them, so a step may also write its cache in place (`in_place=True`). It is then told for every
hypothesis in which of the K places each of its tokens was written:

    step(tokens, position, cache, places=int32 [B, K, L]) -> (logits [B, K, V], cache)

A search goes over the words from [V, B, K], where groups of words lie together and a product of the word table [V, D]
and the hypotheses puts them. A step that has its logits so already says `words_first=True` and spares turning them.
"""

from tfxfer.generate.beam_search import beam_search
from tfxfer.generate.sampling import greedy, sample
from tfxfer.generate.search import Generated, Search

__all__ = ["Generated", "Search", "beam_search", "greedy", "sample"]
