"""What a `Comparison` says: a row for each arm and budget, the verdicts, and the headline.

One comparison is declared the primary one before any run: `transfer` against `random`, with each example's
difference averaged over the label budgets. All others are secondary, because of twenty intervals at 95 %
about one misses the truth by chance.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxfer.evaluate.verdict import ARM_PHRASES, Verdict, interval, signed, verdict
from tfxfer.records import Comparison

PRIMARY = ("transfer", "random")
POOLED = "pooled"
PLAIN = ("native", "neighbour")  # what needs no transfer: the plain way to do a task
WHOLE = ("scratch", "finetune")  # arms in which every weight is trained
MEASURES = {  # name -> what people call it
    "accuracy": "accuracy",
    "recall_at_1": "recall@1",
    "recall_at_5": "recall@5",
    "recall_at_10": "recall@10",
    "reciprocal_rank": "reciprocal rank",
    "log_likelihood": "nats a token",
    "cider_d": "CIDEr-D",
    "token_f1": "token F1",
    "exact_match": "exact match",
    "question_accuracy": "accuracy",
}
RATIOS = ("question_accuracy",)  # shares whose single scores may lie outside 0..1


def measure_name(measure: str) -> str:
    """Return what people call a measure.

    >>> measure_name("recall_at_1"), measure_name("my_own")
    ('recall@1', 'my own')
    """
    return MEASURES.get(measure, measure.replace("_", " "))


def summary(
    comparison: Comparison, *, measure: str | None = None, level: float = 0.95, seed: int = 0
) -> list[dict[str, Any]]:
    """Return a row for each arm and budget that was tried, arms in their order, budgets ascending.

    Args:
        comparison: The records.
        measure: What is averaged; the comparison's first measure by default.
        level: Confidence level of the intervals.
        seed: Seed of the bootstrap.

    Returns:
        Dicts with `arm`, `budget`, `score`, `low`, `high` (mean over examples and seeds and its
        interval by `interval`; None when every seed failed), `seeds` (those that succeeded), `failed`,
        `errors`, `trainable` (parameters) and `seconds` (mean of one seed).
    """
    tried = {(r.arm, r.budget) for r in comparison.records}
    return [
        _row(comparison, arm, budget, measure, level, seed)
        for arm in comparison.arms
        for budget in comparison.budgets
        if (arm, budget) in tried
    ]


def verdicts(
    comparison: Comparison,
    subject: str = "transfer",
    against: str | Sequence[str] | None = None,
    *,
    measure: str | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare `subject` with every other arm (or those in `against`) at every budget they share.

    Seeds are paired by their number, and those that one arm lacks are left out as long as two pairs remain.

    Returns:
        `Verdict.to_dict` of each comparison with `budget` (the budget), `budgets` (a list of it)
        `measure` and `role`. Where an arm shares several budgets, a last row has `budget` "pooled" and all
        of them in `budgets`. `role` is "primary" for `transfer` against `random` over all budgets by the first
        measure, else "secondary".
    """
    measure = measure or comparison.measures[0]
    others = [against] if isinstance(against, str) else against
    others = [arm for arm in comparison.arms if arm != subject] if others is None else list(others)
    rows = []
    for other in others:
        shared = shared_budgets(comparison, subject, other)
        groups = [[budget] for budget in shared] + ([shared] if len(shared) > 1 else [])
        for budgets in groups:
            one = _compare(comparison, subject, other, budgets, measure, level, seed)
            if one is None:
                continue
            primary = (subject, other) == PRIMARY and budgets == shared and measure == comparison.measures[0]
            place = {"budget": budgets[0] if len(budgets) == 1 else POOLED, "budgets": budgets}
            role = "primary" if primary else "secondary"
            rows.append({**one.to_dict(), **place, "measure": measure, "role": role})
    return rows


def headline(comparison: Comparison, *, level: float = 0.95, seed: int = 0) -> str:
    """Say in a few sentences whether transfer helped, at which budgets, and how the other arms did."""
    return " ".join(story(comparison, level=level, seed=seed))


def story(comparison: Comparison, *, level: float = 0.95, seed: int = 0) -> list[str]:
    """Return the sentences of `headline`.

    The first is the primary comparison; when it cannot be made, it says why. The second names the budgets,
    where there are several. Then transfer is compared with the plain baseline of its task, and with the networks that
    were trained whole, where these were run. Last come the other measures, each with its own word.
    """
    subject, control = PRIMARY
    rows = verdicts(comparison, subject, control, level=level, seed=seed)
    if not rows:
        return [f"No verdict on transfer against random weights: {_why_not(comparison)}"]
    unit = comparison.unit
    primary = next((row for row in rows if row["role"] == "primary"), None)
    if primary is None:
        return ["No overall verdict: no seed of both arms succeeded at every budget.", _by_budget(rows, unit)]
    sentences = [_sentence(primary, unit)]
    if len(primary["budgets"]) > 1:
        sentences.append(_by_budget(rows, unit))
    for arm in PLAIN:
        plain = verdicts(comparison, subject, arm, level=level, seed=seed)
        if plain:
            sentences.append(_plain_sentence(plain, primary["budgets"], unit))
    whole = [verdicts(comparison, subject, arm, level=level, seed=seed)[-1:] for arm in WHOLE]
    if any(whole):
        sentences.append(_whole_sentence(comparison, [row for rows in whole for row in rows]))
    for measure in comparison.measures[1:]:
        rows = verdicts(comparison, subject, control, measure=measure, level=level, seed=seed)
        sentences += [f"By {measure_name(measure)}: {_sentence(row, unit)}" for row in rows[-1:]]
    return sentences


def _sentence(row: dict[str, Any], unit: str) -> str:
    return Verdict.from_dict(row).sentence(measure_name(row["measure"]), _where(row["budgets"], unit))


def shared_budgets(comparison: Comparison, a: str, b: str) -> list[int | None]:
    """Return the budgets at which both arms have at least one success."""
    return [n for n in comparison.budgets if _by_seed(comparison, a, [n]) and _by_seed(comparison, b, [n])]


def budget_words(budgets: Sequence[int | None], unit: str = "labels a class") -> str:
    """Write budgets as words.

    >>> budget_words([5, 20, None])
    '5 and 20 labels a class and all labels'
    >>> budget_words([1]), budget_words([None]), budget_words([50, 150], "pairs")
    ('1 label a class', 'all labels', '50 and 150 pairs')
    """
    numbers = [f"{n:,}" for n in budgets if n is not None]
    things, *rest = unit.split(" ", 1)
    one = [things.removesuffix("s") if numbers == ["1"] else things, *rest]
    parts = [f"{_listed(numbers)} {' '.join(one)}"] if numbers else []
    return " and ".join(parts + [f"all {things}"] * (None in budgets))


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _row(
    comparison: Comparison, arm: str, budget: int | None, measure: str | None, level: float, seed: int
) -> dict[str, Any]:
    records = [r for r in comparison.records if (r.arm, r.budget) == (arm, budget)]
    good = [r for r in records if r.status == "ok"]
    scores = comparison.scores(arm, budget, measure)  # [S, N]
    mean, low, high = interval(scores, level=level, seed=seed) if scores.size else (None, None, None)
    if (measure or comparison.measures[0]) in RATIOS and low is not None and high is not None:
        low, high = max(low, 0.0), min(high, 1.0)
    errors = [r.error or "no reason was recorded" for r in records if r.status != "ok"]
    return {
        "arm": arm,
        "budget": budget,
        "score": mean,
        "low": low,
        "high": high,
        "seeds": len(good),
        "failed": len(records) - len(good),
        "errors": list(dict.fromkeys(errors)),
        "trainable": max((r.trainable for r in records), default=0),
        "seconds": float(np.mean([r.seconds for r in good])) if good else None,
    }


def _by_seed(
    comparison: Comparison, arm: str, budgets: Sequence[int | None], measure: str | None = None
) -> dict[int, np.ndarray]:
    """Return seed -> scores [N] averaged over `budgets`, for the seeds that succeeded at all of them."""
    found: dict[int, list[np.ndarray]] = {}
    for budget in budgets:
        scores = comparison.scores(arm, budget, measure)
        for record, row in zip(comparison.select(arm, budget), scores):
            found.setdefault(record.seed, []).append(row)
    return {seed: np.mean(all_, axis=0) for seed, all_ in found.items() if len(all_) == len(budgets)}


def _compare(
    comparison: Comparison, a: str, b: str, budgets: Sequence[int | None], measure: str, level: float, seed: int
) -> Verdict | None:
    first, second = (_by_seed(comparison, arm, budgets, measure) for arm in (a, b))
    if not first or not second:
        return None  # pooled, and no seed of one arm succeeded at every budget
    common = sorted(first.keys() & second.keys())
    if len(common) > 1:
        first, second = ({s: arm[s] for s in common} for arm in (first, second))
    scores = [np.stack([arm[s] for s in sorted(arm)]) for arm in (first, second)]
    trained = all(any(r.trainable for r in comparison.records if r.arm == arm) for arm in (a, b))
    return verdict(scores[0], scores[1], level=level, seed=seed, names=(a, b), alike=trained)


def _where(budgets: Sequence[int | None], unit: str) -> str:
    return f"{'at' if len(budgets) == 1 else 'averaged over'} {budget_words(budgets, unit)}"


def _by_budget(rows: Sequence[dict[str, Any]], unit: str) -> str:
    single = [row for row in rows if row["budget"] != POOLED]
    parts = []
    for word in ("helped", "hurt", "no evidence"):
        budgets = [row["budget"] for row in single if row["word"] == word]
        if len(budgets) == len(single):
            return f"Taken one by one, every budget says the same: {word}."
        if budgets:
            parts.append(f"{word} at {budget_words(budgets, unit)}")
    return f"Taken one by one: {'; '.join(parts)}."


def _plain_sentence(rows: Sequence[dict[str, Any]], primary_budgets: Sequence[int | None], unit: str) -> str:
    row = rows[-1]  # the pooled one, where there are several budgets
    plain = ARM_PHRASES[row["b"]]
    sign = -1 if row["word"] == "hurt" else 1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    by = f"{sign * row['difference']:.3f}"
    if row["budgets"] != list(primary_budgets):
        by += f", {_where(row['budgets'], unit)}"
    span = f"({row['level'] * 100:g} % interval {signed(low)} to {signed(high)})"
    sentence = {
        "hurt": f"{plain[:1].upper()}{plain[1:]} is still better than transfer, by {by} {span}",
        "helped": f"Transfer also beats {plain}, by {by} {span}",
    }.get(row["word"], f"Between transfer and {plain} no difference was shown {span}")
    for word, better in (("helped", "transfer"), ("hurt", plain)):
        budgets = [r["budget"] for r in rows[:-1] if r["word"] == word != row["word"]]
        if budgets:
            sentence += f"; at {budget_words(budgets, unit)} {better} is better"
    return f"{sentence}."


def _whole_sentence(comparison: Comparison, rows: Sequence[dict[str, Any]]) -> str:
    """Compare transfer with the arms that train everything, and say how long they were trained."""
    shares = [f"{signed(row['difference'])} over {row['b']} ({row['word']})" for row in rows]
    records = [r for row in rows for n in row["budgets"] for r in comparison.select(row["b"], n)]
    counts = [(r.settings[unit], unit) for unit in ("epochs", "updates") for r in records if unit in r.settings]
    lengths = [f"{count} {unit if count != 1 else unit[:-1]}" for count, unit in counts]
    trained = f", which trained for {' or '.join(dict.fromkeys(lengths))}; longer training may change that"
    return f"{_where(rows[0]['budgets'], comparison.unit).capitalize()}: {_listed(shares)}{trained if lengths else ''}."


def _why_not(comparison: Comparison) -> str:
    for arm in PRIMARY:
        records = [r for r in comparison.records if r.arm == arm]
        if not records:
            return f"the arm '{arm}' was not run."
        if not any(r.status == "ok" for r in records):
            return f"the arm '{arm}' failed: {records[0].error or 'no reason was recorded'}"
    return "no budget and seed succeeded in both arms."
