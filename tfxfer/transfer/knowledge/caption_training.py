"""Teaching a captioner by teacher forcing, so that it looks and does not only speak.

A decoder that knows the language finds the next word without the picture, and training rewards it for that at once.
What is said to help: let only the new weights train at first (the decoder is frozen and cannot adapt to its own
image_ablation), at a rate of their own; hide words of the caption so far, which the picture must then give. All of it is
here to be tried. What helped when we measured it is the term f·g beside h (`evidence`; benchmarks/looking.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.streams import prompt, shuffled


@dataclass(frozen=True)
class Lessons:
    """Pictures with their captions, as a reader takes them.

    Attributes:
        grids: float32 [N, h, w, E].
        numbers: Token numbers of the captions, int32 [M, T].
        picture: int [M]: which picture each caption belongs to; a picture may have several.
    """

    grids: np.ndarray
    numbers: np.ndarray
    picture: np.ndarray

    @classmethod
    def of(cls, grids: np.ndarray, captions: Sequence[Sequence[str]], words: WordPieceTokenizer, length: int) -> "Lessons":
        """Return lessons from N grids and N lists of captions."""
        picture = np.repeat(np.arange(len(captions)), [len(each) for each in captions])
        numbers, _ = words.encode([text for each in captions for text in each], length)
        return cls(grids, numbers, picture)


@keras.saving.register_keras_serializable("tfxfer")
class DiscriminativeAdam(keras.optimizers.Adam):
    """Adam with a rate of its own for the weights that a language model brought: `learning_rate` times `carried`.

    Args:
        new: Paths of the weights that learn at the whole rate.
        shares: Path -> share of the rate, for weights that are neither new nor the language model's.
    """

    def __init__(
        self, *args: Any, new: Sequence[str] = (), shares: Mapping[str, float] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.new, self.shares = frozenset(new), dict(shares or {})
        self.carried = self.add_variable((), initializer="ones", name="carried")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change one variable."""
        path = self._trainable_variables[self._get_variable_index(variable)].path
        share = 1.0 if path in self.new else keras.ops.cast(self.shares.get(path, self.carried), learning_rate.dtype)
        super().update_step(gradient, variable, learning_rate * share)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the optimizer."""
        return super().get_config() | {"new": sorted(self.new), "shares": self.shares}


@keras.saving.register_keras_serializable("tfxfer")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy with label smoothing ε: (1 − ε) · −log p(word) + ε · mean over all words of −log p.

    Args:
        smoothing: ε (Szegedy et al. 2016).
    """

    def __init__(self, smoothing: float = 0.1, **kwargs: Any) -> None:
        super().__init__(reduction="mean_with_sample_weight", name="smoothed_cross_entropy", **kwargs)
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each token, float [B, T]."""
        whole = keras.ops.logsumexp(y_pred, -1)  # log p = logit − whole
        own = keras.ops.take_along_axis(y_pred, keras.ops.cast(y_true, "int32")[..., None], -1)[..., 0]
        smooth = keras.ops.mean(y_pred, -1) if self.smoothing else 0.0
        return whole - (1 - self.smoothing) * own - self.smoothing * smooth

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the loss."""
        return {"smoothing": self.smoothing}


def batches(
    lessons: Lessons, words: WordPieceTokenizer, size: int, *, seed: int, word_dropout: float = 0.0, updates: int | None = None
) -> tf.data.Dataset:
    """Return batches of (inputs, next tokens, weights) for `fit`, the same for the same seed.

    Args:
        lessons: What is to be learned.
        words: The vocabulary.
        size: Captions a batch.
        seed: Seed of the order and of the hidden words.
        word_dropout: Share of the caption's tokens that the decoder reads as [MASK].
        updates: Number of batches of exactly `size`, in new orders again and again; None: one pass without hiding.
    """
    grids, count = tf.constant(lessons.grids), len(lessons.numbers)
    rows = tf.data.Dataset.from_tensor_slices((lessons.picture.astype(np.int64), lessons.numbers))
    if updates is not None:
        rows = shuffled(rows, count, seed).repeat()
    rows = rows.batch(min(size, count) if updates is not None else size, drop_remainder=updates is not None)

    def inputs(place: Any, batch: Any) -> tuple[dict[str, Any], Any, Any]:
        picture, numbers = batch
        there = tf.cast(numbers != words.pad_id, tf.int32)
        read = numbers
        if updates is not None and word_dropout:
            luck = tf.random.stateless_uniform(tf.shape(numbers), tf.stack([seed, tf.cast(place, tf.int32)]))
            usual = (numbers != words.pad_id) & (numbers != words.start_id) & (numbers != words.end_id)
            read = tf.where(usual & (luck < word_dropout), words.mask_id, numbers)
        given = {"grid": tf.gather(grids, picture), "token_ids": read[:, :-1], "padding_mask": there[:, :-1]}
        return given, numbers[:, 1:], tf.cast(there[:, 1:], tf.float32)

    found = rows.enumerate().map(inputs, num_parallel_calls=tf.data.AUTOTUNE)
    return prompt((found.take(updates) if updates is not None else found).prefetch(tf.data.AUTOTUNE))


def compiled(
    reader: keras.Model,
    new: Sequence[str],
    *,
    smoothing: float,
    jit: bool = True,
    shares: Mapping[str, float] | None = None,
) -> DiscriminativeAdam:
    """Compile a reader for teaching; return its optimizer, whose `carried` says how much the rest learns."""
    optimizer = DiscriminativeAdam(global_clipnorm=1.0, new=new, shares=shares)
    reader.compile(optimizer, SmoothedCrossEntropy(smoothing), jit_compile=jit)
    optimizer.build(reader.trainable_variables)
    return optimizer


def slower(optimizer: DiscriminativeAdam, carried: float, frozen: int, rate: Callable[[int], float]) -> Callable[[int], float]:
    """Return a schedule step -> learning rate that also says what the carried weights get of it.

    Args:
        optimizer: The reader's.
        carried: Their share of the rate.
        frozen: Steps at the start in which they get nothing.
        rate: The schedule of the new weights.
    """

    def scheduled(step: int) -> float:
        optimizer.carried.assign(0.0 if step < frozen else carried)
        return rate(step)

    return scheduled
