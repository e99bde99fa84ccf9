"""Solutions of lesson 07. Try the exercises first."""

import numpy as np


def wider_of(W1, W2, g):
    """Net2Wider for one hidden layer."""
    copies = np.bincount(g, minlength=len(W2))  # number of copies of each old unit
    return np.concatenate([W1[:, g], (W2[g] / copies[g][:, None]).T])


SOLUTIONS = {
    "07.1": 6 / 3,  # divided among three copies
    "07.2": wider_of,
    "07.3": "relu",  # φ(φ(x)) = φ(x)
    "07.4": (32 // 8) ** 2,
    "07.5": "refuse",
}
