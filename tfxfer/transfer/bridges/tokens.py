"""The `tokens` bridge: a grid of embeddings is the input of a frozen body; input layer, norms and head are trained.

Frozen Pretrained Transformers (Lu et al. 2021) in both directions. Here text is the input of an image body: a trained
embedding makes each token one square patch of an image, and the patches are placed row by row, in reading order. So
consecutive tokens are neighbours, within the window of a convolution. `patches` is the other direction.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.bridges.body import Body, check_trainable, classify, pool
from tfxfer.transfer.bridges.patches import encoder_blocks, image_features, image_to_text_body
from tfxfer.transfer.graph import clone

__all__ = [
    "Body",
    "TextTokens",
    "encoder_blocks",
    "image_features",
    "image_to_text_body",
    "learn_vocabulary",
    "text_to_image_body",
]

UNITS = ("characters", "bytes", "words")


@keras.saving.register_keras_serializable("tfxfer")
class TextTokens(keras.layers.Layer):
    """Turn UTF-8 strings [B] into token numbers int32 [B, length], cut or padded with 0.

    "characters" are code points. "words" are runs of letters, marks and digits, in lower case. Both have a vocabulary:
    number 1 is any unknown token, 2 the first token of the vocabulary. "bytes" need none: the number of a byte is its
    value. Invalid UTF-8 becomes U+FFFD (bytes are unchanged). The vocabulary is saved with the model.

    Args:
        length: Number of tokens T.
        unit: "characters", "bytes" or "words".
        vocabulary: Known tokens, for characters and words; see `learn_vocabulary`.

    Raises:
        UserError: The unit is unknown, or its vocabulary is missing or empty.
    """

    def __init__(self, length: int, unit: str = "characters", vocabulary: Sequence[str] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._allow_non_tensor_positional_args = True
        self._convert_input_args = False
        self.supports_jit = False  # XLA has no strings
        if unit not in UNITS:
            raise UserError(f"unit '{unit}' is unknown; {suggest(unit, UNITS)}")
        self.length, self.unit = int(length), unit
        self.vocabulary = [] if unit == "bytes" else [t for t in dict.fromkeys(vocabulary or ()) if t]
        if unit != "bytes":
            if not self.vocabulary:
                raise UserError(f"{unit} need a vocabulary; make one with learn_vocabulary(texts, unit='{unit}')")
            self.lookup = keras.layers.StringLookup(vocabulary=self.vocabulary, mask_token="")

    def build(self, input_shape: Any) -> None:
        """Do nothing: the vocabulary is an argument."""

    @property
    def size(self) -> int:
        """Number of different token numbers, with padding and unknown."""
        return 256 if self.unit == "bytes" else len(self.vocabulary) + 2

    def call(self, texts: Any) -> tf.Tensor:
        """Return token numbers int32 [B, length]."""
        texts = tf.convert_to_tensor(texts)
        if self.unit == "bytes":
            return tf.cast(tf.io.decode_raw(texts, tf.uint8, fixed_length=self.length), tf.int32)
        tokens = _split(texts, self.unit)[:, : self.length]
        return tf.cast(self.lookup(tokens.to_tensor("", shape=[None, self.length])), tf.int32)

    def compute_output_spec(self, texts: Any) -> keras.KerasTensor:
        """Return the symbolic output, int32 [B, length]."""
        return keras.KerasTensor((*texts.shape, self.length), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        """Return the options and the vocabulary."""
        own = {"length": self.length, "unit": self.unit, "vocabulary": self.vocabulary}
        return {**super().get_config(), **own}


def learn_vocabulary(texts: Iterable[str], unit: str = "characters", size: int = 5000, batch: int = 1024) -> list[str]:
    """Return the `size` most frequent characters or words of texts, most frequent first.

    Texts are split as `TextTokens` splits them. Raises `UserError` when they hold no token at all.
    """
    if unit not in ("characters", "words"):
        raise UserError(f"unit '{unit}' has no vocabulary; use 'characters' or 'words'")
    counts: Counter[bytes] = Counter()
    encoded = [t.encode("utf-8", "surrogatepass") for t in texts]
    for start in range(0, len(encoded), batch):
        counts.update(_split(tf.constant(encoded[start : start + batch]), unit).values.numpy().tolist())
    if not counts:
        raise UserError(f"the texts hold no {unit}: there is no vocabulary to learn")
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    return [token.decode() for token in ranked[:size]]


def text_to_image_body(
    body: keras.Model,
    num_classes: int,
    *,
    unit: str = "characters",
    vocabulary: Sequence[str] | None = None,
    patch_size: int = 4,
    image_size: tuple[int, int] | None = None,
    layer: str | None = None,
    value_range: tuple[float, float] | None = (0.0, 255.0),
    trainable: str = "fpt",
    seed: int = 0,
) -> keras.Model:
    """Return a text classifier with an image body: tokens → patches of an image → body → head.

    A grid of H x W has (H / patch) · (W / patch) patches; longer texts are cut, shorter ones padded with an
    embedding that is trained as well. The body is copied; the caller's model does not change.

    Args:
        body: A functional model from images [B, H, W, C] to features; maps are averaged over height and width.
        num_classes: Number of classes.
        unit: What a token is: "characters", "bytes" or "words".
        vocabulary: Known tokens; see `learn_vocabulary`. Not for bytes.
        patch_size: Side in pixels of the patch of one token; divides H and W.
        image_size: H and W, for a body that takes images of any size.
        layer: The grid is the input of the part of the body behind this layer; it has the shape of the layer's
            output. Default: the whole body.
        value_range: The range is two standard deviations of the initial embeddings on either side of their mean:
            0..255 is for bodies that rescale images themselves. Behind a `layer` the mean is 0 and the standard
            deviation 1.
        trainable: "none": only the head. "norms": also the body's normalisation layers, whose running statistics stay
            those of the source. "fpt": also the embedding. "all": all weights, in training mode.
        seed: Seed of the embedding.

    Returns:
        A functional model: strings [B] → probabilities [B, num_classes].

    Raises:
        UserError: The body does not take images, the patches do not tile the grid, or an option is unknown.
    """
    check_trainable(trainable)
    part = _behind(clone(body), layer)
    height, width, channels = _grid_shape(part, image_size)
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise UserError(
            f"patches of {patch_size} x {patch_size} do not tile the grid of {height} x {width} that "
            f"{body.name} takes; give a patch_size that divides both"
        )
    rows, columns = height // patch_size, width // patch_size
    tokens = TextTokens(rows * columns, unit, vocabulary, name="tokens")
    embedding = keras.layers.Embedding(
        tokens.size,
        patch_size * patch_size * channels,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0, seed=seed),
        name="embedding",
    )
    embedding.trainable = trainable in ("fpt", "all")
    texts = keras.Input((), dtype="string", name="text")
    x = embedding(tokens(texts))  # [B, T, p·p·C]
    x = keras.layers.Reshape((rows, columns, patch_size, patch_size, channels), name="tiles")(x)
    x = keras.layers.Permute((1, 3, 2, 4, 5), name="in_place")(x)
    x = keras.layers.Reshape((height, width, channels), name="grid")(x)  # [B, H, W, C]
    if value_range is not None and layer is None:
        low, high = value_range
        x = keras.layers.Rescaling((high - low) / 4, offset=(low + high) / 2, name="value_range")(x)
    features = pool(Body(part, trainable, name="body")(x), "mean")
    return keras.Model(texts, classify(features, num_classes), name="text_to_image_body")


def _behind(body: keras.Model, layer: str | None) -> keras.Model:
    """Return the part of a body behind a layer, or the whole body."""
    if layer is None:
        return body
    names = [one.name for one in body.layers]
    if layer not in names:
        raise UserError(f"layer '{layer}' does not exist in {body.name}; {suggest(layer, names)}")
    try:
        return keras.Model(body.get_layer(layer).output, body.output, name=f"{body.name}_behind_{layer}")
    except ValueError as error:
        raise UserError(
            f"{body.name} cannot be cut behind '{layer}': another path goes past it; choose a layer on all paths"
        ) from error


def _grid_shape(body: keras.Model, image_size: tuple[int, int] | None) -> tuple[int, int, int]:
    shape = body.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] is None:
        raise UserError(f"{body.name} takes {shape}, not images [B, H, W, C]; give an image body")
    if image_size is None and None in shape[1:3]:
        raise UserError(f"{body.name} takes images of any size; give one with image_size=(height, width)")
    size = image_size or shape[1:3]
    if any(want not in (None, have) for want, have in zip(shape[1:3], size)):
        raise UserError(f"{body.name} takes images of {shape[1]} x {shape[2]}, not {size[0]} x {size[1]}")
    return int(size[0]), int(size[1]), int(shape[-1])


def _split(texts: tf.Tensor, unit: str) -> tf.RaggedTensor:
    """Split strings [B] into characters or words, ragged [B, (T)]."""
    if unit == "characters":
        return tf.strings.unicode_split(texts, "UTF-8", errors="replace")
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    texts = tf.strings.lower(texts, encoding="utf-8")
    return tf.strings.split(tf.strings.regex_replace(texts, r"[^\pL\pM\pN]+", " "))
