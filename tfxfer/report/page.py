"""`report.html`: the results of a run on one self-contained page, which makes no request."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tfxfer.cache import atomic_file
from tfxfer.evaluate import story, summary, verdicts
from tfxfer.evaluate.arms import describe, outcome
from tfxfer.evaluate.comparison import POOLED, budget_words, measure_name
from tfxfer.evaluate.holm import with_adjusted
from tfxfer.evaluate.remarks import remarks
from tfxfer.evaluate.verdict import signed
from tfxfer.records import Comparison
from tfxfer.report import run, words
from tfxfer.report.panel import Panel, read_panels
from tfxfer.report.predictions import predictions
from tfxfer.report.svg import figure_svg, panel_svg
from tfxfer.terminal import printable


def write(run_folder: str | Path) -> Path:
    """Write `report.html` into a finished run's folder and return its path.

    Reads `comparison.json` and `probabilities.npz`, and `config.yaml`, `metrics.jsonl`, `panels.json` and `model.json`
    where they exist.

    Args:
        run_folder: The folder of a run.

    Raises:
        UserError: The folder holds no comparison, or its panels cannot be shown.
    """
    folder = Path(run_folder)
    comparison = Comparison.load(folder)
    log, unreadable = run.training_log(folder)
    config, recipe = run.configuration(folder)
    finished = datetime.fromtimestamp((folder / "comparison.json").stat().st_mtime)
    context = {
        **_about(comparison),
        **_results(comparison),
        **predictions(comparison),
        "panels": [drawn_panel(panel, number) for number, panel in enumerate(read_panels(folder))],
        "training": figure_svg("training", log),
        "unreadable": unreadable,
        "usage": run.usage(folder),
        "config": config,
        "replay": run.replay(folder, comparison.recipe or recipe) if config else None,
        "versions": run.versions(),
        "date": f"{finished:%Y-%m-%d %H:%M}",
    }
    with atomic_file(folder / "report.html") as path:
        path.write_text(printable(template("report.html").render(context)), encoding="utf-8", errors="replace")
    return folder / "report.html"


def template(name: str) -> Any:
    """Return a template of this package, with the filters and the style sheet of a report."""
    loader = PackageLoader("tfxfer", "report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        signed=signed,
        percent=lambda share: f"{share * 100:.0f}\u00a0%",
        keep=lambda text: text.replace(" %", "\u00a0%"),  # no line break before the sign
        cell=_cell,
        budget=words.budget_name,
        measure=measure_name,
        duration=words.duration,
    )
    css = environment.loader.get_source(environment, "report.css")[0]  # type: ignore[union-attr]
    environment.globals.update(css=Markup(css), POOLED=POOLED, budget_words=budget_words)
    return environment.get_template(name)


def _about(comparison: Comparison) -> dict[str, Any]:
    """Return the recipe's description of the experiment and of its arms."""
    from tfxfer.report.figures.style import colour_name

    about, arms = comparison.about, []
    for name in comparison.arms:
        text, method = describe(about, name).text, _method(comparison, name)
        arms.append({"name": name, "text": text, "method": method, "colour": colour_name(name, comparison.arms)})
    return {
        "title": comparison.title,
        "equation": about.get("equation", ""),
        "explanation": about.get("explanation", ""),
        "command": about.get("command", ""),
        "smoke": bool(about.get("smoke")),
        "cautions": list(about.get("cautions", ())),
        "credits": list(about.get("credits", ())),
        "arms": arms,
    }


def _results(comparison: Comparison) -> dict[str, Any]:
    """Return the scores of the arms for the page: sentences, tables and their figures."""
    rows, tests = summary(comparison), with_adjusted(verdicts(comparison))
    for row in rows:
        records = [r for r in comparison.records if (r.arm, r.budget) == _place(row)]
        row["chosen"] = words.chosen(r.settings for r in records)
    for row in tests:
        other = describe(comparison.about, row["b"])
        row["outcome"] = outcome(row["word"], row["a"], other)
        row["adjusted_outcome"] = outcome(row["adjusted"], row["a"], other)
    primary = [v for v in tests if v["role"] == "primary"]
    curve = "label_efficiency" if len(comparison.budgets) > 1 else "accuracies"
    return {
        "story": story(comparison),
        "remarks": remarks(comparison, tests),
        "word": primary[0]["word"] if primary else "no verdict",
        "plainly": _plainly(primary[0]["difference"]) if primary and comparison.class_names else None,
        "budgets": comparison.budgets,
        "rows": rows,
        "tables": [(measure_name(measure), _cells(comparison, measure)) for measure in comparison.measures],
        "measure": measure_name(comparison.measures[0]),
        "unit": comparison.unit,
        "verdicts": tests,
        "curve": figure_svg(curve, comparison),
        "differences": figure_svg("differences", comparison, tests) if tests else None,
        "costs": [words.cost(name, value) for name, value in comparison.costs.items()],
        "test_examples": len(comparison.labels),
        "classes": len(comparison.class_names),
        "failures": [row for row in rows if row["errors"]],
    }


def _cells(comparison: Comparison, measure: str) -> dict[tuple[str, int | None], dict[str, Any]]:
    """Return the row of each arm and budget, with "best" set on the best arm of a budget."""
    rows = [row | {"best": False} for row in summary(comparison, measure=measure)]
    for budget in comparison.budgets:
        scored = [row for row in rows if row["budget"] == budget and row["score"] is not None]
        for row in scored:
            row["best"] = row["score"] == max(other["score"] for other in scored)
    return {_place(row): row for row in rows if row["score"] is not None or row["failed"]}


def drawn_panel(panel: Panel, number: int) -> dict[str, Any]:
    """Return a panel with its figures as SVG and its numeric columns marked."""
    drawn = [
        (panel_svg(figure, f"panel-{number}-{i}"), figure.get("caption", "")) for i, figure in enumerate(panel.figures)
    ]
    tables = []
    for table in panel.tables:
        columns = [
            {"name": name, "numeric": all(_is_numeric(row[i]) for row in table["rows"])}
            for i, name in enumerate(table["columns"])
        ]
        tables.append({"caption": table["caption"], "columns": columns, "rows": table["rows"]})
    texts = {name: getattr(panel, name) for name in ("title", "paragraphs", "points", "notes", "folded")}
    figures = [{"svg": svg, "caption": caption} for svg, caption in drawn if svg is not None]
    return {**texts, "figures": figures, "tables": tables}


def _is_numeric(cell: Any) -> bool:
    """Return whether a cell is aligned as a number: a number, none at all, or a text such as "−0.3" or "50 %"."""
    if isinstance(cell, str):
        return re.fullmatch(r"[+−-]?[\d,]+(\.\d+)?(\s?%)?|–", cell) is not None
    return cell is None or isinstance(cell, (int, float))


def _cell(cell: Any) -> str:
    """Return a table cell as text.

    >>> [_cell(value) for value in (1234, -0.25, None, "red")]
    ['1,234', '−0.250', '–', 'red']
    """
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.3f}".replace("-", "−")
    return f"{cell:,}".replace("-", "−") if isinstance(cell, int) else str(cell)


def _plainly(difference: float) -> str:
    """Return a difference in accuracy as a number of answers."""
    count = f"{abs(difference) * 100:.0f}"
    if count == "0":
        return "less than one answer in 100 differs"
    return f"about {count} {'more' if difference > 0 else 'fewer'} correct answers in every 100"


def _place(row: dict[str, Any]) -> tuple[str, int | None]:
    return row["arm"], row["budget"]


def _method(comparison: Comparison, arm: str) -> str:
    """Return the method of an arm in `settings["method"]`, e.g. "character n-grams"; "" without one."""
    found = (str(r.settings["method"]) for r in comparison.records if r.arm == arm and "method" in r.settings)
    return next(found, "")
