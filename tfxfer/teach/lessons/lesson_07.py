"""Exercises of lesson 07, structure transfer."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, Whole

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


EXERCISES = {
    "07.1": Exercise(
        Number(),
        right=2,
        because="Three copies give a third each, and what reads them gets 6 as before.",
        hint="Together the copies must give what the one unit gave.",
        mistakes=(
            Mistake(6, "Then what reads them gets it three times."),
            Mistake(3, "That would be right for two copies."),
            Mistake(18, "The copies share; they do not multiply."),
        ),
    ),
    "07.2": Exercise(
        Function(),
        right=(
            ((W1, W2, [0, 1, 1]), _right(W1, W2, [0, 1, 1])),
            ((W1, W2, [0, 1, 0, 0]), _right(W1, W2, [0, 1, 0, 0])),
        ),
        because="Columns of W1 and rows of W2 are gathered by g; each row is divided by its number of copies.",
        hint="U1 = W1[:, g]. For U2 count how often each old unit occurs: np.bincount(g)[g].",
        mistakes=(
            Mistake(_undivided, "The copies count double: divide the rows of U2 by the number of copies."),
            Mistake(_both_divided, "Only U2 is divided. What goes in must stay, or the activation changes."),
            Mistake(_halved, "A unit that stands once gives all, one that stands three times a third. Count with g."),
        ),
    ),
    "07.3": Exercise(
        Choice(("relu", "gelu", "sigmoid")),
        right="relu",
        because="ReLU applied twice is ReLU: φ(φ(x)) = φ(x). Of GELU and sigmoid that is not true.",
        hint="The new layer applies its activation to values that went through it once. When does that change nothing?",
        mistakes=(
            Mistake("gelu", "gelu(gelu(1)) is about 0.67, gelu(1) about 0.84."),
            Mistake("sigmoid", "sigmoid(sigmoid(0)) is about 0.62, sigmoid(0) is 0.5."),
        ),
    ),
    "07.4": Exercise(
        Whole(),
        right=16,
        because="4 rows of 4 patches. The BERT had 64 positions, so 16 of them are used.",
        hint="How many patches fit side by side, and how many rows of them are there?",
        mistakes=(
            Mistake(4, "That is one row of them."),
            Mistake(64, "That is how many pixels a patch has."),
            Mistake(1024, "That is how many pixels the picture has."),
        ),
    ),
    "07.5": Exercise(
        Choice(("copy", "random", "refuse")),
        right="refuse",
        because="Nothing stays random unasked: a rule, or allow=…, has to say that it is meant.",
        hint="Look at the cell that catches a UserError.",
        mistakes=(
            Mistake("random", "load_weights does, told to skip what does not fit. apply() does something else."),
            Mistake("copy", "The shapes differ: there is nothing that could be copied as it is."),
        ),
    ),
}
