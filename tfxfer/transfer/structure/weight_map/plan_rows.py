"""The rows of a plan: the checks that they pass together, and the figures that follow from them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.weight_map.operation import NO, YES
from tfxfer.transfer.structure.weight_map.operations import together
from tfxfer.transfer.structure.weight_map.rows import Origin, Row, in_order
from tfxfer.transfer.structure.weight_map.sources import KerasSource
from tfxfer.transfer.structure.weight_map.tensors import TARGET, Source
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap


@dataclass(frozen=True)
class PlanRows:
    """The data of a `WeightMap`: one row for each tensor of the target.

    Attributes:
        rows: Target tensor ← operations(source tensors), one for each tensor of the target.
        unread: Tensors of the sources that no row reads.
        skipped: Variables of the target that are not weights, with the reason.
        titles: Names of the sources and of the target, for display.
        sources: The sources by name; empty for a plan that was read without them.
        target: The target; None for a plan that was read without it.

    Raises:
        UserError: A row cannot be carried out, two rows have one target tensor, or ties form a cycle.
    """

    rows: tuple[Row, ...]
    unread: tuple[Origin, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)
    target: KerasSource | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        twice = next((p for p, n in Counter(row.target.path for row in self.rows).items() if n > 1), None)
        if twice is not None:
            raise UserError(f"two rows give '{twice}'; a tensor gets its value from one row")
        for row in self.rows:
            row.check()
        in_order(self.rows)
        self._check_ties()
        _ = self.unit_maps
        self._check_shared()

    @property
    def coverage(self) -> float:
        """Share of the target's parameters that come from a source, 0..1."""
        total = sum(row.target.size for row in self.rows)
        return sum(row.target.size for row in self.rows if row.target.path in self.fed) / total if total else 0.0

    @cached_property
    def fed(self) -> set[str]:
        """Paths of the target's tensors that get their values from a source, directly or through a tie."""
        found: set[str] = set()
        for row in in_order(self.rows):
            if any(origin.source != TARGET or origin.path in found for origin in row.origins):
                found.add(row.target.path)
        return found

    @property
    def unmatched(self) -> dict[str, list[str]]:
        """Paths without a partner: tensors of the target that keep their values, and of the sources left unread."""
        several = len(self.titles) > 2
        return {
            "target": [row.target.path for row in self.rows if row.keeps],
            "source": [f"{origin.source}:{origin.path}" if several else origin.path for origin in self.unread],
        }

    @property
    def unit_maps(self) -> dict[str, UnitMap]:
        """The unit maps that rows refer to, by name."""
        found: dict[str, UnitMap] = {}

        def add(one: UnitMap) -> None:
            if found.setdefault(one.name, one) != one:
                raise UserError(f"rows refer to two different unit maps with the name '{one.name}'")
            for part in one.parts:
                add(part)

        for row in self.rows:
            for step in row.steps:
                if isinstance(getattr(step, "units", None), UnitMap):
                    add(step.units)  # type: ignore[attr-defined]
        return found

    @property
    def preserves(self) -> str:
        """Whether the target computes what the source does, as far as tensors show it: "yes", "no", or "if …".

        The map describes tensors, not layers. "yes" means that every source tensor is used and none is altered.
        Whether the target's layers use them as the source's layers did is for `verify` to test.
        """
        return NO if self.unread else together([row.preserves for row in self.rows] or [YES])

    def row(self, target_path: str) -> Row:
        """Return the row of a target tensor.

        Raises:
            UserError: The target has no such tensor.
        """
        rows = {row.target.path: row for row in self.rows}
        if target_path not in rows:
            raise UserError(f"the target has no tensor '{target_path}'; {suggest(target_path, rows)}")
        return rows[target_path]

    def _check_ties(self) -> None:
        tensors = {row.target.path: row.target for row in self.rows}
        for row in self.rows:
            for origin in row.origins:
                if origin.source == TARGET:
                    check_tensor(origin.tensor, TARGET, {TARGET: tensors}, f"row {row}")

    def _check_shared(self) -> None:
        """Refuse rows that would change a source through layers that it shares with the target."""
        if self.target is None:
            return
        ours = {id(variable): path for path, variable in self.target.variables.items()}
        for label, source in self.sources.items():
            for path, variable in (source.variables if isinstance(source, KerasSource) else {}).items():
                changed = self.row(ours[id(variable)]) if id(variable) in ours else None
                if changed is None or changed.keeps or _copies_itself(changed, label, path):
                    continue
                raise UserError(
                    f"'{path}' is one and the same variable in {source.title} and {self.target.title}, so "
                    f"{changed} would change the source; copy the model with tfxfer.transfer.graph.clone"
                )


def check_tensor(planned: Any, label: str, known: dict[str, dict[str, Any]], place: str) -> None:
    """Raise `UserError` unless a source has a tensor of this path, shape and dtype.

    Args:
        planned: The tensor that the plan names.
        label: Name of the source.
        known: Tensors by path, of each source.
        place: Start of the error message.
    """
    if label not in known:
        raise UserError(f"{place}: there is no source '{label}'; {suggest(label, known)}")
    if planned.path not in known[label]:
        raise UserError(f"{place}: there is no '{planned.path}' in {label}; {suggest(planned.path, known[label])}")
    found = known[label][planned.path]
    if (found.shape, found.dtype) != (planned.shape, planned.dtype):
        raise UserError(
            f"{place}: '{planned.path}' in {label} is {found.dtype} {list(found.shape)}; the plan was made for "
            f"{planned.dtype} {list(planned.shape)}"
        )


def _copies_itself(row: Row, source: str, path: str) -> bool:
    return [(o.source, o.path) for o in row.origins] == [(source, path)] and {s.name for s in row.steps} == {"copy"}
