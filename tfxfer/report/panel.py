"""Panels: sections that a recipe adds to the report, as plain data in `panels.json`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tfxfer.own_files import read_own_json, reading_own, write_own_json

FILE = "panels.json"


@dataclass(frozen=True)
class Panel:
    """One section of the report, in the order of its attributes; everything is JSON-like.

    Attributes:
        title: Heading.
        paragraphs: Plain texts; no HTML.
        points: Items of a bulleted list.
        figures: Dicts with "name" (a function of `tfxfer.report.figures`), "arguments" (its keyword arguments),
            "description" (alternative text) and, optionally, "caption".
        tables: Dicts with "caption", "columns" (names) and "rows" (lists of cells). A cell is a text, a whole number, a
            float, which is shown with three decimals, or None, which is shown as a dash.
        notes: Plain texts in small print.
        folded: Whether the tables are collapsed until the reader opens them.

    Example:
        >>> sizes = {"caption": "Sizes", "columns": ["split", "examples"], "rows": [["test", 20]]}
        >>> Panel("Data", tables=(sizes,)).title
        'Data'
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    figures: tuple[dict[str, Any], ...] = ()
    tables: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    folded: bool = False


def write_panels(folder: str | Path, panels: Sequence[Panel]) -> Path:
    """Write `panels.json` into a run's folder, replacing an earlier one, and return its path."""
    path = Path(folder) / FILE
    write_own_json(path, {"panels": [asdict(panel) for panel in panels]})
    return path


def read_panels(folder: str | Path) -> tuple[Panel, ...]:
    """Return the panels of a run's folder, in their order; none when there is no `panels.json`.

    Raises:
        DamagedFile: The file holds something else than panels.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return ()
    again = "run the experiment again"
    panels = read_own_json(path, again, {"panels": list})["panels"]
    with reading_own(path, again):
        return tuple(_panel(row) for row in panels)


def _panel(row: dict[str, Any]) -> Panel:
    """Return a panel of what `asdict` made of it; JSON has lists for tuples."""
    several = [field.name for field in fields(Panel) if field.default == ()]
    plain: dict[str, Any] = {name: tuple(value) if name in several else value for name, value in row.items()}
    return Panel(**plain)
