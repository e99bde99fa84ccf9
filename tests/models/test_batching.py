"""Many pictures through one model, batch by batch."""

import keras
import numpy as np
import pytest

from tfxfer.models.cnn import glyph_cnn
from tfxfer.models.batching import BATCH, in_batches

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("listed", [False, True], ids=["a picture", "a list of one"])
@pytest.mark.parametrize("count", [1, BATCH, 2 * BATCH + 3])
def test_batches_change_nothing(count, listed):
    model = glyph_cnn(5)
    if listed:
        model = keras.Model([model.input], model.output)
    pictures = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 1), dtype=np.uint8)
    np.testing.assert_allclose(
        in_batches(model)(pictures), model([pictures] if listed else pictures, training=False), atol=1e-5
    )


def test_no_layer_sees_more_than_a_batch_and_python_runs_once():
    """The layers run inside a graph: what they gave is freed as soon as it was used."""
    sizes = []

    class Watched(keras.layers.Layer):
        def call(self, x):
            sizes.append(type(x).__name__)
            return x

    pictures = keras.Input((4, 4, 1))
    model = keras.Model(pictures, Watched()(pictures))
    sizes.clear()
    call = in_batches(model)
    assert call(np.zeros((3 * BATCH, 4, 4, 1))).shape == (3 * BATCH, 4, 4, 1)
    assert sizes and not any("Eager" in kind for kind in sizes)
