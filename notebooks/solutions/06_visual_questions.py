"""Solutions of lesson 06. Try first."""

import numpy as np


def changed(own, other):
    """Share of questions whose answer changes with the picture."""
    return np.mean(own.argmax(1) != other.argmax(1))


SOLUTIONS = {
    "06.1": (10, 40),  # [pairs, answers]
    "06.2": 3 / 4,  # it says yes, yes, circle, yes: wrong once
    "06.3": changed,
    "06.4": "not shown",
    "06.5": 160,  # 180 with "yes", 20 with "no"
}
