"""Exercises of lesson 05, captions and beam search."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, WholeNumber

P = np.array([0.10, 0.40, 0.05, 0.30])
X = np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5], [1.0, 1.0]])  # [N, D]
Y = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [2.0, 0.0, 1.0], [0.0, 3.0, 1.0]])  # [N, G]


def _right(probabilities: np.ndarray, K: int) -> np.ndarray:
    return np.argsort(-np.asarray(probabilities))[:K]


def _ridge(X: np.ndarray, Y: np.ndarray, a: float) -> np.ndarray:
    return np.linalg.solve(X.T @ X + a * np.eye(X.shape[1]), X.T @ Y)


EXERCISES = {
    "05.1": Exercise(
        WholeNumber(),
        right=3,
        because="The first word, the second word, and itself.",
        hint="Count the green squares in the third row.",
        mistakes=(
            Mistake(2, "A position attends to itself too."),
            Mistake(6, "That is an encoder, which attends to later words as well."),
            Mistake(4, "The next word is the prediction target, so it is masked."),
        ),
    ),
    "05.2": Exercise(
        Number(decimals=3),
        right=0.12375,
        because="0.55 · 0.25 · 0.90: the probabilities of the three steps are multiplied.",
        hint="Follow its three words through the table and multiply.",
        mistakes=(
            Mistake(1.7, "The probabilities of the steps are multiplied, not added."),
            Mistake(0.1375, "That is the product for two words. Multiply by the probability of the third."),
            Mistake(0.225, "The first word has a probability too."),
        ),
    ),
    "05.3": Exercise(
        Function(),
        right=(((P, 2), _right(P, 2)), ((P, 1), _right(P, 1)), ((P, 3), _right(P, 3))),
        because="Beam search does this at every step.",
        hint="np.argsort sorts in ascending order. Negate the probabilities and take the first K indices.",
        mistakes=(
            Mistake(lambda p, K: np.argsort(p)[:K], "Those are the K smallest."),
            Mistake(
                lambda p, K: np.argsort(p)[-K:], "Those are the right indices in the wrong order: the best comes first."
            ),
            Mistake(
                lambda p, K: np.sort(p)[::-1][:K], "Those are the probabilities. The exercise asks for their indices."
            ),
        ),
    ),
    "05.4": Exercise(
        Choice(("much", "little", "cannot say")),
        right="little",
        because="The blind captioner reaches nearly the same score, and the interval leaves a gain of 0.02 at most.",
        hint="Which part of the score needs the images?",
        mistakes=(
            Mistake("much", "The blind captioner reaches most of that score."),
            Mistake("cannot say", "The upper end of the interval bounds the gain. Is that bound large?"),
        ),
    ),
    "05.5": Exercise(
        Function(),
        right=(
            ((X, Y, 0.5), _ridge(X, Y, 0.5)),
            ((X, Y, 3.0), _ridge(X, Y, 3.0)),
            ((X, Y[:, :1], 1.0), _ridge(X, Y[:, :1], 1.0)),
        ),
        because="One linear system is solved. There is no learning rate and no number of steps.",
        hint="Set the derivative to zero, and solve for W: np.linalg.solve(A, B) returns the W for which AW = B.",
        mistakes=(
            Mistake(lambda X, Y, a: np.linalg.lstsq(X, Y, rcond=None)[0], "That is least squares: a has no influence."),
            Mistake(
                lambda X, Y, a: np.linalg.solve(X.T @ X + a, X.T @ Y),
                "You add a to every element of X.T @ X. The penalty belongs on its diagonal: np.eye(D).",
            ),
            Mistake(
                lambda X, Y, a: (X.T @ X + a * np.eye(X.shape[1])) @ (X.T @ Y),
                "You multiply by the matrix. Its inverse is wanted: solve a linear system with it.",
            ),
            Mistake(lambda X, Y, a: X @ _ridge(X, Y, a), "Those are the predictions XW. The exercise asks for W."),
            Mistake(lambda X, Y, a: _ridge(X, Y, -a), "The sign of a is wrong: a penalty makes W smaller."),
        ),
    ),
}
