"""Operations that move numbers to another place or shape without changing them."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tfxfer.errors import UserError
from tfxfer.transfer.structure.weight_map.operation import NO, YES, Operation, Shaped, axis_of
from tfxfer.transfer.structure.weight_map.tensors import Shape, Tensor


@dataclass(frozen=True, kw_only=True)
class Copy(Operation):
    """Copy the tensor unchanged."""

    name = "copy"
    exact = True

    def shape(self, *shapes: Shape) -> Shape:
        """Return the same shape."""
        return shapes[0]

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the same array."""
        return arrays[0]

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes"."""
        return YES


@dataclass(frozen=True, kw_only=True)
class Tie(Copy):
    """Copy the value that another tensor of the target gets; the two are not shared and may differ after training."""

    name = "tie"


@dataclass(frozen=True, kw_only=True)
class Cast(Copy):
    """Allow numbers to be rounded to the target's narrower dtype."""

    name = "cast"
    exact = False

    def preserves(self, *shapes: Shape) -> str:
        """Return the condition."""
        return "if numbers may be rounded"


@dataclass(frozen=True, kw_only=True)
class Transpose(Copy):
    """Permute the axes; without `axes`, reverse their order.

    Attributes:
        axes: For each axis of the result, the axis of the tensor it comes from.
    """

    axes: tuple[int, ...] | None = None
    name = "transpose"

    def shape(self, *shapes: Shape) -> Shape:
        """Return the permuted shape."""
        axes = self._axes(shapes[0])
        if sorted(axes) != list(range(len(shapes[0]))):
            raise UserError(f"axes {list(axes)} do not permute the {len(shapes[0])} axes of {list(shapes[0])}")
        return tuple(shapes[0][axis] for axis in axes)

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return a view with permuted axes."""
        return arrays[0].transpose(self._axes(arrays[0].shape))

    def _axes(self, shape: Shape) -> tuple[int, ...]:
        return tuple(range(len(shape)))[::-1] if self.axes is None else self.axes


@dataclass(frozen=True, kw_only=True)
class Reshape(Shaped):
    """Reshape the tensor: split [D, heads · d] into heads [D, heads, d], or join them."""

    name = "reshape"
    exact = True

    def shape(self, *shapes: Shape) -> Shape:
        """Return the new shape."""
        if min(self.new, default=1) < 0 or math.prod(self.new) != math.prod(shapes[0]):
            raise UserError(f"{list(shapes[0])} cannot be reshaped to {list(self.new)}: other number of parameters")
        return self.new

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the reshaped array."""
        return arrays[0].reshape(self.new)

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes"."""
        return YES


@dataclass(frozen=True, kw_only=True)
class Slice(Copy):
    """Take a range of one axis, such as the queries out of a fused query-key-value kernel.

    Attributes:
        axis: Which axis.
        start: First index of the range.
        size: Length of the range; the target's when not given.
    """

    axis: int
    start: int = 0
    size: int
    name = "slice"

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Take the size from the target."""
        return _size_of_target(args, target)

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape with a shorter axis."""
        axis = axis_of(self.axis, shapes[0])
        if self.start < 0 or self.size < 1 or self.start + self.size > shapes[0][axis]:
            raise UserError(
                f"indices {self.start} to {self.start + self.size - 1} do not exist on axis {self.axis} of "
                f"{list(shapes[0])}"
            )
        return _with(shapes[0], axis, self.size)

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return a view of the range."""
        axis = axis_of(self.axis, arrays[0].shape)
        return arrays[0][(slice(None),) * axis + (slice(self.start, self.start + self.size),)]

    def preserves(self, *shapes: Shape) -> str:
        """Return the condition under which the ranges replace the whole."""
        whole = self.size == shapes[0][axis_of(self.axis, shapes[0])]
        return YES if whole else "if other rows take the other ranges"


@dataclass(frozen=True, kw_only=True)
class Select(Shaped):
    """Select some indices of every axis: weight selection (Xu et al. 2024).

    Attributes:
        how: "spread": evenly spaced indices, ⌊j · old / new⌋; "first": the first ones.
    """

    how: Literal["spread", "first"] = "spread"
    name = "select"
    exact = True

    def shape(self, *shapes: Shape) -> Shape:
        """Return the new shape."""
        same_rank = len(self.new) == len(shapes[0])
        if not same_rank or any(not 1 <= want <= have for want, have in zip(self.new, shapes[0])):
            raise UserError(f"{list(self.new)} cannot be selected from {list(shapes[0])}; a selection is never larger")
        return self.new

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the selection."""
        array = arrays[0]
        for axis, (old, new) in enumerate(zip(array.shape, self.new)):
            if old != new:
                indices = np.arange(new) * old // new if self.how == "spread" else np.arange(new)
                array = np.take(array, indices, axis)
        return array

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes" only where everything is selected."""
        return YES if self.new == shapes[0] else NO


@dataclass(frozen=True, kw_only=True)
class Tile(Shaped):
    """Repeat the tensor along its axes up to the new shape; unlike `gather_outputs`, this changes the outputs."""

    name = "tile"
    exact = True

    def shape(self, *shapes: Shape) -> Shape:
        """Return the new shape."""
        if len(self.new) != len(shapes[0]) or any(want < have for want, have in zip(self.new, shapes[0])):
            raise UserError(f"{list(shapes[0])} cannot be tiled to {list(self.new)}; a tiling is never smaller")
        if 0 in shapes[0]:
            raise UserError(f"{list(shapes[0])} has no numbers to repeat")
        return self.new

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the repeated array; index j holds the source's j mod old."""
        array = arrays[0]
        for axis, (old, new) in enumerate(zip(array.shape, self.new)):
            if old != new:
                array = np.take(array, np.arange(new) % old, axis)
        return array

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes" only where nothing is repeated."""
        return YES if self.new == shapes[0] else NO


@dataclass(frozen=True, kw_only=True)
class Concatenate(Operation):
    """Concatenate several tensors, such as query, key and value into one fused kernel.

    Attributes:
        axis: Along which axis.
    """

    axis: int
    name = "concatenate"
    inputs = "all"
    exact = True

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape with the lengths of the axis summed."""
        axis = axis_of(self.axis, shapes[0])
        rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
        if len(rest) > 1 or len({len(shape) for shape in shapes}) > 1:
            raise UserError(f"{', '.join(str(list(s)) for s in shapes)} differ in more than axis {self.axis}")
        return _with(shapes[0], axis, sum(shape[axis] for shape in shapes))

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the concatenated array."""
        return np.concatenate(arrays, self.axis)

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes": the target uses the parts as the source did."""
        return YES


def _with(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _size_of_target(args: dict[str, Any], target: Tensor) -> dict[str, Any]:
    axis = args.get("axis")
    if not isinstance(axis, int) or not -len(target.shape) <= axis < len(target.shape):
        return args
    return {"size": target.shape[axis], **args}
