"""Solutions of lesson 04. Try the exercises first."""

import numpy as np


def K_of(f, g, temperature):
    """Cosines of all pairs, divided by the temperature."""
    f = f / np.linalg.norm(f, axis=1, keepdims=True)
    g = g / np.linalg.norm(g, axis=1, keepdims=True)
    return f @ g.T / temperature


def towards_images(T, P, Q, a):
    """Ridge regression in its dual form: a system of N equations, however many n-grams there are."""
    return Q @ T.T @ np.linalg.solve(T @ T.T + a * np.eye(len(T)), P)


SOLUTIONS = {
    "04.1": (12, 300),  # [images, texts]
    "04.2": 2 / 3,  # rows 1 and 3
    "04.3": K_of,
    "04.4": "0",  # only images had labels
    "04.5": towards_images,
}
