"""TransRate: how many nats the classes save when the features are coded up to a distortion."""

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.choose.inputs import labelled
from tfxfer.errors import UserError, suggest

WEIGHTINGS = ("released", "paper")


def transrate(features: ArrayLike, labels: ArrayLike, *, weighting: str = "released", epsilon: float = 1e-4) -> float:
    """Return TransRate, the rate of all features less the rates of the classes, in nats.

    With Z the features, centred once over all rows, and Z_c the n_c rows of class c,

        R(Z) = ½·ln det( I + ZᵀZ / (N·ε) )
        "released":  R(Z) − (1/C) Σ_c R(Z_c)         "paper":  R(Z) − Σ_c (n_c/N)·R(Z_c)

    The two are the same for classes of equal size.

    Args:
        features: Numbers [N, D]. Their scale counts: larger features have larger rates.
        labels: The target's classes [N]: whole numbers or text.
        weighting: How classes are weighted: as in the released code, or as in the paper.
        epsilon: ε, the distortion allowed, in squared units of the features.

    Returns:
        A number; higher is better. With "paper" it is 0, all classes have the same second moments, or more. "released"
        can be negative where a small class varies less than a large one.

    Raises:
        UserError: No such weighting, ε is not above 0, or what `tfxfer.choose.inputs` refuses.

    References:
        Huang et al. 2022, "Frustratingly Easy Transferability Estimation".

    Example:
        >>> round(transrate([[-1.0], [-1.0], [1.0], [1.0]], [0, 0, 1, 1], epsilon=1.0), 3)  # the same in both classes
        0.0
        >>> features = [[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0], [0.0, -3.0]]
        >>> round(transrate(features, [0, 0, 1, 1], epsilon=1.0), 3)  # ln(1 + 4.5) − ½·ln(1 + 9)
        0.553
    """
    if weighting not in WEIGHTINGS:
        raise UserError(f"there is no weighting '{weighting}'; {suggest(weighting, WEIGHTINGS)}")
    if not epsilon > 0:
        raise UserError(f"epsilon is {epsilon}; it must be above 0")
    Z, classes = labelled(features, labels)
    Z = Z - Z.mean(0)
    counts = np.bincount(classes)
    rates = np.array([_rate(Z[classes == c], epsilon) for c in range(len(counts))])
    weights = counts / len(Z) if weighting == "paper" else np.full(len(counts), 1 / len(counts))
    return float(_rate(Z, epsilon) - weights @ rates)


def _rate(Z: np.ndarray, epsilon: float) -> float:
    """Return R(Z) = ½·ln det(I + ZᵀZ/(nε)), from whichever Gram matrix is smaller."""
    gram = Z @ Z.T if Z.shape[0] < Z.shape[1] else Z.T @ Z
    return 0.5 * float(np.linalg.slogdet(np.eye(len(gram)) + gram / (len(Z) * epsilon))[1])
