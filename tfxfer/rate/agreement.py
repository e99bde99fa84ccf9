"""Agreement of raters, and strengths of systems from pairwise choices. Arrays in, figures out.

References:
    Krippendorff, K. (2011). Computing Krippendorff's alpha-reliability.
    Cohen, J. (1968). Weighted kappa: nominal scale agreement with provision for scaled disagreement.
    Bradley, R. and Terry, M. (1952). Rank analysis of incomplete block designs: the method of paired comparisons.
    Hunter, D. (2004). MM algorithms for generalized Bradley–Terry models.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError

LEVELS = ("nominal", "ordinal", "interval")
DRAWS = 2_000
MOST_STEPS = 10_000  # of the MM algorithm
PRECISION = 1e-10  # of a log-strength, where it stops


# === Krippendorff's α ===


def krippendorff_alpha(ratings: ArrayLike, level: str = "ordinal") -> float | None:
    """Return Krippendorff's α = 1 − D_o / D_e: 1 for full agreement, 0 for that of chance.

    Args:
        ratings: float [R, U], what each of R raters gave to each of U units; NaN where a rater gave nothing.
        level: "nominal" (equal or not), "ordinal" (ranks) or "interval" (squared differences).

    Returns:
        α, at most 1; None where no unit has two ratings, or all ratings are the same.

    Raises:
        UserError: An unknown level.

    >>> round(krippendorff_alpha([[1, 2, 3, 3], [1, 2, 3, 4]], "nominal"), 3)
    0.696
    """
    values, each = coincidences(ratings)
    return _alpha(each.sum(0), values, level) if len(values) else None


def coincidences(ratings: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the values that occur [V], and for each unit its coincidence matrix, float [U, V, V].

    A unit with m ratings counts each ordered pair of them 1/(m − 1) times; one with fewer than two is all zeros.
    """
    table = np.asarray(ratings, float)  # [R, U]
    values = np.unique(table[~np.isnan(table)])
    counts = (table[:, :, None] == values).sum(0)  # [U, V]
    several = counts.sum(1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    return values, np.where(several > 1, 1 / np.maximum(1, several - 1), 0)[:, None, None] * pairs


def alpha_interval(ratings: ArrayLike, level: str, groups: ArrayLike, seed: int = 0) -> tuple[float, float] | None:
    """Return the 95 % interval of α: percentiles of a bootstrap over groups of units; None where α has none.

    Args:
        ratings: As for `krippendorff_alpha`, [R, U].
        level: As there.
        groups: [U], the group of each unit: the texts on one screen are rated together, and drawn together.
        seed: Of the draws.
    """
    values, each = coincidences(ratings)
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    sums = np.zeros((count, len(values), len(values)))
    np.add.at(sums, place, each)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), DRAWS) if count else np.zeros((0, 0))
    found = [_alpha(np.tensordot(one, sums, 1), values, level) for one in weights]
    there = [value for value in found if value is not None]
    if len(there) < DRAWS / 2:
        return None
    low, high = np.quantile(there, (0.025, 0.975))
    return float(low), float(high)


def _alpha(table: np.ndarray, values: np.ndarray, level: str) -> float | None:
    totals = table.sum(1)  # [V]
    count = totals.sum()
    distance = _squared_distances(totals, values, level)
    expected = (np.outer(totals, totals) * distance).sum() / (count - 1) if count > 1 else 0.0
    return float(1 - (table * distance).sum() / expected) if expected > 0 else None


def _squared_distances(totals: np.ndarray, values: np.ndarray, level: str) -> np.ndarray:
    """Return the squared distance of each two values, float [V, V]."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    if level == "interval":
        return (values[:, None] - values) ** 2
    if level == "ordinal":
        middle = np.cumsum(totals) - totals / 2  # of the ranks that a value takes
        return (middle[:, None] - middle) ** 2
    raise UserError(f"there is no level '{level}'; known: {', '.join(LEVELS)}")


# === Cohen's κ ===


def cohen_kappa(one: ArrayLike, other: ArrayLike, weights: str | None = None) -> float | None:
    """Return Cohen's κ of two raters on the units that both rated; "quadratic" weights for scales.

    Args:
        one: float [U], NaN where there is no rating.
        other: float [U].
        weights: None or "quadratic".

    Returns:
        κ by scikit-learn; None with fewer than two common units, or where both gave one value to all.
    """
    from sklearn.metrics import cohen_kappa_score

    first, second = np.asarray(one, float), np.asarray(other, float)
    both = ~(np.isnan(first) | np.isnan(second))
    first, second = first[both], second[both]
    if both.sum() < 2 or len(np.unique([first, second])) < 2:
        return None
    return float(cohen_kappa_score(first.astype(int), second.astype(int), weights=weights))


# === Bradley–Terry ===


def bradley_terry(wins: ArrayLike, prior: float = 0.0) -> np.ndarray:
    """Return the log-strengths of S systems, mean 0: P(i is preferred to j) = 1 / (1 + exp(s_j − s_i)).

    The maximum of the likelihood, by Hunter's MM algorithm.

    Args:
        wins: float [S, S]; [i, j] is how often i was preferred to j, a tie counted as half a win of each.
        prior: So many imagined ties between each two systems, which keep all strengths finite.

    Returns:
        float [S].

    Raises:
        UserError: There is no maximum: some systems were never preferred to the others, or never met them.

    >>> bradley_terry([[0, 3], [1, 0]]).round(3).tolist()  # P = 3/4, so s is ln 3 apart
    [0.549, -0.549]
    """
    table = np.asarray(wins, float) + prior / 2
    np.fill_diagonal(table, 0)
    if not _strongly_connected(table > 0):
        raise UserError(
            "some systems were never preferred to some others, so their strengths have no bounds; collect more ratings"
        )
    games, won = table + table.T, table.sum(1)
    strengths = np.zeros(len(table))
    for _ in range(MOST_STEPS):
        powers = np.exp(strengths)
        new = np.log(won / (games / (powers[:, None] + powers)).sum(1))
        new -= new.mean()
        done = np.abs(new - strengths).max() < PRECISION
        strengths = new
        if done:
            break
    return strengths


def _strongly_connected(beats: np.ndarray) -> bool:
    """Return whether each system is reached from each other: Ford's condition for a maximum."""
    reached = np.linalg.matrix_power(beats.astype(float) + np.eye(len(beats)), len(beats))
    return bool((reached > 0).all())


# === Intervals over items ===


def bootstrap(count: int, figure: Callable[[np.ndarray], Any], seed: int = 0, draws: int = DRAWS) -> Any:
    """Return the 2.5 and 97.5 percentiles of a figure over draws of items.

    Args:
        count: Number of items.
        figure: Takes how often each item is in a draw, int [count], and returns a float or an array, or NaN.
        seed: Of the draws.
        draws: Their number.

    Returns:
        [low, high], each like the figure.
    """
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), draws)
    return np.nanquantile([figure(one) for one in weights], (0.025, 0.975), axis=0)


def rank_correlation(one: ArrayLike, other: ArrayLike) -> float | None:
    """Return Spearman's rank correlation, −1 to 1; None with fewer than three pairs or without variation."""
    from scipy.stats import rankdata

    first, second = rankdata(one), rankdata(other)
    if len(first) < 3 or first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])
