"""Domain gap: how far the source's examples and the target's lie apart in one feature space. No label is needed."""

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.choose.inputs import two_samples
from tfxfer.choose.probe import held_out_classes
from tfxfer.errors import UserError

BLOCK = 512  # rows compared with all others at a time
MEDIAN_ROWS = 2000  # rows whose distances give the median


def mmd(source: ArrayLike, target: ArrayLike, *, bandwidth: float | None = None) -> float:
    """Return the squared maximum mean discrepancy of two samples, its unbiased estimate.

    With k(x, y) = exp(−‖x − y‖² / (2ℓ²)),

        MMD² = mean_{i≠j} k(xᵢ, xⱼ) + mean_{i≠j} k(yᵢ, yⱼ) − 2·mean_{i,j} k(xᵢ, yⱼ)

    ℓ is the median distance between rows of both samples together: of all pairs that are not equal, where there are
    2,000 rows or fewer, else of as many evenly spaced rows.

    Args:
        source: Features of source examples, [M, D].
        target: Features of target examples by the same φ, [N, D].
        bandwidth: ℓ; by default the median.

    Returns:
        A number within −2 and 2: its mean is 0 where both are samples of one distribution, so it can be a little below
        0. Higher is further apart.

    Raises:
        UserError: Other widths, fewer than two rows, ℓ not above 0, no median, or what `tfxfer.choose.inputs` refuses.

    References:
        Gretton et al. 2012, "A Kernel Two-Sample Test".

    Example:
        >>> round(mmd([[0.0], [0.0]], [[1.0], [1.0]], bandwidth=1.0), 4)  # 1 + 1 − 2·exp(−½)
        0.7869
    """
    X, Y = two_samples(source, target)
    if bandwidth is not None and not bandwidth > 0:
        raise UserError(f"bandwidth is {bandwidth}; it must be above 0, in the features' unit")
    both = np.concatenate([X, Y])
    X, Y = X - both.mean(0), Y - both.mean(0)  # distances stay, and lose less to rounding
    width = bandwidth or _median_distance(np.concatenate([X, Y]))
    m, n = len(X), len(Y)
    within = (_kernel_sum(X, X, width) - m) / (m * (m - 1)) + (_kernel_sum(Y, Y, width) - n) / (n * (n - 1))
    return float(within - 2 * _kernel_sum(X, Y, width) / (m * n))


def proxy_a_distance(source: ArrayLike, target: ArrayLike, *, folds: int = 2, l2: float = 1e-2, seed: int = 0) -> float:
    """Return the proxy A-distance: how well a linear classifier tells source from target.

        d = 2·(1 − 2ε),   ε the mean of the two sides' error rates on rows that the classifier was not fitted on

    Args:
        source: Features of source examples, [M, D].
        target: Features of target examples by the same φ, [N, D].
        folds: Of the cross-validation.
        l2: λ of the classifier, as in `cross_validated_probe`.
        seed: Of the draw of the folds.

    Returns:
        A number within −2 and 2: 0 by chance, so it can be a little below 0; 2 where the two never mix. Higher is
        further apart. Wide features of different modalities nearly always give 2.

    Raises:
        UserError: Other widths, fewer rows of a side than folds, or what `tfxfer.choose.inputs` refuses.

    References:
        Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation".

    Example:
        >>> rng = np.random.default_rng(0)
        >>> proxy_a_distance(rng.normal(0, 1, (50, 2)), rng.normal(9, 1, (50, 2)))
        2.0
    """
    X, Y = two_samples(source, target)
    if min(len(X), len(Y)) < folds:
        raise UserError(f"{folds} folds need {folds} rows of each side or more, not {len(X)} and {len(Y)}")
    sides = np.repeat([0, 1], [len(X), len(Y)])
    wrong = held_out_classes(np.concatenate([X, Y]), sides, folds, l2, seed) != sides
    return float(2 * (1 - wrong[: len(X)].mean() - wrong[len(X) :].mean()))


def _kernel_sum(X: np.ndarray, Y: np.ndarray, width: float) -> float:
    """Return the sum of k over all pairs of a row of X and a row of Y."""
    total = 0.0
    for start in range(0, len(X), BLOCK):
        total += float(np.exp(_squared_distances(X[start : start + BLOCK], Y) / (-2 * width**2)).sum())
    return total


def _squared_distances(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    return np.maximum((X**2).sum(1)[:, None] + (Y**2).sum(1) - 2 * X @ Y.T, 0)


def _median_distance(rows: np.ndarray) -> float:
    """Return the median distance between two rows that are not equal."""
    from scipy.spatial.distance import pdist

    if len(rows) > MEDIAN_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, MEDIAN_ROWS).astype(int)]
    distances = pdist(rows)
    if not distances.any():
        raise UserError("nearly all rows are equal, so their median distance is 0; give the bandwidth")
    return float(np.median(distances[distances > 0]))
