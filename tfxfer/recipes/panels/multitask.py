"""The panels of multi-task learning: which task helped which, shared and private parameters, weights of the tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfxfer.evaluate.comparison import budget_words, measure_name
from tfxfer.evaluate.task_matrix import ALL, task_matrix
from tfxfer.evaluate.verdict import signed
from tfxfer.records import Comparison
from tfxfer.report.panel import Panel

WORDS = {"helped": "helped", "hurt": "hurt", "no evidence": "no evidence of a difference"}


def matrix_panel(comparison: Comparison, measures: Mapping[str, str], sizes: Mapping[str, int]) -> Panel | None:
    """Return the panel of who helped whom; None where nothing was trained beside a task alone.

    Args:
        comparison: The records.
        measures: Task → the measure that it is judged by.
        sizes: Task → its examples in a batch, which is what the budgets of steps have in common.
    """
    cells = task_matrix(comparison, measures)
    compared = [cell for cell in cells if "difference" in cell]
    if not compared:
        return None
    tasks = list(measures)
    rows = [name for name in (*tasks, ALL) if any(cell["with"] == name for cell in cells)]
    fresh = [cell for cell in task_matrix(comparison, measures, fresh=True) if "difference" in cell]
    batch = ", ".join(f"{count} of {task}" for task, count in sizes.items())
    lost = sum(cell["word"] != cell["adjusted"] for cell in compared)
    figure = {
        "name": "task_matrix",
        "arguments": {"rows": rows, "columns": tasks, "cells": [_plain(cell) for cell in cells]},
        "description": "Matrix: for each task that is judged, the difference to the task alone when another task, or "
        "all tasks, train beside it. The sentences above say the same.",
        "caption": "Blue: better than alone. Orange: worse. Grey: no evidence. A frame: it remains after Holm's "
        f"adjustment for {len(compared)} comparisons. "
        + "; ".join(f"{t}: {measure_name(m)}" for t, m in measures.items()),
    }
    return Panel(
        "Which task helped which",
        paragraphs=(
            "Each task alone has a body of its own, from the same start. Beside other tasks it shares one body. A task "
            f"gets the same steps and in each step the same examples ({batch}), whatever trains beside it; the "
            "examples of the other tasks come on top. "
            f"{budget_words(comparison.budgets, comparison.unit).capitalize()} in training.",
        ),
        points=(
            *sentences(compared, tasks),
            *(f"Over bodies with fresh weights: {sentence}" for sentence in sentences(fresh, tasks)),
        ),
        figures=(figure,),
        notes=(f"Holm's adjustment for {len(compared)} comparisons takes back {lost or 'none'} of the words.",),
    )


def sentences(cells: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> list[str]:
    """Return a sentence for each task: what helped it, what hurt it, and what left no evidence.

    Args:
        cells: The cells of `task_matrix` that are differences.
        tasks: The tasks.
    """
    found = []
    for task in tasks:
        own = [cell for cell in cells if cell["task"] == task]
        parts = [
            f"{cell['with']} {signed(cell['difference'])} ({signed(cell['low'])} to {signed(cell['high'])}, "
            f"{WORDS[cell['word']]})"
            for cell in own
        ]
        if parts:
            found.append(f"{task}, trained with " + "; with ".join(parts) + ".")
    return found


def parameter_panel(parameters: Mapping[str, Mapping[str, int]]) -> Panel:
    """Return the panel of shared and private parameters, beside what single networks would have.

    Args:
        parameters: Task → "shared", "private" and "total".
    """
    rows: list[list[Any]] = [
        [task, each["shared"], each["private"], each["total"]] for task, each in parameters.items()
    ]
    shared = next(iter(parameters.values()))["shared"]
    private = sum(each["private"] for each in parameters.values())
    single = sum(each["total"] for each in parameters.values())
    rows += [
        ["all tasks, one body", shared, private, shared + private],
        ["a network for each task", None, None, single],
    ]
    table = {"caption": "Trained parameters", "columns": ["task", "shared", "private", "total"], "rows": rows}
    return Panel(
        "Shared and private parameters",
        paragraphs=(
            f"One body for {len(parameters)} tasks has {shared + private:,} trained parameters, "
            f"{(shared + private) / single:.0%} of the {single:,} of a network for each task.",
        ),
        tables=(table,),
    )


def weights_panel(comparison: Comparison, how: str) -> Panel | None:
    """Return the panel of the tasks' weights at the end of training; None where all are given.

    Args:
        comparison: The records.
        how: The option `--loss-weights`.
    """
    records = comparison.select("transfer", comparison.budgets[-1])
    if how not in ("uncertainty", "gradnorm", "auto") or not records:
        return None
    tasks = list(records[0].settings["task weights"])
    rows: list[list[Any]] = [
        [str(r.seed), str(r.settings.get("loss weights", how)), *(float(r.settings["task weights"][t]) for t in tasks)]
        for r in records
    ]
    table = {"caption": "At the last step of `transfer`", "columns": ["seed", "by", *tasks], "rows": rows}
    tried = next((r.settings["weightings tried"] for r in records if "weightings tried" in r.settings), None)
    points = (
        (f"Validation scores of the first seed: {', '.join(f'{k} {max(v, 0.0):.3f}' for k, v in tried.items())}.",)
        if tried
        else ()
    )
    return Panel("Weights of the tasks", points=points, tables=(table,))


def _plain(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the figure needs of a cell."""
    names = ("with", "task", "difference", "low", "high", "word", "adjusted", "score")
    return {name: cell[name] for name in names if name in cell}
