"""Scores on other test sets: how much a score falls in another domain, and what fine-tuning forgets.

    drop        score here − score there, of one arm on two test sets; the examples of the two are independent
    forgotten   score of the source's own task before fine-tuning minus the score after it, on the same examples

A record keeps such scores in `Record.elsewhere`. On forgetting: McCloskey and Cohen 1989,
"Catastrophic interference in connectionist networks".
"""

from dataclasses import dataclass

import numpy as np

from tfxfer.evaluate.comparison import by_source, compare_arms, scores_by_seed
from tfxfer.evaluate.verdict import DRAWS, Verdict, interval, verdict
from tfxfer.records import AFTER, BEFORE, SHIFT, Comparison


@dataclass(frozen=True)
class Drop:
    """One arm on two test sets.

    Attributes:
        arm: Its name.
        here: Mean score on the run's own test split, and the ends of its interval.
        there: The same on the other test set.
        drop: here − there, and the ends of its interval.
        seeds: Number of seeds.
    """

    arm: str
    here: tuple[float, float, float]
    there: tuple[float, float, float]
    drop: tuple[float, float, float]
    seeds: int


def drops(comparison: Comparison, arms: tuple[str, ...], budget: int | None) -> list[Drop]:
    """Return here, there and drop of each arm that has scores of the shifted test set at a budget."""
    there = comparison.elsewhere(SHIFT)
    found = []
    for arm in arms:
        first, second = (scores_by_seed(one, arm, [budget]) for one in (comparison, there))
        common = sorted(first.keys() & second.keys())
        if common:
            rows = [by_source({seed: one[seed] for seed in common}, comparison) for one in (first, second)]
            found.append(Drop(arm, interval(rows[0]), interval(rows[1]), drop(*rows), len(common)))
    return found


def drop(
    here: np.ndarray, there: np.ndarray, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean of `here` minus the mean of `there`, and the ends of its interval.

    Each test set is drawn anew with replacement, independently of the other; the seeds are paired, with a t term of the
    seeds' differences. Within one seed the two share the model, so the interval is a little too wide.

    Args:
        here: Scores [S, N].
        there: Scores [S, M] of the same models.
        level: Confidence level.
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    means = [rows.mean(0)[rng.integers(0, rows.shape[1], (draws, rows.shape[1]))].mean(1) for rows in (here, there)]
    by_seed = here.mean(1) - there.mean(1)  # [S]
    spread = means[0] - means[1]
    if len(by_seed) > 1:
        error = by_seed.std(ddof=1) / np.sqrt(len(by_seed))
        spread = spread + error * rng.standard_t(len(by_seed) - 1, size=draws)
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    return float(by_seed.mean()), float(low), float(high)


def gain_there(comparison: Comparison, other: str, budget: int | None) -> Verdict | None:
    """Return the verdict of transfer against another arm on the shifted test set; None where one was not scored."""
    there = comparison.elsewhere(SHIFT)
    return compare_arms((there, "transfer"), (there, other), [budget])


def forgetting(comparison: Comparison) -> dict[tuple[str, int | None], tuple[float, float, Verdict]]:
    """Return (arm, budget) -> the source's own score before and after, and the verdict on after − before.

    The two are paired by the source's examples, and by seed. Arms that trained nothing of the source have no entry.
    """
    before, after = comparison.elsewhere(BEFORE), comparison.elsewhere(AFTER)
    found = {}
    for arm in after.arms:
        for budget in after.budgets:
            one, two = (by_source(scores_by_seed(each, arm, [budget]), comparison) for each in (after, before))
            if one.size and two.size:
                judged = verdict(one, two, names=("after", "before"))
                found[arm, budget] = (float(two.mean()), float(one.mean()), judged)
    return found
