"""Which unit of the source each unit of the target copies: the mapping g of Net2Wider, or a selection of units.

A unit is an output channel, a neuron or an attention head. Several rows refer to one map, so that the kernel, the
bias, the norm and the next layer's inputs use the same mapping.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfxfer.errors import UserError, suggest

HOW = ("random", "cycle", "spread", "first", "indices", "join")


@dataclass(frozen=True)
class UnitMap:
    """g: target unit j copies source unit g(j).

    Attributes:
        name: Name by which rows refer to it.
        old: Units of the source.
        new: Units of the target.
        how: "random": g(j) = j for j < old, then units drawn with `seed` (Net2Wider, Chen et al. 2016); "cycle":
            j mod old; "spread": ⌊j · old / new⌋, which repeats units evenly, or selects evenly spaced
            ones (weight selection, Xu et al. 2024); "first": the first ones; "indices": those given;
            "join": `parts` in sequence, as `Concatenate` joins channels.
        seed: Seed of "random".
        given: The source units of "indices".
        parts: The maps of "join".

    Raises:
        UserError: The sizes, `how` or the indices do not fit together.

    >>> UnitMap("hidden", 2, 6, "spread").indices.tolist()
    [0, 0, 0, 1, 1, 1]
    """

    name: str
    old: int
    new: int
    how: str = "random"
    seed: int = 0
    given: tuple[int, ...] = ()
    parts: tuple["UnitMap", ...] = ()

    def __post_init__(self) -> None:
        if self.how not in HOW:
            self._refuse(f"how='{self.how}' is unknown; {suggest(self.how, HOW)}")
        if self.old < 1 or self.new < 1 or self.seed < 0:
            self._refuse(f"{self.old} → {self.new} units with seed {self.seed}: all must be positive")
        if self.how in ("random", "cycle") and self.new < self.old:
            self._refuse(f"{self.old} → {self.new} units: '{self.how}' can only add units; use 'spread' or 'first'")
        if self.how == "first" and self.new > self.old:
            self._refuse(f"{self.old} → {self.new} units: 'first' can only remove units; use 'random' or 'spread'")
        if self.how == "indices" and (len(self.given) != self.new or not all(0 <= i < self.old for i in self.given)):
            self._refuse(f"'indices' needs {self.new} numbers from 0 to {self.old - 1}")
        sums = (sum(part.old for part in self.parts), sum(part.new for part in self.parts))
        if self.how == "join" and sums != (self.old, self.new):
            self._refuse(f"its parts have {sums[0]} → {sums[1]} units, not {self.old} → {self.new}")

    def _refuse(self, problem: str) -> None:
        raise UserError(f"unit map '{self.name}': {problem}")

    @cached_property
    def indices(self) -> np.ndarray:
        """The source unit of each target unit, int64 [new]."""
        each = np.arange(self.new)
        if self.how == "random":
            drawn = np.random.default_rng(self.seed).integers(0, self.old, self.new - self.old)
            return np.concatenate([np.arange(self.old), drawn])
        if self.how == "join":
            starts = np.cumsum([0, *(part.old for part in self.parts)])
            return np.concatenate([start + part.indices for start, part in zip(starts, self.parts)])
        return {
            "cycle": each % self.old,
            "spread": each * self.old // self.new,
            "first": each,
            "indices": np.asarray(self.given, np.int64),
        }[self.how]

    @cached_property
    def copies(self) -> np.ndarray:
        """For each target unit, how many target units copy the same source unit, int64 [new]."""
        return np.bincount(self.indices, minlength=self.old)[self.indices]

    @property
    def complete(self) -> bool:
        """Every source unit has a copy."""
        return len(np.unique(self.indices)) == self.old

    @property
    def uniform(self) -> bool:
        """Every source unit has equally many copies, so that means and variances over units are preserved."""
        return self.complete and len(np.unique(self.copies)) == 1

    def to_dict(self) -> dict[str, Any]:
        """Return the map as JSON-like data, without its name."""
        plain: dict[str, Any] = {"old": self.old, "new": self.new, "how": self.how}
        if self.how == "random":
            plain["seed"] = self.seed
        if self.how == "indices":
            plain["indices"] = list(self.given)
        if self.how == "join":
            plain["parts"] = [part.name for part in self.parts]
        return plain


def maps_from(plain: Mapping[str, Any]) -> dict[str, UnitMap]:
    """Return the unit maps of JSON-like data, name → {"old", "new", "how", …}.

    Raises:
        UserError: A field is missing, unknown or of the wrong type, a part is missing, or parts form a cycle.
    """
    made: dict[str, UnitMap] = {}

    def make(name: str, above: tuple[str, ...]) -> UnitMap:
        if name in above:
            raise UserError(f"unit map '{name}' is a part of itself: {' → '.join((*above, name))}")
        if name not in plain:
            raise UserError(f"unit map '{name}' does not exist; {suggest(name, plain)}")
        if name not in made:
            fields = _checked(name, plain[name])
            parts = tuple(make(part, (*above, name)) for part in fields.pop("parts", ()))
            given = tuple(fields.pop("indices", ()))
            made[name] = UnitMap(name, **fields, given=given, parts=parts)
        return made[name]

    for name in plain:
        make(name, ())
    return made


def _checked(name: str, fields: Any) -> dict[str, Any]:
    kinds = {"old": int, "new": int, "how": str, "seed": int, "indices": list, "parts": list}
    if not isinstance(fields, Mapping) or not {"old", "new"} <= set(fields):
        raise UserError(f'unit map \'{name}\': give at least "old" and "new", the numbers of units')
    for field, value in fields.items():
        if field not in kinds:
            raise UserError(f"unit map '{name}': '{field}' is unknown; {suggest(field, kinds)}")
        inner = {"indices": int, "parts": str}.get(field)
        fits = isinstance(value, kinds[field]) and not isinstance(value, bool)
        if not fits or (inner and not all(isinstance(one, inner) and not isinstance(one, bool) for one in value)):
            raise UserError(f"unit map '{name}': {field}={value!r} is not of the right type")
    return dict(fields)
