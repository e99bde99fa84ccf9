"""Which task helped which: a verdict for each task that trained beside another, against that task alone."""

from collections.abc import Mapping
from typing import Any

from tfxfer.evaluate.comparison import by_source, pair_by_seed, scores_by_seed
from tfxfer.evaluate.holm import with_adjusted
from tfxfer.evaluate.verdict import interval, verdict
from tfxfer.records import Comparison

WITH = " with "  # between a measure and the task that trained beside its own, in the scores of the arm `pairs`
ALL = "all tasks"


def task_matrix(comparison: Comparison, measures: Mapping[str, str], fresh: bool = False) -> list[dict[str, Any]]:
    """Return the cells of the matrix: each is a task judged, and what trained beside it.

    Scores are averaged over the budgets that both arms have. The words are adjusted by Holm's procedure over all cells.

    Args:
        comparison: Records of the arms "alone", "pairs" and "transfer"; those that were not run have no cell.
        measures: Task → the measure that it is judged by.
        fresh: Over bodies with fresh weights: "random" against "alone_random", and no pairs.

    Returns:
        Dicts with "with" (the other task, or `ALL`), "task", and what `Verdict.to_dict` and `with_adjusted` give. Then,
        for each task, one with "with" equal to the task itself: "score", "low" and "high" of the task alone.
    """
    alone, all_of_them = ("alone_random", "random") if fresh else ("alone", "transfer")
    cells: list[dict[str, Any]] = []
    for task, measure in measures.items():
        partners = [] if fresh else [other for other in measures if other != task]
        beside = [(other, "pairs", f"{measure}{WITH}{other}") for other in partners]
        for other, arm, name in [*beside, (ALL, all_of_them, measure)]:
            found = _compared(comparison, (arm, name), (alone, measure))
            if found:
                cells.append({"with": other, "task": task, "role": "secondary", **found})
    return [*with_adjusted(cells), *_alone(comparison, measures, alone)]


def _compared(comparison: Comparison, a: tuple[str, str], b: tuple[str, str]) -> dict[str, Any] | None:
    """Return the verdict of two arms, each by a score of its own; None where one has none."""
    budgets = [n for n in comparison.budgets if all(scores_by_seed(comparison, arm, [n], name) for arm, name in (a, b))]
    if not budgets:
        return None
    first, second = (scores_by_seed(comparison, arm, budgets, measure) for arm, measure in (a, b))
    both = pair_by_seed((comparison, a[0]), (comparison, b[0]), first, second)
    if both is None:
        return None
    return verdict(*both.scores, names=(a[0], b[0]), alike=both.alike).to_dict() | {"budgets": budgets}


def _alone(comparison: Comparison, measures: Mapping[str, str], alone: str) -> list[dict[str, Any]]:
    """Return the score of each task alone, averaged over the budgets."""
    found = []
    for task, measure in measures.items():
        rows = by_source(scores_by_seed(comparison, alone, comparison.budgets, measure), comparison)
        if rows.size:
            score, low, high = interval(rows)
            found.append({"with": task, "task": task, "score": score, "low": max(low, 0.0), "high": min(high, 1.0)})
    return found
