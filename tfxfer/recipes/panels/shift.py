"""The panel of `--shift`: scores on the run's own test split and on one of another domain, side by side."""

from collections.abc import Sequence
from typing import Any

from tfxfer.evaluate.arms import describe
from tfxfer.evaluate.comparison import budget_words, compare_arms, measure_name
from tfxfer.evaluate.elsewhere import Drop, drops, gain_there
from tfxfer.evaluate.verdict import Verdict, signed
from tfxfer.records import Comparison
from tfxfer.report.panel import Panel

ARMS = ("transfer", "random", "native")


def shift_panel(comparison: Comparison, shift: str) -> Panel | None:
    """Return the panel at the greatest budget; None where no arm was scored on the other test set.

    Args:
        comparison: The records.
        shift: The other test set, as `--shift` names it.
    """
    budget = comparison.budgets[-1] if comparison.budgets else None
    found = drops(comparison, tuple(arm for arm in comparison.arms if arm in ARMS), budget)
    if not found:
        return None
    where, measure = budget_words([budget], comparison.unit), measure_name(comparison.measures[0])
    gains = _gains(comparison, budget)
    return Panel(
        "In another domain",
        paragraphs=(
            f"The arms of {where} also answered {shift}. No arm was trained or validated on that domain. The drop is "
            "the score on the run's own test split minus the score there.",
        ),
        points=tuple(_gain_sentence(comparison, other, here, there, measure) for other, here, there in gains),
        figures=(_figure(found, measure, where),),
        tables=(_table(found, measure, where),),
        notes=(
            "The two test sets have other examples, so a drop also holds what makes one of them harder. Compare the "
            "drops of the arms: all answered the same two sets.",
        ),
    )


def _gains(comparison: Comparison, budget: int | None) -> list[tuple[str, Verdict, Verdict]]:
    """Return each other arm, and transfer against it here and there."""
    found = []
    for other in ARMS[1:]:
        here = compare_arms((comparison, "transfer"), (comparison, other), [budget])
        there = gain_there(comparison, other, budget)
        if here and there:
            found.append((other, here, there))
    return found


def _gain_sentence(comparison: Comparison, other: str, here: Verdict, there: Verdict, measure: str) -> str:
    return (
        f"Transfer against {describe(comparison.about, other).phrase}: {_span(here)} {measure} here, {_span(there)} in "
        f"the other domain ({there.word})."
    )


def _span(judged: Verdict) -> str:
    return f"{signed(judged.difference)} ({signed(judged.low)} to {signed(judged.high)})"


def _figure(found: Sequence[Drop], measure: str, where: str) -> dict[str, Any]:
    rows = [
        {
            "name": row.arm,
            "difference": row.drop[0],
            "low": row.drop[1],
            "high": row.drop[2],
            "sure": not row.drop[1] <= 0 <= row.drop[2],
            "outcome": f"{row.here[0]:.3f} → {row.there[0]:.3f}",
        }
        for row in found
    ]
    return {
        "name": "pair_differences",
        "arguments": {"rows": rows, "xlabel": f"drop in {measure} at {where}"},
        "description": f"Dot chart: how far {measure} falls in the other domain, for each arm. The numbers are in the "
        "table below.",
        "caption": "Right of 0, the arm is worse in the other domain. At the right: the score here and there.",
    }


def _table(found: Sequence[Drop], measure: str, where: str) -> dict[str, Any]:
    def cell(values: tuple[float, float, float]) -> str:
        return f"{values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f})"

    return {
        "caption": f"{measure} here and in another domain, at {where}, with 95 % intervals",
        "columns": ["arm", "here", "there", "drop", "95 % interval", "seeds"],
        "rows": [
            [
                row.arm,
                cell(row.here),
                cell(row.there),
                signed(row.drop[0]),
                f"{signed(row.drop[1])} to {signed(row.drop[2])}",
                row.seeds,
            ]
            for row in found
        ],
    }
