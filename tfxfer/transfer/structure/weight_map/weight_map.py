"""`WeightMap`: a plan that can be read, checked, saved, applied and verified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer.errors import UserError
from tfxfer.transfer.structure.weight_map import ledger, plan_file, proof
from tfxfer.transfer.structure.weight_map.applying import apply
from tfxfer.transfer.structure.weight_map.plan_rows import PlanRows, check_tensor
from tfxfer.transfer.structure.weight_map.rows import Origin, Row
from tfxfer.transfer.structure.weight_map.rules import one_of
from tfxfer.transfer.structure.weight_map.sources import KerasSource, as_sources, keras_model, tensors_of
from tfxfer.transfer.structure.weight_map.tensors import TARGET, Source

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class WeightMap(PlanRows):
    """M = T(S) as data: one row for each tensor of the target. Made by `plan` or read by `from_json`.

    Its attributes are those of `PlanRows`: `rows`, `unread`, `skipped`, `titles`, `sources`, `target`.
    """

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

    def explain(self, target_path: str) -> str:
        """Return in a few lines which tensors a target tensor is made of, how and why."""
        return ledger.explain(self.row(target_path))

    def summary(self, console: "Console | None" = None, *, group: bool = True) -> None:
        """Print the ledger: target tensor, shape, operation, source tensor, parameters and share.

        Args:
            console: A rich console; standard output by default.
            group: Show rows that differ in numbers only, such as those of equal blocks, as one.
        """
        ledger.show(self, console, group)

    def __str__(self) -> str:
        return ledger.text(self)

    def apply(self, *, strict: bool = True, allow: str | Sequence[str] = ()) -> Any:
        """Carry the plan out: assign the target's weights, all or none of them.

        One tensor is in memory at a time. Up to 16 MiB of old values are kept in memory and the rest in a temporary
        file; they are restored after any error or interruption.

        Args:
            strict: Refuse while there are tensors that keep their values and that neither `allow` nor a rule names.
            allow: Patterns of target tensors that may keep their values.

        Returns:
            The target model.

        Raises:
            UserError: Tensors would keep their values without permission, or the plan was read without its models.
            TfxferError: A source cannot be read, or has changed since the plan was made.
        """
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

    def verify(self, inputs: Any, **options: Any) -> proof.Proof:
        """Run both models on inputs and compare their outputs; see `proof.verify`."""
        return proof.verify(self, inputs, **options)

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the plan as JSON, one row a line; also write it to a file when a path is given."""
        return plan_file.write(self, path)

    @classmethod
    def from_json(cls, plan: str | Path, source: Any = None, target: Any = None) -> "WeightMap":
        """Return the plan in a JSON file or text, checked like a new plan.

        Args:
            plan: Path of a file, or the JSON itself.
            source: As in `plan`, to apply or verify the plan; without it, it can be read and printed, without
                TensorFlow.
            target: As in `plan`; goes with `source`.

        Raises:
            UserError: The JSON is not a plan, an operation or path in it does not exist, or it does not fit the models.
        """
        found = plan_file.read(plan, cls)
        return found if source is None and target is None else found.bind(source, target)

    def bind(self, source: Any, target: Any) -> "WeightMap":
        """Return the same plan for these models.

        Raises:
            UserError: A tensor is missing or has another shape or dtype, or the target has one without a row.
        """
        sources, bound = as_sources(source), KerasSource(keras_model(target, "target"))
        known = {label: {t.path: t for t in tensors_of(one)} for label, one in sources.items()}
        known[TARGET] = {t.path: t for t in tensors_of(bound)}
        for row in self.rows:
            check_tensor(row.target, TARGET, known, f"row '{row.target.path}'")
            for origin in row.origins:
                check_tensor(origin.tensor, origin.source, known, f"row '{row.target.path}'")
        missing = sorted(known[TARGET].keys() - {row.target.path for row in self.rows})
        if missing:
            raise UserError(
                f"no row gives '{missing[0]}' of {bound.title} ({len(missing)} such tensors); "
                "add rows, of the operation 'keep' if they may stay as they are"
            )
        return WeightMap.of(self.rows, sources, bound)
