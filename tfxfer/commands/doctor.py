"""`tfxfer doctor SPEC [SOURCE]`: what is wrong with a data set, before anything is trained on it.

It reads the data and changes nothing. No model is trained but a linear one, for doubtful labels.
"""

import csv
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfxfer import cli
from tfxfer.cache import data_dirs
from tfxfer.data.background import unprepared
from tfxfer.errors import TfxferError, UserError, suggest
from tfxfer.terminal import console, json_text

if TYPE_CHECKING:
    from rich.console import Console

    from tfxfer.data.dataset import Dataset
    from tfxfer.doctor import Diagnosis, Finding

ROLES = ("text", "label", "image", "question", "answer", "caption")
COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}
SHOWN = 3  # examples of a finding
DESCRIPTION = """Look for faults in a data set: examples in two splits, nearly equal ones, test examples in the source,
doubtful labels, captions that are classes, and others. docs/doctor.md has all checks, and how often each is wrong."""


def parser() -> cli.CommandParser:
    """Return the parser of this command."""
    made = cli.CommandParser(cli.program("doctor"), DESCRIPTION)
    made.add_argument("spec", metavar="SPEC", help="the data set, such as csv:reviews.csv, folder:photos or glyphs")
    made.add_argument("source", nargs="?", metavar="SOURCE", help="what a source model learns: is the test in it?")
    for role in ROLES:
        made.add_argument(f"--{role}", metavar="COLUMN", help=f"column of {role}s of SPEC")
    made.add_argument("--image-dir", metavar="DIR", help="folder of the images that a file names")
    made.add_argument("--group", metavar="COLUMN", help="column whose values must stay in one split, e.g. a speaker")
    made.add_argument("--checks", nargs="+", metavar="NAME", help="only these checks (default: all)")
    made.add_argument("--no-images", action="store_true", help="compare image files by their bytes only")
    made.add_argument("--csv", metavar="FILE", help="also write every example that was found, one a row")
    made.add_argument("--json", action="store_true", help="all findings as JSON")
    made.add_argument("--strict", action="store_true", help="end with exit code 1 where an error was found")
    made.add_argument("--seed", type=int, default=0, help="of the draws from large sets (default: 0)")
    made.add_argument("--download", action="store_true", help="allow a download of a tfds: data set")
    made.add_argument("--data-dir", metavar="DIR", help="prepared data (default: $TFXFER_DATA or the user cache)")
    return made


def work(argv: Sequence[str]) -> None:
    """Look for faults, and print what was found."""
    asked = parser().parse_args(argv)
    check(asked)
    caches = data_dirs(asked.data_dir)
    new = unprepared([one for one in (asked.spec, asked.source) if one], *caches.searched)
    if new:
        cli.note(f"preparing {', '.join(new)}, once, in {caches.own}")
    cli.start_tensorflow()
    found = examined(asked)
    if asked.csv:
        write_rows(found, Path(asked.csv))
    if asked.json:
        print(json_text(found.to_dict(), indent=1))
    else:
        show(found)
    if asked.csv:
        cli.note(f"every example that was found: {asked.csv}")
    if asked.strict and found.errors:
        raise TfxferError(f"{asked.spec}: {len(found.errors)} findings are errors (--strict)")


def check(asked: Namespace) -> None:
    """Raise `UserError` for what can be seen to be wrong without the data."""
    from tfxfer.data import spec
    from tfxfer.doctor import CHECKS

    unknown = next((name for name in asked.checks or () if name not in CHECKS), None)
    if unknown is not None:
        raise UserError(f"--checks {unknown}: there is no such check; {suggest(unknown, CHECKS)}")
    given = {role: getattr(asked, role) for role in ROLES}
    spec.check(asked.spec, data_dir=asked.data_dir, download=asked.download, image_dir=asked.image_dir, **given)
    if asked.source:
        spec.check(asked.source, data_dir=asked.data_dir, download=asked.download)
    _check_group(asked)
    if asked.csv and (asked.csv.endswith(("/", "\\")) or Path(asked.csv).is_dir()):
        raise UserError(f"--csv {asked.csv}: name a file, such as {asked.csv.rstrip('/')}/found.csv")
    if asked.csv and not Path(asked.csv).parent.is_dir():
        raise UserError(f"--csv {asked.csv}: there is no folder {Path(asked.csv).parent}; make it first")


def _check_group(asked: Namespace) -> None:
    """Raise `UserError` where a table has no such column; other data sets are asked when they are loaded."""
    from tfxfer.data.spec import existing_file, parse
    from tfxfer.data.tables import read_header

    spec = parse(asked.spec)
    if asked.group and spec.kind in ("csv", "jsonl"):
        path = existing_file(spec)
        header = read_header(path, spec.kind)
        if asked.group not in header:
            raise UserError(f"{path.name}: there is no column '{asked.group}' (group); {suggest(asked.group, header)}")


def examined(asked: Namespace) -> "Diagnosis":
    """Load the data sets and make the checks."""
    import tfxfer
    from tfxfer.doctor import examine

    shared = {"data_dir": asked.data_dir, "download": asked.download}
    columns = {role: getattr(asked, role) for role in ROLES}
    dataset = tfxfer.load(asked.spec, image_dir=asked.image_dir, **columns, **shared)
    source = tfxfer.load(asked.source, **shared) if asked.source else None
    return examine(
        dataset,
        source,
        checks=asked.checks,
        group=groups(dataset, asked) if asked.group else None,
        images=not asked.no_images,
        seed=asked.seed,
        say=lambda title: cli.note(f"looking for: {title}"),
    )


def groups(dataset: "Dataset", asked: Namespace) -> str | Mapping[str, Sequence[str]]:
    """Return the column of groups, or its values in each split where it stands in a table only."""
    from tfxfer.data.spec import existing_file, parse
    from tfxfer.data.splits import SPLITS
    from tfxfer.data.tables import read_rows

    spec = parse(asked.spec)
    if asked.group in dataset.keys or spec.kind not in ("csv", "jsonl"):
        return str(asked.group)
    values = [str(row[asked.group]) for _, row in read_rows(existing_file(spec), spec.kind, [asked.group])]
    return {split: [values[row] for row in dataset.indices(split)] for split in SPLITS}


# === Output ===


def write_rows(found: "Diagnosis", file: Path) -> None:
    """Write every example that a finding is about as CSV."""
    from dataclasses import fields

    from tfxfer.doctor import Row

    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, ["check", "severity", *(field.name for field in fields(Row))])
        writer.writeheader()
        writer.writerows(found.rows())


def show(found: "Diagnosis") -> None:
    """Print the data set, the findings with a few examples each, and what could not be told."""
    from rich.markup import escape

    out = console(highlight=False)
    out.print(found.description, markup=False)
    out.print()
    for finding in found.findings:
        _show(out, finding)
    untold = {check: why for check, why in found.checked.items() if why != "checked"}
    if not found.findings:
        out.print("No fault was found.")
    if untold:
        out.print("[dim]Not told: " + escape("; ".join(f"{name} ({why})" for name, why in untold.items())) + ".[/]")


def _show(out: "Console", finding: "Finding") -> None:
    from rich.markup import escape
    from rich.padding import Padding

    colour = COLOURS[finding.severity]
    out.print(f"[{colour}]{finding.severity}[/] [bold]{finding.check}[/] {escape(finding.sentence)}")
    lines = [escape(finding.remedy)] if finding.remedy else []
    for row in finding.rows[:SHOWN]:
        lines.append(f"[dim]{row.split} {row.place}[/]  {escape(row.content + (f': {row.why}' if row.why else ''))}")
    if len(finding.rows) > SHOWN:
        lines.append(f"[dim]and {len(finding.rows) - SHOWN:,} more (--csv FILE has all)[/]")
    for line in lines:
        out.print(Padding(line, (0, 0, 0, 2)))
    out.print()
