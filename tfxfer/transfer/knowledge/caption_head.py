"""A small decoder as one head of several: words attend to the words before them and to the positions of an image."""

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

PAD, UNKNOWN, BEGIN, END = range(4)  # token ids before those of the vocabulary


@keras.saving.register_keras_serializable("tfxfer")
class CaptionHead(keras.layers.Layer):
    """One block of a transformer decoder (Vaswani et al. 2017): logits of the next word at each place.

    Args:
        words: Words V of the vocabulary.
        length: Most tokens T that are read.
        dim: Width D.
        heads: Attention heads; they divide D.
    """

    def __init__(self, words: int, length: int, dim: int = 64, heads: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words, self.length, self.dim, self.heads = int(words), int(length), int(dim), int(heads)
        self.embedding = keras.layers.Embedding(self.words + 4, dim, name="embedding")
        self.before = keras.layers.MultiHeadAttention(heads, dim // heads, name="words_before")
        self.image = keras.layers.MultiHeadAttention(heads, dim // heads, name="image")
        self.hidden = keras.layers.Dense(2 * dim, activation="gelu", name="hidden")
        self.mix = keras.layers.Dense(dim, name="mix")
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_{i}") for i in range(3)]
        self.logits = keras.layers.Dense(self.words + 4, dtype="float32", name="logits")

    def build(self, x_shape: Any, ids_shape: Any) -> None:
        """Make the weights."""
        text = (None, self.length, self.dim)
        self.positions = self.add_weight(
            name="positions", shape=(self.length, self.dim), initializer=keras.initializers.TruncatedNormal(stddev=0.02)
        )
        self.embedding.build(ids_shape)
        self.before.build(text, text)
        self.image.build(text, (None, *x_shape[1:]))
        self.hidden.build(text)
        self.mix.build((*text[:2], 2 * self.dim))
        for norm in self.norms:
            norm.build(text)
        self.logits.build(text)

    def call(self, x: Any, ids: Any) -> Any:
        """Return logits [B, T, V + 4] of the word after each of the token ids [B, T], for image tokens x [B, M, D]."""
        y = self.embedding(ids) + ops.cast(self.positions, self.compute_dtype)
        y = self.norms[0](y + self.before(y, y, use_causal_mask=True))
        y = self.norms[1](y + self.image(y, x))
        return self.logits(self.norms[2](y + self.mix(self.hidden(y))))

    def compute_output_shape(self, x_shape: Any, ids_shape: Any) -> tuple[int | None, ...]:
        """Return [B, T, V + 4]."""
        return (*ids_shape, self.words + 4)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        own = {"words": self.words, "length": self.length, "dim": self.dim, "heads": self.heads}
        return super().get_config() | own


def words_of(text: str) -> list[str]:
    """Return the words of a caption: runs of letters, marks and digits, in lower case.

    >>> words_of("A red-haired cat.")
    ['a', 'red', 'haired', 'cat']
    """
    return re.findall(r"\w+", text.casefold())


def caption_ids(texts: Sequence[str], vocabulary: Sequence[str], length: int) -> np.ndarray:
    """Return token ids int32 [N, T + 1]: begin, words, end, padding; longer captions are cut before their end.

    >>> caption_ids(["a cat", "a blue cat"], ["a", "cat"], 3).tolist()
    [[2, 4, 5, 3], [2, 4, 1, 5]]
    """
    number = {word: i for i, word in enumerate(vocabulary, start=END + 1)}
    found = np.full((len(texts), length + 1), PAD, np.int32)
    for row, text in zip(found, texts):
        ids = [BEGIN, *(number.get(word, UNKNOWN) for word in words_of(text)), END][: length + 1]
        row[: len(ids)] = ids
    return found


def caption_text(ids: Sequence[int], vocabulary: Sequence[str]) -> str:
    """Return the words of token ids up to the end; what is no word is left out.

    >>> caption_text([2, 4, 5, 3, 4], ["a", "cat"])
    'a cat'
    """
    found = []
    for one in ids:
        if one == END:
            break
        if one > END:
            found.append(vocabulary[one - END - 1])
    return " ".join(found)
