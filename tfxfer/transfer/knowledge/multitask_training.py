"""Training of a `MultiTask`: batches with examples of each task, one loss of all."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfxfer.config import TrainingConfig
from tfxfer.errors import UserError
from tfxfer.fit import fit_batches, rate_schedule
from tfxfer.models.randomness import reset_seed_generators
from tfxfer.streams import prompt
from tfxfer.transfer.knowledge.callbacks import StepRates
from tfxfer.transfer.knowledge.caption_head import PAD
from tfxfer.transfer.knowledge.loss_weights import TaskWeights
from tfxfer.transfer.knowledge.task_heads import TaskExamples


class MultiTaskTraining(keras.Model):
    """Some tasks of a `MultiTask` as a model that `fit` trains.

    Its weights are those of the body, of the heads of these tasks, and the weights of the tasks.

    Args:
        whole: The `MultiTask`; its layers are shared.
        tasks: Names of the tasks that train.
        weighting: "fixed", "uncertainty" or "gradnorm".
        start: Task → weight to begin with; 1 where it is missing.
    """

    def __init__(
        self, whole: Any, tasks: Sequence[str], weighting: str = "fixed", start: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(name="multitask_training")
        self.tasks = tuple(tasks)
        self.body = whole.body
        self.task_models = [whole.models[task] for task in tasks]
        self.task_weights = TaskWeights(weighting, tuple((start or {}).get(task, 1.0) for task in tasks))
        self.kinds = [whole.heads[task].kind for task in tasks]
        self.last_shared = [v for v in whole.body.trainable_variables if len(v.shape) > 1][-1]
        self.built = True

    def losses_of(self, batch: dict[str, Any], training: bool) -> Any:
        """Return the mean cross-entropy of each task [T], in nats.

        Args:
            batch: "images" of all examples one task after the other, "ids" and "labels" lists with an entry a task.
            training: Whether dropout and normalisation are in training mode.
        """
        maps = self.body(ops.cast(batch["images"], "float32"), training=training)
        found, start = [], 0
        for place, (model, kind) in enumerate(zip(self.task_models, self.kinds)):
            ids, labels = batch["ids"][place], batch["labels"][place]
            own = maps[start : start + labels.shape[0]]
            start += labels.shape[0]
            read = {"classify": [own], "caption": [own, ids[:, :-1]], "vqa": [own, ids]}[kind]
            logits = model(read if len(read) > 1 else own, training=training)
            found.append(cross_entropy(logits, ids[:, 1:] if kind == "caption" else labels, kind == "caption"))
        return ops.stack(found)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Take one step; return the loss and that of each task."""
        gradnorm = self.task_weights.weighting == "gradnorm" and len(self.tasks) > 1
        with tf.GradientTape(persistent=gradnorm) as tape:
            losses = self.losses_of(batch, training=True)
            each = [losses[i] for i in range(len(self.tasks))]
            total = self.optimizer.scale_loss(self.task_weights.total(losses))
        self.optimizer.apply(
            tape.gradient(total, [v.value for v in self.trainable_variables]), self.trainable_variables
        )
        if gradnorm:
            norms = [tf.norm(tape.gradient(loss, self.last_shared.value)) for loss in each]
            self.task_weights.update(losses, ops.stack(norms))
        return {"loss": ops.mean(losses), **dict(zip(self.tasks, each))}

    def fit_examples(
        self,
        encoded: Mapping[str, "EncodedTask"],
        sizes: Mapping[str, int],
        training: TrainingConfig,
        seed: int,
        jit: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> keras.callbacks.History:
        """Train on examples, the same of a task in the same order whichever other tasks train beside it.

        Args:
            encoded: Task → its training examples.
            sizes: Task → its examples in a batch.
            training: Steps and one learning rate.
            seed: Of the order and of dropout.
            jit: Compile with XLA.
            callbacks: Further callbacks of Keras.

        Raises:
            UserError: There are no steps.
            TfxferError: The loss is not finite.
        """
        if training.steps < 1:
            raise UserError("--steps 0: nothing would be learned; give 1 or more")
        if not self.compiled or self.jit_compile != jit:
            self.compile(keras.optimizers.Adam(global_clipnorm=1.0), jit_compile=jit)
            self.optimizer.build(self.trainable_variables)
        for variable in self.optimizer.variables:
            variable.assign(ops.zeros_like(variable))
        reset_seed_generators(self, seed)
        rows = {task: encoded[task].order(training.steps, sizes[task], seed) for task in self.tasks}
        schedule = StepRates(rate_schedule(training, training.steps))
        stream = batches([encoded[task] for task in self.tasks], [rows[task] for task in self.tasks])
        return fit_batches(self, stream, [schedule, *callbacks])


class EncodedTask:
    """Examples of a task as arrays.

    Args:
        whole: The `MultiTask` that encodes its texts.
        task: Its name.
        examples: Its examples.

    Attributes:
        images: uint8 [P, H, W, C].
        image_index: int32 [Q].
        ids: Token ids int32 [Q, T] of questions, [Q, T + 1] of captions, [Q, 0] where there are no texts.
        labels: int32 [Q], the class; −1 for what is no class; 0 of captions.
    """

    def __init__(self, whole: Any, task: str, examples: TaskExamples) -> None:
        kind = whole.heads[task].kind
        self.images, self.image_index = examples.images, np.asarray(examples.image_index, np.int32)
        texts = {"caption": examples.answers, "vqa": examples.questions}.get(kind)
        count = len(examples.answers)
        self.ids = np.zeros((count, 0), np.int32) if texts is None else whole.tokens(task, texts)
        self.labels = np.zeros(count, np.int32) if kind == "caption" else whole.labels(task, examples.answers)
        self.usable = np.flatnonzero(self.labels >= 0)

    def order(self, steps: int, size: int, seed: int) -> np.ndarray:
        """Return row numbers int [steps, size]: epoch after epoch of the usable examples, in an order drawn anew.

        Raises:
            UserError: No example can be learned from.
        """
        if not len(self.usable):
            raise UserError("no training example of a task has an answer that is a class")
        rng = np.random.default_rng(seed)
        epochs = -(-steps * size // len(self.usable))
        return np.concatenate([rng.permutation(self.usable) for _ in range(epochs)])[: steps * size].reshape(
            steps, size
        )


def batches(encoded: Sequence[EncodedTask], rows: Sequence[np.ndarray]) -> tf.data.Dataset:
    """Return training batches: the images of all tasks one after the other, "ids" and "labels" of each task.

    Args:
        encoded: The examples of each task.
        rows: Of each task the row numbers int [steps, B_t].
    """
    images = {id(one.images): tf.constant(one.images) for one in encoded}  # tasks that share images share the tensor
    pixels = [images[id(one.images)] for one in encoded]
    ids, labels = ([tf.constant(getattr(one, name)) for one in encoded] for name in ("ids", "labels"))
    index = [tf.constant(one.image_index) for one in encoded]

    def gather(*chosen: Any) -> dict[str, Any]:
        pictures = [tf.gather(p, tf.gather(i, rows)) for p, i, rows in zip(pixels, index, chosen)]
        texts, classes = ([tf.gather(v, rows) for v, rows in zip(values, chosen)] for values in (ids, labels))
        return {"images": tf.concat(pictures, 0), "ids": tuple(texts), "labels": tuple(classes)}

    steps = tf.data.Dataset.from_tensor_slices(tuple(rows)).map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    return prompt(steps.prefetch(tf.data.AUTOTUNE))


def cross_entropy(logits: Any, labels: Any, words: bool) -> Any:
    """Return the mean cross-entropy in nats; of `words` over those that are no padding.

    Args:
        logits: [B, A], or [B, T, V + 4] of words.
        labels: int [B], or [B, T].
        words: Whether the labels are words of captions.
    """
    each = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    if not words:
        return ops.mean(each)
    known = ops.cast(labels != PAD, "float32")
    return ops.sum(each * known) / ops.maximum(ops.sum(known), 1.0)
