"""How small a difference a comparison can find: the minimal detectable effect at 80 % power.

A verdict says "helped" when its interval lies above 0, so a true difference δ is found with the probability

    power(δ) = E over the seeds' sd of P(|D| > h),      D ~ N(δ, V),      V = Σ sd²/S + σ²(example)/N,

where h is half the interval's width: the 95 % point of |Σ t(S−1)·sd/√S + N(0, σ²(example)/N)|, and at least that of the
bootstrap over examples. sd² is known from S − 1 degrees of freedom only, so it is spread as σ²·χ²(S−1)/(S−1). The
minimal detectable effect is the δ of power 0.8. Without seed terms it is (z(.975) + z(.80))·SE = 2.80·SE; with seed
terms alone, that of the noncentral t.

Source of the notion: Bloom 1995, Minimum detectable effects: a simple way to report the statistical power of
experimental designs. His (t(.975) + t(.80))·SE is the approximation of what is computed here.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tfxfer.evaluate.comparison import PRIMARY, Paired, measure_name, paired, shared_budgets
from tfxfer.evaluate.verdict import Components, components
from tfxfer.records import Comparison

POWER = 0.8
SPREAD = 128  # values of the seeds' standard deviations
DRAWS = 4_096  # of an interval's terms


def power(difference: float, found: Components, *, level: float = 0.95) -> float:
    """Return the probability that a verdict finds a true difference, in whichever direction it says.

    Args:
        difference: The true difference of the mean scores.
        found: The standard errors of the comparison.
        level: Confidence level of the verdict's interval.
    """
    from scipy.stats import norm

    widths, error = _half_widths(found, level), _error(found)
    if error == 0:
        return float(difference != 0)
    return float((norm.cdf((difference - widths) / error) + norm.cdf((-difference - widths) / error)).mean())


def detectable(found: Components, *, aim: float = POWER, level: float = 0.95) -> float:
    """Return the smallest true difference that is found with the probability `aim`; 0 where nothing varies.

    >>> round(detectable(Components((), examples=0.01, narrowest=0.01)), 4)
    0.028
    """
    from scipy.optimize import brentq

    error = _error(found)
    if error == 0:
        return 0.0
    most = float(_half_widths(found, level).max()) + 10 * error
    return float(brentq(lambda difference: power(difference, found, level=level) - aim, 0.0, most))


def with_seeds(found: Components, seeds: int) -> Components:
    """Return the standard errors that the same comparison has with another number of seeds, two or more.

    Raises:
        ValueError: There is not exactly one seed term, that of arms paired by seed.
    """
    ((error, freedom),) = found.seeds
    share = (freedom + 1) / seeds
    interaction = max(0.0, found.narrowest**2 - found.examples**2) * share
    narrowest = float(np.sqrt(found.examples**2 + interaction))
    return Components(((error * float(np.sqrt(share)), seeds - 1),), found.examples, narrowest)


def components_of(both: Paired) -> Components | None:
    """Return the standard errors of a comparison, as `verdict` makes its interval of them.

    None with one seed, and where all scores are the same: nothing is known of what differences would vary by.
    """
    first, second = both.scores
    if max(len(first), len(second)) == 1 or np.array_equal(first.mean(0), second.mean(0)):
        return None
    same = len(first) == len(second) or 1 in (len(first), len(second))
    alike = both.alike and 1 in (len(first), len(second)) and len(first) != len(second)
    by_example = first.mean(0) - second.mean(0)
    return components(by_example, [first - second] if same else [first, second], alike)


def power_sentence(comparison: Comparison) -> str | None:
    """Return the minimal detectable effect of a run's primary comparison, by its own components; None without one."""
    found = primary_components(comparison)
    if found is None:
        return None
    smallest = detectable(found, level=comparison.about.get("primary_level", 0.95))
    measure = measure_name(comparison.measures[0])
    return (
        f"Power: a run like this finds a true difference of {smallest:.3f} {measure} in {POWER:.0%} of cases "
        "(minimal detectable effect); smaller ones are often missed."
    ).replace("%", " %")


def expectation(
    earlier: Comparison, budgets: Sequence[int | None], seeds: int, *, level: float = 0.95
) -> tuple[float, int] | None:
    """Return what the primary comparison of a run will be able to find, from earlier records of the same experiment.

    Args:
        earlier: The earlier records.
        budgets: The run's budgets; the records must have all of them.
        seeds: The run's seeds of both arms.
        level: Confidence level of the verdict.

    Returns:
        The minimal detectable effect, and the number of earlier seeds; None where they are fewer than two.
    """
    found = primary_components(earlier, budgets)
    if found is None or len(found.seeds) != 1 or seeds < 2:
        return None
    return detectable(with_seeds(found, seeds), level=level), found.seeds[0][1] + 1


def primary_components(comparison: Comparison, budgets: Sequence[int | None] | None = None) -> Components | None:
    """Return the standard errors of transfer against random over all budgets; None where they cannot be compared."""
    subject, control = PRIMARY
    shared = shared_budgets(comparison, subject, control)
    wanted = list(budgets) if budgets is not None else shared
    if not wanted or not set(wanted) <= set(shared):
        return None
    both = paired((comparison, subject), (comparison, control), wanted)
    return None if both is None else components_of(both)


def _error(found: Components) -> float:
    return float(np.sqrt(sum(error**2 for error, _ in found.seeds) + found.examples**2))


@lru_cache(maxsize=64)
def _half_widths(found: Components, level: float) -> np.ndarray:
    """Return half the width of the interval for each value of the seeds' standard deviations, float [SPREAD]."""
    from scipy.stats import chi2, norm, t

    rng = np.random.default_rng(0)
    terms = found.examples * norm.ppf(_strata(DRAWS, rng))[None, :]  # [1, DRAWS]
    for error, freedom in found.seeds:
        sd = error * np.sqrt(chi2.ppf(_strata(SPREAD, rng), freedom) / freedom)
        terms = terms + sd[:, None] * t.ppf(_strata(DRAWS, rng), freedom)[None, :]  # [SPREAD, DRAWS]
    least = found.narrowest * norm.ppf((1 + level) / 2)
    return np.maximum(np.quantile(np.abs(terms), level, axis=1), least)


def _strata(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the middles of equal parts of 0..1, in random order."""
    return rng.permutation((np.arange(count) + 0.5) / count)
