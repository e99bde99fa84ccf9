"""Which examples to label next: those that a classifier is least sure of, or those that cover the features.

    margin      the smallest p(1st class) − p(2nd class) (Scheffer, Decomain & Wrobel 2001)
    core-set    k-center greedy: always the example that is farthest from all labelled ones (Sener & Savarese 2018)

The greedy choice of centres is a 2-approximation: its radius, the greatest distance of an example from the nearest
labelled one, is at most twice the least that any choice of so many has (Gonzalez 1985).
"""

from typing import Any

import numpy as np

from tfxfer.errors import UserError


def smallest_margins(probabilities: Any, count: int) -> np.ndarray:
    """Return the `count` rows of smallest margin, int [count], the smallest first; of equal ones, the earlier.

    Args:
        probabilities: [N, C], C at least 2.
        count: How many.

    >>> smallest_margins([[0.9, 0.1], [0.5, 0.5], [0.4, 0.6]], 2).tolist()
    [1, 2]
    """
    values = np.asarray(probabilities, np.float64)
    _check(count, len(values))
    highest = np.sort(values, 1)[:, -2:]  # [N, 2]
    return np.argsort(highest[:, 1] - highest[:, 0], kind="stable")[:count]


def k_center_greedy(features: Any, labelled: Any, count: int) -> np.ndarray:
    """Return `count` rows of `features`, int [count], in the order in which they are chosen.

    Args:
        features: Candidates, float [N, D].
        labelled: Features of what has a label already, float [M, D], M at least 1.
        count: How many.

    >>> k_center_greedy([[1.0], [5.0], [9.0]], [[0.0]], 2).tolist()
    [2, 1]
    """
    rows, centres = np.asarray(features, np.float64), np.asarray(labelled, np.float64)
    _check(count, len(rows))
    if not len(centres):
        raise UserError("k-center greedy starts from labelled examples, and there are none; label a few at random")
    squares = (rows**2).sum(1)
    nearest = np.full(len(rows), np.inf)  # squared distance to the nearest centre
    for start in range(0, len(centres), 256):
        block = centres[start : start + 256]
        nearest = np.minimum(nearest, (squares[:, None] - 2 * rows @ block.T + (block**2).sum(1)).min(1))
    chosen = np.zeros(count, np.int64)
    for place in range(count):
        chosen[place] = nearest.argmax()
        centre = rows[chosen[place]]
        nearest = np.minimum(nearest, squares - 2 * rows @ centre + centre @ centre)
        nearest[chosen[: place + 1]] = -np.inf  # rounding must not choose a row twice
    return chosen


def _check(count: int, rows: int) -> None:
    if not 0 < count <= rows:
        raise UserError(f"{count} examples are to be chosen of {rows}; give a number from 1 to {rows}")
