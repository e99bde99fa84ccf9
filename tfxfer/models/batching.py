"""What a locked image model makes of many images, a batch at a time."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.models.tracing import traced

BATCH = 64  # images at a time


def in_batches(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from images [N, H, W, C] to what a model gives of them, float32 [N, …], compiled once.

    Called outside a graph, a Keras model keeps what each of its layers gave until it is done: more than 20 GiB for 256
    images of 224x224 in MobileNetV2. Inside one, what is not needed any more is freed.
    """
    (only,) = model.inputs
    kind = only.dtype

    def forward(batch: Any) -> Any:
        return model(keras.tree.map_structure(lambda _: batch, model.input), training=False)  # perhaps a list of one

    call = traced(forward, [tf.TensorSpec(only.shape, kind)])

    def found(images: np.ndarray) -> np.ndarray:
        parts = [call(tf.cast(images[i : i + BATCH], kind)) for i in range(0, len(images), BATCH)]
        return np.concatenate([np.asarray(part, np.float32) for part in parts])

    return found
