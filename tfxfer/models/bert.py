"""A small BERT made with KerasHub, its word pieces, and its masked language modelling."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfxfer.cache import atomic_file
from tfxfer.errors import UserError
from tfxfer.streams import prompt

MIN_FREQUENCY = 10  # of a word piece
RESERVED = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
Masking = Callable[[Any, Any], tuple[dict[str, Any], Any, Any]]


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
        dropout=0.0,  # in a single epoch no text is repeated, and dropout costs a third of a step
    )


def learn_word_pieces(texts: Sequence[str], vocabulary_size: int, path: str | Path) -> list[str]:
    """Learn a WordPiece vocabulary of at most `vocabulary_size` pieces from texts, write it to `path` and return it."""
    import keras_hub
    from tensorflow_text.tools.wordpiece_vocab.bert_vocab_from_dataset import bert_vocab_from_dataset

    if not len(texts):
        raise UserError("cannot learn word pieces: there are no texts")
    data = prompt(tf.data.Dataset.from_tensor_slices(list(texts)).batch(1024))
    # KerasHub searches for the frequency that fills the vocabulary and learns a dozen vocabularies for it. Few texts do
    # not fill it at any frequency; then one vocabulary, at the lowest frequency, is enough.
    lowest = {"lower_thresh": MIN_FREQUENCY, "upper_thresh": MIN_FREQUENCY}
    pieces = bert_vocab_from_dataset(data, vocabulary_size, list(RESERVED), {"lower_case": True}, lowest)
    if len(pieces) > vocabulary_size:
        pieces = keras_hub.tokenizers.compute_word_piece_vocabulary(data, vocabulary_size, lowercase=True)
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return pieces


def masked_lm(backbone: keras.Model, pieces: list[str], sequence_length: int) -> tuple[keras.Model, Masking]:
    """Return a masked language model over `backbone`, and the function that masks raw texts for it.

    Args:
        backbone: A BERT backbone; it is part of the returned model and trained with it.
        pieces: Its vocabulary.
        sequence_length: Tokens T a text is cut or padded to.

    Returns:
        The model, and a function (texts [B], seed int [2]) -> (inputs, targets [B, K], weights [B, K]) with K = T/5;
        equal seeds give equal masks, so that a resumed training is the same.
    """
    import keras_hub

    tokenizer = keras_hub.tokenizers.BertTokenizer(vocabulary=pieces, lowercase=True, strip_accents=True)
    start, end, pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    packer = keras_hub.layers.MultiSegmentPacker(
        sequence_length=sequence_length, start_value=start, end_value=end, pad_value=pad
    )

    def mask(texts: Any, seed: Any) -> tuple[dict[str, Any], Any, Any]:
        token_ids, segment_ids = packer(tokenizer(texts))  # [B, T]
        padding = token_ids != pad
        maskable = padding & (token_ids != start) & (token_ids != end)
        masked, positions, weights = mask_tokens(token_ids, maskable, tokenizer.mask_token_id, len(pieces), seed)
        targets = tf.gather(token_ids, positions, batch_dims=1)
        inputs = {"token_ids": masked, "segment_ids": segment_ids, "padding_mask": padding}
        return inputs | {"mask_positions": positions}, targets, weights

    return keras_hub.models.BertMaskedLM(backbone, preprocessor=None), mask


def mask_tokens(token_ids: Any, maskable: Any, mask_id: int, vocabulary_size: int, seed: Any) -> tuple[Any, Any, Any]:
    """Mask tokens as BERT does: 15 % are chosen; 80 % of these become [MASK], 10 % a random token, 10 % stay.

    Devlin et al. 2019, section 3.1. KerasHub's own mask generator takes no seed, so it cannot repeat an epoch.

    Args:
        token_ids: int [B, T].
        maskable: bool [B, T]; False for padding, [CLS] and [SEP], which are never chosen.
        mask_id: Id of [MASK].
        vocabulary_size: V; random tokens are drawn from all ids.
        seed: int [2].

    Returns:
        The masked ids [B, T], the chosen positions int32 [B, K] with K = T/5, and their weights float [B, K], 0
        where a text is too short to have K of them.
    """
    most = max(1, token_ids.shape[1] // 5)
    seeds = tf.random.experimental.stateless_split(seed, 3)
    priority = tf.where(maskable, tf.random.stateless_uniform(tf.shape(token_ids), seeds[0]), -1.0)
    top, positions = tf.math.top_k(priority, most)  # [B, K]
    count = tf.maximum(1.0, tf.round(0.15 * tf.reduce_sum(tf.cast(maskable, tf.float32), 1, keepdims=True)))
    chosen = (top >= 0) & (tf.cast(tf.range(most), tf.float32) < count)
    uniform = tf.random.stateless_uniform(tf.shape(positions), seeds[1])
    others = tf.random.stateless_uniform(tf.shape(positions), seeds[2], 0, vocabulary_size, token_ids.dtype)
    unchanged = tf.gather(token_ids, positions, batch_dims=1)
    new = tf.where(uniform < 0.8, tf.cast(mask_id, token_ids.dtype), tf.where(uniform < 0.9, others, unchanged))
    rows = tf.cast(tf.where(chosen), positions.dtype)  # [n, 2]: text, column of `positions`
    indices = tf.stack([rows[:, 0], tf.gather_nd(positions, rows)], 1)
    masked = tf.tensor_scatter_nd_update(token_ids, indices, tf.gather_nd(new, rows))
    return masked, tf.where(chosen, positions, 0), tf.cast(chosen, tf.float32)
