"""`WeightMap`: the plan itself, which can be read, checked, saved, applied and proven."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.weight_map.operation import NO, YES
from tfxfer.transfer.structure.weight_map.operations import together
from tfxfer.transfer.structure.weight_map.rows import Origin, Row, in_order
from tfxfer.transfer.structure.weight_map.rules import one_of
from tfxfer.transfer.structure.weight_map.tensors import (
    TARGET,
    KerasSource,
    Source,
    as_sources,
    keras_model,
    tensors_of,
)
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap

if TYPE_CHECKING:
    from rich.console import Console

    from tfxfer.transfer.structure.weight_map.proof import Proof


@dataclass(frozen=True)
class WeightMap:
    """M = T(S) as data: one row for each tensor of the target. Made by `plan` or read by `from_json`.

    Attributes:
        rows: Target tensor ← operations(source tensors), one for each tensor of the target.
        unread: Tensors of the sources that no row reads.
        skipped: Variables of the target that are no weights, with the reason.
        titles: What the sources and the target are called.
        sources: The sources by name; empty for a plan that was read without them.
        target: The target; None for a plan that was read without it.

    Raises:
        UserError: A row cannot be carried out, two rows give one tensor, or ties go in a circle.
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

    @classmethod
    def of(cls, rows: Sequence[Row], sources: Mapping[str, Source], target: KerasSource) -> "WeightMap":
        """Return the map of these rows between these models."""
        read = {(origin.source, origin.path) for row in rows for origin in row.origins}
        unread = [
            Origin(label, tensor)
            for label, source in sources.items()
            for tensor in tensors_of(source)
            if (label, tensor.path) not in read
        ]
        titles = {label: source.title for label, source in sources.items()}
        titles[TARGET] = f"{target.title}, changed" if target.title in titles.values() else target.title
        return cls(tuple(rows), tuple(unread), target.skipped, titles, dict(sources), target)

    @property
    def coverage(self) -> float:
        """Share of the target's parameters that come from a source, 0..1."""
        total = sum(row.target.size for row in self.rows)
        return sum(row.target.size for row in self.rows if row.target.path in self.fed) / total if total else 0.0

    @cached_property
    def fed(self) -> set[str]:
        """Paths of the target's tensors that get their values from a source, by way of a tie too."""
        found: set[str] = set()
        for row in in_order(self.rows):
            if any(origin.source != TARGET or origin.path in found for origin in row.origins):
                found.add(row.target.path)
        return found

    @property
    def unmatched(self) -> dict[str, list[str]]:
        """Paths that found no partner: tensors of the target that stay as they are, and of the sources left unread."""
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
        """Whether the target is promised to compute what the source does: "yes", "no", or "if …".

        The map knows tensors, not layers: it promises that no number is lost or made up. That the target's layers do
        with them what the source's did is for `verify` to show.
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

    def explain(self, target_path: str) -> str:
        """Return in a few lines what a target tensor is made of, how and why."""
        from tfxfer.transfer.structure.weight_map.ledger import explain

        return explain(self.row(target_path))

    def summary(self, console: "Console | None" = None, *, group: bool = True) -> None:
        """Print the ledger: target tensor, shape, operation, source tensor, parameters and share.

        Args:
            console: A rich console; standard output by default.
            group: Show rows that differ in numbers only, such as those of equal blocks, as one.
        """
        from tfxfer.transfer.structure.weight_map.ledger import show

        show(self, console, group)

    def __str__(self) -> str:
        from tfxfer.transfer.structure.weight_map.ledger import text

        return text(self)

    def apply(self, *, strict: bool = True, allow: str | Sequence[str] = ()) -> Any:
        """Carry the plan out: assign the target's weights, all or none of them.

        One tensor is in memory at a time; the old values wait in memory up to 64 MiB and in a temporary file
        beyond that, and come back after any error or interruption.

        Args:
            strict: Refuse while tensors would stay as they are that neither `allow` nor a rule names.
            allow: Patterns of target tensors that may stay as they are.

        Returns:
            The target model.

        Raises:
            UserError: Tensors would stay as they are unasked, or the plan was read without its models.
            TfxferError: A source cannot be read, or has changed since the plan was made.
        """
        from tfxfer.transfer.structure.weight_map.applying import apply

        if self.target is None:
            raise UserError("this plan was read without its models; give from_json(…, source=…, target=…)")
        permitted = one_of(allow)
        kept = [row.target.path for row in self.rows if row.keeps and not row.allowed]
        random = [path for path in kept if not permitted(path)]
        if strict and random:
            why = self.row(random[0]).why
            raise UserError(
                f"{len(random)} tensors of {self.target.title} would stay as they are, random if nothing was loaded: "
                f"{', '.join(random[:5])}{', …' if len(random) > 5 else ''} ({random[0]}: {why}). "
                f"Write a rule for them, or allow it: apply(allow=['{random[0]}'])"
            )
        apply(self.rows, self.sources, self.target)
        return self.target.model

    def verify(self, inputs: Any, **options: Any) -> "Proof":
        """Run both models on inputs and compare what they give; see `proof.verify`."""
        from tfxfer.transfer.structure.weight_map.proof import verify

        return verify(self, inputs, **options)

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the plan as JSON, one row a line; also write it to a file when a path is given."""
        from tfxfer.transfer.structure.weight_map.plan_file import write

        return write(self, path)

    @classmethod
    def from_json(cls, plan: str | Path, source: Any = None, target: Any = None) -> "WeightMap":
        """Return the plan in a JSON file or text, checked as if it had been made now.

        Args:
            plan: Path of a file, or the JSON itself.
            source: As in `plan`, to apply or verify the plan; without it, it can be read and printed, without
                TensorFlow.
            target: As in `plan`; goes with `source`.

        Raises:
            UserError: The JSON is no plan, an operation or path in it does not exist, or it does not fit the models.
        """
        from tfxfer.transfer.structure.weight_map.plan_file import read

        found = read(plan)
        return found if source is None and target is None else found.bind(source, target)

    def bind(self, source: Any, target: Any) -> "WeightMap":
        """Return the same plan for these models.

        Raises:
            UserError: A tensor is missing or has another shape or type, or the target has one that no row gives.
        """
        sources, bound = as_sources(source), KerasSource(keras_model(target, "target"))
        known = {label: {t.path: t for t in tensors_of(one)} for label, one in sources.items()}
        known[TARGET] = {t.path: t for t in tensors_of(bound)}
        for row in self.rows:
            _check_there(row.target, TARGET, known, f"row '{row.target.path}'")
            for origin in row.origins:
                _check_there(origin.tensor, origin.source, known, f"row '{row.target.path}'")
        missing = sorted(known[TARGET].keys() - {row.target.path for row in self.rows})
        if missing:
            raise UserError(
                f"no row gives '{missing[0]}' of {bound.title} ({len(missing)} such tensors); "
                "add rows, of the operation 'keep' if they may stay as they are"
            )
        return WeightMap.of(self.rows, sources, bound)

    def _check_ties(self) -> None:
        tensors = {row.target.path: row.target for row in self.rows}
        for row in self.rows:
            for origin in row.origins:
                if origin.source == TARGET:
                    _check_there(origin.tensor, TARGET, {TARGET: tensors}, f"row {row}")

    def _check_shared(self) -> None:
        """Refuse to change a source by way of layers that it shares with the target."""
        if self.target is None:
            return
        ours = {id(variable): path for path, variable in self.target.variables.items()}
        for label, source in self.sources.items():
            for path, variable in (source.variables if isinstance(source, KerasSource) else {}).items():
                changed = self.row(ours[id(variable)]) if id(variable) in ours else None
                if changed is None or changed.keeps or _is_itself(changed, label, path):
                    continue
                raise UserError(
                    f"'{path}' is one and the same variable in {source.title} and {self.target.title}, so "
                    f"{changed} would change the source; copy the model with tfxfer.transfer.graph.clone"
                )


def _is_itself(row: Row, source: str, path: str) -> bool:
    return [(o.source, o.path) for o in row.origins] == [(source, path)] and {s.name for s in row.steps} == {"copy"}


def _check_there(said: Any, label: str, known: dict[str, dict[str, Any]], place: str) -> None:
    if label not in known:
        raise UserError(f"{place}: there is no source '{label}'; {suggest(label, known)}")
    if said.path not in known[label]:
        raise UserError(f"{place}: there is no '{said.path}' in {label}; {suggest(said.path, known[label])}")
    found = known[label][said.path]
    if (found.shape, found.dtype) != (said.shape, said.dtype):
        raise UserError(
            f"{place}: '{said.path}' in {label} is {found.dtype} {list(found.shape)}; the plan was made for "
            f"{said.dtype} {list(said.shape)}"
        )
