"""Running φ over a stream of data as fast as the machine allows, in memory that does not grow with the data."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.models.tracing import traced

IN_FLIGHT = 2  # batches
CONSTANT_BYTES = 2**29  # a TensorFlow graph holds 2 GiB at most, and each constant a second time


def view_of(phi: keras.Model, key: str | None, image_size: tuple[int, int] | None) -> dict[str, Any]:
    """Return how φ wants to see the data: column, image size [height, width] and channels.

    Raises:
        UserError: φ takes images of any size and none is given, or has several inputs or outputs.
    """
    if len(phi.inputs) != 1 or len(phi.outputs) != 1:
        raise UserError(
            f"extract needs a φ with one input and one output, not {len(phi.inputs)} and {len(phi.outputs)}"
        )
    shape = phi.inputs[0].shape
    if phi.inputs[0].dtype == "string":
        return {"key": key or "text", "image_size": None, "channels": None}
    if len(shape) != 4:
        return {"key": key or "image", "image_size": None, "channels": None}
    size = list(shape[1:3]) if None not in shape[1:3] else image_size and list(image_size)
    if size is None:
        raise UserError("φ takes images of any size; say which: image_size=(height, width)")
    return {"key": key or "image", "image_size": size, "channels": shape[3]}


def compiled(phi: keras.Model, *, jit: bool = False) -> Callable[[Any], Any]:
    """Return φ as a compiled function to float32.

    Frozen weights become constants, so that TensorFlow folds BatchNorm into the convolutions.
    """
    variables = phi.non_trainable_variables if not phi.trainable_variables else []
    small = 0 < sum(int(np.prod(v.shape)) * 4 for v in variables) < CONSTANT_BYTES
    values = [keras.ops.convert_to_numpy(v) for v in variables] if small else []

    def forward(x: Any) -> Any:
        if phi.inputs[0].dtype != "string":
            x = tf.cast(x, phi.inputs[0].dtype)
        if not values:
            return tf.cast(phi(x, training=False), tf.float32)
        features, _ = phi.stateless_call([], [tf.constant(v) for v in values], x, training=False)
        return tf.cast(features, tf.float32)

    return traced(forward, jit=jit)


@lru_cache(maxsize=1)
def compiled_once(phi: keras.Model, weights_hash: str, jit: bool) -> Callable[[Any], Any]:
    """Let train, validation and test share one compilation; the hash is there because weights are baked in."""
    return compiled(phi, jit=jit)


def stream(
    forward: Callable[[Any], Any],
    dataset: Any,
    split: str,
    view: dict[str, Any],
    batch_size: int,
    rows: tuple[int, int],
) -> Iterator[np.ndarray]:
    """Yield φ of the rows [start, stop) as arrays [b, D]; every call sees the same batch shape.

    With one batch in flight, TensorFlow's threads wait for each other between layers; two keep all cores busy.
    """
    first, last = rows[0] // batch_size, -(-rows[1] // batch_size)
    key = view["key"]
    options = {"image_size": view["image_size"], "channels": view["channels"]}
    batches = dataset.batches(split, batch_size, keys=(key,), skip=first, **options)

    def phi_of(x: Any) -> np.ndarray:
        count = len(x)
        if count < batch_size:
            x = tf.concat([x, tf.repeat(x[:1], batch_size - count, axis=0)], axis=0)
        return forward(x).numpy()[:count]

    done_before = rows[0] - first * batch_size  # rows of the first batch that an earlier run has finished
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        ahead: deque[Future] = deque()
        for batch in islice(batches, last - first):
            ahead.append(pool.submit(phi_of, batch[key]))
            if len(ahead) > IN_FLIGHT:
                yield ahead.popleft().result()[done_before:]
                done_before = 0
        for future in ahead:
            yield future.result()[done_before:]
            done_before = 0
