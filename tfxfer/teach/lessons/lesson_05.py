"""Exercises of lesson 05, captions and beam search."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, WholeNumber

P = np.array([0.10, 0.40, 0.05, 0.30])


def _right(probabilities: np.ndarray, K: int) -> np.ndarray:
    return np.argsort(-np.asarray(probabilities))[:K]


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
}
