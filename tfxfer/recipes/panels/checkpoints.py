"""The panel of `--checkpoints`: the difference of two trained arms over the steps of training."""

from collections.abc import Sequence
from typing import Any

from tfxfer.evaluate.comparison import POOLED, budget_words, measure_name
from tfxfer.evaluate.training_steps import by_budget, sentences_by_steps, verdicts_by_steps
from tfxfer.evaluate.verdict import signed
from tfxfer.records import Comparison
from tfxfer.report.panel import Panel

DRAWN = 2  # measures with a figure; all have a table
SCHEDULES = {
    "cosine": "The learning rate falls along a cosine until the last step. So a point before the end is not a training "
    "of so many steps: that one would have ended with a small rate. With --schedule constant each point is such a "
    "training.",
    "constant": "The learning rate stays the same after the first steps. So each point is a training of so many steps.",
}


def checkpoint_panel(comparison: Comparison, schedule: str) -> Panel | None:
    """Return the panel; None where no checkpoint was scored.

    Args:
        comparison: The records.
        schedule: Of the learning rate, "cosine" or "constant".
    """
    tables = {measure: verdicts_by_steps(comparison, measure=measure) for measure in comparison.measures}
    tables = {measure: rows for measure, rows in tables.items() if rows}
    if not tables:
        return None
    first = next(iter(tables.values()))[0]
    a, b = first["a"], first["b"]
    return Panel(
        "The verdict over the steps of training",
        paragraphs=(
            f"The test split was scored after several numbers of steps within each training of {a} and {b}. A network "
            "can be ahead because it learns faster; such a lead is gone when both train longer. The model that answers "
            "everywhere else is chosen on validation, as without these points.",
            SCHEDULES[schedule],
        ),
        points=tuple(text for measure in tables for text in sentences_by_steps(comparison, measure)),
        figures=tuple(_figure(rows, comparison.unit) for rows in list(tables.values())[:DRAWN]),
        tables=tuple(_table(rows, comparison.unit) for rows in tables.values()),
        notes=(
            "Each point has its own interval, and the points share their trainings and test examples: read the curve, "
            "not the one point that suits.",
        ),
        folded=True,
    )


def _figure(rows: Sequence[dict[str, Any]], unit: str) -> dict[str, Any]:
    a, b, measure = rows[0]["a"], rows[0]["b"], measure_name(rows[0]["measure"])
    return {
        "name": "difference_over_steps",
        "arguments": {
            "curves": [_curve(group, unit) for group in by_budget(rows).values()],
            "ylabel": f"{measure}, {a} − {b}",
        },
        "description": f"Line charts: difference of {a} and {b} in {measure} against the steps of training, one for "
        "each budget. The numbers are in the table below.",
        "caption": f"{a} − {b} in {measure}, with its 95 % interval, against the steps (log scale). A filled point is "
        "a verdict; the interval of an empty one holds 0.",
    }


def _curve(rows: Sequence[dict[str, Any]], unit: str) -> dict[str, Any]:
    by_share = any(row["steps"] is None for row in rows)
    points = [
        {
            "x": 1 / 2 ** row["halvings"] if by_share else row["steps"],
            "name": row["share"] if by_share else f"{row['steps']:,}",
            "sure": row["word"] != "no evidence",
            **{key: row[key] for key in ("difference", "low", "high")},
        }
        for row in rows
    ]
    title = "all budgets" if rows[0]["budget"] == POOLED else budget_words([rows[0]["budget"]], unit)
    return {"title": title, "xlabel": "share of the steps" if by_share else "steps", "points": points}


def _table(rows: Sequence[dict[str, Any]], unit: str) -> dict[str, Any]:
    a, b, measure = rows[0]["a"], rows[0]["b"], measure_name(rows[0]["measure"])
    return {
        "caption": f"{measure} over the steps of training",
        "columns": ["budget", "steps", a, b, "difference", "95 % interval", "result"],
        "rows": [
            [
                "all" if row["budget"] == POOLED else budget_words([row["budget"]], unit),
                row["share"] if row["steps"] is None else row["steps"],
                row["a_score"],
                row["b_score"],
                signed(row["difference"]),
                f"{signed(row['low'])} to {signed(row['high'])}",
                row["outcome"],
            ]
            for group in by_budget(rows).values()
            for row in group
        ],
    }
