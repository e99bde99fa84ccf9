"""Reading a tensor's path: its components, automatic layer names, and the part of a transformer that it names."""

import functools
import re
from collections.abc import Iterable

CONTAINERS = ("sequential", "functional")  # models that contain layers; a path may name one that no longer exists
# Names of a transformer's parts in other libraries; a name must fill the whole component between two slashes.
PARTS = {
    "query": ("query", "q", "q_proj", "q_lin", "query_dense"),
    "key": ("key", "k", "k_proj", "k_lin", "key_dense"),
    "value": ("value", "v", "v_proj", "v_lin", "value_dense"),
    "attention output": ("attention_output", "output_dense", "out_proj", "o_proj", "out_lin"),
    "token embeddings": ("token_embedding", "word_embeddings", "wte", "embed_tokens", "tok_embeddings"),
    "position embeddings": ("position_embedding", "position_embeddings", "wpe", "pos_embed"),
    "segment embeddings": ("segment_embedding", "token_type_embeddings"),
}
PART_OF = {word: part for part, words in PARTS.items() for word in words}
KINDS = {
    "scale": ("gamma", "scale"),
    "kernel": ("kernel", "weight", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel"),
    "bias": ("bias", "beta"),
    "mean": ("moving_mean", "running_mean"),
    "variance": ("moving_variance", "running_var"),
    "embeddings": ("embeddings",),
}
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}


def split(path: str) -> list[str]:
    """Return the components of a path; of names such as "encoder.layer.0.weight" as well.

    >>> split("block_1/conv/kernel:0")
    ['block_1', 'conv', 'kernel']
    """
    return re.sub(r":\d+$", "", path).split("/" if "/" in path else ".")


def tokens(path: str, automatic: set[str]) -> tuple[str, ...]:
    """Return a path's components in lower case; automatic layer names end in "#" instead of their number.

    Args:
        path: Path of a tensor.
        automatic: The layer names that Keras made up, in lower case.

    >>> tokens("stem/conv2d_3/kernel", {"conv2d_3"})
    ('stem', 'conv2d#', 'kernel')
    """
    places = [place.lower() for place in split(path)]
    is_made_up = [place in automatic or stem(place) in CONTAINERS for place in places]
    return (*(f"{stem(p)}#" if yes else p for p, yes in zip(places[:-1], is_made_up)), places[-1])


def stem(place: str) -> str:
    """Return a name without the number at its end.

    >>> stem("conv2d_3")
    'conv2d'
    """
    return re.sub(r"(?<=.)_\d+$", "", place)


def seem_made_up(paths: Iterable[str], stems: set[str]) -> set[str]:
    """Return the layer names in paths that Keras probably made up, when only the paths are known.

    They are Keras' own names for layers that occur with numbers, and names with the stems of automatic names in a
    model whose layers are known.

    Args:
        paths: Paths of tensors.
        stems: Stems of automatic names in the other model.
    """
    places = {place.lower() for path in paths for place in split(path)[:-1]}
    numbered = {stem(place) for place in places if stem(place) != place} & _stems()
    return {place for place in places if stem(place) in numbered | stems}


def made_up(name: str, layer_class: str) -> bool:
    """Return whether a layer's name is automatic: its class in lower case, with or without a number.

    >>> made_up("batch_normalization_7", "BatchNormalization"), made_up("norm_7", "BatchNormalization")
    (True, False)
    """
    return stem(name.lower()) == _snake(layer_class)


def part(key: tuple[str, ...]) -> str:
    """Return which part of a transformer a layer is, "cross …" in cross-attention; "" for any other layer.

    >>> part(("block_1", "cross_attention", "q_proj"))
    'cross query'
    """
    word = PART_OF.get(key[-1].rstrip("#"), "") if key else ""
    return f"cross {word}" if word and any("cross" in place for place in key) else word


def kind(path: str) -> str:
    """Return a tensor's kind: "kernel", "bias", "scale", …; the last component of its path when that is unknown."""
    leaf = split(path)[-1].lower()
    return KIND_OF.get(leaf, leaf)


def _snake(name: str) -> str:
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


@functools.cache
def _stems() -> set[str]:
    """Return the automatic names of Keras' own layers, without numbers."""
    import keras

    return {_snake(name) for name in dir(keras.layers) if name[0].isupper()}
