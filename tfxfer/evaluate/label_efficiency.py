"""How many labels one arm needs for what another reaches with more, and where two curves of scores cross.

Between two budgets a curve is a straight line over the logarithm of the budget, for each seed and test example. So a
point between budgets has scores [S, N] too, and the same interval as every other difference. The interval of *labels
needed* is made of these: the budgets at which the interval of the difference to the other arm's score holds 0
(inversion of a test, as Fieller 1954 did for ratios).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tfxfer.evaluate.comparison import Paired, pair_by_seed, scores_by_seed
from tfxfer.evaluate.verdict import verdict
from tfxfer.records import Comparison

STEPS = 8  # points at which the end of an interval is looked for, then halved
HALVINGS = 5
DRAWS = 2_000
Place = tuple[Comparison, str]  # the comparison that an arm stands in, and the arm


def numbered(budgets: Sequence[int | None]) -> list[int]:
    """Return the budgets that are numbers, ascending; that of all examples has no number."""
    return sorted(n for n in budgets if n is not None)


def crossings(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return where the order of two arms turns between neighbouring budgets.

    Args:
        rows: Rows of `verdicts` of one pair with one budget each.

    Returns:
        Dicts with `low` and `high` (the budgets), `near` (where the line between both differences is 0), `ahead_before`
        and `ahead_after` ("a" or "b"), and `sure`: whether the verdicts at both budgets name these.
    """
    found = []
    placed = sorted((row for row in rows if row["budget"] is not None), key=lambda row: row["budget"])
    for before, after in pairwise(placed):
        first, second = before["difference"], after["difference"]
        if first * second >= 0:
            continue
        low, high = before["budget"], after["budget"]
        share = first / (first - second)
        found.append(
            {
                "low": low,
                "high": high,
                "near": low * (high / low) ** share,
                "ahead_before": "a" if first > 0 else "b",
                "ahead_after": "a" if second > 0 else "b",
                "sure": "no evidence" not in (before["word"], after["word"]),
            }
        )
    return found


def labels_saved(
    subject: Place, other: Place, budgets: Sequence[int | None], measure: str, *, level: float = 0.95, seed: int = 0
) -> dict[str, Any] | None:
    """Return with how many labels an arm scores what another does with the most.

    Args:
        subject: The arm that may need fewer.
        other: The arm whose score at the greatest budget is to be reached.
        budgets: Budgets that both arms have.
        measure: The score.
        level: Confidence level.
        seed: Seed of the draws.

    Returns:
        A dict with `at` (the greatest budget), `needs`, `low` and `high` (its interval, cut at the least and greatest
        budget), `saved` (at − needs) and `at_most` (the least budget is enough: fewer were not tried). None where the
        arm does not reach the score, or there are fewer than two budgets.
    """
    numbers = numbered(budgets)
    if len(numbers) < 2:
        return None
    goal = scores_by_seed(other[0], other[1], numbers[-1:], measure)
    curve = [(n, scores_by_seed(subject[0], subject[1], [n], measure)) for n in numbers]

    def against_goal(n: float) -> Paired | None:
        return pair_by_seed(subject, other, _at(curve, n), goal)

    def decided(n: float) -> bool:
        both = against_goal(n)
        if both is None:
            return False
        found = verdict(*both.scores, level=level, draws=DRAWS, seed=seed, alike=both.alike)
        return not found.low <= 0 <= found.high

    points = [(n, both) for n in numbers if (both := against_goal(n))]
    needs = _first_reached([(n, float(both.scores[0].mean() - both.scores[1].mean())) for n, both in points])
    if needs is None:
        return None
    span = {"low": _edge(decided, needs, numbers[0]), "high": _edge(decided, needs, numbers[-1])}
    saved = max(0.0, numbers[-1] - needs)
    return {"at": numbers[-1], "needs": needs, **span, "saved": saved, "at_most": needs <= numbers[0]}


def _at(curve: Sequence[tuple[int, dict[int, np.ndarray]]], n: float) -> dict[int, np.ndarray]:
    """Return seed -> scores [N] at a budget on a curve, between its points on a line over the logarithm."""
    for (low, first), (high, second) in pairwise(curve):
        if n <= high:
            share = min(1.0, max(0.0, math.log(n / low) / math.log(high / low)))
            seeds = {0.0: first.keys(), 1.0: second.keys()}.get(share, first.keys() & second.keys())
            return {
                s: second[s] if share == 1 else first[s] if share == 0 else (1 - share) * first[s] + share * second[s]
                for s in seeds
            }
    return curve[-1][1]


def _first_reached(gaps: Sequence[tuple[float, float]]) -> float | None:
    """Return the least budget at which a difference is 0 or more, between points on a line over the logarithm."""
    for place, (n, gap) in enumerate(gaps):
        if gap < 0:
            continue
        if not place:
            return float(n)
        before, short = gaps[place - 1]
        return min(float(n), before * (n / before) ** (short / (short - gap)))
    return None


def _edge(decided: Callable[[float], bool], start: float, end: float) -> float:
    """Return how far from `start` towards `end` the difference stays undecided."""
    inside = start
    for step in range(1, STEPS + 1):
        outside = start * (end / start) ** (step / STEPS)
        if decided(outside):
            for _ in range(HALVINGS):
                middle = math.sqrt(inside * outside)
                inside, outside = (inside, middle) if decided(middle) else (middle, outside)
            return math.sqrt(inside * outside)
        inside = outside
    return float(end)
