"""A small BERT made with KerasHub, its word pieces, and its masked-language-model training data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfxfer.cache import atomic_file
from tfxfer.errors import UserError


def small_bert(
    vocabulary_size: int = 4000,
    num_layers: int = 2,
    hidden_dim: int = 128,
    num_heads: int = 4,
    max_sequence_length: int = 64,
) -> keras.Model:
    """Return an untrained `keras_hub.models.BertBackbone` of a size that a laptop trains in a minute.

    Args:
        vocabulary_size: Number of word pieces.
        num_layers: Transformer blocks.
        hidden_dim: Width D.
        num_heads: Attention heads; must divide `hidden_dim`.
        max_sequence_length: Longest sequence T.

    Returns:
        A functional model: {"token_ids", "segment_ids", "padding_mask"}, each int [B, T] -> {"sequence_output":
        [B, T, D], "pooled_output": [B, D]}.
    """
    import keras_hub

    return keras_hub.models.BertBackbone(
        vocabulary_size=vocabulary_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim,
        intermediate_dim=4 * hidden_dim,
        max_sequence_length=max_sequence_length,
        dropout=0.1,
    )


def word_pieces(texts: Sequence[str], vocabulary_size: int, path: str | Path) -> list[str]:
    """Learn a WordPiece vocabulary from texts and keep it in `path`; returns it (at most `vocabulary_size`)."""
    import keras_hub

    if not len(texts):
        raise UserError("cannot learn word pieces from no text at all")
    data = tf.data.Dataset.from_tensor_slices(list(texts)).batch(1024)
    pieces = keras_hub.tokenizers.compute_word_piece_vocabulary(data, vocabulary_size, lowercase=True)
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return pieces


def masked_lm(backbone: keras.Model, pieces: list[str], sequence_length: int) -> tuple[keras.Model, Any]:
    """Return a masked-language model over `backbone` and the preprocessor that masks batches of raw text.

    The masking is BERT's: 15 % of the tokens, of which 80 % become [MASK], 10 % a random token (Devlin et al. 2019).

    Args:
        backbone: A BERT backbone; trained through the returned model.
        pieces: Its vocabulary.
        sequence_length: Tokens a text is cut or padded to.
    """
    import keras_hub

    tokenizer = keras_hub.tokenizers.BertTokenizer(vocabulary=pieces, lowercase=True)
    preprocessor = keras_hub.models.BertMaskedLMPreprocessor(
        tokenizer,
        sequence_length=sequence_length,
        mask_selection_length=max(1, sequence_length // 5),
    )
    return keras_hub.models.BertMaskedLM(backbone, preprocessor=None), preprocessor
