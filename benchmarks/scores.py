"""LogME beside the reference fixed point, and all transferability scores on one set of features.

    python -m benchmarks.scores

The reference is the fixed point of the paper as its released code runs it: one decomposition, then for each class the
projection of its target, and α and β in turn. Here they go on until they no longer change, so that both give the same
number.
"""

import json
import time

import numpy as np

from tfxfer.choose import logme, score

LOGME = {"rows": 10_000, "width": 1024, "classes": 100}
ALL = {"rows": 5000, "width": 512, "classes": 20}


def features(rows: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Return float32 features [N, D] with spectrum 1/√i, as trained networks give, and labels [N]."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    rough = 0.3 * rng.normal(size=(classes, width))[labels] + rng.normal(size=(rows, width))
    return (rough / np.sqrt(np.arange(1, width + 1)) + 0.5).astype(np.float32), labels, rng


def reference_logme(F: np.ndarray, labels: np.ndarray) -> float:
    """LogME by the fixed point, N > D: γ = Σ βσ/(α + βσ), α = γ/mᵀm, β = (N − γ)/‖Fm − y‖², class by class."""
    F = F.astype(np.float64)
    rows, width = F.shape
    _, sigma, Vt = np.linalg.svd(F.T @ F)
    U = F @ Vt.T / np.sqrt(sigma)
    found, weights = [], []
    for c in range(labels.max() + 1):
        y = (labels == c).astype(np.float64)
        x = U.T @ y
        x2 = x**2
        rest = y.sum() - x2.sum()
        alpha = beta = 1.0
        for _ in range(1000):
            before = alpha / beta
            gamma = np.sum(beta * sigma / (alpha + beta * sigma))
            mm = np.sum(beta**2 * sigma * x2 / (alpha + beta * sigma) ** 2)
            residual = np.sum(x2 * (alpha / (alpha + beta * sigma)) ** 2) + rest
            alpha, beta = gamma / mm, (rows - gamma) / residual
            if abs(alpha / beta - before) < 1e-9 * before:
                break
        weights.append(Vt.T @ (np.sqrt(sigma) * beta / (alpha + beta * sigma) * x))  # m, which the released code keeps
        whole = width * np.log(alpha) + rows * np.log(beta) - beta * residual - alpha * mm
        found.append(0.5 * (whole - np.log(alpha + beta * sigma).sum()) / rows - 0.5 * np.log(2 * np.pi))
    return float(np.mean(found))


def timed(function, *arguments, runs: int = 3):
    """Return the least seconds of some runs, and what the last one gave."""
    least = np.inf
    for _ in range(runs):
        started = time.perf_counter()
        value = function(*arguments)
        least = min(least, time.perf_counter() - started)
    return least, value


def main() -> None:
    F, labels, _ = features(**LOGME)
    (ours, value), (theirs, reference) = timed(logme, F, labels), timed(reference_logme, F, labels)
    print(
        f"LogME {F.shape}, {LOGME['classes']} classes: {ours:.2f} s and {value:.8f}, "
        f"reference {theirs:.2f} s and {reference:.8f}"
    )
    F, labels, rng = features(**ALL)
    arrays = {
        "features": F,
        "labels": labels,
        "probabilities": rng.dirichlet(np.ones(50), len(F)),
        "other": F[:, :256] + rng.normal(size=(len(F), 256)).astype(np.float32),
        "source_features": features(**ALL)[0][::-1] + 0.1,
    }
    found = score(arrays)
    for one in found:
        print(f"{one.name:<22}{one.value:12.5f}{one.seconds:8.2f} s")
    total = sum(one.seconds for one in found)
    promises = {
        "LogME, times the reference fixed point (10,000 × 1,024, 100 classes)": [theirs / ours, ">=", 5],
        "LogME, difference from the converged fixed point": [abs(value - reference), "<=", 1e-6],
        "all transferability scores, s (5,000 × 512, 20 classes)": [total, "<=", 20],
    }
    figures = {"logme_s": ours, "reference_s": theirs, "scores": {one.name: one.seconds for one in found}}
    print(json.dumps({"benchmark": "scores", **figures, "promises": promises}))


if __name__ == "__main__":
    main()
