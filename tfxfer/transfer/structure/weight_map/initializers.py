"""Operations that make a tensor without a source: zeros, constants, fresh draws, or what the target has already."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.weight_map.names import kind
from tfxfer.transfer.structure.weight_map.operation import Operation, seed_for
from tfxfer.transfer.structure.weight_map.tensors import Shape, Tensor

USUAL = {"bias": "zeros", "mean": "zeros", "scale": "ones", "variance": "ones", "embeddings": "random_uniform"}
# Keras' initialisers, each with the options it takes beside the seed.
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
class Keep(Operation):
    """Leave the tensor as the target has it: random, unless something was loaded before."""

    name = "keep"
    inputs = "none"
    exact = True

    new: tuple[int, ...]

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Take the target's shape."""
        return {"new": list(target.shape), **args}

    def shape(self, *shapes: Shape) -> Shape:
        """Return the target's shape."""
        return self.new


@dataclass(frozen=True, kw_only=True)
class Fresh(Keep):
    """Draw the tensor anew from one of Keras' initialisers.

    Attributes:
        initializer: Its name; Keras' usual one for a tensor of this kind when not given.
        seed: Seed of the draw. A rule's seed is mixed with each tensor's path, so that no two tensors are alike.
        options: The initialiser's own options, such as {"stddev": 0.02}.
    """

    initializer: str
    seed: int = 0
    options: dict[str, float] | None = None
    name = "fresh"
    exact = False

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Take the target's shape, the usual initialiser, and a seed of its own."""
        usual = USUAL.get(kind(target.path), "glorot_uniform")
        return {"new": list(target.shape), "initializer": usual, **args, "seed": seed_for(target, args.get("seed", 0))}

    def told(self, target: Shape) -> str:
        """Return the operation alone; initialiser and seed are in the plan's JSON and in `explain`."""
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
        """Return the draw."""
        import keras

        seed = {} if self.initializer in ("zeros", "ones") else {"seed": self.seed}
        config = {**(self.options or {}), **seed}
        initializer = keras.initializers.get({"class_name": self.initializer, "config": config})
        return keras.ops.convert_to_numpy(initializer(self.new, dtype="float32"))


@dataclass(frozen=True, kw_only=True)
class Constant(Keep):
    """Give every place of the tensor the same value.

    Attributes:
        value: The value.
    """

    value: float
    name = "constant"

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the constant."""
        return np.full(self.new, self.value, np.float32)

    def preserves(self, *shapes: Shape) -> str:
        """Say on which condition."""
        return "if the constants belong to layers that change nothing"


@dataclass(frozen=True, kw_only=True)
class Zero(Keep):
    """Fill the tensor with zeros, such as the last layer of a new residual block, which then adds nothing."""

    name = "zero"

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return zeros."""
        return np.zeros(self.new, np.float32)

    def preserves(self, *shapes: Shape) -> str:
        """Say on which condition."""
        return "if the zeros belong to new layers that add nothing"
