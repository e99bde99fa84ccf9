"""Which arms of which runs are compared, and what is refused because it was not scored on the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from tfxfer.errors import UserError, suggest
from tfxfer.evaluate.comparison import budget_words, measure_name, shared_budgets_of
from tfxfer.evaluate.label_efficiency import Place
from tfxfer.evaluate.split_rows import SplitRows
from tfxfer.records import Comparison

MOST = len(ascii_uppercase)


@dataclass(frozen=True)
class System:
    """One arm of one run.

    Attributes:
        name: A letter that stands for it.
        folder: The run's folder.
        arm: The arm.
        comparison: The run's records.
    """

    name: str
    folder: Path
    arm: str
    comparison: Comparison = field(repr=False)

    @property
    def place(self) -> Place:
        """The comparison that the arm stands in, and the arm."""
        return self.comparison, self.arm

    def plain(self) -> dict[str, Any]:
        """Return what a reader needs to know of it."""
        about = {"name": self.name, "run": str(self.folder), "arm": self.arm}
        return about | {"recipe": self.comparison.recipe, "title": self.comparison.title}


def systems_of(folders: Sequence[Path], arms: Sequence[str]) -> list[System]:
    """Return the arms of the runs, each with a letter; raises `UserError`."""
    found: list[tuple[Path, str, Comparison]] = []
    for place, folder in enumerate(folders):
        if not folder.is_dir():
            near = sorted(map(str, folder.parent.iterdir())) if folder.parent.is_dir() else []
            raise UserError(f"{folder}: there is no such folder; {suggest(str(folder), near)}")
        if any(folder.resolve() == other.resolve() for other in folders[:place]):
            raise UserError(f"{folder}: is named twice; name each run once")
        comparison = Comparison.load(folder)
        for arm in dict.fromkeys(arms):
            if arm not in comparison.arms:
                raise UserError(f"{folder}: has no arm '{arm}'; {suggest(arm, comparison.arms)}")
            found.append((folder, arm, comparison))
    if len(found) < 2:
        raise UserError("there is nothing to compare: name two runs, or two arms of one with --arms")
    if len(found) > MOST:
        raise UserError(f"{len(found)} arms of {len(folders)} runs are too many for one table; name at most {MOST}")
    return [System(name, *one) for name, one in zip(ascii_uppercase, found)]


def check_alike(systems: Sequence[System]) -> list[str]:
    """Refuse runs that were not scored on the same; return cautions."""
    first, cautions = systems[0], []
    rows = {system.folder: SplitRows.load(system.folder) for system in systems}
    for other in systems[1:]:
        if other.folder == first.folder:
            continue
        difference = _difference(first.comparison, other.comparison)
        known, also = rows[first.folder], rows[other.folder]
        if difference is None and known is not None and also is not None:
            difference = known.difference(also)
        if difference:
            raise UserError(f"{first.folder} and {other.folder} cannot be compared: {difference}")
    without = [str(folder) for folder, known in rows.items() if known is None]
    if without and len(rows) > 1:
        cautions.append(
            f"{', '.join(without)}: written by an older tfxfer, without digests of the splits. The labels and shown "
            "examples are the same; the other test and training rows are taken to be."
        )
    smoke = [str(s.folder) for s in systems if s.comparison.about.get("smoke")]
    if smoke:
        cautions.append(f"smoke runs, whose figures mean nothing: {', '.join(dict.fromkeys(smoke))}")
    return cautions


def _difference(first: Comparison, other: Comparison) -> str | None:
    """Return what keeps two runs from being compared, as far as their records say."""
    if first.class_names != other.class_names:
        if sorted(first.class_names) == sorted(other.class_names):
            return "the classes are the same in another order"
        ours, others = set(first.class_names), set(other.class_names)
        only = (sorted(ours - others), sorted(others - ours))
        named = "; ".join(
            f"only the {which} has {', '.join(names[:5])}" for which, names in zip(("first", "second"), only) if names
        )
        return f"the classes differ ({len(first.class_names)} and {len(other.class_names)}): {named}"
    if len(first.labels) != len(other.labels):
        return f"the test sets differ: {len(first.labels):,} and {len(other.labels):,} examples"
    wrong = int((np.asarray(first.labels) != np.asarray(other.labels)).sum())
    if wrong:
        return f"the test sets differ: {wrong:,} of {len(first.labels):,} examples have another class"
    if _shown(first) != _shown(other):
        return "the test sets differ: the reports show other examples"
    if first.unit != other.unit:
        return f"the budgets count other things: {first.unit} and {other.unit}"
    return None


def _shown(comparison: Comparison) -> list[tuple[Any, Any]]:
    """Return number and true answer of each shown example; its image may have another size in another run."""
    return [(one.get("index"), one.get("true")) for one in comparison.examples]


def measure_of(systems: Sequence[System], wanted: str | None) -> str:
    """Return the measure that decides; raises `UserError` where the runs have none in common."""
    lists = [system.comparison.measures for system in systems]
    common = [name for name in lists[0] if all(name in each for each in lists)]
    if not common:
        parts = "; ".join(f"{s.folder}: {', '.join(s.comparison.measures)}" for s in systems)
        raise UserError(f"the runs have no measure in common ({parts})")
    if wanted is not None and wanted not in common:
        raise UserError(f"--measure {wanted}: {suggest(wanted, common)}")
    return wanted or common[0]


def check_budgets(a: System, b: System, measure: str) -> list[int | None]:
    """Return the budgets at which both have a score; raises `UserError` where there is none."""
    shared = shared_budgets_of(a.place, b.place, measure)
    if not shared:
        parts = " and ".join(
            f"{s.folder} ({s.arm}) has {budget_words(s.comparison.budgets, s.comparison.unit)}" for s in (a, b)
        )
        raise UserError(f"no budget with {measure_name(measure)} in common: {parts}")
    return shared
