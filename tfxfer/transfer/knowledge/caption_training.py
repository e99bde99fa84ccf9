"""Training a captioner by teacher forcing: examples, batches, the loss, and discriminative learning rates.

A pretrained decoder predicts the next word well without the image, so it can learn to ignore it. Remedies from the
literature are here to be tried: train only the new weights at first, at a learning rate of their own, and hide words of
the caption so far, so that the image has to supply them. Measured here, the term f·g beside h helped
(`image_word_logits`; benchmarks/image_use.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.models.low_rank import LowRankAdam, chosen_of
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.streams import prompt, shuffled


@dataclass(frozen=True)
class CaptionExamples:
    """Images with their captions, as a caption model takes them.

    Attributes:
        images: Feature maps float32 [N, h, w, E]; images [N, H, W, C] where the encoder trains too.
        token_ids: Token ids of the captions, int32 [M, T].
        image_index: int [M]: which image each caption belongs to; an image may have several.
    """

    images: np.ndarray
    token_ids: np.ndarray
    image_index: np.ndarray

    @classmethod
    def of(
        cls, images: np.ndarray, captions: Sequence[Sequence[str]], tokenizer: WordPieceTokenizer, length: int
    ) -> "CaptionExamples":
        """Return the examples of N images (or maps) and N lists of captions."""
        image_index = np.repeat(np.arange(len(captions)), [len(each) for each in captions])
        token_ids, _ = tokenizer.encode([text for each in captions for text in each], length)
        return cls(images, token_ids, image_index)


@keras.saving.register_keras_serializable("tfxfer")
class DiscriminativeAdam(LowRankAdam):
    """Adam with discriminative learning rates: pretrained weights learn at a fraction of the rate of new ones.

    After Howard and Ruder 2018, with two groups: new weights, and those of the language model.

    Args:
        new: Paths of the weights that learn at the full rate.
        scales: Path -> fraction of the rate, for weights that are neither new nor the language model's.

    Attributes:
        pretrained_scale: Fraction of the rate at which all other weights learn; 0 freezes them.
    """

    def __init__(
        self, *args: Any, new: Sequence[str] = (), scales: Mapping[str, float] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.new, self.scales = frozenset(new), dict(scales or {})
        self.pretrained_scale = self.add_variable((), initializer="ones", name="pretrained_scale")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        path = self._trainable_variables[self._get_variable_index(variable)].path
        scale = (
            1.0
            if path in self.new
            else keras.ops.cast(self.scales.get(path, self.pretrained_scale), learning_rate.dtype)
        )
        super().update_step(gradient, variable, learning_rate * scale)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the optimizer."""
        return super().get_config() | {"new": sorted(self.new), "scales": self.scales}


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


def caption_batches(
    examples: CaptionExamples,
    tokenizer: WordPieceTokenizer,
    batch_size: int,
    *,
    seed: int,
    word_dropout: float = 0.0,
    steps: int | None = None,
    name: str = "feature_map",
) -> tf.data.Dataset:
    """Return batches of (inputs, next tokens, weights) for `fit`, the same for the same seed.

    Args:
        examples: What is learned.
        tokenizer: Of the decoder.
        batch_size: Captions a batch.
        seed: Seed of the order and of the hidden words.
        word_dropout: Fraction of the caption's tokens that the decoder gets as [MASK].
        steps: Number of batches of exactly `batch_size`, in new orders again and again; None: one pass, nothing hidden.
        name: The model's image input: "feature_map", or "image" where the encoder trains too.
    """
    images, count = tf.constant(examples.images), len(examples.token_ids)
    rows = tf.data.Dataset.from_tensor_slices((examples.image_index.astype(np.int64), examples.token_ids))
    if steps is not None:
        rows = shuffled(rows, count, seed).repeat()
    rows = rows.batch(min(batch_size, count) if steps is not None else batch_size, drop_remainder=steps is not None)

    def inputs(place: Any, batch: Any) -> tuple[dict[str, Any], Any, Any]:
        image_index, token_ids = batch
        present = tf.cast(token_ids != tokenizer.pad_id, tf.int32)
        given = token_ids
        if steps is not None and word_dropout:
            drawn = tf.random.stateless_uniform(tf.shape(token_ids), tf.stack([seed, tf.cast(place, tf.int32)]))
            special = (tokenizer.pad_id, tokenizer.start_id, tokenizer.end_id)
            usual = tf.reduce_all([token_ids != one for one in special], 0)
            given = tf.where(usual & (drawn < word_dropout), tokenizer.mask_id, token_ids)
        sides = {name: tf.gather(images, image_index), "token_ids": given[:, :-1], "padding_mask": present[:, :-1]}
        return sides, token_ids[:, 1:], tf.cast(present[:, 1:], tf.float32)

    found = rows.enumerate().map(inputs, num_parallel_calls=tf.data.AUTOTUNE)
    return prompt((found.take(steps) if steps is not None else found).prefetch(tf.data.AUTOTUNE))


def compile_caption_model(
    model: keras.Model,
    new: Sequence[str],
    *,
    smoothing: float,
    jit: bool = True,
    scales: Mapping[str, float] | None = None,
) -> DiscriminativeAdam:
    """Compile a caption model; return its optimizer, whose `pretrained_scale` slows the language model's weights."""
    optimizer = DiscriminativeAdam(global_clipnorm=1.0, new=new, scales=scales).limit(chosen_of(model))
    model.compile(optimizer, SmoothedCrossEntropy(smoothing), jit_compile=jit)
    optimizer.build(model.trainable_variables)
    return optimizer
