"""Large variables, read and written in pieces.

A word embedding can be a fifth of a model. Reading it as an array copies it, assigning an array copies it twice, and
the pages of a memory-mapped file count as memory once they were read. Here one new tensor is filled piece by piece and
then replaces the old one, so that a second copy never exists as an array.
"""

import mmap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

LARGE = 16 * 2**20  # bytes
PIECE = 4 * 2**20  # bytes


def is_large(variable: Any) -> bool:
    """Return whether a Keras variable is large, and a plain `tf.Variable` in this machine's memory."""
    import tensorflow as tf

    held = variable.value
    size = int(np.prod(variable.shape)) * np.dtype(tf.as_dtype(variable.dtype).as_numpy_dtype).itemsize
    return size > LARGE and len(variable.shape) > 0 and isinstance(held, tf.Variable) and "CPU" in held.device


def pieces_of(variable: Any) -> Iterator[np.ndarray]:
    """Yield a variable's value, a few rows at a time."""
    held = variable.value.read_value()  # the variable's own memory
    for rows in _rows(variable.shape, held.dtype.size):
        yield held[rows].numpy()


def assign(variable: Any, value: np.ndarray, check: Callable[[np.ndarray], None]) -> None:
    """Assign a large variable. Its old value is freed first; the caller saves it if it may be needed.

    Args:
        variable: A Keras variable for which `is_large` is true; it is empty when this raises.
        value: Array of its shape and dtype, possibly memory-mapped.
        check: Called with the rows of each piece; may raise.
    """
    import tensorflow as tf

    held = variable.value
    set_value(variable, tf.zeros([0], held.dtype))
    made = tf.raw_ops.Empty(shape=list(value.shape), dtype=held.dtype)
    for rows in _rows(value.shape, value.dtype.itemsize):
        piece = np.ascontiguousarray(value[rows])
        check(piece)
        places = tf.range(rows.start, rows.start + len(piece))
        made = tf.raw_ops.InplaceUpdate(x=made, i=places, v=piece)  # the same memory: an alias, not a copy
        _release_pages(value)
    set_value(variable, made)


def set_value(variable: Any, value: Any) -> None:
    """Set a variable to a tensor or array, whatever its present shape."""
    import tensorflow as tf

    held = variable.value
    tf.raw_ops.AssignVariableOp(resource=held.handle, value=tf.convert_to_tensor(value, held.dtype))


def _rows(shape: Any, itemsize: int) -> Iterator[slice]:
    step = max(1, PIECE // max(1, int(np.prod(shape[1:])) * itemsize))
    for start in range(0, shape[0], step):
        yield slice(start, start + step)


def _release_pages(value: Any) -> None:
    """Release the memory pages of a mapped file; they are loaded again when they are read again."""
    while value is not None:
        if isinstance(value, mmap.mmap) and hasattr(value, "madvise"):
            value.madvise(mmap.MADV_DONTNEED)
        value = getattr(value, "base", None)
