"""The report of a session: panels for the HTML page, and the same tables in a terminal of 80 columns."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tfxfer.cache import atomic_file
from tfxfer.evaluate.comparison import measure_name
from tfxfer.evaluate.verdict import signed
from tfxfer.rate.database import Session
from tfxfer.report import run
from tfxfer.report.page import drawn_panel, template
from tfxfer.report.panel import Panel
from tfxfer.terminal import console, printable

METHOD = (
    "Preference: the share of ratings in which the first system is preferred, a tie counted as half. From scales, the "
    "text with the higher mean over the scales is preferred. Raters are averaged for each item, and the 95 % interval "
    "is that of a bootstrap over items: it is about other items, rated by these raters.",
    "Krippendorff's α is 1 for full agreement and 0 for that of chance; scales and choices are taken as ordered. Below "
    "0.67, figures of single raters should not be trusted. Cohen's κ is that of two raters, with quadratic weights for "
    "scales.",
    "Bradley–Terry: the chance that one system is preferred to another is 1 / (1 + exp(difference of strengths)). One "
    "imagined tie between each two systems keeps strengths finite.",
    "Automatic scores: Spearman's rank correlation of a score with the mean rating over all rated texts; and, of the "
    "pairs that both decide, the share in which score and people prefer the same text.",
)


def sentences(found: Mapping[str, Any]) -> list[str]:
    """Return what the ratings say, the main thing first."""
    people = sum(row["used"] for row in found["raters"])
    if not found["rated"]:
        return ["Nobody has rated anything yet."]
    lines = []
    for row in found["preference"]:
        if row["share"] is None:
            continue
        span = f"{row['share']:.0%} (95 % interval {row['low']:.0%} to {row['high']:.0%})"
        what = f"{_count(row['items'], 'item')}, {_count(people, 'rater')}"
        claim = {
            "preferred": f"People prefer {row['a']} to {row['b']}",
            "less preferred": f"People prefer {row['b']} to {row['a']}",
            "no evidence": f"No evidence that people prefer {row['a']} or {row['b']}",
        }[row["word"]]
        lines.append(f"{claim}: {row['a']} has {span} of the preferences, ties counted as half; {what}.")
        if "whole" in row and row["different"] < row["examples"]:
            whole = row["whole"]
            lines.append(
                f"Their answers differ on {row['different']:,} of {row['examples']:,} test examples. Over all of them, "
                f"with equal answers as ties, that is {whole['share']:.0%} ({whole['low']:.0%} to {whole['high']:.0%})."
            )
    return lines + cautions(found)


def cautions(found: Mapping[str, Any]) -> list[str]:
    """Return what makes the figures weaker than they look."""
    lines = []
    odd = [row for row in found["raters"] if not row["attentive"]]
    if odd:
        names = ", ".join(f"{row['rater']} ({row['passed']} of {row['checks']} right)" for row in odd)
        part = "are counted; --only-attentive leaves them out" if any(row["used"] for row in odd) else "are left out"
        lines.append(f"Raters who failed more than a third of the attention checks {part}: {names}.")
    if sum(row["used"] for row in found["raters"]) == 1:
        lines.append("One rater only: how far people agree is not known.")
    low = [row for row in found["agreement"] if row["alpha"] is not None and row["alpha"] < 0.67]
    if low:
        lines.append(
            "Raters agree little on " + ", ".join(f"{row['scale']} (α {row['alpha']:.2f})" for row in low) + "."
        )
    first = found["first_shown"]
    if first and (first["low"] > 0.5 or first["high"] < 0.5):
        lines.append(f"The text that stands first is preferred in {first['share']:.0%} of {first['screens']} screens.")
    return lines


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


# === Panels ===


def panels(found: Mapping[str, Any]) -> tuple[Panel, ...]:
    """Return the sections of the report that have something to say."""
    made = (_preference(found), _scales(found), _strengths(found), _agreement(found), _automatic(found), _raters(found))
    return tuple(panel for panel in made if panel is not None)


def _preference(found: Mapping[str, Any]) -> Panel | None:
    rows = [row for row in found["preference"] if row["share"] is not None]
    if not rows:
        return None
    table = [
        [row["a"], row["b"], row["wins"], row["ties"], row["losses"], _span(row, "share", "{:.0%}")] for row in rows
    ]
    forest = [
        {
            "name": f"{row['a']} − {row['b']}",
            "difference": 2 * row["share"] - 1,
            "low": 2 * row["low"] - 1,
            "high": 2 * row["high"] - 1,
            "sure": row["word"] != "no evidence",
            "outcome": row["word"],
        }
        for row in rows
    ]
    figure = {
        "name": "pair_differences",
        "arguments": {"rows": forest, "xlabel": "share preferring the first − share preferring the second"},
        "description": "Interval chart of the net preference of each pair. The numbers are in the table.",
    }
    columns = ["system", "against", "preferred", "tie", "not", "share, 95 % interval"]
    tables = ({"caption": "Preference", "columns": columns, "rows": table},)
    return Panel("Preference", tables=tables, figures=(figure,))


def _scales(found: Mapping[str, Any]) -> Panel | None:
    if not found["means"]:
        return None
    rows = [
        [row["system"], row["scale"], _span(row, "mean", "{:.2f}")] for row in found["means"] if _is_needed(row, found)
    ]
    columns = ["system", "scale", "points, 95 % interval"]
    tables = [{"caption": "Mean of each scale, 1 to 5", "columns": columns, "rows": rows}]
    if found["differences"]:
        lines = [
            [
                f"{row['a']} − {row['b']}",
                row["scale"],
                f"{_signed(row['difference'])} ({_signed(row['low'])} to {_signed(row['high'])})",
            ]
            for row in found["differences"]
        ]
        columns = ["difference", "scale", "points, 95 % interval"]
        tables.append({"caption": "Differences on the same items", "columns": columns, "rows": lines})
    return Panel("Scales", tables=tuple(tables))


def _is_needed(row: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Return whether a row of means says something: the mean over a single scale does not."""
    return row["scale"] != "mean" or len(found["scales"]) > 1


def _strengths(found: Mapping[str, Any]) -> Panel | None:
    if not found["strengths"]:
        return None
    rows = [
        [row["system"], _span(row, "strength", "{:+.2f}"), f"{row['beats_average']:.0%}"] for row in found["strengths"]
    ]
    columns = ["system", "strength, 95 % interval", "preferred to another"]
    table = {"caption": "Strengths of the systems (Bradley–Terry)", "columns": columns, "rows": rows}
    return Panel("Strengths of the systems (Bradley–Terry)", tables=(table,))


def _agreement(found: Mapping[str, Any]) -> Panel | None:
    if not found["agreement"]:
        return None
    rows = [
        [row["scale"], _span(row, "alpha", "{:.2f}"), _kappas(row["kappas"]), row["units"]]
        for row in found["agreement"]
    ]
    columns = ["scale", "Krippendorff's α", "Cohen's κ", "rated by several"]
    tables = [{"caption": "Agreement of raters", "columns": columns, "rows": rows}]
    if len(found["agreement"][0]["kappas"]) > 1:
        each = [
            [f"{one['a']}, {one['b']}", row["scale"], one["kappa"]]
            for row in found["agreement"]
            for one in row["kappas"]
        ]
        tables.append({"caption": "Cohen's κ of each two raters", "columns": ["raters", "scale", "κ"], "rows": each})
    return Panel("Agreement of raters", tables=tuple(tables))


def _kappas(rows: Sequence[Mapping[str, Any]]) -> str:
    values = [row["kappa"] for row in rows if row["kappa"] is not None]
    if not values:
        return "–"
    ends = [f"{min(values):.2f}", f"{max(values):.2f}"]
    return _minus(ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}")


def _automatic(found: Mapping[str, Any]) -> Panel | None:
    rows = [row for row in found["automatic"] if row["correlation"] is not None or row["pairs"]]
    if not rows:
        return None
    table = [
        [
            measure_name(row["measure"]),
            _span(row, "correlation", "{:+.2f}"),
            _span({"x": row["same"], "low": row["same_low"], "high": row["same_high"]}, "x", "{:.0%}"),
            row["pairs"],
        ]
        for row in rows
    ]
    columns = ["automatic score", "rank correlation", "prefers the same", "pairs"]
    tables = ({"caption": "People and automatic scores", "columns": columns, "rows": table},)
    return Panel("People and automatic scores", tables=tables)


def _raters(found: Mapping[str, Any]) -> Panel | None:
    rows = [
        [
            row["rater"] + ("" if row["used"] else " (left out)"),
            f"{row['screens']} of {row['of']}",
            f"{row['passed']} of {row['checks']}",
            None if row["seconds"] is None else f"{row['seconds']:.1f}",
        ]
        for row in found["raters"]
    ]
    columns = ["rater", "screens", "checks right", "s a screen"]
    return Panel("Raters", tables=({"caption": "Raters", "columns": columns, "rows": rows},)) if rows else None


def _span(row: Mapping[str, Any], key: str, form: str) -> str:
    """Return a figure with its interval; a dash where there is none."""
    if row[key] is None:
        return "–"
    text = form.format(row[key])
    if row["low"] is None:
        return _minus(text)
    return _minus(f"{text} ({form.format(row['low'])} to {form.format(row['high'])})")


def _signed(value: float) -> str:
    return signed(round(value, 2))[:-1] if round(value, 2) else "0.00"


def _minus(text: str) -> str:
    return text.replace("-", "−")


# === Terminal ===


def terminal(found: Mapping[str, Any]) -> None:
    """Print the report."""
    from rich.table import Table
    from rich.text import Text

    out = console(highlight=False)
    out.print(Text(printable(found["title"])), style="bold")
    for line in sentences(found):
        out.print(printable(line), markup=False)
    for panel in panels(found):
        for given in panel.tables:
            out.print(f"\n{given['caption']}", style="bold", markup=False)
            table = Table(*given["columns"], box=None, pad_edge=False)
            for row in given["rows"]:
                table.add_row(*(Text(printable(_cell(cell))) for cell in row))
            out.print(table)
    cards = found["disagreements"]
    if cards:
        out.print("\nDisagreements to look at", style="bold")
    for card in cards:
        out.print(printable(f"example {card['row']}: {card['why']}; true: {card['true'][:120]}"), markup=False)
        for answer in card["answers"]:
            out.print(printable(f"    {answer['system']} [{answer['people']}]: {answer['text'][:120]}"), markup=False)


def _cell(cell: Any) -> str:
    return "–" if cell is None else f"{cell:.2f}".replace("-", "−") if isinstance(cell, float) else str(cell)


# === The page ===


def write(session: Session, found: Mapping[str, Any], path: Path) -> Path:
    """Write the report as an HTML page of its own, and return its path."""
    said = sentences(found)
    context = {
        "title": found["title"],
        "date": f"{datetime.now():%Y-%m-%d %H:%M}",
        "sentences": said,
        "panels": [drawn_panel(panel, number) for number, panel in enumerate(panels(found))],
        "cards": [_card(card, session) for card in found["disagreements"]],
        "systems": [_system(one) for one in found["systems"]],
        "method": METHOD,
        "versions": run.versions(),
    }
    with atomic_file(path) as temporary:
        text = printable(template("ratings.html").render(context))
        temporary.write_text(text, encoding="utf-8", errors="replace")
    return path


def _system(one: Mapping[str, Any]) -> str:
    budget = "all examples" if one["budget"] is None else f"budget {one['budget']:,}"
    return f"{one['label']}: arm {one['arm']} of the run {one['run']}, {budget}, seed {one['seed']}"


def _card(card: Mapping[str, Any], session: Session) -> dict[str, Any]:
    image = session.image(card["item"])
    address = f"data:{image[1]};base64,{base64.b64encode(image[0]).decode('ascii')}" if image else ""
    return dict(card) | {"image": address}
