"""H-score: how much of the features' variance lies between the classes."""

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.choose.inputs import class_sums, labelled


def h_score(features: ArrayLike, labels: ArrayLike, *, shrinkage: bool = False) -> float:
    """Return the H-score of features, plain or with a shrunk covariance.

        H = tr( cov(f)⁻¹ · cov(E[f | y]) )
        H = tr( cov_α(f)⁻¹ · (1 − α)·cov(E[f | y]) ),   cov_α(f) = (1 − α)·cov(f) + α·(tr cov(f)/D)·I

    The second, with α from Ledoit and Wolf, is for few examples: as soon as N − 1 ≤ D and no rows are equal, the plain
    score is C − 1 whatever the features. Where cov(f) has no inverse, the plain score takes the inverse on the
    directions in which the features vary. A direction counts as constant below the rounding error of float64.

    Args:
        features: Numbers [N, D].
        labels: The target's classes [N]: whole numbers or text.
        shrinkage: Shrink the covariance.

    Returns:
        A number within 0, all classes have the same mean, and C − 1, nothing varies within a class. Higher is better.

    Raises:
        UserError: What `tfxfer.choose.inputs` refuses.

    References:
        Bao et al. 2019, "An Information-Theoretic Approach to Transferability in Task Transfer Learning". Ibrahim et
        al. 2021, "Newer is not always better: Rethinking transferability metrics, their peculiarities, stability and
        performance". Published code has an elementwise product in the trace, which can exceed C − 1, or inverts in
        float32, which can be negative.

    Example:
        >>> round(h_score([[0.0], [2.0], [4.0], [6.0]], ["a", "a", "b", "b"]), 4)  # variance 5, of the class means 4
        0.8
    """
    F, classes = labelled(features, labels)
    F = F - F.mean(0)
    if shrinkage:
        return _shrunk(F, classes)
    wide = F.shape[0] < F.shape[1]
    squares, vectors = np.linalg.eigh(F @ F.T if wide else F.T @ F)
    kept = squares > squares[-1] * max(F.shape) * np.finfo(np.float64).eps
    rows = vectors[:, kept] if wide else F @ vectors[:, kept] / np.sqrt(squares[kept])  # [N, R], orthonormal columns
    return float(np.sum(class_sums(rows, classes) ** 2 / np.bincount(classes)[:, None]))


def _shrunk(F: np.ndarray, classes: np.ndarray) -> float:
    from sklearn.covariance import ledoit_wolf

    covariance, alpha = ledoit_wolf(F, assume_centered=True)
    counts = np.bincount(classes)[:, None]
    means = class_sums(F, classes) / counts  # [C, D]
    between = (counts * means).T @ means / len(F)
    return float((1 - alpha) * np.trace(np.linalg.solve(covariance, between)))
