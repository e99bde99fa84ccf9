"""Operations that make a model wider, deeper or narrower: Net2Net (Chen et al. 2016) and selections of units.

For a layer with more or fewer units, its kernel's outputs, its bias and its norm use `gather_outputs`, and every layer
that reads it uses `gather_inputs`, all with the same unit map.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxfer.errors import UserError
from tfxfer.transfer.structure.weight_map.operation import NO, YES, Operation, Shaped, as_float, axis_of, seed_for
from tfxfer.transfer.structure.weight_map.tensors import Shape, Tensor
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap

# φ(φ(x)) = φ(x), so that an identity layer with the same activation does not change the outputs.
IDEMPOTENT = ("linear", "relu", "relu6", "hard_tanh")
NORMS_OVER_UNITS = ("LayerNormalization", "RMSNormalization", "GroupNormalization", "UnitNormalization")


@dataclass(frozen=True, kw_only=True)
class _Gather(Operation):
    """Gather units along an axis of the layout [outer, units, inner].

    Attributes:
        units: Which source unit each target unit copies.
        axis: The axis of the units.
        outer: Number of places that all units are repeated for, such as H · W of a flattened feature map.
        inner: Count of numbers per unit, such as the width of a head when heads are joined.
    """

    units: UnitMap
    axis: int = -1
    outer: int = 1
    inner: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape with the new number of units."""
        axis = axis_of(self.axis, shapes[0])
        old = self.outer * self.units.old * self.inner
        if self.outer < 1 or self.inner < 1 or shapes[0][axis] != old:
            raise UserError(
                f"unit map '{self.units.name}' has {self.units.old} units, so axis {self.axis} must have length {old} "
                f"(outer={self.outer}, inner={self.inner}); the tensor is {list(shapes[0])}"
            )
        return (*shapes[0][:axis], self.outer * self.units.new * self.inner, *shapes[0][axis + 1 :])

    def _indices(self) -> np.ndarray:
        outer, inner = np.arange(self.outer)[:, None, None], np.arange(self.inner)
        return ((outer * self.units.old + self.units.indices[:, None]) * self.inner + inner).ravel()

    def _along(self, values: np.ndarray, rank: int, axis: int) -> np.ndarray:
        """Return one value per unit, shaped to broadcast along an axis."""
        spread = np.tile(np.repeat(values, self.inner), self.outer)
        return spread.reshape([-1 if i == axis else 1 for i in range(rank)])


@dataclass(frozen=True, kw_only=True)
class GatherOutputs(_Gather):
    """Net2Wider, the layer itself: each unit is a copy of the source's, U¹[…, j] = W¹[…, g(j)].

    Attributes:
        noise: Noise on second and later copies, in standard deviations of the tensor, so that copies can differ
            after training; 0 preserves the outputs.
        seed: Seed of the noise; a rule's seed is mixed with each tensor's path.
        normalised: A norm takes mean and variance over these units (LayerNorm), so that only a map with equally many
            copies of each preserves the outputs; derived from the target's layer.
    """

    noise: float = 0.0
    seed: int = 0
    normalised: bool = False
    name = "gather_outputs"

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Derive from the target whether its layer is a norm over units, and the seed of its noise."""
        noise = {"seed": seed_for(target, args.get("seed", 0))} if args.get("noise") else {}
        norm = {"normalised": True} if target.layer in NORMS_OVER_UNITS else {}
        return {**norm, **args, **noise}

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape with the new number of units."""
        if self.noise < 0 or self.seed < 0:
            raise UserError(f"noise={self.noise} and seed={self.seed} must not be negative")
        return super().shape(*shapes)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Integers may be copied, but not with noise."""
        return self.noise == 0

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the copies, with noise on second and later ones."""
        axis = axis_of(self.axis, arrays[0].shape)
        found = np.take(arrays[0], self._indices(), axis)
        if not self.noise:
            return found
        indices = self.units.indices
        later = np.ones(len(indices))
        later[np.unique(indices, return_index=True)[1]] = 0
        drawn = np.random.default_rng(self.seed).standard_normal(found.shape)
        scale = self.noise * float(np.std(as_float(arrays[0])))
        return (as_float(found) + scale * drawn * self._along(later, found.ndim, axis)).astype(as_float(found).dtype)

    def preserves(self, *shapes: Shape) -> str:
        """Return "no" with noise, with units left out, or with unequal numbers of copies under LayerNorm."""
        if self.noise or not self.units.complete or (self.normalised and not self.units.uniform):
            return NO
        return YES


@dataclass(frozen=True, kw_only=True)
class GatherInputs(_Gather):
    """Net2Wider, the next layer: weights are divided among copies, U²[j, …] = W²[g(j), …] / copies of g(j)."""

    name = "gather_inputs"

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the copies, divided by their number."""
        axis = axis_of(self.axis, arrays[0].shape)
        found = np.take(as_float(arrays[0]), self._indices(), axis)
        return found / self._along(self.units.copies, found.ndim, axis).astype(found.dtype)

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes" where no unit is left out."""
        return YES if self.units.complete else NO


@dataclass(frozen=True, kw_only=True)
class Identity(Shaped):
    """Net2Deeper: the kernel of a new identity layer, dense [D, D] or convolution [k, …, C, C].

    Attributes:
        activation: The new layer's activation φ. The previous layer must have it too, and φ(φ(x)) = φ(x) must hold:
            true of ReLU, false of GELU and sigmoid. A convolution needs odd sides, stride 1 and padding "same".
    """

    activation: str
    name = "identity"
    inputs = "none"

    def shape(self, *shapes: Shape) -> Shape:
        """Return the kernel's shape."""
        if self.activation not in IDEMPOTENT:
            raise UserError(
                f"a new layer with the activation '{self.activation}' is not an identity: φ(φ(x)) ≠ φ(x). "
                f"Equality holds for {', '.join(IDEMPOTENT)}; or add a residual block instead"
            )
        if len(self.new) < 2 or self.new[-1] != self.new[-2] or any(side % 2 == 0 for side in self.new[:-2]):
            raise UserError(f"{list(self.new)}: an identity has as many inputs as outputs, and windows with odd sides")
        return self.new

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return ones on the diagonal at the centre of the window."""
        kernel = np.zeros(self.new, np.float32)
        kernel[tuple(side // 2 for side in self.new[:-2])] = np.eye(self.new[-1], dtype=np.float32)
        return kernel

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes"."""
        return YES


@dataclass(frozen=True, kw_only=True)
class NormScale(Operation):
    """The scale γ = √(variance + ε) that cancels a new BatchNorm's own division; its offset β is the mean.

    Attributes:
        epsilon: ε of the new layer.
    """

    epsilon: float
    name = "norm_scale"

    def shape(self, *shapes: Shape) -> Shape:
        """Return the same shape."""
        if not (self.epsilon >= 0 and math.isfinite(self.epsilon)):
            raise UserError(f"epsilon={self.epsilon} must not be negative")
        return shapes[0]

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the scale; a negative variance gives NaN, which `apply` refuses."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(as_float(arrays[0]) + np.float32(self.epsilon))

    def preserves(self, *shapes: Shape) -> str:
        """Return the condition."""
        return "if the new norm's offset and mean are the same tensor"
