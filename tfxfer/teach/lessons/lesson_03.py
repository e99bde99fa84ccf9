"""Exercises of lesson 03, why controls matter."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, WholeNumber

A = np.array([[True, True, False, True], [True, False, False, True]])  # [S, N]
B = np.array([[False, True, False, True], [True, False, True, False]])


def _right(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.astype(float).mean() - b.astype(float).mean())


EXERCISES = {
    "03.1": Exercise(
        Choice(("majority", "random", "native")),
        right="random",
        because="Architecture and trainable layers are the same, so only what was learned from language differs.",
        hint="Which arm differs from transfer only in what its weights learned?",
        mistakes=(
            Mistake(
                "majority", "Better than majority shows that the labels were learned. It does not show what helped."
            ),
            Mistake(
                "native",
                "A native baseline tells whether transfer is worth its cost. It does not isolate the language.",
            ),
        ),
    ),
    "03.2": Exercise(
        Choice(("helped", "no evidence", "hurt")),
        right="no evidence",
        because="0 lies in the interval, so the data are compatible with no difference.",
        hint="Where does 0 lie: below the interval, above it, or in it?",
        mistakes=(
            Mistake("helped", "The estimate is above 0, but the interval extends below it."),
            Mistake("hurt", "Then the whole interval would lie below 0."),
        ),
    ),
    "03.3": Exercise(
        Number(),
        right=1,
        because="5 % of 20. That is why one primary comparison is declared before anything is run.",
        hint="An interval at 95 % misses the truth in 5 of 100 cases. And in 20?",
        mistakes=(
            Mistake(0, "A 95 % interval misses the true value sometimes. How often?"),
            Mistake(19, "That is the expected number of comparisons without a false alarm."),
            Mistake(0.05, "That is the rate for one comparison. And for 20?"),
            Mistake(5, "5 is the expected number in 100 comparisons. There are 20."),
        ),
    ),
    "03.4": Exercise(
        Function(),
        right=(((A, B), _right(A, B)), ((A, A), 0.0)),
        because="The bootstrap resamples the columns of exactly this difference, both arms together.",
        hint="Boolean arrays cannot be subtracted: convert them to float first. Then take the mean over everything.",
        mistakes=(
            Mistake(lambda a, b: _right(b, a), "The sign is wrong: how much does a lead b?"),
            Mistake(lambda a, b: a.astype(float) - b, "That is the lead on each example; take the mean."),
            Mistake(
                lambda a, b: (a.astype(float) - b).mean(0), "That is the lead on each example; one number is wanted."
            ),
            Mistake(lambda a, b: (a.astype(float) - b).mean(1), "That is the lead of each seed; one number is wanted."),
            Mistake(
                lambda a, b: float((a & ~b).mean()), "Where b is right and a is wrong, the lead of a gets smaller."
            ),
        ),
    ),
    "03.5": Exercise(
        WholeNumber(),
        right=10,
        because="Every arm gets the same tuning. Otherwise the difference measures the tuning.",
        hint="Suppose one arm is tuned more than the other. What does their difference measure?",
        mistakes=(
            Mistake(1, "Then the lead can come from the tuning alone."),
            Mistake(0, "Then the lead can come from the tuning alone."),
        ),
    ),
    "03.6": Exercise(
        Choice(("it falls to chance", "it stays or rises")),
        right="it stays or rises",
        because="A photograph in both lists pairs two words, whatever it shows. A number pairs them too.",
        hint="What do the two languages have in common when they learn from the same list?",
        mistakes=(
            Mistake(
                "it falls to chance",
                "That would be so if each language had photographs of its own. Here the list pairs the words.",
            ),
        ),
    ),
}
