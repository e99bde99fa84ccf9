"""How every head is trained: Adam on mini-batches, one compiled loop for all steps, the same for each head."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError
from tfxfer.fit import rate_schedule
from tfxfer.models.randomness import reset_seed_generators, set_initializer_seed
from tfxfer.models.tracing import traced
from tfxfer.transfer.knowledge.fusion.heads import FusionHead, make_head

BATCH = 512  # examples answered at once


class Sides(NamedTuple):
    """N examples: image float32 [N, P, E], text float32 [N, T, G], labels int [N]."""

    image: np.ndarray
    text: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> "Sides":
        """Return some of the examples."""
        return Sides(self.image[rows], self.text[rows], self.labels[rows])


class HeadTrainer:
    """One head with its optimizer; arms that differ in their data only share it, so that it is compiled once.

    Args:
        name: Of the head, see `tfxfer.transfer.knowledge.fusion.heads.make_head`.
        shapes: (P, E) of an image and (T, G) of a text.
        num_classes: C.
        options: Further arguments of the head.
        seed: Of the first weights.
    """

    def __init__(
        self,
        name: str,
        shapes: tuple[tuple[int, int], tuple[int, int]],
        num_classes: int,
        options: dict[str, Any],
        seed: int = 0,
    ) -> None:
        self.name, self.shapes, self.num_classes, self.options = name, shapes, num_classes, options
        self.model = self._build(seed)
        self.optimizer = keras.optimizers.Adam(global_clipnorm=1.0)
        self.optimizer.build(self.model.trainable_variables)
        image, text = (tf.TensorSpec((None, *shape), tf.float32) for shape in shapes)
        orders, rates = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.float32)
        labels, strength = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.float32)
        self._loop = traced(self._steps, [image, text, labels, orders, rates, strength])
        self._logits = traced(lambda x, t: self.model([x, t], training=False), [image, text])

    @property
    def head(self) -> FusionHead:
        """The head, a layer of `model`."""
        return self.model.get_layer("head")

    def _build(self, seed: int) -> keras.Model:
        set_initializer_seed(seed)
        sides = [keras.Input(shape, name=name) for shape, name in zip(self.shapes, ("image", "text"))]
        head = make_head(self.name, self.num_classes, **self.options)
        return keras.Model(sides, head(sides), name=self.name)

    def start(self, seed: int) -> list[np.ndarray]:
        """Return the weights that a training with this seed begins with."""
        return [np.array(weight) for weight in self._build(seed).get_weights()]

    def fit(self, sides: Sides, training: TrainingConfig, strength: float, seed: int) -> float:
        """Train the model from the weights it has; return the last step's loss, in nats.

        Args:
            sides: The training examples.
            training: Steps or epochs, batch size, and one learning rate.
            strength: Of the L2 penalty on the kernels: strength · Σ w².
            seed: Of the order of the examples, and of dropout.

        Raises:
            TfxferError: The loss is not finite.
        """
        reset_seed_generators(self.model, seed)
        for variable in self.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        steps, size = training.steps_for(len(sides.labels)), min(training.batch_size, len(sides.labels))
        schedule = rate_schedule(training, steps)
        rates = np.array([schedule(step) for step in range(steps)], np.float32)
        labels = np.asarray(sides.labels, np.int32)
        loss = float(
            self._loop(sides.image, sides.text, labels, orders(len(labels), size, steps, seed), rates, strength)
        )
        if not np.isfinite(loss):
            raise TfxferError(f"learning rate {training.learning_rate:g} ended in a loss of {loss}")
        return loss

    def _steps(self, image: Any, text: Any, labels: Any, orders: Any, rates: Any, strength: Any) -> Any:
        """Take all steps within one graph; a step of a small head costs less than a call from Python."""
        kernels = [weight for weight in self.model.trainable_variables if len(weight.shape) > 1]
        loss = tf.constant(0.0)
        for step in tf.range(tf.shape(orders)[0]):
            rows = orders[step]
            batch = [tf.gather(image, rows), tf.gather(text, rows)]
            with tf.GradientTape() as tape:
                asked = self.head.trained_logits(batch, training=True)
                wanted = tf.gather(labels, rows)
                losses = [tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, logits) for logits in asked]
                loss = tf.reduce_mean(tf.stack(losses))
                penalty = tf.add_n([tf.reduce_sum(tf.square(kernel)) for kernel in kernels])
                total = loss + strength * penalty
            self.optimizer.learning_rate = rates[step]
            self.optimizer.apply(tape.gradient(total, [v.value for v in self.model.trainable_variables]))
        return loss

    def log_probabilities(self, image: np.ndarray, text: np.ndarray) -> np.ndarray:
        """Return log-probabilities float32 [N, C] with the weights that the model has."""
        pieces = range(0, len(image), BATCH)
        parts = [np.asarray(self._logits(image[i : i + BATCH], text[i : i + BATCH])) for i in pieces]
        logits = np.concatenate(parts)
        return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), np.float32)


def orders(count: int, size: int, steps: int, seed: int) -> np.ndarray:
    """Return which examples each step learns from, int32 [steps, size]: one permutation after another."""
    rng = np.random.default_rng(seed)
    passes = -(-steps * size // count)
    return (
        np.concatenate([rng.permutation(count) for _ in range(passes)])[: steps * size]
        .reshape(steps, size)
        .astype(np.int32)
    )
