"""Runs compared with one another on the same test examples: `tfxfer.compare_runs`, and the command `tfxfer compare`.

The interval of a difference is that of every verdict (`tfxfer.evaluate.verdict`): by example and by seed, paired by
both. Runs with other test examples, classes or splits are refused, and what differs is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from tfxfer.evaluate.comparable import System, check_alike, check_budgets, measure_of, systems_of
from tfxfer.evaluate.comparison import POOLED, Paired, compare_arms, paired, summary
from tfxfer.evaluate.costs import cost_row, with_fronts
from tfxfer.evaluate.equivalence import NON_INFERIOR, NOT_SHOWN, check_margin, equivalence
from tfxfer.evaluate.holm import with_adjusted
from tfxfer.evaluate.label_efficiency import crossings, labels_saved
from tfxfer.evaluate.mcnemar import is_right_or_wrong, mcnemar
from tfxfer.evaluate.power import components_of, detectable


@dataclass(frozen=True)
class ComparedRuns:
    """What `compare_runs` found; `to_dict` gives it as JSON can hold it.

    Attributes:
        systems: What was compared.
        measure: The score that decides.
        unit: What a budget counts.
        level: Confidence level of the intervals.
        examples: Number of test examples.
        scores: A row of `summary` for each system and budget, with `system`.
        pairs: A row for each pair, averaged over the budgets they share: the attributes of `Verdict` with `outcome`
            (the result in words), `p_adjusted`, `adjusted` (Holm, over these rows), `detectable` (the minimal
            detectable effect), `mcnemar` and, where a margin was given, `equivalence`.
        by_budget: The same for each pair and budget, where there are several; Holm is over these rows.
        efficiency: A row for each pair with `crossings` and `saved` (see `labels_saved`), and `needs_fewer`, the system
            that `saved` is about.
        costs: A row for each system: `score`, `low`, `high`, the costs that are known, and `best_for`, the costs for
            which no other system is both better and cheaper.
        cautions: Sentences that stand beside the results.
    """

    systems: tuple[System, ...]
    measure: str
    unit: str
    level: float
    examples: int
    scores: tuple[dict[str, Any], ...]
    pairs: tuple[dict[str, Any], ...]
    by_budget: tuple[dict[str, Any], ...]
    efficiency: tuple[dict[str, Any], ...]
    costs: tuple[dict[str, Any], ...]
    cautions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        plain = {name: value for name, value in vars(self).items() if name != "systems"}
        return {"systems": [system.plain() for system in self.systems], **plain}

    def with_inference(self, milliseconds: Mapping[str, float]) -> "ComparedRuns":
        """Return the same with the milliseconds that each system takes for one example."""
        rows = [{**row, "inference_ms": milliseconds.get(row["system"])} for row in self.costs]
        return replace(self, costs=tuple(with_fronts(rows)))


def compare_runs(
    *runs: str | Path,
    arms: Sequence[str] = ("transfer",),
    measure: str | None = None,
    margin: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> ComparedRuns:
    """Compare arms of runs that were scored on the same test examples.

    Args:
        runs: Folders of finished runs.
        arms: Arms of each run that are compared; of one run, two or more.
        measure: Name of the score; by default the first that all runs have.
        margin: The greatest difference that would not matter: adds *equivalent* and *non-inferior*.
        level: Confidence level of the intervals.
        seed: Seed of the draws.

    Raises:
        UserError: A folder is no finished run, test sets, classes, splits or budgets differ, or there are not at least
            two things to compare.

    Example:
        >>> found = tfxfer.compare_runs("runs/render", "runs/read", margin=0.01)     # doctest: +SKIP
        >>> found.pairs[0]["outcome"], found.pairs[0]["equivalence"]["word"]         # doctest: +SKIP
    """
    if margin is not None:
        check_margin(margin)
    systems = systems_of([Path(run).expanduser() for run in runs], arms)
    cautions = check_alike(systems)
    chosen = measure_of(systems, measure)
    how: dict[str, Any] = {"measure": chosen, "margin": margin, "level": level, "seed": seed}
    pooled, single, efficiency = [], [], []
    for a, b in combinations(systems, 2):
        whole, rows, curve = pair_rows(a, b, **how)
        pooled.append(whole)
        single += rows
        efficiency += curve
    scores = scores_of(systems, chosen, level, seed)
    return ComparedRuns(
        systems=tuple(systems),
        measure=chosen,
        unit=systems[0].comparison.unit,
        level=level,
        examples=len(systems[0].comparison.labels),
        scores=tuple(scores),
        pairs=tuple(_in_words(with_adjusted(pooled))),
        by_budget=tuple(_in_words(with_adjusted(single))),
        efficiency=tuple(efficiency),
        costs=tuple(with_fronts([cost_row(one, scores, chosen) for one in systems])),
        cautions=tuple(cautions),
    )


def pair_rows(a: System, b: System, **how: Any) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the row of a pair, those of each budget where there are several, and its row of label efficiency."""
    shared = check_budgets(a, b, how["measure"])
    rows = [row for n in shared if (row := compared(a, b, [n], **how))]
    if len(rows) < 2:
        return rows[0], [], []
    whole = compared(a, b, shared, **how) or rows[-1]
    curve = efficiency_of(a, b, shared, rows, how["measure"], how["level"], how["seed"])
    return whole, rows, [curve]


def compared(
    a: System, b: System, budgets: Sequence[int | None], *, measure: str, margin: float | None, level: float, seed: int
) -> dict[str, Any] | None:
    """Return the row of a pair; None where no seed of one succeeded at every budget."""
    both = paired(a.place, b.place, budgets, measure)
    found = compare_arms(a.place, b.place, budgets, measure, names=(a.name, b.name), level=level, seed=seed)
    if both is None or found is None:
        return None
    terms = components_of(both)
    row = {**found.to_dict(), "budget": budgets[0] if len(budgets) == 1 else POOLED, "budgets": list(budgets)}
    row |= {"measure": measure, "detectable": None if terms is None else detectable(terms, level=level)}
    row["mcnemar"] = model_tests(a, b, budgets, measure)
    if margin is not None:
        row["equivalence"] = within(both, margin, (a.name, b.name), level, seed)
    return row


def within(both: Paired, margin: float, names: tuple[str, str], level: float, seed: int) -> dict[str, Any]:
    """Return `Equivalence` of a pair with `outcome`, which says of either whether it is non-inferior."""
    first, second = both.scores
    found = equivalence(first, second, margin, level=level, alike=both.alike, seed=seed)
    outcome = found.word
    if outcome == NON_INFERIOR:
        outcome = f"{names[0]} {NON_INFERIOR}"
    elif outcome == NOT_SHOWN:
        other = equivalence(second, first, margin, level=level, alike=both.alike, seed=seed).word
        outcome = f"{names[1]} {NON_INFERIOR}" if other == NON_INFERIOR else outcome
    return {**vars(found), "outcome": outcome}


def model_tests(a: System, b: System, budgets: Sequence[int | None], measure: str) -> list[dict[str, Any]]:
    """Return McNemar's test of each pair of models with the same budget and seed; none for graded scores."""
    found = []
    for budget in budgets:
        first, second = (
            dict(zip((r.seed for r in s.comparison.select(s.arm, budget)), s.comparison.scores(s.arm, budget, measure)))
            for s in (a, b)
        )
        for seed in sorted(first.keys() & second.keys()):
            if is_right_or_wrong(first[seed]) and is_right_or_wrong(second[seed]):
                found.append({"budget": budget, "seed": seed, **vars(mcnemar(first[seed], second[seed]))})
    return found


def scores_of(systems: Sequence[System], measure: str, level: float, seed: int) -> list[dict[str, Any]]:
    """Return a row of `summary` for each system and budget."""
    tables = {s.folder: summary(s.comparison, measure=measure, level=level, seed=seed) for s in systems}
    return [{**row, "system": s.name} for s in systems for row in tables[s.folder] if row["arm"] == s.arm]


def efficiency_of(
    a: System,
    b: System,
    shared: Sequence[int | None],
    rows: Sequence[dict[str, Any]],
    measure: str,
    level: float,
    seed: int,
) -> dict[str, Any]:
    """Return where the curves of two systems cross, and the labels that the one ahead at the most labels needs."""
    gap = rows[-1]["difference"]
    ahead, behind = (a, b) if gap >= 0 else (b, a)
    saved = labels_saved(ahead.place, behind.place, shared, measure, level=level, seed=seed) if gap else None
    turns = [
        one | {key: {"a": a.name, "b": b.name}[one[key]] for key in ("ahead_before", "ahead_after")}
        for one in crossings(rows)
    ]
    return {
        "a": a.name,
        "b": b.name,
        "crossings": turns,
        "needs_fewer": ahead.name,
        "than": behind.name,
        "saved": saved,
    }


def _in_words(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with `outcome` and `adjusted_outcome`: which one is better, or no evidence."""
    names = {"helped": "a", "hurt": "b"}

    def said(row: Mapping[str, Any], word: str) -> str:
        return f"{row[names[word]]} is better" if word in names else word

    return [{**row, "outcome": said(row, row["word"]), "adjusted_outcome": said(row, row["adjusted"])} for row in rows]
