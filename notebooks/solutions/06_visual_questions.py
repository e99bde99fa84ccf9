"""Solutions of lesson 06. Try the exercises first."""

import numpy as np


def changed(own, other):
    """Share of questions whose answer changes with the image."""
    return np.mean(own.argmax(1) != other.argmax(1))


SOLUTIONS = {
    "06.1": (10, 40),  # [pairs, answers]
    "06.2": 3 / 4,  # its answers are yes, yes, circle, yes: one is wrong
    "06.3": changed,
    "06.4": "no evidence",  # 0 is in the interval
    "06.5": 160,  # 180 with "yes", 20 with "no"
}
