"""The statistics of batch normalisation, estimated again on given examples."""

from collections.abc import Iterable
from typing import Any

import keras


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the layers of batch normalisation in a model, those inside other layers too."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


def take_statistics(model: keras.Model, batches: Iterable[Any]) -> None:
    """Set the means and variances of batch normalisation to the mean of those of some batches; nothing else changes.

    A model whose weights are a mean of others' needs it: its activations are not the mean of theirs (Izmailov et al.
    2018; Jordan et al. 2023).

    Args:
        model: Changed in place.
        batches: Inputs [B, …], whose labels are not needed.
    """
    norms = batch_norms(model)
    usual = [(layer.momentum, layer.trainable) for layer in norms]
    for layer in norms:
        layer.trainable = True  # a frozen one would not look at the batch
    for step, inputs in enumerate(batches if norms else ()):
        for layer in norms:
            layer.momentum = step / (step + 1)  # so that the moving average becomes the mean of all batches so far
        model(inputs, training=True)
    for layer, (momentum, trainable) in zip(norms, usual):
        layer.momentum, layer.trainable = momentum, trainable
