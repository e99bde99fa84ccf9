"""LogME: how well a Bayesian linear model explains the labels, with nothing held out and nothing tuned."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.choose.inputs import class_sums, labelled

LEAST_NOISE = 1e-6  # of the variance 1/β; without it, rows that are fitted exactly have an infinite evidence
STEP = 0.25  # of the grid over ln t
BEYOND = 30.0  # how far the grid goes past the smallest and the largest σ, in ln t
TINY = 1e-300  # keeps a residual of 0 from being divided by
LOG_2_PI = math.log(2 * math.pi)


def logme(features: ArrayLike, labels: ArrayLike) -> float:
    """Return LogME, the mean over classes of the greatest log evidence an example, in nats.

    Each class c has the target y = 1 where the label is c, else 0, and the model y ~ N(F·w, I/β), w ~ N(0, I/α),
    without intercept. With A = αI + βFᵀF and m = βA⁻¹Fᵀy its log evidence is

        L(α, β) = ½D·ln α + ½N·ln β − ½β‖Fm − y‖² − ½α·mᵀm − ½ln|A| − ½N·ln 2π

    and the score is the mean over classes of max L(α, β) / N. Let σ be the k eigenvalues of FFᵀ that are not 0, x = Uᵀy
    for their eigenvectors, and t = α/β. Then

        q(t) = ‖Fm − y‖² + t·mᵀm = Σ x²·t/(t + σ) + ‖y‖² − Σ x²
        L / N = ½·ln β − ½·β·q(t)/N − ½·ln 2π − (1/2N) Σ ln(1 + σ/t)

    which is greatest at β = N/q(t). What is left is a search over the one number t, on a grid and then between its
    points. This is the same for N ≥ D and N < D, and finds the greatest maximum where a fixed point finds one of them.

    Args:
        features: Numbers [N, D].
        labels: The target's classes [N]: whole numbers or text.

    Returns:
        A number within −1.42 (no feature says anything) and 5.99 (all is explained, up to a noise variance of 1e-6).
        Higher is better.

    Raises:
        UserError: What `tfxfer.choose.inputs` refuses.

    References:
        You et al. 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning". The released default
        for N < D leaves out a term of ln|A|, (D − k)·ln α, and is too high.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(60) % 3
        >>> good = np.eye(3)[labels] + rng.normal(0, 0.3, (60, 3))
        >>> round(logme(good, labels), 2), round(logme(rng.normal(size=(60, 3)), labels), 2)
        (-0.19, -0.87)
    """
    F, classes = labelled(features, labels)
    sigma, x2 = _spectrum(F, classes)
    evidence = partial(_evidence, sigma, x2, np.maximum(np.bincount(classes) - x2.sum(0), 0), len(F))
    grid = np.arange(np.log(sigma[0]) - BEYOND, np.log(sigma[-1]) + BEYOND, STEP)
    return float(np.mean(_greatest(evidence, grid)))


def _spectrum(F: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return σ [k], and x² [k, C] of each class's target, from whichever Gram matrix is smaller."""
    if F.shape[0] < F.shape[1]:
        sigma, x = _on_eigenvectors(F @ F.T, np.eye(classes.max() + 1)[classes])  # x = UᵀY
        x2 = x**2
    else:
        sigma, z = _on_eigenvectors(F.T @ F, class_sums(F, classes).T)  # z = VᵀFᵀY = x·√σ
        x2 = z**2 / np.where(sigma > 0, sigma, 1)[:, None]
    kept = sigma > sigma[-1] * max(F.shape) * np.finfo(np.float64).eps
    return sigma[kept], x2[kept]


def _on_eigenvectors(gram: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues of `gram`, in rising order, and VᵀB of its eigenvectors V and the targets B [n, C].

    V itself is not needed: with the tridiagonal T of gram = Q·T·Qᵀ and its eigenvectors V_T, VᵀB is V_Tᵀ(QᵀB).
    """
    from scipy.linalg import eigh, eigh_tridiagonal, lapack

    if len(gram) < 3:  # LAPACK takes no empty Q
        sigma, V = eigh(gram)
        return sigma, V.T @ targets
    work = int(lapack.dsytrd_lwork(len(gram), lower=1)[0])
    reflectors, diagonal, beside, tau, _ = lapack.dsytrd(gram, lower=1, lwork=work, overwrite_a=1)
    below, _, _ = lapack.dormqr("L", "T", reflectors[1:, :-1], tau, targets[1:], lwork=64 * targets.shape[1])
    sigma, V = eigh_tridiagonal(diagonal, beside)
    return sigma, V.T @ np.concatenate([targets[:1], below])


def _evidence(
    sigma: np.ndarray, x2: np.ndarray, rest: np.ndarray, rows: int, log_t: np.ndarray, of: slice = slice(None)
) -> np.ndarray:
    """Return L/N at the best β, [G, C]: at each ln t [G], of the classes that `of` names.

    Args:
        sigma: σ [k].
        x2: x² [k, C].
        rest: ‖y‖² − Σ x² [C].
        rows: N.
        log_t: ln t [G].
        of: Which classes.
    """
    shrunk = sigma / np.exp(log_t)[:, None]  # [G, k]: σ/t
    q = (1 / (1 + shrunk)) @ x2[:, of] + rest[of]
    beta = np.minimum(rows / np.maximum(q, TINY), 1 / LEAST_NOISE)
    return 0.5 * (np.log(beta) - beta * q / rows - LOG_2_PI - np.log1p(shrunk).sum(1, keepdims=True) / rows)


def _greatest(evidence: Callable[..., np.ndarray], grid: np.ndarray) -> list[float]:
    """Return the maximum over t of each class, between the two neighbours of its best point on the grid."""
    from scipy.optimize import minimize_scalar

    on_grid, found = evidence(grid), []  # [G, C]
    for c, best in enumerate(grid[on_grid.argmax(0)]):
        of = slice(c, c + 1)
        between = minimize_scalar(
            lambda log_t, of=of: -evidence(np.array([log_t]), of)[0, 0],
            bounds=(best - STEP, best + STEP),
            method="bounded",
        )
        found.append(max(-float(between.fun), float(on_grid[:, c].max())))
    return found
