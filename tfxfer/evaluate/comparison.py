"""The results of a `Comparison`: a row for each arm and budget, the verdicts, and the headline.

One comparison is declared the primary one before any run: `transfer` against `random`, with each example's
difference averaged over the budgets. All others are secondary, because of twenty intervals at 95 % about one
misses the true difference by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfxfer.evaluate.arms import BASELINE, NAIVE, TRAINED, capitalised, describe, outcome
from tfxfer.evaluate.verdict import Verdict, interval, signed, verdict
from tfxfer.records import Comparison

PRIMARY = ("transfer", "random")
POOLED = "pooled"
MEASURES = {  # name -> name in a text
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
    "vqa_accuracy": "VQA accuracy",
    "vqa_answers": "accuracy of answers",
    "caption_token_f1": "token F1 of captions",
    "classify_accuracy": "accuracy of classes",
}
RATIOS = ("question_accuracy", "vqa_accuracy", "vqa_answers")  # in 0..1; a score of one example may lie outside


def measure_name(measure: str) -> str:
    """Return the name of a measure in a text.

    >>> measure_name("recall_at_1"), measure_name("my_own")
    ('recall@1', 'my own')
    """
    return MEASURES.get(measure, measure.replace("_", " "))


def summary(
    comparison: Comparison, *, measure: str | None = None, level: float = 0.95, seed: int = 0
) -> list[dict[str, Any]]:
    """Return a row for each arm and budget that was run, arms in their order, budgets ascending.

    Args:
        comparison: The records.
        measure: The score to average; the comparison's first measure by default.
        level: Confidence level of the intervals.
        seed: Seed of the bootstrap.

    Returns:
        Dicts with `arm`, `budget`, `score`, `low`, `high` (mean over examples and seeds and its
        interval by `interval`; None when every seed failed), `seeds` (those that succeeded), `failed`,
        `errors`, `trainable` and `parameters` (those that trained, and all of that network), `optimizer_bytes` (its
        state) and `seconds` (mean of one seed).
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
        measure, else "secondary". With `--seeds auto` the primary row is at the level of a look.
    """
    measure = measure or comparison.measures[0]
    others = [against] if isinstance(against, str) else against
    others = [arm for arm in comparison.arms if arm != subject] if others is None else list(others)
    rows = []
    for other in others:
        shared = shared_budgets(comparison, subject, other)
        groups = [[budget] for budget in shared] + ([shared] if len(shared) > 1 else [])
        for budgets in groups:
            primary = (subject, other) == PRIMARY and budgets == shared and measure == comparison.measures[0]
            at = max(level, comparison.about.get("primary_level", level)) if primary else level
            one = compare_arms((comparison, subject), (comparison, other), budgets, measure, level=at, seed=seed)
            if one is None:
                continue
            place = {"budget": budgets[0] if len(budgets) == 1 else POOLED, "budgets": budgets}
            role = "primary" if primary else "secondary"
            rows.append({**one.to_dict(), **place, "measure": measure, "role": role})
    return rows


def headline(comparison: Comparison, *, level: float = 0.95, seed: int = 0) -> str:
    """Return in a few sentences whether transfer helped, at which budgets, and how the other arms compare."""
    return " ".join(story(comparison, level=level, seed=seed))


def story(comparison: Comparison, *, level: float = 0.95, seed: int = 0) -> list[str]:
    """Return the sentences of `headline`.

    The first is the primary comparison; when it cannot be made, the reason. The second names the budgets, where there
    are several. Then transfer is compared with the baselines of its task, and with the networks of which every weight
    is trained, where these were run. Naive baselines are named where transfer is not better. Then come the comparison's
    own contrasts, and last the other measures, each with its own verdict.
    """
    subject, control = PRIMARY
    rows = verdicts(comparison, subject, control, level=level, seed=seed)
    if not rows:
        return [f"No verdict on transfer against random weights: {_why_not(comparison)}"]
    unit = comparison.unit
    primary = next((row for row in rows if row["role"] == "primary"), None)
    if primary is None:
        return ["No overall verdict: no seed of both arms succeeded at every budget.", _by_budget(rows, unit)]
    sentences = [_sentence(comparison, primary)]
    if len(primary["budgets"]) > 1:
        sentences.append(_by_budget(rows, unit))
    trained: list[dict[str, Any]] = []
    for arm in comparison.arms:
        role = describe(comparison.about, arm).role
        if arm == subject or role not in (BASELINE, NAIVE, TRAINED):
            continue
        rows = verdicts(comparison, subject, arm, level=level, seed=seed)
        if role == TRAINED:
            trained += rows[-1:]
        elif rows and (role == BASELINE or rows[-1]["word"] != "helped"):
            sentences.append(_baseline_sentence(comparison, rows, primary["budgets"]))
    if trained:
        sentences.append(_trained_sentence(comparison, trained))
    for pair in comparison.contrasts:
        sentences += [_sentence(comparison, row) for row in verdicts(comparison, *pair, level=level, seed=seed)[-1:]]
    for measure in comparison.measures[1:]:
        rows = verdicts(comparison, subject, control, measure=measure, level=level, seed=seed)
        sentences += [f"By {measure_name(measure)}: {_sentence(comparison, row)}" for row in rows[-1:]]
    return sentences


def _sentence(comparison: Comparison, row: dict[str, Any]) -> str:
    where = _where(row["budgets"], comparison.unit)
    return Verdict.from_dict(row).sentence(measure_name(row["measure"]), where, comparison.about)


def shared_budgets(comparison: Comparison, a: str, b: str) -> list[int | None]:
    """Return the budgets at which both arms have at least one success."""
    return shared_budgets_of((comparison, a), (comparison, b))


def shared_budgets_of(
    a: tuple[Comparison, str], b: tuple[Comparison, str], measure: str | None = None
) -> list[int | None]:
    """Return the budgets at which both arms, each of its own comparison, have at least one success with a score."""
    return [n for n in a[0].budgets if all(scores_by_seed(run, arm, [n], measure) for run, arm in (a, b))]


def budget_words(budgets: Sequence[int | None], unit: str = "labels a class") -> str:
    """Return budgets as a text.

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
    scores = by_source(scores_by_seed(comparison, arm, [budget], measure), comparison)  # [S, N]
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
        "parameters": max((r.parameters for r in records), default=0),
        "optimizer_bytes": max((r.optimizer_bytes for r in records), default=0),
        "seconds": float(np.mean([r.seconds for r in good])) if good else None,
    }


def scores_by_seed(
    comparison: Comparison, arm: str, budgets: Sequence[int | None], measure: str | None = None
) -> dict[int, np.ndarray]:
    """Return seed -> scores [N] averaged over `budgets`, for the seeds that succeeded at all of them."""
    found: dict[int, list[np.ndarray]] = {}
    for budget in budgets:
        scores = comparison.scores(arm, budget, measure)
        for record, row in zip(comparison.select(arm, budget), scores):
            found.setdefault(record.seed, []).append(row)
    return {seed: np.mean(all_, axis=0) for seed, all_ in found.items() if len(all_) == len(budgets)}


def by_source(scores: dict[int, np.ndarray], comparison: Comparison) -> np.ndarray:
    """Return the scores of an arm as rows that are independent of each other.

    Seeds that share a trained source share its luck, so they are one row: the mean of their scores.

    Args:
        scores: seed -> scores [N].
        comparison: Says how many sources were trained, and the first seed.

    Returns:
        float [S, N], or [sources, N] where several were trained.
    """
    count = comparison.source_seeds
    if count == 1 or not scores:
        return np.stack([scores[seed] for seed in sorted(scores)]) if scores else np.zeros((0, len(comparison.labels)))
    first = min(record.seed for record in comparison.records)
    groups = sorted({(seed - first) % count for seed in scores})
    return np.stack([np.mean([row for s, row in scores.items() if (s - first) % count == g], axis=0) for g in groups])


@dataclass(frozen=True)
class Paired:
    """The scores of two arms on the same test examples.

    Attributes:
        scores: Rows of the first arm [S, N] and of the second [S', N], as `verdict` takes them.
        alike: Whether both arms train something, so that one row of an arm has the other's seed variance.
        seeds: Number of seeds of each.
        sources: Number of trained sources that the seeds were spread over.
    """

    scores: tuple[np.ndarray, np.ndarray]
    alike: bool
    seeds: tuple[int, int]
    sources: int = 1


def paired(
    a: tuple[Comparison, str], b: tuple[Comparison, str], budgets: Sequence[int | None], measure: str | None = None
) -> Paired | None:
    """Return the scores of two arms, averaged over budgets; seeds are paired by their number.

    Args:
        a: The comparison that an arm stands in, and the arm.
        b: The same of the other arm; the comparison may be another one on the same test split.
        budgets: Budgets that both arms have.
        measure: The score; the first measure by default.

    Returns:
        The scores; None where no seed of one arm succeeded at every budget.
    """
    return pair_by_seed(a, b, *(scores_by_seed(comparison, arm, budgets, measure) for comparison, arm in (a, b)))


def pair_by_seed(
    a: tuple[Comparison, str],
    b: tuple[Comparison, str],
    first: dict[int, np.ndarray],
    second: dict[int, np.ndarray],
) -> Paired | None:
    """Return the scores of two arms, given as seed -> scores [N]; None where one has none.

    Seeds that one arm lacks are left out as long as two pairs remain.
    """
    if not first or not second:
        return None
    common = sorted(first.keys() & second.keys())
    if len(common) > 1:
        first, second = ({s: arm[s] for s in common} for arm in (first, second))
    scores = (by_source(first, a[0]), by_source(second, b[0]))
    trained = all(any(r.trainable for r in comparison.records if r.arm == arm) for comparison, arm in (a, b))
    several = a[0].source_seeds == b[0].source_seeds > 1
    return Paired(scores, trained, (len(first), len(second)), len(scores[0]) if several else 1)


def compare_arms(
    a: tuple[Comparison, str],
    b: tuple[Comparison, str],
    budgets: Sequence[int | None],
    measure: str | None = None,
    *,
    names: tuple[str, str] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Verdict | None:
    """Return the verdict on two arms, averaged over budgets; the arguments are those of `paired` and `verdict`."""
    both = paired(a, b, budgets, measure)
    if both is None:
        return None
    found = verdict(*both.scores, level=level, seed=seed, names=names or (a[1], b[1]), alike=both.alike)
    return replace(found, seeds_a=both.seeds[0], seeds_b=both.seeds[1], sources=both.sources)


def _where(budgets: Sequence[int | None], unit: str) -> str:
    return f"{'at' if len(budgets) == 1 else 'averaged over'} {budget_words(budgets, unit)}"


def _by_budget(rows: Sequence[dict[str, Any]], unit: str) -> str:
    single = [row for row in rows if row["budget"] != POOLED]
    parts = []
    for word in ("helped", "hurt", "no evidence"):
        budgets = [row["budget"] for row in single if row["word"] == word]
        if len(budgets) == len(single):
            return f"By budget: {word} at every budget."
        if budgets:
            parts.append(f"{word} at {budget_words(budgets, unit)}")
    return f"By budget: {'; '.join(parts)}."


def _baseline_sentence(
    comparison: Comparison, rows: Sequence[dict[str, Any]], primary_budgets: Sequence[int | None]
) -> str:
    """Compare transfer with a baseline: name the better one, and the budgets at which the order is another."""
    row, unit = rows[-1], comparison.unit  # the pooled one, where there are several budgets
    baseline = describe(comparison.about, row["b"]).phrase
    sign = -1 if row["word"] == "hurt" else 1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    by = f"{sign * row['difference']:.3f}"
    where = f", {_where(row['budgets'], unit)}" if row["budgets"] != list(primary_budgets) else ""
    span = f"({row['level'] * 100:g} % interval {signed(low)} to {signed(high)})"
    sentence = {
        "hurt": f"{capitalised(baseline)} is better than transfer by {by}{where} {span}",
        "helped": f"Transfer is better than {baseline} by {by}{where} {span}",
    }.get(row["word"], f"No evidence of a difference between transfer and {baseline}{where} {span}")
    for word, better in (("helped", "transfer"), ("hurt", baseline)):
        budgets = [r["budget"] for r in rows[:-1] if r["word"] == word != row["word"]]
        if budgets:
            sentence += f"; at {budget_words(budgets, unit)} {better} is better"
    return f"{sentence}."


def _trained_sentence(comparison: Comparison, rows: Sequence[dict[str, Any]]) -> str:
    """Compare transfer with the arms of which every weight is trained, and state how long they were trained."""
    parts = []
    for row in rows:
        result = outcome(row["word"], row["a"], describe(comparison.about, row["b"]))
        over = "over" if row["difference"] >= 0 else "against"
        parts.append(f"{signed(row['difference'])} {over} {row['b']} ({result})")
    records = [r for row in rows for n in row["budgets"] for r in comparison.select(row["b"], n)]
    counts = [(r.settings[unit], unit) for unit in ("epochs", "steps") for r in records if unit in r.settings]
    lengths = [f"{count} {unit if count != 1 else unit[:-1]}" for count, unit in counts]
    trained = f", which trained for {' or '.join(dict.fromkeys(lengths))}; longer training may change that"
    where = _where(rows[0]["budgets"], comparison.unit)
    return f"{capitalised(where)}: {_listed(parts)}{trained if lengths else ''}."


def _why_not(comparison: Comparison) -> str:
    for arm in PRIMARY:
        records = [r for r in comparison.records if r.arm == arm]
        if not records:
            return f"the arm '{arm}' was not run."
        if not any(r.status == "ok" for r in records):
            return f"the arm '{arm}' failed: {records[0].error or 'no reason was recorded'}"
    return "no budget and seed succeeded in both arms."
