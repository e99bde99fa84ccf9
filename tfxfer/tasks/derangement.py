"""Wrong pairs for the control `shuffled`."""

import numpy as np


def deranged(count: int, seed: int) -> np.ndarray:
    """Return an order of `count` rows, int [count], in which no row stays in its place (as far as there are two).

    >>> bool((deranged(8, seed=4) == np.arange(8)).any())
    False
    """
    order = np.random.default_rng(seed).permutation(count)
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    return other
