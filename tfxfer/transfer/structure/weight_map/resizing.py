"""Operations between different sizes of position grids, patches, windows and channels."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tfxfer.errors import UserError
from tfxfer.transfer.structure.weight_map.operation import NO, YES, Operation, as_float, axis_of
from tfxfer.transfer.structure.weight_map.tensors import Shape, Tensor

Method = Literal["linear", "cubic"]


def resize_matrix(old: int, new: int, method: str = "linear") -> np.ndarray:
    """Return R [new, old] with resized = R · values, pixel centres at ½, as `tf.image.resize` places them.

    Growing interpolates; shrinking samples without smoothing (no anti-aliasing). "cubic" is Keys' kernel with
    a = −½; weights beyond the edge are dropped and the others normalised to sum to one.
    """
    centre = (np.arange(new) + 0.5) * old / new - 0.5
    if method == "linear":
        centre = np.clip(centre, 0, old - 1)
    distance = np.abs(centre[:, None] - np.arange(old))  # [new, old]
    if method == "linear":
        weights = np.clip(1 - distance, 0, None)
    else:
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    return weights / weights.sum(1, keepdims=True)


def _along(matrix: np.ndarray, array: np.ndarray, axis: int) -> np.ndarray:
    """Multiply one axis by a matrix [new, old]."""
    return np.moveaxis(np.tensordot(matrix.astype(array.dtype), array, (1, axis)), 0, axis)


@dataclass(frozen=True, kw_only=True)
class Interpolate(Operation):
    """Resize position embeddings [T, D] or [1, T, D] of a sequence or a grid; tokens before the grid are kept.

    Attributes:
        old: The source's grid, [T] or [rows, columns]; follows from the shape. A grid is square when not given.
        new: The target's grid.
        prefix: Tokens before the grid, such as 1 class token: copied.
        method: "linear" or "cubic".
    """

    old: tuple[int, ...]
    new: tuple[int, ...]
    prefix: int = 0
    method: Method = "linear"
    name = "interpolate"

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Derive the grids from the shapes; "dimensions" is 1 for a sequence, or 2 for a square grid."""
        args = dict(args)
        dimensions = args.pop("dimensions", len(args.get("old") or args.get("new") or (0,)))
        prefix = args.get("prefix", 0)
        for name, shape in (("old", shapes[0]), ("new", target.shape)):
            if name not in args and len(shape) > 1 and isinstance(prefix, int):
                args[name] = _grid(shape[-2] - prefix, dimensions)
        return args

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape with the new number of positions."""
        if not len(self.old) == len(self.new) in (1, 2) or min(*self.old, *self.new, self.prefix + 1) < 1:
            raise UserError(f"grids {list(self.old)} → {list(self.new)} with prefix {self.prefix} are not possible")
        if len(shapes[0]) < 2 or shapes[0][-2] != self.prefix + math.prod(self.old):
            raise UserError(
                f"{list(shapes[0])} is not a table of {self.prefix} + {' x '.join(map(str, self.old))} positions [T, D]"
            )
        return (*shapes[0][:-2], self.prefix + math.prod(self.new), shapes[0][-1])

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the resized table."""
        table = as_float(arrays[0])
        lead, width = table.shape[:-2], table.shape[-1]
        grid = table[..., self.prefix :, :].reshape(*lead, *self.old, width)
        for i, (old, new) in enumerate(zip(self.old, self.new)):
            if old != new:
                grid = _along(resize_matrix(old, new, self.method), grid, len(lead) + i)
        return np.concatenate([table[..., : self.prefix, :], grid.reshape(*lead, -1, width)], -2)

    def preserves(self, *shapes: Shape) -> str:
        """Return "yes" only where the grid is unchanged."""
        return YES if self.old == self.new else NO


@dataclass(frozen=True, kw_only=True)
class ResizePatches(Operation):
    """Resize a patch kernel [p, p, C, D] so that resized patches give the same outputs (FlexiViT, Beyer et al. 2023).

    With R the matrix that resizes a patch, the new kernel is the pseudo-inverse of Rᵀ times the old kernel. Its
    products with resized patches are the least-squares approximation of the old products, and equal when patches grow.

    Attributes:
        new: Sides of the new window; the target's when not given.
        method: Interpolation of the patches that is assumed, "linear" or "cubic".
    """

    new: tuple[int, ...]
    method: Method = "linear"
    name = "resize_patches"

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Take the window from the target."""
        return {"new": list(target.shape[:-2]), **args}

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape with the new window."""
        if len(shapes[0]) != len(self.new) + 2 or min(self.new, default=0) < 1:
            raise UserError(f"{list(shapes[0])} is not a patch kernel for a window of {list(self.new)}")
        return (*self.new, *shapes[0][-2:])

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the resized kernel."""
        kernel = as_float(arrays[0])
        for axis, (old, new) in enumerate(zip(kernel.shape, self.new)):
            if old != new:
                kernel = _along(np.linalg.pinv(resize_matrix(old, new, self.method).T), kernel, axis)
        return kernel

    def preserves(self, *shapes: Shape) -> str:
        """Return the condition."""
        if self.new == shapes[0][: len(self.new)]:
            return YES
        grows = all(new >= old for old, new in zip(shapes[0], self.new))
        return f"if patches are resized to {list(self.new)}, {self.method}" if grows else NO


@dataclass(frozen=True, kw_only=True)
class Inflate(Operation):
    """Add a spatial axis to a kernel, from 1-D to 2-D windows (I3D, Carreira et al. 2017).

    Attributes:
        axis: Position of the new axis.
        size: Its length; the target's when not given.
        how: "centre": the kernel at the centre, zeros elsewhere; "mean": the kernel / size at every index.
    """

    axis: int = 0
    size: int
    how: Literal["centre", "mean"] = "centre"
    name = "inflate"

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Take the length from the target."""
        axis = args.get("axis", 0)
        fits = isinstance(axis, int) and 0 <= axis < len(target.shape)
        return {"size": target.shape[axis], **args} if fits else args

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape with one more axis."""
        if not 0 <= self.axis <= len(shapes[0]) or self.size < 1:
            raise UserError(f"{list(shapes[0])} cannot get an axis of length {self.size} at axis {self.axis}")
        return (*shapes[0][: self.axis], self.size, *shapes[0][self.axis :])

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the inflated kernel."""
        array = np.expand_dims(as_float(arrays[0]), self.axis)
        if self.how == "mean":
            return np.repeat(array / np.float32(self.size), self.size, self.axis)
        centre = np.arange(self.size) == _centre(self.size)
        return array * centre.reshape([-1 if i == self.axis else 1 for i in range(array.ndim)]).astype(array.dtype)

    def preserves(self, *shapes: Shape) -> str:
        """Return the condition."""
        if self.how == "centre":
            return "if every row of the input is to be read separately"
        return "if inputs are constant along the new axis"


@dataclass(frozen=True, kw_only=True)
class Deflate(Operation):
    """Remove a spatial axis from a kernel, from 2-D to 1-D windows.

    Attributes:
        axis: The axis that is removed.
        how: "centre": its central index; "mean" or "sum" over it.
    """

    axis: int = 0
    how: Literal["centre", "mean", "sum"] = "sum"
    name = "deflate"

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape without the axis."""
        axis = axis_of(self.axis, shapes[0])
        return (*shapes[0][:axis], *shapes[0][axis + 1 :])

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the deflated kernel."""
        axis = axis_of(self.axis, arrays[0].shape)
        if self.how == "centre":
            return np.take(arrays[0], _centre(arrays[0].shape[axis]), axis)
        return getattr(as_float(arrays[0]), self.how)(axis)

    def preserves(self, *shapes: Shape) -> str:
        """Return the condition."""
        if shapes[0][axis_of(self.axis, shapes[0])] == 1:
            return YES
        if self.how == "mean":
            return NO
        constant = "if inputs are constant along the axis"
        return constant if self.how == "sum" else "if inputs have length 1 along the axis"


@dataclass(frozen=True, kw_only=True)
class Channels(Operation):
    """Convert a kernel between greyscale and RGB inputs.

    Attributes:
        size: Channels of the target; the target's when not given. It, or the source's number, is 1.
        how: Several to one: "sum" or "mean" over them. One to several: "split" divides the kernel by their
            number, "copy" repeats it.
        axis: The axis of input channels.
    """

    size: int
    how: Literal["sum", "mean", "split", "copy"]
    axis: int = -2
    name = "channels"

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Take the number from the target, and the method that preserves outputs for equal channels."""
        axis = args.get("axis", -2)
        if isinstance(axis, int) and -len(target.shape) <= axis < len(target.shape):
            args = {"size": target.shape[axis], **args}
        return {"how": "sum" if args.get("size") == 1 else "split", **args}

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape with the new number of channels."""
        axis = axis_of(self.axis, shapes[0])
        old = shapes[0][axis]
        methods = ("sum", "mean") if self.size == 1 else ("split", "copy")
        if self.size < 1 or 1 not in (old, self.size):
            raise UserError(f"{old} → {self.size} channels: one of the two must be 1")
        if self.how not in methods:
            raise UserError(f"{old} → {self.size} channels cannot be done by '{self.how}'; give one of {methods}")
        return (*shapes[0][:axis], self.size, *shapes[0][axis + 1 :])

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the kernel for the new channels."""
        array, axis = as_float(arrays[0]), axis_of(self.axis, arrays[0].shape)
        if self.size == 1:
            return getattr(array, self.how)(axis, keepdims=True)
        return np.repeat(array / np.float32(self.size if self.how == "split" else 1), self.size, axis)

    def preserves(self, *shapes: Shape) -> str:
        """Return the condition."""
        if self.size == shapes[0][axis_of(self.axis, shapes[0])]:
            return YES
        return "if all channels of an image are equal" if self.how in ("sum", "split") else NO


def _grid(positions: int, dimensions: Any) -> list[int]:
    """Return a grid of so many positions: a sequence, or a square."""
    if dimensions != 2:
        return [positions]
    side = math.isqrt(max(positions, 0))
    if side * side != positions:
        raise UserError(f"{positions} positions form no square; give the grids as old=[rows, columns] and new=[…]")
    return [side, side]


def _centre(size: int) -> int:
    """Return the index of a window that is centred on the output pixel under Keras' padding "same"."""
    return (size - 1) // 2
