"""Solutions of lesson 10. Try the exercises first."""

import math


def regret(accuracies, choice):
    """The best accuracy minus that of the choice."""
    return max(accuracies) - accuracies[choice]


SOLUTIONS = {
    "10.1": 0.62 - 0.60,
    "10.2": "9",  # C − 1, for any features when N − 1 ≤ D
    "10.3": regret,
    "10.4": 200 * 0.1,
    "10.5": "validation",
    "10.6": -math.log(2),  # −H(y)
}
