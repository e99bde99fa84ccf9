"""Text towers: from strings to one vector each, with the tokenizer inside.

A tower has parts, so that texts are tokenized once and not again in every epoch: the `tokenizer` turns strings into
token ids [B, T], `sequence` turns these into features of the tokens [B, T, D], and `body` averages them to a vector
[B, D]. `model` is all in one.
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
from tfxfer.transfer.knowledge.question_batches import truncated_and_unknown, warn_truncated

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BATCH = 1024  # texts that are tokenized at a time


@dataclass(frozen=True)
class TextTower:
    """A text encoder.

    Attributes:
        tokenizer: Layer from strings [B] to token ids int32 [B, T], 0 for padding, with an attribute `length` T.
        sequence: Model from token ids int32 [B, T] to features of the tokens [B, T, D]; this part is trained.
    """

    tokenizer: keras.layers.Layer
    sequence: keras.Model

    @cached_property
    def body(self) -> keras.Model:
        """Model from token ids int32 [B, T] to vectors [B, D], the mean of `sequence` over the tokens."""
        token_ids = keras.Input((self.tokenizer.length,), dtype="int32", name="token_ids")
        vectors = MeanOfKnown(name="mean")(self.sequence(token_ids), mask=token_ids != 0)
        return keras.Model(token_ids, vectors, name="body")

    @cached_property
    def model(self) -> keras.Model:
        """The whole tower: strings [B] -> vectors [B, D]."""
        texts = keras.Input((), dtype="string", name="text")
        return keras.Model(texts, self.body(self.tokenizer(texts)), name="text_tower")

    @property
    def dim(self) -> int:
        """Width D of a text's vector."""
        return int(self.sequence.output.shape[-1])

    def encode(self, texts: Sequence[str], stacklevel: int = 1) -> np.ndarray:
        """Return the token ids of texts, int32 [N, T], and warn of texts that are longer than T tokens.

        Args:
            texts: N strings.
            stacklevel: Whose line the `TruncationWarning` names, as in `warnings.warn`: 1 is the line of this call.

        Raises:
            UserError: There is no text, or one is empty (its row is named).
        """
        if not len(texts):
            raise UserError("there are no texts to encode")
        empty = next((row for row, text in enumerate(texts) if not str(text).strip()), None)
        if empty is not None:
            raise UserError(f"text {empty} is empty; leave it out")
        encoded = [str(text).encode("utf-8", "replace") for text in texts]
        parts = [self.tokenizer(tf.constant(encoded[i : i + BATCH])) for i in range(0, len(encoded), BATCH)]
        token_ids = np.concatenate([np.asarray(part) for part in parts])
        full = [str(text) for text, row in zip(texts, token_ids) if row[-1]]  # the only ones that can be longer
        truncated = int(truncated_and_unknown(self.tokenizer, full)[0].sum()) if full else 0
        remedy = "make the text tower with a greater `length`"
        warn_truncated(truncated, len(texts), "texts", self.tokenizer.length, remedy, stacklevel + 1)
        return token_ids


@keras.saving.register_keras_serializable("tfxfer")
class WordPieces(keras.layers.Layer):
    """Turn strings [B] into the token ids of BERT's word pieces, int32 [B, length]: [CLS] pieces [SEP] [PAD] …

    Longer texts are truncated before [SEP]. The vocabulary is saved with the model.

    Args:
        vocabulary: Word pieces in the order of their ids; "[PAD]" is the first.
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
        """Return token ids int32 [B, length]."""
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
        """Return None: the output has no tokens."""

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
    token_ids = keras.Input((length,), dtype="int32", name="token_ids")
    inputs = {"token_ids": token_ids, "segment_ids": keras.ops.zeros_like(token_ids), "padding_mask": token_ids != 0}
    # without the pooled output, whose weights would get no gradient
    blocks = keras.Model(backbone.input, backbone.output["sequence_output"], name="blocks")
    tokenizer = WordPieces(vocabulary, length, lowercase, name="tokenizer")
    return TextTower(tokenizer, keras.Model(token_ids, blocks(inputs), name="text_encoder"))


def small_tower(vocabulary: Sequence[str], length: int = 16, unit: str = "words", dim: int = 128) -> TextTower:
    """Return a small tower, not trained: embeddings of words (or characters), a hidden layer, their mean.

    A text without any word, such as "!!!", becomes zeros, and its K with every image is 0.

    Args:
        vocabulary: Known words or characters; see `tfxfer.transfer.bridges.tokens.learn_vocabulary`.
        length: Tokens T of a text.
        unit: "words" or "characters".
        dim: Width D.
    """
    tokenizer = TextTokens(length, unit, vocabulary, name="tokenizer")
    token_ids = keras.Input((length,), dtype="int32", name="token_ids")
    embedded = keras.layers.Embedding(tokenizer.size, dim, mask_zero=True, name="embedding")(token_ids)
    hidden = keras.layers.Dense(dim, activation="gelu", name="hidden")(embedded)
    return TextTower(tokenizer, keras.Model(token_ids, hidden, name="text_encoder"))
