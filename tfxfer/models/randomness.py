"""Initial weights and dropout that depend on a seed alone."""

import random

import keras
import numpy as np


def set_initializer_seed(seed: int) -> None:
    """Set the seed of the initial weights of the models that are built next.

    Keras layers draw the seeds of their initialisers from Python's random generator. `keras.utils.set_random_seed` sets
    it too, but also calls `tf.random.set_seed`, which deletes all kernels that TensorFlow has cached: the next call of
    each compiled function takes seconds again (`python -m benchmarks reseeding`).
    """
    random.seed(int(seed))


def reset_seed_generators(model: keras.Model, seed: int) -> None:
    """Set the states of a model's seed generators, so that a training draws the same numbers whatever ran before it.

    `Model.set_weights` does not set them.
    """
    states = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    for i, state in enumerate(states):
        state.assign(np.array([(1000 * seed + i) % 2**32, 0], state.dtype))
