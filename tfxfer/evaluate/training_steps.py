"""The verdict over the steps of training, from the checkpoints of records (`--checkpoints`, docs/checkpoints.md).

A network can be ahead because it learns faster, and lose that lead when both are trained longer. One number of steps
does not show it; a curve does.
"""

from collections.abc import Sequence
from typing import Any

from tfxfer.evaluate.arms import describe, outcome
from tfxfer.evaluate.comparison import POOLED, PRIMARY, budget_words, measure_name, verdicts
from tfxfer.evaluate.verdict import signed
from tfxfer.records import Comparison

PAIRS = (PRIMARY, ("finetune", "scratch"))  # the first pair of arms that both trained a network


def trained_pair(comparison: Comparison) -> tuple[str, str] | None:
    """Return the two arms whose difference is followed over the steps; None where no checkpoint was scored."""
    last = comparison.at_checkpoint(0)
    return next((pair for pair in PAIRS if set(pair) <= set(last.arms)), None)


def verdicts_by_steps(comparison: Comparison, *, measure: str | None = None) -> list[dict[str, Any]]:
    """Return the verdicts of the trained pair at each checkpoint, the fewest steps first.

    Args:
        comparison: Records, some of them with checkpoints.
        measure: Of the comparison's measures; the first by default.

    Returns:
        Rows of `verdicts`, for each budget and, where all budgets have the checkpoint, for all of them ("pooled"), with
        `steps` (None in a pooled row whose budgets differ), `halvings` (2 is a quarter of the steps), `share` ("1/4"),
        `a_score`, `b_score` (means of both arms) and `outcome` (the result in words). Empty where no checkpoint was
        scored.
    """
    pair, rows = trained_pair(comparison), []
    most = max((len(record.checkpoints) for record in comparison.records), default=0)
    budgets = comparison.at_checkpoint(0).budgets
    for halvings in reversed(range(most if pair else 0)):
        then = comparison.at_checkpoint(halvings)
        for row in verdicts(then, *pair, measure=measure) if pair else ():
            if row["budget"] == POOLED and row["budgets"] != budgets:
                continue
            rows.append(row | _place(then, row, halvings))
    return rows


def turns(rows: Sequence[dict[str, Any]]) -> bool:
    """Return whether a verdict changes with the steps: rows of one budget and measure with more than one result."""
    return len({row["word"] for row in rows}) > 1


def sentences_by_steps(comparison: Comparison, measure: str | None = None) -> list[str]:
    """Return what the steps change: a sentence for all budgets, and one for each budget at which the verdict turns.

    Args:
        comparison: Records, some of them with checkpoints.
        measure: Of the comparison's measures; the first by default.
    """
    rows = verdicts_by_steps(comparison, measure=measure)
    groups = by_budget(rows)
    overall = groups.get(POOLED) or next(iter(groups.values()), [])
    found = []
    for group in [overall, *(each for each in groups.values() if each is not overall and turns(each))]:
        if group:
            found.append(_sentence(group, comparison))
    return found


def by_budget(rows: Sequence[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    """Return budget -> its rows, the budgets in the order of the rows."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["budget"], []).append(row)
    return groups


def _place(then: Comparison, row: dict[str, Any], halvings: int) -> dict[str, Any]:
    """Return what a row says beside its verdict."""
    counts = {
        record.settings["steps"]
        for n in row["budgets"]
        for arm in (row["a"], row["b"])
        for record in then.select(arm, n)
    }
    means = [
        sum(float(then.scores(arm, n, row["measure"]).mean()) for n in row["budgets"]) / len(row["budgets"])
        for arm in (row["a"], row["b"])
    ]
    return {
        "steps": counts.pop() if len(counts) == 1 else None,
        "halvings": halvings,
        "share": f"1/{2**halvings}" if halvings else "1",
        "a_score": means[0],
        "b_score": means[1],
        "outcome": outcome(row["word"], row["a"], describe(then.about, row["b"])),
    }


def _sentence(rows: Sequence[dict[str, Any]], comparison: Comparison) -> str:
    """Return what happens to one verdict over the steps."""
    first = rows[0]
    pooled = len(first["budgets"]) > 1
    where = f"{'averaged over' if pooled else 'at'} {budget_words(first['budgets'], comparison.unit)}"
    of = f"{first['a']} − {first['b']} in {measure_name(first['measure'])}, {where}"
    if not turns(rows):
        ends = f"{signed(first['difference'])} {_after(first)}, {signed(rows[-1]['difference'])} {_after(rows[-1])}"
        return f"The steps do not change the verdict on {of}: {first['outcome']} at each ({ends})."
    parts: list[list[dict[str, Any]]] = []
    for row in rows:
        if parts and parts[-1][-1]["word"] == row["word"]:
            parts[-1].append(row)
        else:
            parts.append([row])
    changes = "; ".join(f"{part[0]['outcome']} {_span(part)}" for part in parts)
    return f"The verdict turns with training: {of}: {changes}."


def _span(rows: Sequence[dict[str, Any]]) -> str:
    if len(rows) == 1:
        return f"{_after(rows[0])} ({signed(rows[0]['difference'])})"
    ends = f"{signed(rows[0]['difference'])} to {signed(rows[-1]['difference'])}"
    first, last = (_share(row) if row["steps"] is None else f"{row['steps']:,}" for row in (rows[0], rows[-1]))
    return f"from {first} to {last} {'of the ' if rows[0]['steps'] is None else ''}steps ({ends})"


def _after(row: dict[str, Any]) -> str:
    if row["steps"] is None:
        return f"after {_share(row)} of the steps"
    return f"after {row['steps']:,} step{'s' * (row['steps'] != 1)}"


def _share(row: dict[str, Any]) -> str:
    return "all" if row["share"] == "1" else row["share"]
