"""Large variables, read and written a piece at a time.

A word embedding can be a fifth of a model. To read it as an array copies it, to assign an array copies it twice, and
the pages of a mapped file count as memory once they were touched. Here one new tensor is filled piece by piece and then
takes the old one's place, so that a second copy never exists as an array.
"""

import mmap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

LARGE = 16 * 2**20  # bytes
PIECE = 4 * 2**20  # bytes


def is_large(variable: Any) -> bool:
    """Tell whether a Keras variable is worth the trouble, and a plain one in this machine's memory."""
    import tensorflow as tf

    held = variable.value
    size = int(np.prod(variable.shape)) * np.dtype(tf.as_dtype(variable.dtype).as_numpy_dtype).itemsize
    return size > LARGE and len(variable.shape) > 0 and isinstance(held, tf.Variable) and "CPU" in held.device


def pieces_of(variable: Any) -> Iterator[np.ndarray]:
    """Yield a variable's value, some rows at a time."""
    held = variable.value.read_value()  # the variable's own memory
    for rows in _rows(variable.shape, held.dtype.size):
        yield held[rows].numpy()


def assign(variable: Any, value: np.ndarray, check: Callable[[np.ndarray], None]) -> None:
    """Give a large variable its new value. The old one is let go first: whoever may need it keeps it.

    Args:
        variable: A Keras variable for which `is_large`; empty when this raises.
        value: Array of its shape and number type, possibly mapped from a file.
        check: Called with the rows of each piece; may raise.
    """
    import tensorflow as tf

    held = variable.value
    give(variable, tf.zeros([0], held.dtype))
    made = tf.raw_ops.Empty(shape=list(value.shape), dtype=held.dtype)
    for rows in _rows(value.shape, value.dtype.itemsize):
        piece = np.ascontiguousarray(value[rows])
        check(piece)
        places = tf.range(rows.start, rows.start + len(piece))
        made = tf.raw_ops.InplaceUpdate(x=made, i=places, v=piece)  # the same memory: an alias, not a copy
        _let_go(value)
    give(variable, made)


def give(variable: Any, value: Any) -> None:
    """Let a variable hold a tensor or array, whatever the shape of what it holds now."""
    import tensorflow as tf

    held = variable.value
    tf.raw_ops.AssignVariableOp(resource=held.handle, value=tf.convert_to_tensor(value, held.dtype))


def _rows(shape: Any, itemsize: int) -> Iterator[slice]:
    step = max(1, PIECE // max(1, int(np.prod(shape[1:])) * itemsize))
    for start in range(0, shape[0], step):
        yield slice(start, start + step)


def _let_go(value: Any) -> None:
    """Give the pages of a mapped file back; they come again when they are read again."""
    while value is not None:
        if isinstance(value, mmap.mmap) and hasattr(value, "madvise"):
            value.madvise(mmap.MADV_DONTNEED)
        value = getattr(value, "base", None)
