"""The types that all parts of a weight map share: the shape and name of a tensor, and the protocol of a source."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

Shape = tuple[int, ...]
TARGET = "target"  # stands for the target model among the names of sources
SEED_STATE = "seed_generator_state"  # the state of a random generator is a variable, but not a weight


@dataclass(frozen=True)
class Tensor:
    """The name of a tensor and what is known without reading it.

    Attributes:
        path: Its name, such as "block_1/conv/kernel" or "encoder.layer.0.output.dense.weight".
        shape: Its shape.
        dtype: The name of its dtype, such as "float32".
        layer: Class of the Keras layer that owns it; "" when unknown.
        key: Its path without the numbers that Keras adds to layer names: equal in models that were built twice.
    """

    path: str
    shape: Shape
    dtype: str
    layer: str = field(default="", compare=False)
    key: tuple[str, ...] = field(default=(), compare=False)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return math.prod(self.shape)


@runtime_checkable
class Source(Protocol):
    """A collection of named tensors that are read one at a time.

    A file reader needs these four methods and a `title`; no values are read until `read` is called.
    """

    title: str

    def names(self) -> Sequence[str]:
        """Return all names, in the order of the model where there is one."""

    def shape(self, name: str) -> Shape:
        """Return a tensor's shape."""

    def dtype(self, name: str) -> str:
        """Return a tensor's dtype by NumPy's name, or "bfloat16"."""

    def read(self, name: str) -> np.ndarray:
        """Return a tensor."""
