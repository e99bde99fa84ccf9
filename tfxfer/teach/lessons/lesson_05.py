"""Exercises of lesson 05, captions and beam search."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, Whole

P = np.array([0.10, 0.40, 0.05, 0.30])


def _right(probabilities: np.ndarray, K: int) -> np.ndarray:
    return np.argsort(-np.asarray(probabilities))[:K]


EXERCISES = {
    "05.1": Exercise(
        Whole(),
        right=3,
        because="The first, the second, and itself.",
        hint="Count the green squares in its row.",
        mistakes=(
            Mistake(2, "It sees itself too."),
            Mistake(6, "That is the encoder: it sees what is not yet written."),
            Mistake(4, "The next word is what it has to foretell."),
        ),
    ),
    "05.2": Exercise(
        Number(1e-4),
        right=0.12375,
        because="0.55 · 0.25 · 0.90: the probabilities along the way are multiplied.",
        hint="Follow its three words through the table and multiply.",
        mistakes=(
            Mistake(1.7, "Probabilities along a way are multiplied, not added."),
            Mistake(0.1375, "That is the first two words. How likely is the third after them?"),
            Mistake(0.225, "And the first word has a probability too."),
        ),
    ),
    "05.3": Exercise(
        Function(),
        right=(((P, 2), _right(P, 2)), ((P, 1), _right(P, 1)), ((P, 3), _right(P, 3))),
        because="This line, once for each step, is what makes a search a beam search.",
        hint="np.argsort sorts from the smallest; turn the sign round, and take the first K.",
        mistakes=(
            Mistake(lambda p, K: np.argsort(p)[:K], "Those are the worst."),
            Mistake(lambda p, K: np.argsort(p)[-K:], "The right ones, but the best should stand first."),
            Mistake(lambda p, K: np.sort(p)[::-1][:K], "Those are the probabilities. Their places are wanted."),
        ),
    ),
    "05.4": Exercise(
        Choice(("much", "little", "cannot say")),
        right="little",
        because="Nearly all of the score is to be had without looking; the interval leaves 0.02 at most.",
        hint="What part of the score needs eyes?",
        mistakes=(
            Mistake("much", "Most of that score its twin gets with its eyes shut."),
            Mistake("cannot say", "How much could it be at most? The interval says it, and it is not much."),
        ),
    ),
}
