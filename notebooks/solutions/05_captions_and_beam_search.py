"""Solutions of lesson 05. Try the exercises first."""

import numpy as np


def kept_of(probabilities, K):
    """Indices of the K largest, the largest first."""
    return np.argsort(-np.asarray(probabilities))[:K]


def ridge(X, Y, a):
    """The derivative is 0 where (XᵀX + a·I)·W = XᵀY."""
    return np.linalg.solve(X.T @ X + a * np.eye(X.shape[1]), X.T @ Y)


SOLUTIONS = {
    "05.1": 3,  # the first, the second, itself
    "05.2": 0.55 * 0.25 * 0.90,
    "05.3": kept_of,
    "05.4": "little",
    "05.5": ridge,
}
