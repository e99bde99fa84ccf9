"""Several comparisons at once: Holm's adjustment, and the words that remain after it.

Of twenty true nulls, one interval at 95 % leaves out 0 by chance. Holm's step-down procedure keeps the chance of *any*
such error at 5 %: the smallest p is multiplied by the number of comparisons, the next by one fewer, and so on, never
falling. It needs no independence, and finds at least as much as Bonferroni's.

Source: Holm 1979, A simple sequentially rejective multiple test procedure.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from tfxfer.evaluate.comparison import POOLED, budget_words, verdicts
from tfxfer.records import Comparison


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Return the adjusted p of each comparison, in the same order; None, where no test was made, stays None.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    tested = sorted((value, place) for place, value in enumerate(p) if value is not None)
    found: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, place) in enumerate(tested):
        largest = max(largest, min(1.0, value * (len(tested) - rank)))
        found[place] = largest
    return found


def with_adjusted(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of `Verdict.to_dict` with `p_adjusted` and `adjusted`, the word that remains.

    A row with `role` "primary" was named before the run, is no part of the family, and keeps its own word.
    """
    given = list(rows)
    family = [row for row in given if row.get("role") != "primary"]
    adjusted = {id(row): value for row, value in zip(family, holm([row["p"] for row in family]))}
    found = []
    for row in given:
        p = adjusted.get(id(row), row["p"])
        sure = id(row) not in adjusted or (p is not None and p <= 1 - row["level"])
        found.append({**row, "p_adjusted": p, "adjusted": row["word"] if sure else "no evidence"})
    return found


def holm_sentence(comparison: Comparison, rows: Sequence[dict[str, Any]] | None = None) -> str | None:
    """Return which words of a run's secondary comparisons remain after the adjustment; None where there is one or none.

    The family: `transfer` against every other arm at every budget and over all, by the first measure.

    Args:
        comparison: The records.
        rows: Its `verdicts`; computed when not given.
    """
    given = with_adjusted(verdicts(comparison) if rows is None else rows)
    rows = [row for row in given if row["role"] != "primary" and row["p"] is not None]
    if len(rows) < 2:
        return None
    lost = [row for row in rows if row["word"] != row["adjusted"]]
    opening = f"Adjusted for {len(rows)} secondary comparisons (Holm)"
    kept = sum(row["adjusted"] != "no evidence" for row in rows)
    if not lost:
        return f"{opening}, no word changes."
    by_arm: dict[str, list[Any]] = {}
    for row in lost:
        by_arm.setdefault(row["b"], []).append(row["budget"])
    places = "; ".join(f"{arm} {_places(budgets, comparison.unit)}" for arm, budgets in by_arm.items())
    return f"{opening}, {kept} of {kept + len(lost)} differences remain; no evidence is left against {places}."


def _places(budgets: Sequence[Any], unit: str) -> str:
    single = [n for n in budgets if n != POOLED]
    parts = [f"at {budget_words(single, unit)}"] if single else []
    return " and ".join(parts + ["over all budgets"] * (POOLED in budgets))
