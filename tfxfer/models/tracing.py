"""Functions of tensors as graphs, without TensorFlow's warning of retracing.

TensorFlow counts tracings by the place in the code where a function stands. Where each of several models has such a
function of its own, that looks like one function which is traced again and again. Concrete functions are not counted.
"""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import tensorflow as tf


def traced(
    function: Callable[..., Any], signature: Sequence[tf.TensorSpec] | None = None, *, jit: bool = False
) -> Callable[..., Any]:
    """Return a function of tensors or arrays as a graph, traced at its first call.

    Args:
        function: Takes tensors, gives a tensor or several.
        signature: What it takes. None: it is traced for each combination of shapes that it gets.
        jit: Compile it with XLA.
    """
    graph, lock = tf.function(function, jit_compile=jit), Lock()
    known: dict[Any, Any] = {}

    def call(*given: Any) -> Any:
        if signature is None:
            tensors = [tf.convert_to_tensor(one) for one in given]
            specs = [tf.TensorSpec(one.shape, one.dtype) for one in tensors]
        else:
            tensors = [tf.convert_to_tensor(one, spec.dtype) for one, spec in zip(given, signature, strict=True)]
            specs = list(signature)
        key = tuple(specs)
        with lock:  # batches are in flight in two threads
            if key not in known:
                known[key] = graph.get_concrete_function(*specs)
        return known[key](*tensors)

    return call
