"""Text towers: from raw strings to one vector a text, with the tokenizer inside.

A tower is two parts, so that texts are cut into tokens once and not again in every epoch: `tokens` makes numbers
[B, T] of strings, `body` makes vectors [B, D] of these numbers. `model` is both in one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.transfer.bridges.tokens import TextTokens
from tfxfer.transfer.knowledge.interactions import pooled
from tfxfer.transfer.knowledge.question_batches import warn_truncated, truncated_and_unknown

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BATCH = 1024  # texts that are cut into tokens at a time


@dataclass(frozen=True)
class TextTower:
    """A text encoder.

    Attributes:
        tokens: Layer from strings [B] to token numbers int32 [B, T], 0 for padding, with a setting `length` T.
        body: Model from token numbers int32 [B, T] to vectors [B, D]; this part trains.
    """

    tokens: keras.layers.Layer
    body: keras.Model

    @cached_property
    def model(self) -> keras.Model:
        """The whole tower: strings [B] -> vectors [B, D]."""
        texts = keras.Input((), dtype="string", name="text")
        return keras.Model(texts, self.body(self.tokens(texts)), name="text_tower")

    @property
    def dim(self) -> int:
        """Width D of a text's vector."""
        return int(self.body.output.shape[-1])

    def numbers(self, texts: Sequence[str]) -> np.ndarray:
        """Return token numbers int32 [N, T].

        Raises:
            UserError: There is no text, or one is empty (its row is named).
        """
        if not len(texts):
            raise UserError("there are no texts to encode")
        empty = next((row for row, text in enumerate(texts) if not str(text).strip()), None)
        if empty is not None:
            raise UserError(f"text {empty} is empty; leave it out, and the picture it belongs to")
        encoded = [str(text).encode("utf-8", "replace") for text in texts]
        parts = [self.tokens(tf.constant(encoded[i : i + BATCH])) for i in range(0, len(encoded), BATCH)]
        return np.concatenate([np.asarray(part) for part in parts])

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """Return token numbers int32 [N, T] as `numbers`, and warn of texts that are longer than T tokens."""
        numbers = self.numbers(texts)

        def cut() -> int:
            full = [str(text) for text, row in zip(texts, numbers) if row[-1]]  # the only ones that can be
            return int(truncated_and_unknown(self.tokens, full)[0].sum()) if full else 0

        warn_truncated(cut, len(texts), "texts", self.tokens.length, "make the text tower with a greater `length`")
        return numbers


@keras.saving.register_keras_serializable("tfxfer")
class WordPieces(keras.layers.Layer):
    """Turn strings [B] into word pieces as a BERT reads them, int32 [B, length]: [CLS] pieces [SEP] [PAD] …

    Texts that are longer are cut before [SEP]. The vocabulary is saved with the model.

    Args:
        vocabulary: Word pieces in the order of their numbers; "[PAD]" is the first.
        length: Number of tokens T.
        lowercase: Whether the vocabulary is lower case.

    Raises:
        UserError: The vocabulary lacks a piece that BERT needs, or T leaves no room for a word.
    """

    def __init__(self, vocabulary: Sequence[str], length: int = 24, lowercase: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._allow_non_tensor_positional_args = True
        self._convert_input_args = False
        self.supports_jit = False  # XLA has no strings
        self.vocabulary, self.length, self.lowercase = list(vocabulary), int(length), lowercase
        missing = [piece for piece in SPECIAL if piece not in self.vocabulary]
        if missing or self.vocabulary[0] != "[PAD]":
            what = f"has no {', '.join(missing)}" if missing else "does not start with [PAD]"
            raise UserError(
                f"the vocabulary of {len(self.vocabulary)} word pieces {what}; give the one BERT was made with"
            )
        if self.length < 3:
            raise UserError(
                f"a length of {length} tokens leaves no room for a word between [CLS] and [SEP]; give 3 or more"
            )
        import keras_hub

        self.tokenizer = keras_hub.tokenizers.BertTokenizer(
            vocabulary=self.vocabulary, lowercase=lowercase, strip_accents=lowercase
        )
        self.packer = keras_hub.layers.StartEndPacker(
            self.length,
            start_value=self.tokenizer.cls_token_id,
            end_value=self.tokenizer.sep_token_id,
            pad_value=0,
        )

    def build(self, input_shape: Any) -> None:
        """Do nothing: the vocabulary is known from the start."""

    def call(self, texts: Any) -> tf.Tensor:
        """Return token numbers int32 [B, length]."""
        texts = tf.strings.unicode_transcode(tf.convert_to_tensor(texts), "UTF-8", "UTF-8", errors="replace")
        packed = self.packer(self.tokenizer(texts))
        return tf.ensure_shape(tf.cast(packed, tf.int32), (None, self.length))

    def compute_output_spec(self, texts: Any) -> keras.KerasTensor:
        """Return the symbolic output, int32 [B, length]."""
        return keras.KerasTensor((*texts.shape, self.length), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        """Return the options and the vocabulary."""
        own = {"vocabulary": self.vocabulary, "length": self.length, "lowercase": self.lowercase}
        return super().get_config() | own


@keras.saving.register_keras_serializable("tfxfer")
class MeanOfKnown(keras.layers.Layer):
    """Mean [B, D] of a sequence [B, T, D] over the tokens of its mask; zeros where there are none, as for "!!!"."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None: there are no tokens any more."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mean."""
        return pooled(inputs, mask)


def bert_tower(backbone: keras.Model, vocabulary: Sequence[str], length: int = 24, lowercase: bool = True) -> TextTower:
    """Return a tower over a BERT: word pieces -> backbone -> mean over the tokens that are not padding.

    Args:
        backbone: A KerasHub BERT; it is trained in place with the tower.
        vocabulary: Its word pieces.
        length: Tokens T of a text.
        lowercase: Whether the vocabulary is lower case.

    Raises:
        UserError: The vocabulary has another size than the backbone, or the backbone takes fewer tokens.
    """
    known = backbone.get_layer("token_embedding").input_dim
    if known != len(vocabulary):
        raise UserError(f"the backbone knows {known} word pieces, the vocabulary has {len(vocabulary)}")
    longest = getattr(backbone, "max_sequence_length", length)
    if length > longest:
        raise UserError(f"the backbone takes at most {longest} tokens, not {length}")
    numbers = keras.Input((length,), dtype="int32", name="tokens")
    known_places = numbers != 0  # [B, T]
    inputs = {"token_ids": numbers, "segment_ids": keras.ops.zeros_like(numbers), "padding_mask": known_places}
    # without the pooled output, whose weights no text would train
    body = keras.Model(backbone.input, backbone.output["sequence_output"], name="blocks")
    sequence = body(inputs)  # [B, T, D]
    vectors = keras.layers.GlobalAveragePooling1D(name="mean")(sequence, mask=known_places)
    return TextTower(
        WordPieces(vocabulary, length, lowercase, name="pieces"), keras.Model(numbers, vectors, name="bert")
    )


def small_tower(vocabulary: Sequence[str], length: int = 16, unit: str = "words", dim: int = 128) -> TextTower:
    """Return a small tower, not trained: embeddings of words (or characters), a hidden layer, their mean.

    A text without any word, such as "!!!", becomes zeros: it goes with nothing.

    Args:
        vocabulary: Known words or characters; see `tfxfer.transfer.bridges.tokens.learn_vocabulary`.
        length: Tokens T of a text.
        unit: "words" or "characters".
        dim: Width D.
    """
    tokens = TextTokens(length, unit, vocabulary, name="tokens")
    numbers = keras.Input((length,), dtype="int32", name="tokens")
    embedded = keras.layers.Embedding(tokens.size, dim, mask_zero=True, name="embedding")(numbers)
    hidden = keras.layers.Dense(dim, activation="gelu", name="hidden")(embedded)
    vectors = MeanOfKnown(name="mean")(hidden)
    return TextTower(tokens, keras.Model(numbers, vectors, name="small"))
