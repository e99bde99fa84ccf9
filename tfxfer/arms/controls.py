"""What the control arms of several recipes share."""

import numpy as np

from tfxfer.records import Comparison
from tfxfer.runs import Run


def deranged(count: int, seed: int) -> np.ndarray:
    """Return an order of `count` rows, int [count], in which no row stays in its place (as far as there are two).

    >>> bool((deranged(8, seed=4) == np.arange(8)).any())
    False
    """
    order = np.random.default_rng(seed).permutation(count)
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    return other


def has_model(comparison: Comparison, this: Run) -> bool:
    """Return whether `transfer` succeeded at the greatest budget with the first seed; say so when it did not."""
    seeds = [record.seed for record in comparison.select("transfer", max(n or 0 for n in comparison.budgets))]
    found = min(record.seed for record in comparison.records) in seeds
    if not found:
        this.say("no model is saved: the transfer arm has no result at the greatest budget", style="red")
    return found
