"""What a captioner is asked: captions by beam search, the likelihood of given ones, and where each word looks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.generate import Search, beam_search
from tfxfer.models.decoder import blocks_of, stepper
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.transfer.knowledge.caption_model import image_word_logits_of
from tfxfer.transfer.knowledge.image_word_logits import add_image_word_logits

BATCH = 100  # pictures at a time at most: hundreds, as validation and test mostly are, leave no row over


class Captions(NamedTuple):
    """What beam search found for N pictures, the best R captions each.

    Attributes:
        texts: Captions [N][R].
        scores: float [N, R]: mean log-probability a token, as the length penalty has it.
        tokens: int32 [N, R, L].
    """

    texts: list[list[str]]
    scores: np.ndarray
    tokens: np.ndarray


class CaptionGenerator:
    """A trained reader and its vocabulary.

    Args:
        reader: A model of `caption_model`.
        words: The decoder's vocabulary.
    """

    def __init__(self, reader: keras.Model, words: WordPieceTokenizer) -> None:
        self.reader, self.words = reader, words
        self.decoder, self.memory = reader.get_layer("causal_decoder"), reader.get_layer("memory")
        self.evidence = image_word_logits_of(reader)
        self._searches: dict[Search, Callable[[Any], Any]] = {}
        self._gains: Callable[..., Any] | None = None
        self._parts: Callable[..., Any] | None = None

    def tell(
        self, grids: np.ndarray, *, num_beams: int = 4, max_length: int = 50, num_return: int = 1, **options: Any
    ) -> Captions:
        """Return captions of grids [N, h, w, E] by beam search.

        Args:
            grids: The encoder's maps.
            num_beams: Hypotheses kept at each step.
            max_length: Longest caption in tokens, [CLS] and [SEP] among them.
            num_return: Captions a picture, the best first.
            options: Further settings of `tfxfer.generate.Search`, such as length_penalty and no_repeat_ngram.

        Raises:
            UserError: The search cannot be, or a picture's logits are no numbers.
        """
        words = self.words
        search = Search(
            words.start_id,
            words.end_id,
            words.pad_id,
            num_beams=num_beams,
            max_length=max_length,
            num_return=num_return,
            **options,
        )
        found = [self._search(search)(batch) for batch in _padded(grids)]
        tokens = np.concatenate([one.tokens.numpy() for one in found] or [np.zeros((0, num_return, max_length), int)])
        scores = np.concatenate([one.scores.numpy() for one in found] or [np.zeros((0, num_return))])
        tokens, scores = tokens[: len(grids)], scores[: len(grids)]
        lost = np.flatnonzero(np.isnan(scores).any(1))
        if len(lost):
            raise UserError(
                f"picture {lost[0]} has no caption, and {len(lost) - 1} others: their logits are NaN or infinite; is "
                "the picture's map finite, and did the training end well?"
            )
        return Captions([words.decode(row) for row in tokens], scores, tokens)

    def log_likelihood(self, grids: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return float [N]: mean log-probability of a caption's tokens, in nats a token, its end among them.

        Args:
            grids: [N, h, w, E].
            numbers: Token numbers of the captions, int32 [N, T].
        """
        if self._gains is None:
            self._gains = tf.function(self._tokens_gains, jit_compile=True)
        return _by_batches(self._gains, grids, numbers)

    def terms(self, grids: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (f·g, h), float32 [N, T − 1]: the parts of each token's logit from the second on; 0 for padding.

        Args:
            grids: [N, h, w, E].
            numbers: Token numbers of the captions, int32 [N, T].
        """
        if self._parts is None:
            self._parts = tf.function(self._tokens_parts, jit_compile=True)
        both = _by_batches(self._parts, grids, numbers)  # [N, 2, T − 1]
        return both[:, 0], both[:, 1]

    def looks(self, grid: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return where each token of one caption was looking when it was chosen: attention [T − 1, h, w], sums of 1.

        The mean over heads and blocks of cross-attention. Not for prefixes, which have none.

        Args:
            grid: [h, w, E].
            numbers: int32 [T].
        """
        shape, ids = grid.shape[:2], tf.constant(numbers[None, :-1])
        memory = self.memory(tf.constant(grid[None]))
        seen: list[Any] = []
        x = _embedded(self.decoder, ids)
        for block in blocks_of(self.decoder):
            found = _attended(block, x, memory)
            seen.append(found)
            x = block(x, memory, training=False)
        return np.mean(np.stack(seen), axis=(0, 1)).reshape(len(numbers) - 1, *shape)

    def _there(self, numbers: Any) -> Any:
        # Padding is what stands behind the last word; an untrained decoder may write a [PAD] among its words
        return tf.cast(tf.cumsum(tf.cast(numbers != self.words.pad_id, tf.int32), 1, reverse=True) > 0, tf.int32)

    def _tokens_parts(self, grids: Any, numbers: Any) -> Any:
        there = self._there(numbers)
        words = {"token_ids": numbers, "padding_mask": there}
        h = self.decoder({**words, "memory": self.memory(grids)}, training=False)  # [B, T, V]
        fg = tf.zeros_like(h[:, :1]) if self.evidence is None else self.evidence(grids)  # [B, 1, V]
        own = [
            tf.gather(term, numbers[:, 1:], axis=2, batch_dims=2)
            for term in (tf.repeat(fg, numbers.shape[1] - 1, axis=1), h[:, :-1])
        ]
        return tf.stack(own, 1) * tf.cast(there[:, None, 1:], tf.float32)  # [B, 2, T − 1]

    def _tokens_gains(self, grids: Any, numbers: Any) -> Any:
        there = self._there(numbers)
        logits = self.reader({"grid": grids, "token_ids": numbers, "padding_mask": there}, training=False)
        gains = -tf.nn.sparse_softmax_cross_entropy_with_logits(numbers[:, 1:], logits[:, :-1])
        weights = tf.cast(there[:, 1:], tf.float32)
        return tf.reduce_sum(gains * weights, 1) / tf.maximum(1.0, tf.reduce_sum(weights, 1))

    def _search(self, search: Search) -> Callable[[Any], Any]:
        if search not in self._searches:

            @tf.function(autograph=False, jit_compile=True)  # without autograph an error keeps its own words
            def found(grids: Any) -> Any:
                memory = self.memory(grids)
                step, cache, seen = stepper(self.decoder, memory, search.num_beams, search.max_length)
                if self.evidence is not None:
                    step, seen = add_image_word_logits(step, seen, self.evidence(grids))
                return beam_search(step, cache, grids.shape[0], search, in_place=True, words_first=True, seen=seen)

            self._searches[search] = found
        return self._searches[search]


def _by_batches(of: Callable[..., Any], *rows: np.ndarray) -> np.ndarray:
    """Return what a compiled function makes of rows, batch by batch."""
    found = [of(*batch).numpy() for batch in zip(*map(_padded, rows))]
    return np.concatenate(found)[: len(rows[0])]


def _padded(rows: np.ndarray) -> list[Any]:
    """Return batches of one size, the last filled up with its first row, so that one graph serves all.

    Few rows make a batch of the next power of 2: one picture does not pay for a hundred, and the graphs stay few.
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
