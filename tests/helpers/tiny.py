"""A data set and models small enough for tests, in the shape of the real ones."""

import hashlib
import logging
import os
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

from tfxfer.transfer.feature import extract, extractor


class TinyDataset:
    """Random pictures and texts with the contract of `tfxfer.data.Dataset`; notes what it serves."""

    def __init__(self, rows=100, side=8, channels=3, seed=0, die_at_row=None):
        rng = np.random.default_rng(seed)
        self.columns = {
            "image": rng.integers(0, 256, (rows, side, side, channels), dtype=np.uint8),
            "text": np.array([" ".join(f"{v}" for v in rng.integers(0, 99, 3)) for _ in range(rows)], object),
        }
        self.class_names = ("a", "b", "c")
        self.sizes = {"train": rows, "validation": 0}
        self.die_at_row = die_at_row
        self.served: list[int] = []

    @property
    def fingerprint(self):
        digest = hashlib.sha256(self.columns["image"].tobytes())
        return digest.hexdigest()

    def labels(self, split):
        return np.arange(self.sizes[split], dtype=np.int32) % 3

    def batches(self, split, batch_size, *, keys=None, image_size=None, channels=None, skip=0):
        def rows():
            for start in range(skip * batch_size, self.sizes[split], batch_size):
                if self.die_at_row is not None and start >= self.die_at_row:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.served.append(start)
                yield {key: tf.constant(self.columns[key][start : start + batch_size]) for key in keys}

        return rows()


def tiny_cnn(seed=0, side=8, channels=3, classes=5):
    """uint8 or float pictures 0..255 → class probabilities, with BatchNorm and dropout on the way."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    x = inputs = keras.Input((side, side, channels), name="image")
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(6, 3, activation="relu", name="conv_low")(x)
    x = layers.BatchNormalization(name="norm", momentum=0.5)(x)
    x = layers.Conv2D(7, 3, activation="relu", name="conv_high")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Dense(9, activation="relu", name="hidden")(x)
    x = layers.Dense(classes, name="logits")(x)
    model = keras.Model(inputs, layers.Softmax()(x), name="tiny_cnn")
    norm = model.get_layer("norm")
    norm.set_weights([w + 0.1 * np.arange(len(w)) for w in norm.get_weights()])
    return model


if __name__ == "__main__":  # extract in a process of its own: FOLDER DIE_AT_ROW
    logging.basicConfig(level=logging.INFO)
    die_at_row = int(sys.argv[2]) if len(sys.argv) > 2 else None
    data = TinyDataset(die_at_row=die_at_row)
    extract(extractor(tiny_cnn()), data, folder=sys.argv[1], batch_size=7, shard_rows=16)
    print(len(data.served), "batches were asked for", flush=True)
