"""The source's own task, scored again after fine-tuning: what has been forgotten?

A fine-tuned network holds the source's layers under their own names. Their weights are put back into a copy of the
source, whose own head answers the source's held-out split: labels, or masked words. At most `MOST` examples are scored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.config import RunConfig, SourceConfig
from tfxfer.models.bert import masked_lm
from tfxfer.models.fresh import fresh_language_model
from tfxfer.models.spec import is_model
from tfxfer.records import AFTER, BEFORE
from tfxfer.runs import Run
from tfxfer.sources.load import source_data
from tfxfer.sources.pretrain import TOKENS, Pretraining
from tfxfer.transfer.graph import clone

MOST = 1000  # examples of the source that are scored
BATCH = 128
Scores = Callable[[keras.Model], np.ndarray]  # the source with its head -> score of each example, float [M]


@dataclass(frozen=True)
class OwnTask:
    """The source's own task.

    Attributes:
        source: The source with its own head; it is left alone.
        copy: The same architecture, which takes the fine-tuned weights.
        scores: What scores it.
    """

    source: keras.Model
    copy: keras.Model
    scores: Scores

    @cached_property
    def before(self) -> np.ndarray:
        """Scores of the source as it was, float [M]."""
        return self.scores(self.source)

    def __call__(self, network: keras.Model) -> dict[str, np.ndarray]:
        """Return the scores before and after, by their names in a record.

        None where the network has no layer of the source, or the source's head no longer gives numbers.

        Args:
            network: A network that was trained from the source's weights.
        """
        trained = {weight.path: weight for weight in network.weights}
        shared = 0
        for ours, theirs in zip(self.copy.weights, self.source.weights, strict=True):
            found = trained.get(theirs.path)
            fits = found is not None and tuple(found.shape) == tuple(theirs.shape)
            ours.assign(found if fits else theirs)
            shared += fits
        after = self.scores(self.copy) if shared else np.full(1, np.nan)
        return {BEFORE: self.before, AFTER: after} if np.isfinite(after).all() else {}


def labelled_task(
    source: keras.Model, given: SourceConfig, config: RunConfig, run: Run, image_size: int = 0
) -> OwnTask | None:
    """Return the task of a source that learned labels here, scored by accuracy; None for a model that was given.

    Args:
        source: The trained source, with its head.
        given: What it learned.
        config: Folders.
        run: The run.
        image_size: As for `load_source`.
    """
    if is_model(given.spec):
        return None
    training = Pretraining.of(given, config, source_data(given, config, run), image_size)
    if training.source.architecture == "fresh:bert":
        return None
    held = training.dataset.with_at_most(test=MOST, seed=0)
    key = "image" if training.source.architecture != "fresh:text_cnn" else "text"
    channels = source.input.shape[-1] if key == "image" else None
    labels = held.labels("test")

    def scores(model: keras.Model) -> np.ndarray:
        batches = held.batches("test", BATCH, keys=(key,), image_size=training.image_size, channels=channels)
        predicted = model.predict(batches.map(lambda row: row[key]), verbose=0)
        return np.asarray(predicted).argmax(-1) == labels

    return OwnTask(source, clone(source), scores)


def masked_words_task(language_model: keras.Model, tokenizer: Any, given: SourceConfig, config: RunConfig, run: Run
                      ) -> OwnTask | None:  # fmt: skip
    """Return the task of a BERT that learned texts here, scored in nats a masked word; None without its own head.

    Args:
        language_model: A `BertMaskedLM` as `load_language_model` returns it, or a backbone alone.
        tokenizer: Its tokenizer.
        given: What it learned.
        config: Folders.
        run: The run.
    """
    if is_model(given.spec) or not hasattr(language_model, "backbone"):
        return None
    texts = source_data(given, config, run).texts("test")[:MOST]
    _, mask = masked_lm(language_model.backbone, tokenizer.vocabulary, TOKENS)
    inputs, targets, weights = mask(tf.constant(texts), tf.constant([0, 0], tf.int64))

    def scores(model: keras.Model) -> np.ndarray:
        """Return the mean log-likelihood of each text's masked words, float [M]."""
        logits = tf.convert_to_tensor(model.predict(inputs, batch_size=BATCH, verbose=0))  # [M, K, V]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(targets, tf.int32), tf.cast(logits, tf.float32))
        counted = tf.reduce_sum(losses * weights, 1) / tf.maximum(1.0, tf.reduce_sum(weights, 1))
        return -np.asarray(counted)

    return OwnTask(language_model, fresh_language_model(language_model, 0), scores)
