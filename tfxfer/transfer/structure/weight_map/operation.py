"""The base class of operations: one step from source tensors to a target tensor.

An operation is a frozen dataclass whose fields are its arguments, as in a plan's JSON. It computes the shape of its
result before any values are read, so that a plan without errors can also be carried out.
"""

import types
import zlib
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.weight_map.tensors import Shape, Tensor
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap

YES = "yes"
NO = "no"
LARGEST = 1e30  # the largest absolute value of an argument


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One step. Subclasses add their arguments as fields.

    Attributes:
        name: Its name in rules and plans.
        inputs: "one": it maps a tensor, or each of several; "all": it combines several tensors into one; "none": it
            creates a tensor.
        exact: It moves numbers without arithmetic, so it may be used for integers as well.
    """

    name: ClassVar[str] = ""
    inputs: ClassVar[Literal["none", "one", "all"]] = "one"
    exact: ClassVar[bool] = False

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape of the result; raise `UserError` when the step does not fit."""
        raise NotImplementedError

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the result."""
        raise NotImplementedError

    def preserves(self, *shapes: Shape) -> str:
        """Return whether the step by itself preserves the model's outputs: "yes", "no", or "if …"."""
        return NO

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Return the arguments, with missing ones derived from the target."""
        return args

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that differ from their defaults, as JSON-like data."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: _plain(value) for name, (value, default) in values.items() if value != default}

    def describe(self, target: Shape) -> str:
        """Return the step as text, without arguments that equal the target's shape."""
        args = {name: value for name, value in self.arguments().items() if value != list(target)}
        listed = ", ".join(f"{name}={_short(value)}" for name, value in args.items())
        return f"{self.name}({listed})" if listed else self.name

    @classmethod
    def meaning(cls) -> str:
        """Return what the operation does, in one sentence."""
        return (cls.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True, kw_only=True)
class Shaped(Operation):
    """A step whose result has a given shape.

    Attributes:
        new: The shape; the target's when not given.
    """

    new: tuple[int, ...]

    @classmethod
    def complete(cls, args: dict[str, Any], shapes: list[Shape], target: Tensor) -> dict[str, Any]:
        """Take the target's shape."""
        return {"new": list(target.shape), **args}


def build(cls: type[Operation], args: dict[str, Any], maps: dict[str, UnitMap]) -> Operation:
    """Return an operation with arguments from a rule or from JSON, checked.

    Raises:
        UserError: An argument is unknown, missing or of the wrong type.
    """
    known = {field.name: field for field in fields(cls)}
    hints = get_type_hints(cls)
    for name in args:
        if name not in known:
            raise UserError(f"{cls.name} has no argument '{name}'; {suggest(name, known)}")
    missing = [name for name, field in known.items() if field.default is MISSING and name not in args]
    if missing:
        raise UserError(f"{cls.name} needs the argument '{missing[0]}': {_type_name(hints[missing[0]])}")
    fitted = {}
    for name, value in args.items():
        try:
            fitted[name] = _fit(value, hints[name], maps)
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{cls.name}: {name}={value!r} is not {_type_name(hints[name])}") from error
    return cls(**fitted)


def as_float(array: np.ndarray) -> np.ndarray:
    """Return an array as float32; float64 stays float64."""
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def seed_for(target: Tensor, seed: Any) -> Any:
    """Return a seed for one tensor, from a rule's seed and the tensor's path; an invalid seed is returned unchanged."""
    return (seed + zlib.crc32(target.path.encode())) % 2**31 if type(seed) is int and seed >= 0 else seed


def axis_of(axis: int, shape: Shape) -> int:
    """Return a non-negative axis for one that may be counted from the end.

    Raises:
        UserError: The shape has no such axis.
    """
    if not -len(shape) <= axis < len(shape):
        raise UserError(f"{list(shape)} has no axis {axis}")
    return axis % len(shape)


def _plain(value: Any) -> Any:
    if isinstance(value, UnitMap):
        return value.name
    return list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    return str(value).replace(" ", "") if isinstance(value, list) else str(value)


def _fit(value: Any, hint: Any, maps: dict[str, UnitMap]) -> Any:
    """Return a JSON-like value converted to a field's type; raise `ValueError` when it has another type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _fit(value, inner[0], maps)
    if origin is Literal and value in inner:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_fit(one, inner[0], maps) for one in value)
    if origin is dict and isinstance(value, dict):
        return {str(key): _fit(one, inner[1], maps) for key, one in value.items()}
    if hint is UnitMap and isinstance(value, str):
        if value not in maps:
            raise UserError(f"unit map '{value}' does not exist; {suggest(value, maps)}")
        return maps[value]
    if hint is float and type(value) in (int, float) and abs(value) <= LARGEST:
        return float(value)
    if hint in (int, str, bool, UnitMap) and type(value) is hint:
        return value
    raise ValueError


def _type_name(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _type_name(inner[0])
    if origin is Literal:
        return "one of " + ", ".join(f"'{one}'" for one in inner)
    if origin is tuple:
        return f"a list, each {_type_name(inner[0])}"
    if origin is dict:
        return "a dictionary of names and numbers"
    plain = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    return plain.get(hint, "a unit map's name")
