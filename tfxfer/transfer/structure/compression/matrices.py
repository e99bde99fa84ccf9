"""Which weights of a model are matrices of inputs and outputs, and how each is laid out."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tfxfer.models.coded_weights import CodedWeight, Matrix

SMALLEST = 256  # entries; below that what is said of a matrix takes more than it saves
SMALL = 4096  # entries; below that a matrix is rounded to half precision at most
EMBEDDINGS = ("Embedding", "ReversibleEmbedding", "PositionEmbedding", "TokenAndPositionEmbedding")


@dataclass(frozen=True)
class Layout:
    """How a weight is laid out.

    Attributes:
        path: Of its variable.
        row_axes: So many of its first axes are rows, that is inputs; the others are columns, that is outputs.
        by_rows: Whether each row stands for itself, as in an embedding.
        small: Whether it has fewer than `SMALL` entries. Such are first and last layers, of which a network bears least
            (Zhou et al. 2016), and there is little to save.
        one_map: Whether it is one linear map, which two factors can stand for: a convolution over more than one place
            and a depthwise one are none.
    """

    path: str
    row_axes: int
    by_rows: bool = False
    one_map: bool = True
    small: bool = False

    def coded(self, values: np.ndarray) -> CodedWeight:
        """Return a weight as one matrix."""
        rows = math.prod(values.shape[: self.row_axes])
        matrix = np.asarray(values, np.float32).reshape(rows, -1)
        return CodedWeight(values.shape, (Matrix(matrix, by_rows=self.by_rows),))


def variables_of(model: keras.Model) -> dict[str, Any]:
    """Return path -> variable of every weight of a model that is a matrix of `SMALLEST` entries or more."""
    return {layout.path: variable for layout, variable in _matrices(model)}


def matrices_in(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> dict[str, Layout]:
    """Return name of an array -> layout, for those that are matrices of the model.

    A file of weights has other names than the variables have, so they are matched by their values.

    Args:
        model: The model that the file belongs to.
        arrays: All arrays of the file.
    """
    known = {_digest(np.asarray(variable)): layout for layout, variable in _matrices(model)}
    found = {name: known.get(_digest(array)) for name, array in arrays.items() if array.ndim > 1}
    return {name: layout for name, layout in found.items() if layout is not None}


def is_diagonal(values: np.ndarray) -> bool:
    """Return whether a square matrix has entries on its diagonal only, such as a fixed scale of features."""
    rows, columns = values.shape
    return rows == columns and np.count_nonzero(values) <= rows and not np.any(values - np.diag(np.diag(values)))


def _matrices(model: keras.Model) -> Iterator[tuple[Layout, Any]]:
    for layer in model._flatten_layers():
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
            shape = tuple(variable.shape)
            if len(shape) > 1 and math.prod(shape) >= SMALLEST and "float" in str(variable.dtype):
                yield replace(_layout(layer, variable.path, shape), small=math.prod(shape) < SMALL), variable


def _layout(layer: Any, path: str, shape: tuple[int, ...]) -> Layout:
    kind = type(layer).__name__
    if kind in EMBEDDINGS:
        return Layout(path, 1, by_rows=True)
    if kind == "EinsumDense":  # rows are the axes of the kernel that are summed over
        inputs, kernel = layer.equation.split("->")[0].split(",")
        return Layout(path, max(1, sum(axis in inputs for axis in kernel)))
    if kind == "DepthwiseConv2D":
        return Layout(path, 2, one_map=False)
    places = math.prod(shape[:-2])
    return Layout(path, len(shape) - 1, one_map=len(shape) == 2 or places == 1)


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
