"""The `tokens` bridge: an embedding grid enters a frozen body; input layer, norms and head train.

Frozen Pretrained Transformers (Lu et al. 2021) in both directions. Here, text enters an image body: a trained
embedding turns each token into one square patch of a picture, and the patches are laid row by row, as text is
read. So tokens that follow each other lie side by side, where a convolution can see them together. `patches`
holds the way back.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.bridges.body import Body, check_trainable, classify, pool, trainable_report
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
    "trainable_report",
]

UNITS = ("characters", "bytes", "words")


@keras.saving.register_keras_serializable("tfxfer")
class TextTokens(keras.layers.Layer):
    """Turn UTF-8 strings [B] into token numbers int32 [B, length], cut or padded with 0.

    Units: "characters" are code points. "words" are runs of letters, marks and digits, in lower case. Both
        are looked up
    in a vocabulary: 1 is any other token, 2 the first known. "bytes" need none: a byte is its own number.
    Invalid UTF-8 becomes U+FFFD (and stays as it is in bytes). The vocabulary is saved with the model.

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
        """Do nothing: the vocabulary is known from the start."""

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
    """Return a text classifier whose middle is an image body: tokens → patches of a picture → body → head.

    A grid of H x W has (H / patch) · (W / patch) places; longer texts are cut, shorter ones padded with an
    embedding that is trained as well. The body is copied; the caller's model is never touched.

    Args:
        body: A functional model from pictures [B, H, W, C] to features; maps are averaged over their places.
        num_classes: Number of classes.
        unit: What a token is: "characters", "bytes" or "words".
        vocabulary: Known tokens; see `learn_vocabulary`. Not for bytes.
        patch_size: Side in pixels of the square that one token becomes; divides H and W.
        image_size: H and W, for a body that takes pictures of any size.
        layer: Enter behind this layer of the body, not at its input; the grid then has the shape of its
            output.
        value_range: The embeddings start with this range as two standard deviations either side of its
            middle: 0..255 suits bodies that rescale pictures themselves. Behind a `layer` they start with
                mean 0 and deviation 1.
        trainable: "none": only the head. "norms": and the body's normalisation layers, whose running
            statistics stay the source's. "fpt": and the embedding. "all": everything, in training mode.
        seed: Seed of the embedding.

    Returns:
        A functional model: strings [B] → probabilities [B, num_classes].

    Raises:
        UserError: The body does not take pictures, the patches do not tile the grid, or an option is unknown.
    """
    check_trainable(trainable)
    middle = _enter(clone(body), layer)
    height, width, channels = _grid_shape(middle, image_size)
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
    features = pool(Body(middle, trainable, name="body")(x), "mean")
    return keras.Model(texts, classify(features, num_classes), name="text_to_image_body")


def _enter(body: keras.Model, layer: str | None) -> keras.Model:
    """Return the part of a body behind a layer, or all of it."""
    if layer is None:
        return body
    names = [one.name for one in body.layers]
    if layer not in names:
        raise UserError(f"layer '{layer}' does not exist in {body.name}; {suggest(layer, names)}")
    try:
        return keras.Model(body.get_layer(layer).output, body.output, name=f"{body.name}_behind_{layer}")
    except ValueError as error:
        raise UserError(
            f"{body.name} cannot be entered behind '{layer}': another path leads past it; choose a layer "
            "that all paths run through"
        ) from error


def _grid_shape(body: keras.Model, image_size: tuple[int, int] | None) -> tuple[int, int, int]:
    shape = body.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] is None:
        raise UserError(f"{body.name} takes {shape}, and not pictures [B, H, W, C]; give an image body")
    if image_size is None and None in shape[1:3]:
        raise UserError(f"{body.name} takes pictures of any size; say which with image_size=(height, width)")
    size = image_size or shape[1:3]
    if any(want not in (None, have) for want, have in zip(shape[1:3], size)):
        raise UserError(f"{body.name} takes pictures of {shape[1]} x {shape[2]}, not {size[0]} x {size[1]}")
    return int(size[0]), int(size[1]), int(shape[-1])


def _split(texts: tf.Tensor, unit: str) -> tf.RaggedTensor:
    """Split strings [B] into characters or words, ragged [B, (T)]."""
    if unit == "characters":
        return tf.strings.unicode_split(texts, "UTF-8", errors="replace")
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    texts = tf.strings.lower(texts, encoding="utf-8")
    return tf.strings.split(tf.strings.regex_replace(texts, r"[^\pL\pM\pN]+", " "))
