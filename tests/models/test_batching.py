"""Many images through one model, batch by batch."""

import keras
import numpy as np
import pytest

from tfxfer.models.batching import BATCH, in_batches
from tfxfer.models.cnn import glyph_cnn

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("listed", [False, True], ids=["an image", "a list of one"])
@pytest.mark.parametrize("count", [1, BATCH, 2 * BATCH + 3])
def test_batches_change_nothing(count, listed):
    model = glyph_cnn(5)
    if listed:
        model = keras.Model([model.input], model.output)
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 1), dtype=np.uint8)
    np.testing.assert_allclose(
        in_batches(model)(images), model([images] if listed else images, training=False), atol=1e-5
    )


def test_layers_run_inside_a_graph():
    """TensorFlow then frees the outputs of layers as soon as they are used."""
    sizes = []

    class Recorder(keras.layers.Layer):
        def call(self, x):
            sizes.append(type(x).__name__)
            return x

    images = keras.Input((4, 4, 1))
    model = keras.Model(images, Recorder()(images))
    sizes.clear()
    call = in_batches(model)
    assert call(np.zeros((3 * BATCH, 4, 4, 1))).shape == (3 * BATCH, 4, 4, 1)
    assert sizes and not any("Eager" in kind for kind in sizes)
