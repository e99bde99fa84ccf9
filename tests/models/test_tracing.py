"""Functions as graphs: one tracing for each signature, the same values, and no warning with many models."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.models.batching import in_batches
from tfxfer.models.tracing import traced
from tfxfer.transfer.feature.stream import compiled

pytestmark = pytest.mark.tensorflow


def small_model(width):
    first = keras.Input((3,))
    return keras.Model(first, keras.layers.Dense(width)(first))


@pytest.mark.parametrize("graph_of", [in_batches, compiled])
def test_many_models_bring_no_warning_of_retracing(graph_of, caplog):
    inputs = np.ones((2, 3), np.float32)
    with caplog.at_level(logging.WARNING):
        for width in range(1, 10):
            model = small_model(width)
            np.testing.assert_allclose(graph_of(model)(inputs), model(inputs), atol=1e-6)
    assert not [record for record in caplog.records if "retracing" in record.getMessage()]


def test_it_is_traced_once_for_each_shape_or_once_for_its_signature():
    seen = []

    def double(x):
        seen.append(x.shape)
        return 2 * x

    by_shape, by_signature = traced(double), traced(double, [tf.TensorSpec((None,), tf.float32)])
    for size in (2, 3, 2, 3):
        assert by_shape(np.ones(size, np.float32)).shape == (size,)
    assert [tuple(shape) for shape in seen] == [(2,), (3,)]
    for size in (2, 3):
        assert by_signature(np.ones(size)).dtype == tf.float32
    assert len(seen) == 3 and seen[-1].as_list() == [None]
