"""Initial weights depend on the seed, and the random state of TensorFlow does not change."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.models.cnn import glyph_cnn
from tfxfer.models.randomness import set_initializer_seed

pytestmark = pytest.mark.tensorflow


def weights(seed):
    set_initializer_seed(seed)
    return glyph_cnn(3).get_weights()


def test_a_seed_draws_the_same_weights_and_another_seed_others():
    same = [np.array_equal(a, b) for a, b in zip(weights(1), weights(1), strict=True)]
    other = [np.array_equal(a, b) for a, b in zip(weights(1), weights(2), strict=True)]
    assert all(same) and not all(other)


def test_the_weights_are_those_of_set_random_seed():
    keras.utils.set_random_seed(1)
    theirs = glyph_cnn(3).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(weights(1), theirs, strict=True))


def test_the_random_state_of_tensorflow_does_not_change():
    """Setting its seed would delete its cached kernels, and compiled steps would start slowly again."""
    tf.random.set_seed(5)
    first, second = tf.random.uniform(()), tf.random.uniform(())
    tf.random.set_seed(5)
    assert tf.random.uniform(()) == first
    set_initializer_seed(5)
    assert tf.random.uniform(()) == second
