"""How long a training waits for tf.data's tuning thread after its last batch was read.

python -m benchmarks.ending
"""

import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfxfer.models.cnn import glyph_cnn
from tfxfer.streams import prompt

TIMES, BATCHES = 8, (8, 16, 24, 40)


def seconds(model: keras.Model, data: tf.data.Dataset) -> list[float]:
    """Fit `TIMES` times; return the seconds of each."""
    found = []
    for _ in range(TIMES):
        started = time.perf_counter()
        model.fit(data, verbose=0)
        found.append(time.perf_counter() - started)
    return found


def main() -> None:
    """Print the mean seconds of trainings of several lengths, with and without the tuner, side by side."""
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 255, (128, 32, 224, 1)).astype("float32")
    labels = np.zeros(len(images), int)
    model = glyph_cnn(10)
    model.compile("adam", "sparse_categorical_crossentropy")
    stream = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16).cache().repeat()
    model.fit(stream.take(8), verbose=0)
    rows, with_tuner, without = {}, 0.0, 0.0
    for count in BATCHES:
        plain, untuned = seconds(model, stream.take(count)), seconds(model, prompt(stream.take(count)))
        rows[count] = [round(float(np.mean(each)), 3) for each in (plain, untuned)]
        print(f"{count:3d} batches: {rows[count][0]:.2f} s with the tuner, {rows[count][1]:.2f} s without", flush=True)
        with_tuner, without = with_tuner + sum(plain), without + sum(untuned)
    ratio = with_tuner / without
    print(json.dumps({"benchmark": "ending", "seconds": rows, "ratio": round(ratio, 2), "promises": {}}))


if __name__ == "__main__":
    main()
