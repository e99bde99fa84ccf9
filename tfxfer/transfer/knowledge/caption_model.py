"""The network of a captioner: maps of an image encoder, tokens made of them, and a decoder made of a BERT.

    map       the encoder's feature map of an image, [B, h, w, E]
    memory    the same as M = h · w visual tokens with positions, or a prefix of a few vectors; new layers    [B, M, D]
    decoder   a BERT with causal masks and cross-attention (`encoder_to_decoder`): it reads the caption so far and
              attends to the memory

In K = f(X)·g(Y) + h(X, Y) this is h: log p(caption | image). f·g compares image and text as wholes: word by word beside
the decoder's logits (`ImageWordLogits`), caption by caption in the ranking of candidates (`RidgeCaptionScorer`), or as
two towers (`DualEncoder`).
"""

from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.models.decoder import check_visual_input
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.transfer.graph import Call, input_of, trace
from tfxfer.transfer.knowledge.image_word_logits import ImageWordLogits
from tfxfer.transfer.structure import WeightMap, encoder_to_decoder

CONVOLUTIONAL = "give a convolutional image model"  # the remedy for an encoder without maps


@keras.saving.register_keras_serializable("tfxfer")
class VisualTokens(keras.layers.Layer):
    """Turn maps [B, h, w, E] into tokens [B, h · w, D]: projected, with a learned position each, normalised.

    Args:
        dim: Width D.
    """

    def __init__(self, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.project = keras.layers.Dense(dim, name="project")
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")

    def build(self, shape: Any) -> None:
        """Make the projection [E, D] and the positions [h · w, D]."""
        _, height, width, channels = shape
        self.positions = self.add_weight(name="positions", shape=(height * width, self.dim), initializer=_small())
        self.project.build((None, height * width, channels))
        self.norm.build((None, height * width, self.dim))

    def call(self, maps: Any) -> Any:
        """Return tokens [B, h · w, D]."""
        tokens = keras.ops.reshape(maps, (-1, self.positions.shape[0], maps.shape[-1]))
        return self.norm(self.project(tokens) + self.positions)

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

    def call(self, maps: Any) -> Any:
        """Return the prefix [B, P, D]."""
        return keras.ops.reshape(self.outer(self.inner(keras.ops.mean(maps, (1, 2)))), (-1, self.length, self.dim))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"length": self.length, "dim": self.dim}


def feature_map_encoder(
    encoder: keras.Model, image_shape: tuple[int, int, int] | None = None, trains: bool = False
) -> keras.Model:
    """Return an image model up to its last feature map: [B, H, W, C] → [B, h, w, E].

    Args:
        encoder: An image model; its layers are shared, those of models within it too.
        image_shape: (H, W, C); what the model itself takes when not given.
        trains: Let normalisation and dropout work as in training when the model trains.

    Raises:
        UserError: It has no map that it learned, as a vision transformer has none, or takes no images.
    """
    given = input_of(encoder)
    if not isinstance(given, keras.KerasTensor) or len(given.shape) != 4:
        raise UserError(f"{encoder.name}: takes no images [B, H, W, C], so it has no maps of them; {CONVOLUTIONAL}")
    images = keras.Input(image_shape or given.shape[1:], dtype=given.dtype, name="image")
    calls, _ = trace(encoder, images, frozen=not trains)
    last = max((i for i, call in enumerate(calls) if _rank(call) == 4), default=-1)
    # A kernel tells a map from pixels that are only scaled; after a transformer's patches come tokens
    learned = any(_rank(call) == 4 and _has_kernel(call.layer) for call in calls)
    if not learned or any(_rank(call) == 3 and _has_kernel(call.layer) for call in calls[last + 1 :]):
        raise UserError(f"{encoder.name}: has no learned maps [B, h, w, E] of its images; {CONVOLUTIONAL}")
    return keras.Model(images, calls[last].output, name="encoder")


def pool_positions(maps: Any, side: int, name: str) -> Any:
    """Return maps [B, h, w, E] averaged to at most `side` x `side` positions; a remainder at an edge is a position."""
    window = tuple(-(-own // side) for own in maps.shape[1:3])
    if max(window) == 1:
        return maps
    return keras.layers.AveragePooling2D(window, padding="same", name=name)(maps)


def _rank(call: Call) -> int:
    return len(getattr(call.output, "shape", ()))


def _has_kernel(layer: Any) -> bool:
    return isinstance(layer, keras.Layer) and any(len(weight.shape) > 1 for weight in layer.weights)


def resized_encoder(encoder: keras.Model, image_shape: tuple[int, int, int], side: int = 0) -> keras.Model:
    """Return an encoder of `feature_map_encoder` for images of one size, its map averaged down to `side` x `side`
    positions.

    Every position costs attention in each step of training and of beam search. Where `side` does not divide a map, the
    last positions are means of less: 7 x 7 becomes 4 x 4 by windows of 2 x 2.

    Args:
        encoder: Images [B, H, W, C] to maps [B, h, w, E].
        image_shape: (H, W, C).
        side: Positions along each side at most; 0 leaves the map as it is.
    """
    images = keras.Input(image_shape, name="image")
    maps = encoder(images)
    return keras.Model(images, pool_positions(maps, side, "pool_positions") if side else maps, name="encoder")


def caption_model(
    map_shape: tuple[int, int, int],
    language_model: keras.Model,
    *,
    cross_attention: str = "fresh",
    prefix_length: int = 0,
    image_word_logits: bool = False,
    seed: int = 0,
) -> tuple[keras.Model, WeightMap]:
    """Return a model that takes a feature map and a caption so far, and the weight map that its decoder is made by.

    Args:
        map_shape: (h, w, E).
        language_model: A KerasHub `BertBackbone` or `BertMaskedLM`, whose weights are carried over.
        cross_attention: "fresh", or "copied" from self-attention; see `encoder_to_decoder`.
        prefix_length: Above 0, the image becomes so many vectors before the words, and there is no cross-attention.
        image_word_logits: Add f(X)·g(y) to the decoder's logits h, with g the language model's word embeddings.
        seed: Seed of the new layers.

    Returns:
        {"feature_map" [B, h, w, E], "token_ids" int [B, T], "padding_mask" int [B, T]} → logits [B, T, V], with the
        layers "memory", "causal_decoder" and perhaps "image_word_logits"; and the weight map, applied.

    Raises:
        UserError: The language model is of another kind, or the decoder has no visual input.
    """
    set_initializer_seed(seed)
    weight_map = encoder_to_decoder(language_model, cross_attention, prefix_length=prefix_length, seed=seed)
    decoder = weight_map.apply()
    check_visual_input(decoder)
    dim = decoder.input["memory"].shape[-1]
    memory = VisualPrefix(prefix_length, dim, name="memory") if prefix_length else VisualTokens(dim, name="memory")
    maps = keras.Input(map_shape, name="feature_map")
    words = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    table = decoder.get_layer("token_embedding").embeddings
    fg = ImageWordLogits(*table.shape, dtype="float32", name="image_word_logits") if image_word_logits else None
    logits = _both_terms(decoder({**words, "memory": memory(maps)}), fg, maps)
    if fg is not None:
        fg.g.assign(table)
    return keras.Model({"feature_map": maps, **words}, logits, name="caption_model"), weight_map


def end_to_end(encoder: keras.Model, network: keras.Model) -> keras.Model:
    """Return encoder and caption model as one model: {"image" [B, H, W, C], "token_ids", "padding_mask"} → logits.

    Args:
        encoder: A model of `feature_map_encoder`.
        network: A model of `caption_model` on its maps.
    """
    images = keras.Input(encoder.input.shape[1:], name="image")
    words = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    maps = encoder(images)
    h = network.get_layer("causal_decoder")({**words, "memory": network.get_layer("memory")(maps)})
    logits = _both_terms(h, image_word_logits_of(network), maps)
    return keras.Model({"image": images, **words}, logits, name="captioner")


def new_weight_paths(network: keras.Model) -> set[str]:
    """Return the paths of the weights that the language model does not bring.

    They are the memory's, f, those of cross-attention, and of adapters.
    """
    layers = [network.get_layer("memory"), image_word_logits_of(network)]
    own = {v.path for layer in layers if layer is not None for v in layer.trainable_variables}
    new = ("cross_attention", "adapter_")
    return own | {v.path for v in network.trainable_variables if any(part in v.path for part in new)}


def image_word_logits_of(network: keras.Model) -> ImageWordLogits | None:
    """Return the layer f(X)·g(y) of a model of `caption_model` or `end_to_end`; None where there is only h."""
    return next((layer for layer in network.layers if isinstance(layer, ImageWordLogits)), None)


def _both_terms(h: Any, fg: ImageWordLogits | None, maps: Any) -> Any:
    """Return K = f·g + h, logits [B, T, V]; h where there is no f·g."""
    # logits are not for half precision, whatever the policy
    return h if fg is None else keras.layers.Add(dtype="float32", name="K")([h, fg(maps)])


def _small() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.02)


def inside(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Return the encoder and the caption model inside a model of `end_to_end`, such as a saved one."""
    encoder = model.get_layer("encoder")
    maps = keras.Input(encoder.output.shape[1:], name="feature_map")
    words = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    h = model.get_layer("causal_decoder")({**words, "memory": model.get_layer("memory")(maps)})
    logits = _both_terms(h, image_word_logits_of(model), maps)
    return encoder, keras.Model({"feature_map": maps, **words}, logits, name="caption_model")
