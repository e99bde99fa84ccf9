"""What each of two modalities gives to one answer: Shapley values of two players, which are exact.

The value v of a set of modalities is the log-probability of a class when the modalities that are absent are replaced by
those of background examples. With two players there are two orders in which they can join, so

    share of the first = ½ · [v(first) − v(none)] + ½ · [v(both) − v(second)]

and both shares add up to v(both) − v(none) (efficiency; Shapley 1953; Lundberg & Lee 2017).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Shares(NamedTuple):
    """Shapley values of N answers, in nats.

    Attributes:
        first: float [N], what the first modality gives.
        second: float [N], what the second gives.
        none: float [N], v without either.
        both: float [N], v with both.
    """

    first: np.ndarray
    second: np.ndarray
    none: np.ndarray
    both: np.ndarray


def shapley_of_two(none: np.ndarray, first: np.ndarray, second: np.ndarray, both: np.ndarray) -> Shares:
    """Return both shares from the values of the four sets of modalities, each float [N].

    >>> shapley_of_two(np.array([0.0]), np.array([1.0]), np.array([0.0]), np.array([3.0]))[:2]
    (array([2.]), array([1.]))
    """
    none, first, second, both = (np.asarray(values, np.float64) for values in (none, first, second, both))
    return Shares((first - none + both - second) / 2, (second - none + both - first) / 2, none, both)


def modality_shares(
    log_probabilities: Callable[[np.ndarray, np.ndarray], np.ndarray],
    first: np.ndarray,
    second: np.ndarray,
    background: tuple[np.ndarray, np.ndarray],
    classes: np.ndarray,
) -> Shares:
    """Return the shares of two modalities in the log-probability of one class for each example.

    Args:
        log_probabilities: (first [M, …], second [M, …]) -> float [M, C].
        first: The first modality of N examples.
        second: The second.
        background: Both modalities of K background examples; values are means over them.
        classes: int [N], the class whose log-probability is shared out.
    """
    rows = np.arange(len(classes))

    def value(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        return np.asarray(log_probabilities(one, two), np.float64)[rows, classes]

    absent = [(np.repeat(a[None], len(rows), 0), np.repeat(b[None], len(rows), 0)) for a, b in zip(*background)]
    none = np.mean([value(a, b) for a, b in absent], 0)
    alone = np.mean([value(first, b) for _, b in absent], 0), np.mean([value(a, second) for a, _ in absent], 0)
    return shapley_of_two(none, *alone, value(first, second))
