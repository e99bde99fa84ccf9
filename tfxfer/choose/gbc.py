"""GBC: how much the classes overlap, each taken as a Gaussian."""

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.choose.inputs import class_sums, labelled
from tfxfer.errors import UserError, suggest

COVARIANCES = ("diagonal", "spherical")
FLOOR = 1e-4  # of a variance, so that a feature that is constant within two classes does not count as infinitely far
COMPONENTS = 64  # principal components that are kept


def gbc(
    features: ArrayLike, labels: ArrayLike, *, covariance: str = "diagonal", components: int | None = COMPONENTS
) -> float:
    """Return GBC, the negative sum of the Bhattacharyya coefficients of all ordered pairs of classes.

    Each class is a Gaussian with mean μ and a variance for each feature ("diagonal") or one for all ("spherical"). With
    Σ = (Σᵢ + Σⱼ)/2 and |Σ| the product of all D variances in both cases,

        D_B(i, j) = ⅛ (μᵢ − μⱼ)ᵀ Σ⁻¹ (μᵢ − μⱼ) + ½ ln( |Σ| / √(|Σᵢ|·|Σⱼ|) )
        GBC = −Σ_{i≠j} exp(−D_B(i, j))

    The features are first turned onto their principal components. Variances divide by n and are 1e-4 or more, so a
    class of one row has the variance 1e-4.

    Args:
        features: Numbers [N, D].
        labels: The target's classes [N]: whole numbers or text.
        covariance: "diagonal" or "spherical".
        components: How many principal components are kept; None leaves the features as they are.

    Returns:
        A number within −C(C − 1), all classes are the same Gaussian, and 0, none overlaps another. Higher is better.

    Raises:
        UserError: No such covariance, fewer than one component, or what `tfxfer.choose.inputs` refuses.

    References:
        Pándy et al. 2022, "Transferability Estimation using Bhattacharyya Class Separability". The released code counts
        the logarithm of a spherical variance once and not D times.

    Example:
        >>> rows = [[-1.0], [1.0], [3.0], [5.0]]  # means 0 and 4, variances 1: D_B = 16/8
        >>> round(gbc(rows, ["a", "a", "b", "b"]), 4)  # −2·exp(−2)
        -0.2707
    """
    if covariance not in COVARIANCES:
        raise UserError(f"there is no covariance '{covariance}'; {suggest(covariance, COVARIANCES)}")
    F, classes = labelled(features, labels)
    F = F - F.mean(0) if components is None else _principal(F - F.mean(0), components)
    counts = np.bincount(classes)[:, None]
    means = class_sums(F, classes) / counts  # [C, D]
    variances = np.maximum(class_sums((F - means[classes]) ** 2, classes) / counts, FLOOR)  # [C, D]
    if covariance == "spherical":
        variances = np.broadcast_to(variances.mean(1, keepdims=True), means.shape)
    total = 0.0
    for i in range(len(means)):
        shared = (variances + variances[i]) / 2  # [C, D]
        apart = ((means - means[i]) ** 2 / shared).sum(1) / 8
        unlike = 0.5 * np.log(shared / np.sqrt(variances * variances[i])).sum(1)
        total += np.exp(-apart - unlike)[np.arange(len(means)) != i].sum()
    return -float(total)


def _principal(F: np.ndarray, components: int) -> np.ndarray:
    """Return centred rows on their first principal components, [N, at most `components`]."""
    if components < 1:
        raise UserError(f"components is {components}; keep one or more, or None for the features as they are")
    wide = F.shape[0] < F.shape[1]
    squares, vectors = np.linalg.eigh(F @ F.T if wide else F.T @ F)
    squares, vectors = squares[::-1][:components], vectors[:, ::-1][:, :components]
    kept = squares > squares[0] * max(F.shape) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(squares[kept]) if wide else F @ vectors[:, kept]
