"""What `tfxfer merge` says: sentences for the terminal and the page, and the page itself, made of panels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfxfer.evaluate.verdict import signed
from tfxfer.report.command_page import write_command_page
from tfxfer.report.panel import Panel
from tfxfer.run_folder import LAST_FILE

MAIN = ("best parent", "mean parent", "soup")  # what the terminal compares each merge with
METHOD = (
    "Settings, the order of the greedy soup and the saved merge are chosen on the validation split. Each model then "
    "answers the test split, once. A difference is taken example by example. Its 95 % interval is that of every "
    "verdict: the bootstrap over test examples and, where one side is several models (the mean parent, the masks of "
    "DARE), the variance between them. Against a single parent it is about these models as they are: other trainings "
    "of the parents would give another merge.",
    "One comparison is named before the test split is looked at: the merge that validates best against the parent that "
    "validates best. The others, against the best parent, the mean parent and the plain average, are adjusted by "
    "Holm's procedure.",
    "The best parent is the one that validates best. The mean parent is what one training gives on average.",
)


def sentences(found: Any) -> list[str]:
    """Return what was found, in sentences, the comparison that was named before first.

    Args:
        found: `tfxfer.recipes.merging.Merges`.
    """
    first, pairs = found.pairs[0], {(row["a"], row["b"]): row for row in found.pairs}
    chosen = f"The merge that validates best is {found.chosen.how}"
    said = [f"{chosen}: {_difference(first)} the best parent, {found.best} ({_span(first)})."]
    if ("soup", "mean parent") in pairs:
        row = pairs["soup", "mean parent"]
        said.append(f"The plain average of the weights: {_difference(row)} the mean parent ({_span(row)}).")
    for line in found.lines:
        said.append(
            f"On the line from {line.first} to {line.second} the validation loss rises to {line.barrier:.3f} nats "
            f"above a straight line between both ends, and accuracy falls to {line.drop:.3f} below one."
        )
    dare = next((row for row in found.rows if row["name"] == "dare" and row["spread"]), None)
    if dare:
        low, high = dare["spread"]
        said.append(f"DARE by its {dare['seeds']} masks: {low:.3f} to {high:.3f}; its luck is {high - low:.3f}.")
    return said


def _difference(row: Mapping[str, Any]) -> str:
    than = {"better": "better than", "worse": "worse than"}.get(row["outcome"], "no evidence of a difference to")
    return f"{signed(row['difference'])} accuracy, {than}"


def _span(row: Mapping[str, Any]) -> str:
    return (
        f"{row['level'] * 100:g} % interval {signed(row['low'])} to {signed(row['high'])}, {row['examples']:,} test "
        "examples"
    )


def write_page(found: Any, folder: Path) -> Path:
    """Write the report of a merge into its run's folder, and return its path."""
    said = found.comparison
    cautions = said.about.get("cautions", ())
    return write_command_page(
        folder / LAST_FILE, "merge", said.title, sentences(found), panels(found), METHOD, cautions
    )


def panels(found: Any) -> list[Panel]:
    """Return the sections of the page."""
    return [_scores_panel(found), _pairs_panel(found), _lines_panel(found), _detail_panel(found)]


def _scores_panel(found: Any) -> Panel:
    columns = ["model", "validation", "test", "95 % interval", "lowest and highest seed", "chosen by validation"]
    rows = [
        [row["name"], row["validation"], row["score"], f"{row['low']:.3f}–{row['high']:.3f}",
         "–".join(f"{value:.3f}" for value in row["spread"]) if row["spread"] else None, row["settings"]]
        for row in found.rows
    ]  # fmt: skip
    arms, tested = found.comparison.about["arms"], len(found.comparison.labels)
    similar = [f"{name} {value:.2f}" for name, value in found.similarity.items()]
    return Panel(
        "Each merge beside its parents",
        paragraphs=(f"Accuracy on {found.validation:,} validation and {tested:,} test examples.",),
        points=tuple(f"{name}: {text}" for name, text in arms.items()),
        tables=({"caption": "Accuracy", "columns": columns, "rows": rows},),
        notes=(f"Median correlation of the kernels with those of parent 1: {', '.join(similar)}.",),
    )


def _pairs_panel(found: Any) -> Panel:
    rows = [row for row in found.pairs if row["b"] in MAIN]
    drawn = [
        {"name": f"{row['a']} − {row['b']}", "sure": row["word"] != "no evidence",
         **{key: row[key] for key in ("difference", "low", "high", "outcome")}}
        for row in rows
    ]  # fmt: skip
    figure = {
        "name": "pair_differences",
        "arguments": {"rows": drawn, "xlabel": "difference in accuracy"},
        "description": "Interval chart: each merge against the best parent, the mean parent and the plain average. The "
        "numbers are in the table below.",
        "caption": "Right of 0: the merge is better. Across 0, with a hollow marker: no evidence.",
    }
    return Panel("Differences", figures=(figure,), tables=(_table("Table of these differences", rows),))


def _table(caption: str, rows: Any) -> dict[str, Any]:
    cells = [
        [f"{row['a']} − {row['b']}", signed(row["difference"]), f"{signed(row['low'])} to {signed(row['high'])}",
         row["outcome"], {"primary": "named before", "detail": None}.get(row["role"], row["adjusted_outcome"])]
        for row in rows
    ]  # fmt: skip
    return {
        "caption": caption,
        "columns": ["merge − other", "difference", "95 % interval", "verdict", "after Holm"],
        "rows": cells,
    }


def _lines_panel(found: Any) -> Panel:
    rows = [
        [f"{line.first} → {line.second}", point["share"], point["loss"], point["accuracy"]]
        for line in found.lines
        for point in line.points
    ]
    figure = {
        "name": "interpolation",
        "arguments": {"lines": [vars(line) for line in found.lines], "ylabel": "validation loss, nats"},
        "description": "Line chart: validation loss on the line between two models. The table below has the numbers.",
        "caption": "Every point is a model whose weights are a mean of the two at its ends. The dashed line "
        "joins both ends' losses; the barrier is how far the curve rises above it (Frankle et al. 2020).",
    }
    table = {"caption": "Points of the lines", "columns": ["line", "share", "loss", "accuracy"], "rows": rows}
    return Panel("Between two models", figures=(figure,), tables=(table,), folded=True)


def _detail_panel(found: Any) -> Panel:
    rows = [row for row in found.pairs if row["b"] not in MAIN]
    text = "Each merge against the start and against every parent. These intervals are not adjusted for their number."
    return Panel("Against each parent", (text,), tables=(_table("Table against each parent", rows),), folded=True)
