"""A picture encoder and a language model that says what it sees.

    grid      the encoder's map of a picture, [B, h, w, E]
    memory    the same as M = h · w tokens with places, or a prefix of a few vectors; the only new layers     [B, M, D]
    decoder   a BERT turned around by `encoder_to_decoder`: it reads the caption so far and looks at the memory

In K = f(X)·g(Y) + h(X, Y) this is h: log p(caption | picture), in which every word looks at every place. f·g compares
both as wholes: word by word beside the decoder's logits (`ImageWordLogits`), caption by caption in the ranking of what the
decoder proposes (`RidgeCaptionScorer`), or as two towers (`DualEncoder`).
"""

from typing import Any

import keras
import numpy as np

from tfxfer.errors import UserError
from tfxfer.models.decoder import check_looks, prefix_of
from tfxfer.models.randomness import seeded
from tfxfer.transfer.graph import Call, input_of, trace
from tfxfer.models.standardize import mean_and_deviation
from tfxfer.transfer.knowledge.image_word_logits import ImageWordLogits
from tfxfer.transfer.structure import WeightMap, encoder_to_decoder

CONVOLUTIONAL = "give a convolutional picture model"  # what an encoder without maps is answered


@keras.saving.register_keras_serializable("tfxfer")
class VisualTokens(keras.layers.Layer):
    """Turn maps [B, h, w, E] into tokens [B, h · w, D]: projected, with a learned place each, normalised.

    Args:
        dim: Width D.
    """

    def __init__(self, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.project = keras.layers.Dense(dim, name="project")
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")

    def build(self, shape: Any) -> None:
        """Make the projection [E, D] and the places [h · w, D]."""
        _, height, width, channels = shape
        self.places = self.add_weight(name="places", shape=(height * width, self.dim), initializer=_small())
        self.project.build((None, height * width, channels))
        self.norm.build((None, height * width, self.dim))

    def call(self, grid: Any) -> Any:
        """Return tokens [B, h · w, D]."""
        tokens = keras.ops.reshape(grid, (-1, self.places.shape[0], grid.shape[-1]))
        return self.norm(self.project(tokens) + self.places)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"dim": self.dim}


@keras.saving.register_keras_serializable("tfxfer")
class VisualPrefix(keras.layers.Layer):
    """Turn maps [B, h, w, E] into a prefix [B, P, D] by ClipCap's mapping network (Mokady et al. 2021).

    The map's mean goes through E → D · P / 2 → D · P with tanh between.

    Args:
        length: Vectors P of the prefix.
        dim: Width D.
    """

    def __init__(self, length: int, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length, self.dim = length, dim
        self.inner = keras.layers.Dense(length * dim // 2, activation="tanh", name="inner")
        self.outer = keras.layers.Dense(length * dim, name="outer")

    def build(self, shape: Any) -> None:
        """Make the two dense keras.layers."""
        self.inner.build((None, shape[-1]))
        self.outer.build((None, self.length * self.dim // 2))

    def call(self, grid: Any) -> Any:
        """Return the prefix [B, P, D]."""
        return keras.ops.reshape(self.outer(self.inner(keras.ops.mean(grid, (1, 2)))), (-1, self.length, self.dim))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"length": self.length, "dim": self.dim}


def feature_map_encoder(encoder: keras.Model, image_shape: tuple[int, int, int] | None = None, trains: bool = False) -> keras.Model:
    """Return a picture model up to its last map: [B, H, W, C] → [B, h, w, E].

    Args:
        encoder: A picture model; its layers are shared, those of models within it too.
        image_shape: (H, W, C); what the model itself takes when not given.
        trains: Let normalisation and dropout work as in training when the model trains.

    Raises:
        UserError: It has no map that it learned, as a vision transformer has none, or takes no pictures.
    """
    given = input_of(encoder)
    if not isinstance(given, keras.KerasTensor) or len(given.shape) != 4:
        raise UserError(f"{encoder.name}: takes no pictures [B, H, W, C], so it has no maps of them; {CONVOLUTIONAL}")
    pictures = keras.Input(image_shape or given.shape[1:], dtype=given.dtype, name="image")
    calls, _ = trace(encoder, pictures, frozen=not trains)
    last = max((i for i, call in enumerate(calls) if _rank(call) == 4), default=-1)
    # A kernel tells a map from pixels that are only scaled; behind a transformer's patches come tokens
    learned = any(_rank(call) == 4 and _has_kernel(call.layer) for call in calls)
    if not learned or any(_rank(call) == 3 and _has_kernel(call.layer) for call in calls[last + 1 :]):
        raise UserError(f"{encoder.name}: has no maps [B, h, w, E] of its pictures that it learned; {CONVOLUTIONAL}")
    return keras.Model(pictures, calls[last].output, name="encoder")


def pool_positions(grid: Any, side: int, name: str) -> Any:
    """Return maps [B, h, w, E] averaged to at most `side` x `side` places; what stands over at an edge is a place."""
    window = tuple(-(-own // side) for own in grid.shape[1:3])
    if max(window) == 1:
        return grid
    return keras.layers.AveragePooling2D(window, padding="same", name=name)(grid)


def _rank(call: Call) -> int:
    return len(getattr(call.output, "shape", ()))


def _has_kernel(layer: Any) -> bool:
    return isinstance(layer, keras.Layer) and any(len(weight.shape) > 1 for weight in layer.weights)


def standardized(encoder: keras.Model, grids: np.ndarray) -> keras.Model:
    """Return an encoder whose maps have, channel by channel, the mean 0 and the pictures' deviation 1.

    What a frozen network's features have in common says nothing, and is most of them; their deviations differ widely.

    Args:
        encoder: Pictures to maps [B, h, w, E].
        grids: Maps of training pictures [N, h, w, E]; the deviation is that of their means over the places.
    """
    mean, deviation = mean_and_deviation(grids.mean((1, 2)))
    scale = keras.layers.Normalization(mean=mean.tolist(), variance=(deviation**2).tolist(), name="standardized")
    return keras.Model(encoder.input, scale(encoder.output), name="encoder")


def resized_encoder(encoder: keras.Model, image_shape: tuple[int, int, int], side: int = 0) -> keras.Model:
    """Return an encoder of `feature_map_encoder` for pictures of one size, its map averaged down to `side` x `side` places.

    Every place costs each word of a caption a look, in every step of training and of beam search. Where `side` does not
    divide a map, the last places are means of less: 7 x 7 becomes 4 x 4 by windows of 2 x 2.

    Args:
        encoder: Pictures [B, H, W, C] to maps [B, h, w, E].
        image_shape: (H, W, C).
        side: Places along each side at most; 0 leaves the map as it is.
    """
    pictures = keras.Input(image_shape, name="image")
    grid = encoder(pictures)
    return keras.Model(pictures, pool_positions(grid, side, "coarser") if side else grid, name="encoder")


def caption_model(
    grid_shape: tuple[int, int, int],
    language_model: keras.Model,
    *,
    cross_attention: str = "fresh",
    prefix_length: int = 0,
    evidence: bool = False,
    seed: int = 0,
) -> tuple[keras.Model, WeightMap]:
    """Return a model that reads a grid and a caption so far, and the weight map that its decoder is made by.

    Args:
        grid_shape: (h, w, E).
        language_model: A KerasHub `BertBackbone` or `BertMaskedLM`, whose knowledge is carried.
        cross_attention: "fresh", or "copied" from self-attention; see `encoder_to_decoder`.
        prefix_length: Above 0, the picture becomes so many vectors before the words, and there is no cross-attention.
        evidence: Add f(X)·g(y) to the decoder's logits h, with g the language model's word embeddings.
        seed: Seed of the new layers.

    Returns:
        {"grid" [B, h, w, E], "token_ids" int [B, T], "padding_mask" int [B, T]} → logits [B, T, V], with the layers
        "memory", "causal_decoder" and perhaps "evidence"; and the map, applied.

    Raises:
        UserError: The language model is of another kind, or the decoder would not look.
    """
    seeded(seed)
    weight_map = encoder_to_decoder(language_model, cross_attention, prefix_length=prefix_length, seed=seed)
    decoder = weight_map.apply()
    check_looks(decoder)
    dim = decoder.input["memory"].shape[-1]
    memory = VisualPrefix(prefix_length, dim, name="memory") if prefix_length else VisualTokens(dim, name="memory")
    grid = keras.Input(grid_shape, name="grid")
    words = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    table = decoder.get_layer("token_embedding").embeddings
    fg = ImageWordLogits(*table.shape, dtype="float32", name="evidence") if evidence else None
    logits = _both_terms(decoder({**words, "memory": memory(grid)}), fg, grid)
    if fg is not None:
        fg.g.assign(table)
    return keras.Model({"grid": grid, **words}, logits, name="caption_reader"), weight_map


def whole(encoder: keras.Model, reader: keras.Model) -> keras.Model:
    """Return encoder and reader as one model: {"image" [B, H, W, C], "token_ids", "padding_mask"} → logits.

    Args:
        encoder: A model of `feature_map_encoder`.
        reader: A model of `caption_model` on its grids.
    """
    pictures = keras.Input(encoder.input.shape[1:], name="image")
    words = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    grid = encoder(pictures)
    h = reader.get_layer("causal_decoder")({**words, "memory": reader.get_layer("memory")(grid)})
    logits = _both_terms(h, image_word_logits_of(reader), grid)
    return keras.Model({"image": pictures, **words}, logits, name="captioner")


def new_weight_paths(reader: keras.Model) -> set[str]:
    """Return the paths of the weights that no language model has: the memory's, f, and cross-attention."""
    layers = [reader.get_layer("memory"), image_word_logits_of(reader)]
    own = {v.path for layer in layers if layer is not None for v in layer.trainable_variables}
    return own | {v.path for v in reader.trainable_variables if "cross_attention" in v.path}


def image_word_logits_of(reader: keras.Model) -> Evidence | None:
    """Return the layer f(X)·g(y) of a model of `caption_model` or `whole`; None where h stands alone."""
    return next((layer for layer in reader.layers if isinstance(layer, ImageWordLogits)), None)


def _both_terms(h: Any, fg: Evidence | None, grid: Any) -> Any:
    """Return K = f·g + h, logits [B, T, V]; h where it stands alone."""
    # logits are not for half precision, whatever the policy
    return h if fg is None else keras.layers.Add(dtype="float32", name="K")([h, fg(grid)])


def _small() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.02)


__all__ = [
    "GridMemory",
    "PrefixMemory",
    "caption_reader",
    "evidence_of",
    "fewer_places",
    "grid_of",
    "new_weights",
    "prefix_of",
    "sized",
    "standardized",
    "whole",
]
