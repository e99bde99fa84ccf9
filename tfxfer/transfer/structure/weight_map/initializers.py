"""Operations that create a tensor without a source: zeros, constants, random values, or the target's own value."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.weight_map.names import kind
from tfxfer.transfer.structure.weight_map.operation import Shaped, seed_for
from tfxfer.transfer.structure.weight_map.tensors import Shape, Tensor

DEFAULT = {"bias": "zeros", "mean": "zeros", "scale": "ones", "variance": "ones", "embeddings": "random_uniform"}
# Keras' initialisers, each with its options other than the seed.
INITIALIZERS: dict[str, tuple[str, ...]] = {
    "zeros": (),
    "ones": (),
    "glorot_uniform": (),
    "glorot_normal": (),
    "he_uniform": (),
    "he_normal": (),
    "lecun_uniform": (),
    "lecun_normal": (),
    "orthogonal": ("gain",),
    "random_normal": ("mean", "stddev"),
    "truncated_normal": ("mean", "stddev"),
    "random_uniform": ("minval", "maxval"),
}


@dataclass(frozen=True, kw_only=True)
class Keep(Shaped):
    """Keep the target's own value: random, unless weights were loaded before."""

    name = "keep"
    inputs = "none"
    exact = True

    def shape(self, *shapes: Shape) -> Shape:
        """Return the target's shape."""
        return self.new


@dataclass(frozen=True, kw_only=True)
class Fresh(Keep):
    """Initialise the tensor with one of Keras' initialisers.

    Attributes:
        initializer: Its name; Keras' default for a tensor of this kind when not given.
        seed: Its seed. A rule's seed is combined with each tensor's path, so that no two tensors are equal.
        options: The initialiser's own options, such as {"stddev": 0.02}.
    """

    initializer: str
    seed: int = 0
    options: dict[str, float] | None = None
    name = "fresh"
    exact = False

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Take the target's shape, the default initialiser, and the tensor's own seed."""
        default = DEFAULT.get(kind(target.path), "glorot_uniform")
        seed = seed_for(target, args.get("seed", 0))
        return {"new": list(target.shape), "initializer": default, **args, "seed": seed}

    def describe(self, target: Shape) -> str:
        """Return the name alone; initialiser and seed are in the plan's JSON and in `explain`."""
        return self.name

    def shape(self, *shapes: Shape) -> Shape:
        """Return the target's shape."""
        if self.initializer not in INITIALIZERS:
            raise UserError(f"initializer '{self.initializer}' is unknown; {suggest(self.initializer, INITIALIZERS)}")
        allowed = INITIALIZERS[self.initializer]
        for option in self.options or {}:
            if option not in allowed:
                raise UserError(f"{self.initializer} has no option '{option}'; {suggest(option, allowed)}")
        if self.initializer == "orthogonal" and len(self.new) < 2:
            raise UserError(f"orthogonal needs two axes or more; the tensor is {list(self.new)}")
        if not 0 <= self.seed < 2**31:
            raise UserError(f"seed={self.seed} is out of range; give 0 to {2**31 - 1}")
        return self.new

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the initialised tensor."""
        import keras

        seed = {} if self.initializer in ("zeros", "ones") else {"seed": self.seed}
        config = {**(self.options or {}), **seed}
        initializer = keras.initializers.get({"class_name": self.initializer, "config": config})
        return keras.ops.convert_to_numpy(initializer(self.new, dtype="float32"))


@dataclass(frozen=True, kw_only=True)
class Constant(Keep):
    """Fill the tensor with one value.

    Attributes:
        value: The value.
    """

    value: float
    name = "constant"

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the constant."""
        return np.full(self.new, self.value, np.float32)

    def preserves(self, *shapes: Shape) -> str:
        """Return the condition."""
        return "if the constants belong to identity layers"


@dataclass(frozen=True, kw_only=True)
class Zero(Keep):
    """Fill the tensor with zeros, such as the last kernel of a new residual block, which then adds zero."""

    name = "zero"

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return zeros."""
        return np.zeros(self.new, np.float32)

    def preserves(self, *shapes: Shape) -> str:
        """Return the condition."""
        return "if the zeros belong to new layers that add zero"
