"""Parts of a network that can be left out: its convolutions, or a transformer's embeddings, attention and the rest.

A part is left out by giving its weights fresh random values, drawn as those of the random control. The architecture,
and all other weights, stay as they are.
"""

import re
from collections.abc import Iterable
from itertools import pairwise

import keras

from tfxfer.models.fresh import fresh_copy

MOST_BLOCKS = 6  # groups of convolutions; a deeper CNN has several in each
EMBEDDINGS, ATTENTION, FEED_FORWARD = "embeddings", "attention", "feed-forward"
NORMALISATION, DENSE = "normalisation", "dense layers"
ORDER = (EMBEDDINGS, ATTENTION, FEED_FORWARD, DENSE, NORMALISATION)
IN_ATTENTION = re.compile(r"attention|attn|\bmha\b|\b(query|key|value)\b|\b[qkv]_(proj|lin)\b")


def parts_of(model: keras.Model, used: Iterable[str] | None = None) -> dict[str, tuple[int, ...]]:
    """Return part -> the places of its tensors in `model.weights`, in the order of the layers.

    A CNN has its convolutions one by one ("convolution 1"), in `MOST_BLOCKS` groups where there are more, and its
    normalisation. A transformer has embeddings, attention, feed-forward layers and normalisation. A classification
    head is no part.

    Args:
        model: The model.
        used: Paths of the tensors that count; by default all.
    """
    owners = _owners(model)
    transformer = any(IN_ATTENTION.search(weight.path) for weight in model.weights)
    wanted = None if used is None else set(used)
    found: dict[str, list[int]] = {}
    for place, weight in enumerate(model.weights):
        layer = owners.get(id(weight))
        if (wanted is not None and weight.path not in wanted) or _is_head(layer):
            continue
        name = _part(weight.path, layer, transformer)
        found.setdefault(name, []).append(place)
    return _in_blocks({name: tuple(places) for name, places in found.items()})


def without_part(model: keras.Model, places: Iterable[int], seed: int) -> keras.Model:
    """Return a copy of a model in which the weights at some places are drawn anew, as `fresh_copy` draws them.

    Args:
        model: The model; it is left alone.
        places: Of `model.weights`.
        seed: Of the fresh weights: the same as those of the random control with this seed.
    """
    copy = fresh_copy(model, seed)
    left_out = set(places)
    for place, (new, old) in enumerate(zip(copy.weights, model.weights, strict=True)):
        if place not in left_out:
            new.assign(old)
    return copy


def _owners(model: keras.Model) -> dict[int, keras.layers.Layer]:
    """Return the innermost layer that owns each weight; a layer comes after the one that contains it."""
    return {id(weight): layer for layer in model._flatten_layers() for weight in layer.weights}


def _is_head(layer: keras.layers.Layer | None) -> bool:
    return isinstance(layer, keras.layers.Dense) and getattr(layer.activation, "__name__", "") == "softmax"


def _part(path: str, layer: keras.layers.Layer | None, transformer: bool) -> str:
    """Return the part of a tensor; a convolution is its layer's path, until all are numbered."""
    kind = type(layer).__name__.lower()
    if "norm" in kind:
        return NORMALISATION
    if transformer and ("embed" in path.lower() or "embed" in kind):
        return EMBEDDINGS
    if transformer:
        return ATTENTION if IN_ATTENTION.search(path) else FEED_FORWARD
    if "conv" in kind:
        return f"conv:{path.rpartition('/')[0]}"
    return EMBEDDINGS if "embed" in kind else DENSE


def _in_blocks(found: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the parts with their convolutions numbered, in at most `MOST_BLOCKS` groups of neighbours."""
    convolutions = [places for name, places in found.items() if name.startswith("conv:")]
    others = {name: places for name, places in found.items() if not name.startswith("conv:")}
    count = len(convolutions)
    groups = min(count, MOST_BLOCKS)
    edges = [round(i * count / groups) for i in range(groups + 1)] if groups else []
    blocks = {}
    for first, last in pairwise(edges):
        name = f"convolution {last}" if last - first == 1 else f"convolutions {first + 1} to {last}"
        blocks[name] = tuple(place for places in convolutions[first:last] for place in places)
    return blocks | {name: others[name] for name in ORDER if name in others}
