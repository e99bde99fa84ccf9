"""The ledger of a weight map on the terminal: the source, operation and size of every tensor of the target."""

import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfxfer.terminal import console as printable_console
from tfxfer.transfer.structure.weight_map.operation import NO, YES, Operation
from tfxfer.transfer.structure.weight_map.plan_rows import PlanRows
from tfxfer.transfer.structure.weight_map.rows import Row

if TYPE_CHECKING:
    from rich.console import Console

MOST_NAMED = 12  # names in a sentence under the table
HEADINGS = ("target", "shape", "operation", "source", "parameters", "share")


def entries(weight_map: PlanRows, group: bool = False) -> list[dict[str, Any]]:
    """Return the ledger as data: target, shape, operation, sources, parameters, share, tensors, why.

    Args:
        weight_map: The plan.
        group: Merge rows that differ only in the numbers of their paths, with "*" for those numbers.
    """
    total = sum(row.target.size for row in weight_map.rows) or 1
    groups: dict[Any, list[Row]] = {}
    for i, row in enumerate(weight_map.rows):
        paths = [row.target.path, *(o.path for o in row.origins)]
        alike = (*(re.sub(r"\d+", "*", path) for path in paths), row.target.shape, row.operation, row.allowed)
        groups.setdefault(alike if group else i, []).append(row)
    found = []
    for rows in groups.values():
        parameters = sum(row.target.size for row in rows)
        reads = zip(*([f"{o.source}:{o.path}" for o in row.origins] for row in rows))
        found.append(
            {
                "target": _pattern([row.target.path for row in rows]),
                "shape": list(rows[0].target.shape),
                "operation": rows[0].operation,
                "sources": [_pattern(paths) for paths in reads],
                "parameters": parameters,
                "share": parameters / total,
                "tensors": len(rows),
                "why": rows[0].why,
            }
        )
    return found


def flows(weight_map: PlanRows) -> dict[str, Any]:
    """Return how many parameters go from each source layer to each target layer, for a figure.

    Returns:
        "flows": rows [source layer or None, target layer, operation, parameters of the target], where a layer is the
        first component of a path; "unread": [source layer, parameters] of tensors that no row reads.
    """
    ours = _layers([row.target.path for row in weight_map.rows])
    theirs = _layers([o.path for row in weight_map.rows for o in row.origins] + [o.path for o in weight_map.unread])
    moved: Counter[tuple[str | None, str, str]] = Counter()
    for row in weight_map.rows:
        origin = next((theirs[o.path] for o in row.origins if o.path in theirs), None)
        moved[origin, ours[row.target.path], row.steps[-1].name] += row.target.size
    unread: Counter[str] = Counter()
    for one in weight_map.unread:
        unread[theirs[one.path]] += one.tensor.size
    return {"flows": [[*names, size] for names, size in moved.items()], "unread": [list(u) for u in unread.items()]}


def show_layers(weight_map: PlanRows, console: "Console | None" = None) -> None:
    """Print the ledger with one line per layer, for models of many tensors, and its totals."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = console or printable_console()
    total = sum(row.target.size for row in weight_map.rows) or 1
    table = Table(title=Text(_title(weight_map)), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("layer of the target", "operation", "layer of the source"):
        table.add_column(name, overflow="fold")
    for name in HEADINGS[4:]:
        table.add_column(name, justify="right", no_wrap=True)
    for source, target, operation, size in flows(weight_map)["flows"]:
        read = "–" if source is None else "the same" if source == target else source
        cells = (target, operation, read, f"{size:,}", f"{size / total:.1%}")
        table.add_row(*map(Text, cells), style="dim" if source is None else "")
    console.print(table)
    for sentence in totals(weight_map):
        console.print(Text(sentence))


def _title(weight_map: PlanRows) -> str:
    titles = dict(weight_map.titles)
    target = titles.pop("target", "target")
    return f"{', '.join(titles.values())} → {target}"


def _layers(paths: Sequence[str]) -> dict[str, str]:
    """Return path -> layer: the first component that differs between paths."""
    places = {path: re.split(r"[/.]", path) for path in paths}
    shared, shortest = 0, min(map(len, places.values()), default=1)
    while shared + 2 < shortest and len({parts[shared] for parts in places.values()}) == 1:
        shared += 1
    return {path: parts[shared] for path, parts in places.items()}


def show(weight_map: PlanRows, console: "Console | None" = None, group: bool = True) -> None:
    """Print the ledger and its totals."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = console or printable_console()
    table = Table(title=Text(_title(weight_map)), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in HEADINGS[:4]:
        table.add_column(name, overflow="fold")
    for name in HEADINGS[4:]:
        table.add_column(name, justify="right", no_wrap=True)
    rows = [_cells(entry) for entry in entries(weight_map, group)]
    for target_path, shape, operation, read, *figures in rows:
        left, right = _path_widths(rows, console.width)
        cells = (broken(target_path, left), shape, operation, broken(read, right), *figures)
        table.add_row(*map(Text, cells), style="dim" if read == "–" else "")
    console.print(table)
    for sentence in totals(weight_map):
        console.print(Text(sentence))


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    times = f" ×{entry['tensors']}" if entry["tensors"] > 1 else ""
    read = ", ".join(path.removeprefix("source:") for path in entry["sources"]) or "–"
    return (
        entry["target"] + times,
        "×".join(map(str, entry["shape"])) or "scalar",
        entry["operation"].replace("(", " (", 1),  # so that a narrow column can break it
        "same path" if read == entry["target"] else read,
        f"{entry['parameters']:,}",
        f"{entry['share']:.1%}",
    )


def _path_widths(rows: Sequence[tuple[str, ...]], width: int) -> tuple[int, int]:
    """Return the widths of the target's and the source's column that leave room for the others."""
    longest = [max(len(row[i]) for row in (HEADINGS, *rows)) for i in range(6)]
    operation = max(len(word) for row in (HEADINGS, *rows) for word in row[2].split())
    free = width - operation - sum(longest[i] for i in (1, 4, 5)) - 13  # spaces between and beside six columns
    source = min(longest[3], max(16, free // 2))
    return max(16, free - source), source


def broken(path: str, width: int) -> str:
    """Return a path broken after slashes into lines of at most `width` characters.

    >>> broken("encoder/layer_1/attention/kernel", 16).splitlines()
    ['encoder/layer_1/', 'attention/kernel']
    """
    lines = [""]
    for piece in re.findall(r"[^/]*/|[^/]+$", path):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def text(weight_map: PlanRows, width: int = 160) -> str:
    """Return the ledger as plain text, with one line per row."""

    file = io.StringIO()
    show(weight_map, printable_console(file=file, width=width, color_system=None), group=False)
    return file.getvalue()


def totals(weight_map: PlanRows) -> list[str]:
    """Return sentences: which tensors were moved, made and kept, which are unread, and what the map promises."""
    rows = weight_map.rows
    total = sum(row.target.size for row in rows)
    kept = [row for row in rows if row.keeps]
    made = [row for row in rows if row.target.path not in weight_map.fed and not row.keeps]
    moved = [row for row in rows if row.target.path in weight_map.fed]
    sentences = [f"moved: {_amount(moved, total)} of {total:,} in {len(rows)} tensors"]
    reasons = Counter(row.why.split(", number")[0] for row in moved)
    if reasons:
        sentences.append("chosen by: " + "; ".join(f"{why} ({count})" for why, count in reasons.most_common()))
    if made:
        sentences.append(f"made without a source: {_amount(made, total)}: {_names(made)}")
    for some, note in (
        ([row for row in kept if not row.allowed], "apply() refuses unless you allow them"),
        ([row for row in kept if row.allowed], "allowed"),
    ):
        if some:
            sentences.append(
                f"stay as they are, random if nothing was loaded ({note}): {_amount(some, total)}: {_names(some)}"
            )
    unread = weight_map.unmatched["source"]
    if unread:
        parameters = sum(origin.tensor.size for origin in weight_map.unread)
        sentences.append(f"read by no row: {len(unread)} tensors, {parameters:,} parameters: {_list(unread)}")
    if weight_map.skipped:
        sentences.append(f"not weights, unchanged: {len(weight_map.skipped)} states of random generators")
    return [*sentences, _promised(weight_map)]


def explain(row: Row) -> str:
    """Return in a few lines what a row does, and the reason."""
    size = f"{row.target.dtype} {list(row.target.shape)}, {row.target.size:,} parameters"
    lines = [f"{row.target.path}: {size}"]
    for origin in row.origins:
        lines.append(f"  reads {origin.source}:{origin.path}, {origin.tensor.dtype} {list(origin.tensor.shape)}")
    for step in row.steps:
        lines.append(f"  {Operation.describe(step, row.target.shape)}: {step.meaning()}")
    if row.keeps:
        lines.append("  allowed" if row.allowed else "  not allowed: apply() refuses unless you allow it")
    lines.append(f"  why: {row.why or 'not stated'}")
    return "\n".join([*lines, f"  preserves the outputs by itself: {row.preserves}"])


def _promised(weight_map: PlanRows) -> str:
    if weight_map.preserves == YES:
        return "promise: no number is lost or made up; verify() shows whether the outputs agree"
    if weight_map.preserves == NO:
        return "promise: none, outputs may differ; verify() shows how far predictions agree"
    return f"promise: the outputs agree {weight_map.preserves}"


def _amount(rows: Sequence[Row], total: int) -> str:
    parameters = sum(row.target.size for row in rows)
    return f"{parameters:,} parameters ({parameters / (total or 1):.1%})"


def _names(rows: Sequence[Row]) -> str:
    return _list([row.target.path for row in rows])


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _pattern(paths: Sequence[str]) -> str:
    """Return paths that differ in numbers only as one, with "*" where they differ.

    >>> _pattern(["block_1/conv_2/kernel", "block_2/conv_2/kernel"])
    'block_*/conv_2/kernel'
    """
    pieces = [re.split(r"(\d+)", path) for path in paths]
    return "".join(same[0] if len(set(same)) == 1 else "*" for same in zip(*pieces))
