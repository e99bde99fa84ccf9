"""Statistics of batch normalisation, estimated again."""

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("trainable", [True, False])
def test_they_become_the_mean_of_those_of_the_batches_and_nothing_else_changes(trainable):
    import keras

    from tfxfer.models.batch_statistics import take_statistics

    inputs = keras.Input((3,))
    normed = keras.layers.BatchNormalization(momentum=0.9, trainable=trainable)
    model = keras.Model(inputs, keras.layers.Dense(2)(normed(inputs)))
    batches = np.random.default_rng(0).normal(5, 3, (4, 8, 3)).astype(np.float32)
    before = [np.copy(weight.numpy()) for weight in model.trainable_weights]
    take_statistics(model, batches)
    np.testing.assert_allclose(normed.moving_mean.numpy(), batches.mean(1).mean(0), rtol=1e-4)
    np.testing.assert_allclose(normed.moving_variance.numpy(), batches.var(1).mean(0), rtol=1e-4)
    assert normed.momentum == 0.9 and normed.trainable == trainable
    assert all(np.array_equal(old, new.numpy()) for old, new in zip(before, model.trainable_weights))
