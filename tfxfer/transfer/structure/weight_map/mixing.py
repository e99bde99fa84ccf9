"""Operations that compute with whole tensors: averages, interpolation between models, task vectors, low rank."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfxfer.errors import UserError
from tfxfer.transfer.structure.weight_map.operation import NO, YES, Operation, as_float, axis_of
from tfxfer.transfer.structure.weight_map.tensors import Shape


@dataclass(frozen=True, kw_only=True)
class _Combine(Operation):
    """Combine several tensors of one shape."""

    inputs = "all"

    def shape(self, *shapes: Shape) -> Shape:
        """Return the common shape."""
        if len(set(shapes)) > 1:
            raise UserError(f"{self.name} needs tensors of one shape, not {', '.join(str(list(s)) for s in shapes)}")
        return shapes[0]


@dataclass(frozen=True, kw_only=True)
class Average(_Combine):
    """The mean of several models' tensors: a model soup (Wortsman et al. 2022).

    Attributes:
        weights: Weight of each tensor, divided by their sum; equal when not given.
    """

    weights: tuple[float, ...] | None = None
    name = "average"

    def shape(self, *shapes: Shape) -> Shape:
        """Return the common shape."""
        if self.weights is not None and (len(self.weights) != len(shapes) or sum(self.weights) == 0):
            raise UserError(
                f"average of {len(shapes)} tensors: weights {list(self.weights)} must be as many, sum not 0"
            )
        return super().shape(*shapes)

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return Σ wᵢ xᵢ / Σ wᵢ."""
        weights = self.weights or (1.0,) * len(arrays)
        total = sum(weights)
        result = as_float(arrays[0]) * np.float32(weights[0] / total)
        for array, weight in zip(arrays[1:], weights[1:]):
            result += as_float(array) * np.float32(weight / total)
        return result

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes" for a single tensor only."""
        return YES if len(shapes) == 1 else NO


@dataclass(frozen=True, kw_only=True)
class Mix(_Combine):
    """A point on the line between two models: (1 − share) · first + share · second.

    Attributes:
        share: Share of the second.
    """

    share: float = 0.5
    name = "mix"

    def shape(self, *shapes: Shape) -> Shape:
        """Return the common shape."""
        if len(shapes) != 2:
            raise UserError(f"mix takes two tensors, not {len(shapes)}; 'average' takes any number")
        return super().shape(*shapes)

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the interpolated tensor."""
        first, second = map(as_float, arrays)
        return first * np.float32(1 - self.share) + second * np.float32(self.share)

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes" at the first model."""
        return YES if self.share == 0 else NO


@dataclass(frozen=True, kw_only=True)
class Delta(_Combine):
    """Task vectors (Ilharco et al. 2023): base + Σ λᵢ · (sourceᵢ − base); the base is the first tensor.

    Attributes:
        scale: λ, one for all sources or one for each; negative to forget a task.
    """

    scale: tuple[float, ...] = (1.0,)
    name = "delta"

    def shape(self, *shapes: Shape) -> Shape:
        """Return the common shape."""
        if len(shapes) < 2:
            raise UserError("delta takes the base and at least one source after it")
        if len(self.scale) not in (1, len(shapes) - 1):
            raise UserError(f"delta with {len(shapes) - 1} sources: give one scale, or one for each")
        return super().shape(*shapes)

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the base with the scaled differences added."""
        base, *sources = map(as_float, arrays)
        scales = self.scale * len(sources) if len(self.scale) == 1 else self.scale
        result = base.copy()
        for source, scale in zip(sources, scales):
            result += np.float32(scale) * (source - base)
        return result

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes" where nothing is added to the base."""
        return YES if not any(self.scale) else NO


@dataclass(frozen=True, kw_only=True)
class LowRank(Operation):
    """The best approximation of lower rank, by singular values: whole, or as one of two factors left · right.

    A tensor of more than two axes is taken as a matrix of all but the last axis by the last.

    Attributes:
        rank: Number of singular values that are kept; of a factor, its inner width.
        energy: Instead of a rank: as many as reach this share of the sum of squares. For the whole only.
        part: "whole", or the factor "left" = U √S [in, rank] or "right" = √S Vᵀ [rank, out].
    """

    rank: int | None = None
    energy: float | None = None
    part: Literal["whole", "left", "right"] = "whole"
    name = "low_rank"

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape of the whole or of the factor."""
        if len(shapes[0]) < 2:
            raise UserError(f"{list(shapes[0])} is not a matrix; low_rank needs two axes or more")
        if (self.rank is None) == (self.energy is None):
            raise UserError("low_rank takes either rank or energy")
        if self.energy is not None and (not 0 < self.energy <= 1 or self.part != "whole"):
            raise UserError("energy is a share above 0 and up to 1, and for the whole only: give the factors a rank")
        rows, columns = math.prod(shapes[0][:-1]), shapes[0][axis_of(-1, shapes[0])]
        if self.rank is not None and not 1 <= self.rank <= min(rows, columns):
            raise UserError(f"rank={self.rank} of a {rows} x {columns} matrix; give 1 to {min(rows, columns)}")
        inner = self.rank or 0
        return {"whole": shapes[0], "left": (*shapes[0][:-1], inner), "right": (inner, columns)}[self.part]

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the approximation or the factor."""
        array = as_float(arrays[0])
        u, s, vt = np.linalg.svd(array.reshape(-1, array.shape[-1]), full_matrices=False)
        rank = self.rank or self.rank_for(s)
        u, s, vt = u[:, :rank], s[:rank], vt[:rank]
        if self.part == "left":
            return (u * np.sqrt(s)).reshape(*array.shape[:-1], rank)
        if self.part == "right":
            return np.sqrt(s)[:, None] * vt
        return ((u * s) @ vt).reshape(array.shape)

    def rank_for(self, singular_values: np.ndarray) -> int:
        """Return the smallest rank that reaches the share `energy` of the sum of squares."""
        held = np.cumsum(singular_values.astype(np.float64) ** 2)
        reached = held >= (self.energy or 1.0) * held[-1] * (1 - 1e-12)
        return int(np.argmax(reached)) + 1

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes" at full rank."""
        full = min(math.prod(shapes[0][:-1]), shapes[0][-1])
        if self.rank == full:
            return YES if self.part == "whole" else "if the other row takes the other factor"
        return NO
