"""The seconds of a first training step after `keras.utils.set_random_seed`, which deletes TensorFlow's cached kernels.

python -m benchmarks.reseeding
"""

import json
import os
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from tfxfer.models.decoder import causal_decoder
from tfxfer.models.randomness import set_initializer_seed

TIMES = 4


def first_step(model: keras.Model, inputs: dict, targets: np.ndarray, seed: Callable[[int], None]) -> float:
    """Seed and train one batch, `TIMES` times; return the mean seconds of the batch."""
    found = []
    for i in range(TIMES):
        seed(i)
        started = time.perf_counter()
        model.train_on_batch(inputs, targets)
        found.append(time.perf_counter() - started)
    return float(np.mean(found))


def main() -> None:
    """Print the seconds of a first step after either way of seeding, for a decoder that was compiled before."""
    set_initializer_seed(0)
    model = causal_decoder(vocabulary_size=600, num_layers=2, num_heads=4, hidden_dim=128, intermediate_dim=256)
    numbers = np.random.default_rng(0).integers(1, 600, (8, 15))
    inputs = {
        "token_ids": numbers[:, :-1],
        "padding_mask": np.ones((8, 14), "int32"),
        "memory": np.ones((8, 16, 128), "float32"),
    }
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rows = {}
    for jit in (False, True):
        model.compile("adam", loss, jit_compile=jit)
        model.train_on_batch(inputs, numbers[:, 1:])
        keras_way = first_step(model, inputs, numbers[:, 1:], keras.utils.set_random_seed)
        ours = first_step(model, inputs, numbers[:, 1:], set_initializer_seed)
        rows["compiled" if jit else "not compiled"] = [round(keras_way, 3), round(ours, 3)]
        print(
            f"jit_compile={jit}: {keras_way:.3f} s after set_random_seed, {ours:.3f} s after set_initializer_seed",
            flush=True,
        )
    print(json.dumps({"benchmark": "reseeding", "seconds": rows, "promises": {}}))


if __name__ == "__main__":
    main()
