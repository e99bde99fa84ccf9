"""Equivalence and non-inferiority within a margin, by two one-sided tests (TOST).

"No evidence" of a difference is no evidence of equality: a small experiment finds nothing. With a margin, chosen before
the run as the greatest difference that would not matter, two claims can be shown at a 5 % error:

    equivalent      both one-sided tests reject: the 90 % interval of the difference lies within ±margin
    non-inferior    only the lower one does: the 90 % interval lies above −margin

The interval is the verdict's own, at 90 %: each of its ends is a one-sided 95 % bound. Where fewer examples differ than
a sign test needs, a bootstrap cannot see the rare differences that others would show. The interval is then widened to
the bound of Clopper and Pearson (1934) on their share: of 100 examples without a difference, up to 3 % may have one.

Sources: Schuirmann 1987, A comparison of the two one-sided tests procedure and the power approach for assessing the
equivalence of average bioavailability; Piaggio et al. 2012 (CONSORT) for non-inferiority.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.evaluate.arms import describe
from tfxfer.evaluate.comparison import PRIMARY, measure_name, paired, shared_budgets
from tfxfer.evaluate.margins import check_margin
from tfxfer.evaluate.verdict import DRAWS, signed, too_few, verdict
from tfxfer.records import Comparison

LEVEL = 0.95  # of each one-sided test
NEITHER = "shown neither equivalent nor non-inferior to"
EQUIVALENT, NON_INFERIOR, NOT_SHOWN = "equivalent", "non-inferior", "not shown"


@dataclass(frozen=True)
class Equivalence:
    """The result of two one-sided tests.

    Attributes:
        margin: The greatest difference that would not matter.
        low: Lower end of the interval of the difference, a one-sided bound.
        high: Upper end.
        word: "equivalent", "non-inferior" or "not shown". With one seed of both always "not shown".
        level: Level of each one-sided test; the interval's is 2·level − 1.
        too_few: Whether too few examples differ, of scores without bounds, so that nothing can be shown.
    """

    margin: float
    low: float
    high: float
    word: str
    level: float = LEVEL
    too_few: bool = False


def equivalence(
    a: ArrayLike,
    b: ArrayLike,
    margin: float,
    *,
    level: float = LEVEL,
    alike: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Equivalence:
    """Test whether the first arm equals the second, or is at least not worse, within a margin.

    Args:
        a: Scores of the arm under study, bool or float, [S, N] or [N]; higher is better.
        b: Scores of the other arm, [S', N] or [N].
        margin: Above 0, in the unit of the scores.
        level: Level of each one-sided test.
        alike: As for `verdict`.
        draws: As for `verdict`.
        seed: Seed of the draws.

    Raises:
        UserError: The margin is not above 0, or `verdict` refuses the scores.
    """
    check_margin(margin)
    found = verdict(a, b, level=2 * level - 1, alike=alike, draws=draws, seed=seed)
    first, second = (np.atleast_2d(np.asarray(scores, float)) for scores in (a, b))
    low, high = found.low, found.high
    seeds, blind = max(len(first), len(second)), False
    differences = first.mean(0) - second.mean(0)
    if too_few(differences, level):
        bound = _bound(differences, first, second, level)
        blind = not math.isfinite(bound)
        low, high = (low, high) if blind else (min(low, -bound), max(high, bound))
    word = NOT_SHOWN
    if seeds > 1 and not blind and low > -margin:
        word = EQUIVALENT if high < margin else NON_INFERIOR
    return Equivalence(margin, low, high, word, level, blind)


def equivalences(comparison: Comparison, margin: float, *, subject: str = "transfer") -> list[dict[str, Any]]:
    """Return for each other arm whether `subject` equals it, averaged over the budgets they share.

    Returns:
        Dicts with the attributes of `Equivalence`, `b` (the other arm) and `budgets`.
    """
    found = []
    for other in comparison.arms:
        budgets = shared_budgets(comparison, subject, other) if other != subject else []
        both = paired((comparison, subject), (comparison, other), budgets) if budgets else None
        if both is not None:
            level = comparison.about.get("primary_level", LEVEL) if (subject, other) == PRIMARY else LEVEL
            one = equivalence(*both.scores, margin, level=level, alike=both.alike)
            found.append({**vars(one), "b": other, "budgets": budgets})
    return found


def margin_sentence(comparison: Comparison, margin: float | None = None) -> str | None:
    """Return what a run shows within a margin, by default the one it was given; None without one."""
    margin = margin if margin is not None else comparison.about.get("margin")
    rows = equivalences(comparison, margin) if margin else []
    if not rows:
        return None
    parts = []
    for word, saying in ((EQUIVALENT, "equivalent to"), (NON_INFERIOR, "non-inferior to"), (NOT_SHOWN, NEITHER)):
        named = ", ".join(_named(comparison, row) for row in rows if row["word"] == word)
        parts += [f"{saying} {named}"] if named else []
    what = f"{margin:g} {measure_name(comparison.measures[0])}"
    return f"Within a margin of {what} (two one-sided tests, 90 % intervals), transfer is {'; '.join(parts)}."


def _named(comparison: Comparison, row: dict[str, Any]) -> str:
    span = "too few examples differ" if row["too_few"] else f"{signed(row['low'])} to {signed(row['high'])}"
    span += f", {2 * row['level'] - 1:.0%} interval".replace("%", " %") if row["level"] != LEVEL else ""
    return f"{describe(comparison.about, row['b']).phrase} ({span})"


def _bound(differences: np.ndarray, first: np.ndarray, second: np.ndarray, level: float) -> float:
    """Return how large the mean difference may be when few examples differ; infinite for scores without bounds."""
    from scipy.stats import binomtest

    if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) > 1:
        return math.inf
    count = int(np.count_nonzero(differences))
    return float(binomtest(count, len(differences)).proportion_ci(2 * level - 1, "exact").high)
