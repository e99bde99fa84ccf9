"""Initial weights and dropout that follow from a seed alone."""

import random

import keras
import numpy as np


def seeded(seed: int) -> None:
    """Let the models built next draw their initial weights from a seed.

    Keras' layers take the seeds of their initialisers from Python's generator. `keras.utils.set_random_seed` sets
    that one too, but by way of `tf.random.set_seed`, which throws away every kernel TensorFlow has made: the next
    call of each function, compiled long ago, takes seconds again (`python -m benchmarks reseeding`).
    """
    random.seed(int(seed))


def reseed(model: keras.Model, seed: int) -> None:
    """Set the states of a model's random generators, so that a training draws the same whatever ran before it.

    `Model.set_weights` leaves them where the last training left them.
    """
    states = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    for i, state in enumerate(states):
        state.assign(np.array([1000 * seed + i, 0], state.dtype))
