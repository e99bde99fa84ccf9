"""The `read` bridge: pictures of text become letters, as the input of a language model.

This is OCR, learned from the project's own glyph atlas: `tfxfer.sources.reader` trains the network on random strings
that `RenderText` draws. The ancestor is CRNN (Shi et al. 2015): convolutions that keep the columns of a line of text,
and a letter for each column. There is no recurrent layer here, so no letter is guessed from its word.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfxfer.errors import UserError

HEIGHT = 32  # pixels of a line, as the network takes it
COLUMN = 4  # pixels of a column, which is one letter or blank
FAINT = 48  # grey levels between paper and ink, below which a picture counts as blank

_ASCII = "".join(map(chr, range(0x20, 0x7F)))
_PUNCTUATION = "¡¿£€°²·«»–—‘’“”„…"
_WESTERN = "".join(chr(code) for code in range(0xC0, 0x100) if code not in (0xD7, 0xF7))
_CENTRAL = "ĀāĂăĄąĆćČčĎďĐđĒēĖėĘęĚěĞğĢģĪīĮįİıĶķĹĺĻļĽľŁłŃńŅņŇňŐőŒœŔŕŘřŚśŞşŠšŤťŪūŮůŰűŲųŸŹźŻżŽžȘșȚț"
ALPHABET = _ASCII + _PUNCTUATION + _WESTERN + _CENTRAL  # European languages in Latin script: what the reader learns


def reader_network(letters: int, filters: Sequence[int] = (32, 64, 96, 128)) -> keras.Model:
    """Return an untrained reader: four convolutions over a line of text, a letter for each column of 4 pixels.

    Args:
        letters: Number of letters A; class A is blank: no letter has its centre in this column.
        filters: Channels of each convolution.

    Returns:
        A functional model: ink [B, 32, W, 1], white 0 and black 1, W a multiple of 4 → posteriors [B, W / 4, A + 1].
    """
    ink = x = keras.Input((HEIGHT, None, 1), name="ink")
    windows: tuple[tuple[Any, ...], ...] = (
        ((5, 5), (2, 2), "same"),
        ((3, 3), (2, 2), "same"),
        ((3, 3), (2, 1), "same"),
        ((HEIGHT // 8, 5), (1, 1), "valid"),  # over the whole height: the rows become one
    )
    for i, (width, (kernel, strides, padding)) in enumerate(zip(filters, windows, strict=True), start=1):
        if padding == "valid":
            x = keras.layers.ZeroPadding2D((0, kernel[1] // 2), name="sides")(x)
        convolution = keras.layers.Conv2D(width, kernel, strides, padding, use_bias=False, name=f"conv{i}")
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(convolution(x))
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    x = keras.layers.Reshape((-1, filters[-1]), name="columns")(x)  # [B, W/4, D]
    posteriors = keras.layers.Dense(letters + 1, activation="softmax", dtype="float32", name="letters")(x)
    return keras.Model(ink, posteriors, name="reader")


@keras.saving.register_keras_serializable("tfxfer")
class ReadText(keras.layers.Layer):
    """Read pictures of one line of dark text on light paper: uint8 [B, H, W, C] → letters.

    A picture of another height than 32 is resized to it and keeps its aspect. The lightest pixel is taken as paper, the
    darkest as ink; a picture in which they differ by less than 48 grey levels is blank and read as "". Each column of 4
    pixels is a letter or blank (`decode`); runs of spaces become one, at the ends none.

    Args:
        alphabet: The A letters that it can read, each once. Class A is blank.
        filters: Channels of the four convolutions.

    Returns:
        A dict: "text" strings [B], UTF-8, without a gradient; "posteriors" float32 [B, ⌈W'/4⌉, A + 1], where W' is the
        width at height 32. They are differentiable with respect to float pictures.

    Example:
        >>> reader = trained_reader(config, run)              # doctest: +SKIP
        >>> reader(RenderText(32, 256)(["Österreich"]))["text"]  # doctest: +SKIP
    """

    def __init__(self, alphabet: str = ALPHABET, filters: Sequence[int] = (32, 64, 96, 128), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_jit = False  # XLA has no strings
        if len(set(alphabet)) != len(alphabet) or not alphabet:
            raise UserError("an alphabet has one letter or more, each once")
        self.alphabet, self.filters = alphabet, tuple(filters)
        self.network = reader_network(len(alphabet), self.filters)
        self._letters = [*alphabet, ""]

    def build(self, input_shape: Any) -> None:
        """Do nothing: the network is made with the layer."""

    def model(self) -> keras.Model:
        """Return this layer as a model of grey pictures of any size: uint8 [B, H, W, 1] → the outputs above."""
        images = keras.Input((None, None, 1), dtype="uint8", name="image")
        return keras.Model(images, self(images), name="reader")

    def call(self, images: Any) -> dict[str, Any]:
        """Return the texts [B] and the posteriors [B, ⌈W'/4⌉, A + 1]."""
        posteriors = self.network(to_ink(images), training=False)
        return {"text": self.decode(posteriors), "posteriors": posteriors}

    def decode(self, posteriors: Any) -> tf.Tensor:
        """Return strings [B] of posteriors [B, T, A + 1].

        A letter whose centre is near the edge of two columns is divided between both. So the probabilities of
        neighbouring columns with the same letter are added, and as many letters are read as their sum, rounded.
        """
        there = 1 - posteriors[..., -1]  # [B, T], not the letter's own: l, I and | may share it
        best = tf.argmax(posteriors[..., :-1], -1, tf.int32)
        total = tf.cumsum(there, -1)
        new = tf.pad(best[:, 1:] != best[:, :-1], [[0, 0], [1, 0]], constant_values=True)
        before = tf.where(new, total - there, 0.0)  # at the first column of each run of one letter
        columns = tf.shape(best)[1]
        earlier = tf.linalg.band_part(tf.ones([columns, columns], tf.bool), -1, 0)
        before = tf.reduce_max(tf.where(earlier, before[:, None, :], 0.0), -1)
        count = tf.floor(total - before + 0.5)
        here = count > tf.floor(total - there - before + 0.5)
        letters = tf.gather(tf.constant(self._letters), tf.where(here, best, len(self.alphabet)))
        return tf.strings.strip(tf.strings.regex_replace(tf.strings.reduce_join(letters, -1), " +", " "))

    def confidence(self, posteriors: Any) -> tf.Tensor:
        """Return how sure a reading is, float32 [B]: the mean probability of the likeliest letter.

        The mean is over the columns that are no blank; it is 0 where all are.
        """
        best = tf.reduce_max(posteriors[..., :-1], -1)  # [B, T]
        read = tf.cast(posteriors[..., -1] < 0.5, tf.float32)
        return tf.reduce_sum(best * read, -1) / tf.maximum(tf.reduce_sum(read, -1), 1.0)

    def compute_output_spec(self, images: Any) -> dict[str, keras.KerasTensor]:
        """Return the symbolic outputs."""
        batch, height, width = images.shape[:3]
        columns = None if None in (height, width) else -(-round(width * HEIGHT / height) // COLUMN)
        posteriors = keras.KerasTensor((batch, columns, len(self._letters)), dtype="float32")
        return {"text": keras.KerasTensor((batch,), dtype="string"), "posteriors": posteriors}

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"alphabet": self.alphabet, "filters": self.filters}


def to_ink(images: Any) -> tf.Tensor:
    """Bring pictures to the network's input: [B, H, W, C] in 0..255, dark on light → ink [B, 32, W', 1] in 0..1.

    W' is the width at height 32, filled with paper up to a multiple of 4.
    """
    grey = tf.reduce_mean(tf.cast(images, tf.float32), -1, keepdims=True)
    shape = tf.shape(grey)
    if grey.shape[1] != HEIGHT:
        share = tf.cast(shape[2], tf.float32) * HEIGHT / tf.cast(shape[1], tf.float32)
        width = tf.maximum(1, tf.cast(tf.round(share), tf.int32))
        grey = tf.image.resize(grey, [HEIGHT, width], antialias=True)
    paper, darkest = (f(grey, [1, 2, 3], keepdims=True) for f in (tf.reduce_max, tf.reduce_min))
    contrast = paper - darkest
    ink = tf.where(contrast < FAINT, 0.0, (paper - grey) / tf.maximum(contrast, 1.0))
    return tf.pad(ink, [[0, 0], [0, 0], [0, -tf.shape(ink)[2] % COLUMN], [0, 0]])


@keras.saving.register_keras_serializable("tfxfer")
class TrimTokens(keras.layers.Layer):
    """Cut padding off token ids: int [B, T] → [B, t], where t is the length of the longest row of the batch.

    A frozen language model is several times faster on short texts for it, and its outputs are the same.
    """

    def call(self, token_ids: Any) -> Any:
        """Return the ids without the columns that are 0 in all rows."""
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(token_ids != 0, tf.int32), 1))
        return token_ids[:, : tf.maximum(longest, 1)]

    def compute_output_spec(self, token_ids: Any) -> keras.KerasTensor:
        """Return the symbolic output, of unknown length."""
        return keras.KerasTensor((token_ids.shape[0], None), dtype=token_ids.dtype)


def readable_form(text: str) -> str:
    """Return a text as a reader can give it back at best: composed letters, plain spaces, without invisible ones.

    >>> readable_form("  e\\u0301t\\u00e9\\u00a0\\u00adchaud ")
    'été chaud'
    """
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(c for c in composed if unicodedata.category(c) != "Cf").split())


def unreadable(text: str, alphabet: str = ALPHABET) -> list[str]:
    """Return the characters of a text that are not in an alphabet, in their order.

    >>> unreadable("Straße 5 в Москве")
    ['в', 'М', 'о', 'с', 'к', 'в', 'е']
    """
    known = set(alphabet)
    return [c for c in readable_form(text) if c not in known]
