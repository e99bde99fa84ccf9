"""Captions by beam search, the likelihood of given captions, and the attention maps of their words."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.generate import GenerationConfig, beam_search
from tfxfer.models.decoder import decoder_blocks, incremental_decoder
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.transfer.knowledge.caption_model import image_word_logits_of
from tfxfer.transfer.knowledge.image_word_logits import add_image_word_logits

BATCH = 100  # images at a time at most: validation and test sets of hundreds leave no remainder


class Captions(NamedTuple):
    """The best R captions of each of N images.

    Attributes:
        texts: Captions [N][R].
        scores: float [N, R]: log-probability divided by the length penalty, in nats a token.
        token_ids: int32 [N, R, L].
    """

    texts: list[list[str]]
    scores: np.ndarray
    token_ids: np.ndarray


class CaptionGenerator:
    """A caption model and its tokenizer.

    Args:
        network: A model of `caption_model`.
        tokenizer: Of the decoder.
    """

    def __init__(self, network: keras.Model, tokenizer: WordPieceTokenizer) -> None:
        self.network, self.tokenizer = network, tokenizer
        self.decoder, self.memory = network.get_layer("causal_decoder"), network.get_layer("memory")
        self.image_word_logits = image_word_logits_of(network)
        self._searches: dict[GenerationConfig, Callable[[Any], Any]] = {}
        self._likelihood: Callable[..., Any] | None = None
        self._terms: Callable[..., Any] | None = None

    def generate(
        self,
        maps: np.ndarray,
        *,
        num_beams: int = 4,
        max_length: int = 50,
        num_return_sequences: int = 1,
        **options: Any,
    ) -> Captions:
        """Return captions of feature maps [N, h, w, E] by beam search.

        Args:
            maps: The encoder's feature maps.
            num_beams: Hypotheses kept at each step.
            max_length: Longest caption in tokens, [CLS] and [SEP] among them.
            num_return_sequences: Captions an image, the best first.
            options: Further settings of `tfxfer.generate.GenerationConfig`, such as length_penalty and
            no_repeat_ngram_size.

        Raises:
            UserError: The search's settings do not fit, or an image's logits are not finite.
        """
        tokenizer = self.tokenizer
        search = GenerationConfig(
            tokenizer.start_id,
            tokenizer.end_id,
            tokenizer.pad_id,
            num_beams=num_beams,
            max_length=max_length,
            num_return_sequences=num_return_sequences,
            **options,
        )
        found = [self._search(search)(batch) for batch in _padded(maps)]
        tokens = np.concatenate(
            [one.tokens.numpy() for one in found] or [np.zeros((0, num_return_sequences, max_length), int)]
        )
        scores = np.concatenate([one.scores.numpy() for one in found] or [np.zeros((0, num_return_sequences))])
        tokens, scores = tokens[: len(maps)], scores[: len(maps)]
        lost = np.flatnonzero(np.isnan(scores).any(1))
        if len(lost):
            raise UserError(
                f"image {lost[0]} has no caption, and {len(lost) - 1} others: their logits are NaN or infinite; is "
                "the feature map finite, and did the training end well?"
            )
        return Captions([tokenizer.decode(row) for row in tokens], scores, tokens)

    def log_likelihood(self, maps: np.ndarray, token_ids: np.ndarray) -> np.ndarray:
        """Return float [N]: mean log-probability of a caption's tokens, in nats a token, its end among them.

        Args:
            maps: [N, h, w, E].
            token_ids: Token ids of the captions, int32 [N, T].
        """
        if self._likelihood is None:
            self._likelihood = tf.function(self._log_likelihoods, jit_compile=True)
        return _by_batches(self._likelihood, maps, token_ids)

    def terms(self, maps: np.ndarray, token_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (f·g, h), float32 [N, T − 1]: the parts of each token's logit from the second on; 0 for padding.

        Args:
            maps: [N, h, w, E].
            token_ids: Token ids of the captions, int32 [N, T].
        """
        if self._terms is None:
            self._terms = tf.function(self._token_terms, jit_compile=True)
        both = _by_batches(self._terms, maps, token_ids)  # [N, 2, T − 1]
        return both[:, 0], both[:, 1]

    def attention_maps(self, feature_map: np.ndarray, token_ids: np.ndarray) -> np.ndarray:
        """Return the cross-attention of each token of one caption when it was chosen, float [T − 1, h, w], each of sum
        1.

        The mean over heads and blocks of cross-attention. Not for prefixes, which have none.

        Args:
            feature_map: [h, w, E].
            token_ids: int32 [T].
        """
        shape, ids = feature_map.shape[:2], tf.constant(token_ids[None, :-1])
        memory = self.memory(tf.constant(feature_map[None]))
        attention: list[Any] = []
        x = _embedded(self.decoder, ids)
        for block in decoder_blocks(self.decoder):
            found = _attended(block, x, memory)
            attention.append(found)
            x = block(x, memory, training=False)
        return np.mean(np.stack(attention), axis=(0, 1)).reshape(len(token_ids) - 1, *shape)

    def _present(self, token_ids: Any) -> Any:
        # Padding stands after the last word; an untrained decoder may write a [PAD] among its words
        return tf.cast(tf.cumsum(tf.cast(token_ids != self.tokenizer.pad_id, tf.int32), 1, reverse=True) > 0, tf.int32)

    def _token_terms(self, maps: Any, token_ids: Any) -> Any:
        present = self._present(token_ids)
        words = {"token_ids": token_ids, "padding_mask": present}
        h = self.decoder({**words, "memory": self.memory(maps)}, training=False)  # [B, T, V]
        fg = tf.zeros_like(h[:, :1]) if self.image_word_logits is None else self.image_word_logits(maps)  # [B, 1, V]
        own = [
            tf.gather(term, token_ids[:, 1:], axis=2, batch_dims=2)
            for term in (tf.repeat(fg, token_ids.shape[1] - 1, axis=1), h[:, :-1])
        ]
        return tf.stack(own, 1) * tf.cast(present[:, None, 1:], tf.float32)  # [B, 2, T − 1]

    def _log_likelihoods(self, maps: Any, token_ids: Any) -> Any:
        present = self._present(token_ids)
        logits = self.network({"feature_map": maps, "token_ids": token_ids, "padding_mask": present}, training=False)
        gains = -tf.nn.sparse_softmax_cross_entropy_with_logits(token_ids[:, 1:], logits[:, :-1])
        weights = tf.cast(present[:, 1:], tf.float32)
        return tf.reduce_sum(gains * weights, 1) / tf.maximum(1.0, tf.reduce_sum(weights, 1))

    def _search(self, search: GenerationConfig) -> Callable[[Any], Any]:
        if search not in self._searches:

            @tf.function(autograph=False, jit_compile=True)  # without autograph an error keeps its own words
            def found(maps: Any) -> Any:
                memory = self.memory(maps)
                step, cache, context = incremental_decoder(self.decoder, memory, search.num_beams, search.max_length)
                if self.image_word_logits is not None:
                    step, context = add_image_word_logits(step, context, self.image_word_logits(maps))
                return beam_search(
                    step, cache, maps.shape[0], search, in_place=True, vocabulary_first=True, context=context
                )

            self._searches[search] = found
        return self._searches[search]


def _by_batches(of: Callable[..., Any], *rows: np.ndarray) -> np.ndarray:
    """Return a compiled function's results for rows, batch by batch."""
    found = [of(*batch).numpy() for batch in zip(*map(_padded, rows))]
    return np.concatenate(found)[: len(rows[0])]


def _padded(rows: np.ndarray) -> list[Any]:
    """Return batches of one size, the last filled up with its first row, so that one graph serves all.

    Few rows make a batch of the next power of 2: one image does not pay for a hundred, and the graphs stay few.
    """
    size = min(BATCH, 1 << max(0, len(rows) - 1).bit_length())
    batches = []
    for start in range(0, len(rows), size):
        batch = np.asarray(rows[start : start + size])
        short = size - len(batch)
        batches.append(tf.constant(np.concatenate([batch, np.repeat(batch[:1], short, 0)]) if short else batch))
    return batches


def _embedded(decoder: keras.Model, ids: Any) -> Any:
    """Return what enters the first block, [1, T, D]."""
    first = keras.Model(decoder.input, decoder.get_layer("embeddings_dropout").output)
    width = decoder.input["memory"].shape[-1]
    return first({"token_ids": ids, "padding_mask": tf.ones_like(ids), "memory": tf.zeros([1, 1, width])})


def _attended(block: Any, x: Any, memory: Any) -> np.ndarray:
    """Return the cross-attention of one block, softmax(q·k / √d), float [heads, T, M]."""
    length = x.shape[1]
    so_far = tf.linalg.band_part(tf.ones([1, length, length], tf.bool), -1, 0)
    after = block._self_attention_layer_norm(x + block._self_attention_layer(x, x, attention_mask=so_far))
    cross = block._cross_attention_layer
    queries, keys = cross._query_dense(after), cross._key_dense(memory)  # [1, T, H, d], [1, M, H, d]
    scores = tf.einsum("bthd,bmhd->bhtm", queries, keys) / queries.shape[-1] ** 0.5
    return tf.nn.softmax(scores)[0].numpy()
