"""Linear CKA: whether two representations of the same examples are the same up to rotation and scale."""

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.choose.inputs import paired
from tfxfer.errors import UserError


def cka(features: ArrayLike, other: ArrayLike, *, unbiased: bool = False) -> float:
    """Return linear CKA, the similarity of two representations of the same examples.

    With K = XXᵀ and L = YYᵀ of centred columns,

        CKA = HSIC(K, L) / √( HSIC(K, K)·HSIC(L, L) )
        HSIC(K, L) = ‖YᵀX‖²_F = tr(KL)

    which is not 0 for unrelated features, and nears 1 where N is small beside their widths. The unbiased estimate has 0
    as its mean there. With the diagonals of K and L set to 0 it is, up to a factor that cancels,

        HSIC₁(K, L) = tr(KL) + (1ᵀK1)(1ᵀL1)/((N−1)(N−2)) − 2/(N−2)·1ᵀKL1

    Args:
        features: X, numbers [N, D].
        other: Y, numbers [N, E]: row i is the same example as row i of X.
        unbiased: Use HSIC₁, which needs four rows or more.

    Returns:
        A number within 0, unrelated, and 1, the same up to rotation and scale; unbiased it can be a little below 0, and
        above 1 where N is very small. Higher is more alike.

    Raises:
        UserError: Other numbers of rows, fewer than four with `unbiased`, a denominator that is not above 0, or what
            `tfxfer.choose.inputs` refuses.

    References:
        Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited". Song et al. 2012, "Feature
        Selection via Dependence Maximization" (HSIC₁).

    Example:
        >>> X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> round(cka(X, 3 * X[:, ::-1]), 4), round(cka(X, X[:, :1]), 4)  # turned and scaled; one of two directions
        (1.0, 0.7071)
    """
    X, Y = paired(features, other)
    if unbiased and len(X) < 4:
        raise UserError(f"the unbiased CKA needs four rows or more, not {len(X)}")
    X, Y = X - X.mean(0), Y - Y.mean(0)
    X, Y = X / np.abs(X).max(), Y / np.abs(Y).max()  # their scale does not count, and their fourth powers are taken
    hsic = _unbiased_hsic if unbiased else _inner
    own = hsic(X, X), hsic(Y, Y)
    if min(own) <= 0:
        raise UserError(
            f"the unbiased CKA has no value here: the estimate of one side's own HSIC is {min(own):.3g}; give more rows"
        )
    return float(hsic(X, Y) / np.sqrt(own[0]) / np.sqrt(own[1]))


def _inner(X: np.ndarray, Y: np.ndarray) -> float:
    """Return ‖YᵀX‖²_F = tr(XXᵀYYᵀ), by whichever product is smaller."""
    if len(X) ** 2 < X.shape[1] * Y.shape[1]:
        return float(np.sum((X @ X.T) * (Y @ Y.T)))
    return float(np.sum((Y.T @ X) ** 2))


def _unbiased_hsic(X: np.ndarray, Y: np.ndarray) -> float:
    """Return N(N − 3)·HSIC₁ without an [N, N] matrix: each term of K without its diagonal."""
    n = len(X)
    k, l = (X**2).sum(1), (Y**2).sum(1)  # noqa: E741 - the diagonals of K and L
    K1, L1 = X @ X.sum(0) - k, Y @ Y.sum(0) - l
    return float(_inner(X, Y) - k @ l + K1.sum() * L1.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (K1 @ L1))
