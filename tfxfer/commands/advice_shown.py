"""What `tfxfer advise` prints: what it looked at, the ranking with its commands, and how far to trust it."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tfxfer.commands.train_lines import WIDTH, broken
from tfxfer.terminal import console

if TYPE_CHECKING:
    from tfxfer.choose.advice import Advice, Advised
    from tfxfer.choose.candidates import Machine, Source, Target
    from tfxfer.recipes.pair_pilots import PairRow


@dataclass(frozen=True)
class Looked:
    """What is known before anything is trained."""

    target: "Target"
    sources: "tuple[Source, ...]"
    machine: "Machine"

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dict that JSON can hold."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return it in a few lines."""
        return [_target_line(self.target), *map(_source_line, self.sources), _machine_line(self.machine)]


def _target_line(target: "Target") -> str:
    unit = "texts" if target.key == "text" else "images"
    sizes = f"{target.sizes['train']:,} to train and {target.sizes['validation']:,} to validate"
    balance = f"{target.smallest:,} to {target.largest:,} a class"
    line = f"target: {target.spec}, {unit}, {target.classes} classes, {sizes}; {balance}"
    if target.lengths:
        line += f"; length in characters {target.lengths[0]} in the median, {target.lengths[1]} at most in 95 %"
    if target.key == "image":
        line += f"; {target.image_size[0]} x {target.image_size[1]} pixels" if target.image_size else "; sizes vary"
    return line


def _source_line(source: "Source") -> str:
    line = f"source: {source.short}, takes {source.takes}s"
    if source.parameters is not None:
        return f"{line}; {source.parameters:,} parameters in {source.layers} layers" + "; random weights" * (
            not source.trained
        )
    return f"{line}; a {source.architecture.upper()} " + (
        "that is trained on it first" if source.to_train else "that was trained on it before, from the cache"
    )


def _machine_line(machine: "Machine") -> str:
    memory = "" if machine.memory_mib is None else f", {machine.memory_mib:,.0f} MiB of memory free"
    return f"machine: {machine.cores} cores{memory}, {machine.gpus or 'no'} GPU{'s' * (machine.gpus > 1)}"


def show(found: "Advice", pairs: "Sequence[PairRow]" = ()) -> None:
    """Print what is ruled out, the ranking with commands, and how far to trust it."""
    from tfxfer.choose.track_record import track_record

    out = console(highlight=False)
    cannot = grouped((f"{one.source} by {one.label}" if one.label else one.source, one.why) for one in found.ruled_out)
    listed(out, "Ruled out", cannot)
    tried = [row for row in found.ranking if row.tried]
    untried = [(row.name, row.reason.removeprefix("not tried: ")) for row in found.ranking if not row.tried]
    listed(out, "Not tried", grouped(untried))
    out.print(f"\nExpected with {found.labels} labels a class: gain in accuracy, and half of its 90 % interval\n")
    out.print(table(tried))
    out.print(f"\n{found.answer}", markup=False)
    for place, row in enumerate(tried, 1):
        out.print(f"\n{place}. {row.name}: {row.reason}", markup=False)
        out.print(broken(row.command), markup=False, soft_wrap=True)
    if pairs:
        show_pairs(out, pairs)
    out.print(f"\n{track_record()}", markup=False)


def show_pairs(out: Any, rows: "Sequence[PairRow]") -> None:
    """Print what the pilots of pairs measured."""
    from rich.table import Table

    made = Table("method of the pairs", "measure", "score", "over random", "over native", "s", box=None, pad_edge=False)
    for row in (one for one in rows if one.score is not None):
        made.add_row(
            row.label,
            row.measure,
            f"{row.score:.3f}",
            gain(row.over_random),
            gain(row.over_native),
            f"{row.seconds:.0f}",
        )
    out.print("\nThe pairs, as measured on validation (not expected of a full training), 90 % intervals\n")
    out.print(made)
    for row in rows:
        out.print(f"\n{row.label}: {row.reason}", markup=False)
        out.print(broken(row.command), markup=False, soft_wrap=True)


def table(rows: "Sequence[Advised]") -> Any:
    """Return the ranking as a table of 80 columns."""
    from rich.table import Table

    several = len({row.source for row in rows if row.source}) > 1
    made = Table("", "method", *["source"] * several, box=None, pad_edge=False)
    for name in ("over random", "over native", "min", "MiB"):
        made.add_column(name, justify="right", no_wrap=True)
    for place, row in enumerate(rows, 1):
        minutes = "" if row.seconds is None else f"{row.seconds / 60:.1f}"
        memory = "" if row.memory_mib is None else f"{row.memory_mib:,.0f}"
        source, native = [row.source or "–"] * several, gain(row.over_native) if row.source else "0"
        made.add_row(str(place), row.method, *source, gain(row.over_random), native, minutes, memory)
    return made


def gain(value: Any) -> str:
    """Return an expected gain with half of its interval: "+.08 ± .07"; a dash for None."""
    if value is None:
        return "–"
    if value.low == value.high:
        return "0"
    mean = f"{value.mean:+.2f}".replace("-", "−").replace("0.", ".")
    return f"{mean} ± {(value.high - value.low) / 2:.2f}".replace("± 0.", "± .")


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return reason -> what it is said of, in the order in which they come."""
    found: dict[str, list[str]] = {}
    for name, why in pairs:
        found.setdefault(why, []).append(name)
    return found


def listed(out: Any, heading: str, reasons: Mapping[str, Sequence[str]]) -> None:
    """Print a heading, and a reason a paragraph below it; nothing where there is none."""
    if reasons:
        out.print(f"\n{heading}", markup=False)
    for why, names in reasons.items():
        text = f"{'; '.join(names)}: {why}"
        out.print(textwrap.fill(text, WIDTH - 2, initial_indent="  ", subsequent_indent="  "), markup=False)
