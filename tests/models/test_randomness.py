"""Initial weights that follow from a seed, and a TensorFlow that goes on as if nothing had been seeded."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.models.cnn import glyph_cnn
from tfxfer.models.randomness import seeded

pytestmark = pytest.mark.tensorflow


def weights(seed):
    seeded(seed)
    return glyph_cnn(3).get_weights()


def test_a_seed_draws_the_same_weights_and_another_seed_others():
    same = [np.array_equal(a, b) for a, b in zip(weights(1), weights(1), strict=True)]
    other = [np.array_equal(a, b) for a, b in zip(weights(1), weights(2), strict=True)]
    assert all(same) and not all(other)


def test_the_weights_are_those_of_keras_own_way():
    keras.utils.set_random_seed(1)
    theirs = glyph_cnn(3).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(weights(1), theirs, strict=True))


def test_tensorflow_is_left_alone():
    """Setting its seed would clear the kernels it has made, and compiled steps start anew."""
    tf.random.set_seed(5)
    first, second = tf.random.uniform(()), tf.random.uniform(())
    tf.random.set_seed(5)
    assert tf.random.uniform(()) == first
    seeded(5)
    assert tf.random.uniform(()) == second
