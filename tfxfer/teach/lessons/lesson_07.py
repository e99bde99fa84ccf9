"""Exercises of lesson 07, structure transfer."""

from typing import Any

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, WholeNumber

W1 = np.array([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]])  # [D, old]
W2 = np.array([[4.0, 1.0], [6.0, -3.0]])  # [old, C]


def _right(W1: np.ndarray, W2: np.ndarray, g: list[int]) -> np.ndarray:
    share = np.bincount(g, minlength=len(W2))[g][:, None]
    return np.concatenate([W1[:, g], (W2[g] / share).T])


def _undivided(W1: np.ndarray, W2: np.ndarray, g: list[int]) -> np.ndarray:
    return np.concatenate([W1[:, g], W2[g].T])


def _both_divided(W1: np.ndarray, W2: np.ndarray, g: list[int]) -> np.ndarray:
    share = np.bincount(g, minlength=len(W2))[g]
    return np.concatenate([W1[:, g] / share, (W2[g] / share[:, None]).T])


def _halved(W1: np.ndarray, W2: np.ndarray, g: list[int]) -> np.ndarray:
    return np.concatenate([W1[:, g], (W2[g] / 2).T])


def _in_one_array(result: Any) -> Any:
    """Return U1 over U2ᵀ; a pair (U1, U2) is taken as well."""
    if isinstance(result, tuple | list) and len(result) == 2:
        U1, U2 = (np.asarray(part) for part in result)
        return np.concatenate([U1, U2.T])
    return result


EXERCISES = {
    "07.1": Exercise(
        Number(),
        right=2,
        because="Each of three copies gets a third, and the sum is 6 as before.",
        hint="The outgoing weights of the copies must add up to the old weight.",
        mistakes=(
            Mistake(6, "Then the next layer gets three times the old value."),
            Mistake(3, "That would be right for two copies."),
            Mistake(18, "Divide the weight by the number of copies; do not multiply."),
        ),
    ),
    "07.2": Exercise(
        Function(read=_in_one_array),
        right=(
            ((W1, W2, [0, 1, 1]), _right(W1, W2, [0, 1, 1])),
            ((W1, W2, [0, 1, 0, 0]), _right(W1, W2, [0, 1, 0, 0])),
        ),
        because="g indexes the columns of W1 and the rows of W2. Each row of W2 is divided by its number of copies.",
        hint="U1 = W1[:, g]. For U2 count how often each old unit occurs: np.bincount(g)[g].",
        mistakes=(
            Mistake(_undivided, "A copied unit counts more than once: divide the rows of U2 by the number of copies."),
            Mistake(_both_divided, "Only U2 is divided. Dividing U1 changes the activation."),
            Mistake(_halved, "You divide every row by 2. Divide by the number of copies of each unit, counted in g."),
        ),
    ),
    "07.3": Exercise(
        Choice(("relu", "gelu", "sigmoid")),
        right="relu",
        because="ReLU applied twice is ReLU: φ(φ(x)) = φ(x). Of GELU and sigmoid that is not true.",
        hint="The new layer applies the activation a second time. For which function does that change nothing?",
        mistakes=(
            Mistake("gelu", "gelu(gelu(1)) is about 0.67, gelu(1) about 0.84."),
            Mistake("sigmoid", "sigmoid(sigmoid(0)) is about 0.62, sigmoid(0) is 0.5."),
        ),
    ),
    "07.4": Exercise(
        WholeNumber(),
        right=16,
        because="4 rows of 4 patches. The BERT had 64 positions, so 16 of them are used.",
        hint="How many patches are in a row, and how many rows are there?",
        mistakes=(
            Mistake(4, "That is the number of patches in one row."),
            Mistake(64, "That is the number of pixels in a patch."),
            Mistake(1024, "That is the number of pixels in the image."),
        ),
    ),
    "07.5": Exercise(
        Choice(("copy", "random", "refuse")),
        right="refuse",
        because="A tensor stays random only when a rule or `allow=…` says so.",
        hint="See the cell that catches a UserError.",
        mistakes=(
            Mistake("random", "`load_weights(skip_mismatch=True)` does that. `apply()` does not."),
            Mistake("copy", "The shapes differ, so the tensor cannot be copied."),
        ),
    ),
}
