"""A small CNN over the characters of a text, as a Keras functional model."""

from collections.abc import Sequence

import keras
from keras import layers

LETTERS = "".join(map(chr, (*range(0x20, 0x7F), *range(0xA1, 0x180), *range(0x218, 0x21C), *range(0x2013, 0x201F))))


def text_cnn(
    num_classes: int,
    letters: str = LETTERS,
    length: int = 64,
    dim: int = 64,
    windows: Sequence[int] = (2, 3, 4, 5),
    filters: int = 128,
) -> keras.Model:
    """Return a classifier of short texts: convolutions over letters, each pooled to its maximum (Kim 2014).

    Args:
        num_classes: Number of classes C.
        letters: Characters that have an embedding of their own; all others share one.
        length: Characters of a text that are read.
        dim: Width of an embedding.
        windows: Letters that a convolution sees at once.
        filters: Channels of each convolution.

    Returns:
        A functional model: strings [B] -> probabilities [B, C]. Before its head it has windows · filters features.
    """
    texts = keras.Input((), dtype="string", name="text")
    split = layers.TextVectorization(
        standardize=None, split="character", output_sequence_length=length, vocabulary=list(letters), name="letters"
    )
    x = layers.Embedding(len(letters) + 2, dim, name="embedding")(split(texts))  # [B, T, dim]
    maxima = []
    for window in windows:
        y = layers.Conv1D(filters, window, padding="same", use_bias=False, name=f"conv{window}")(x)
        y = layers.ReLU(name=f"relu{window}")(layers.BatchNormalization(momentum=0.9, name=f"norm{window}")(y))
        maxima.append(layers.GlobalMaxPooling1D(name=f"pool{window}")(y))
    features = layers.Concatenate(name="features")(maxima)
    dropped = layers.Dropout(0.3, name="dropout")(features)
    classes = layers.Dense(num_classes, activation="softmax", dtype="float32", name="classes")(dropped)
    return keras.Model(texts, classes, name="text_cnn")
