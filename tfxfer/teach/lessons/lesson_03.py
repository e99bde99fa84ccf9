"""Exercises of lesson 03, why controls matter."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, Whole

A = np.array([[True, True, False, True], [True, False, False, True]])  # [S, N]
B = np.array([[False, True, False, True], [True, False, True, False]])


def _right(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.astype(float).mean() - b.astype(float).mean())


EXERCISES = {
    "03.1": Exercise(
        Choice(("majority", "random", "native")),
        right="random",
        because="The same architecture and trainable set with fresh weights differs in the language alone.",
        hint="Which arm differs from the transfer in one thing only, what the weights learned?",
        mistakes=(
            Mistake("majority", "Beating a guess shows that labels were learned, not where the help came from."),
            Mistake("native", "A native baseline tells whether the detour pays. It shares nothing with the transfer."),
        ),
    ),
    "03.2": Exercise(
        Choice(("helped", "no evidence", "hurt")),
        right="no evidence",
        because="0 lies in the interval, so a true difference of nothing would not be surprising.",
        hint="Where does 0 lie: below the interval, above it, or in it?",
        mistakes=(
            Mistake("helped", "The middle is above 0, but the interval reaches below it."),
            Mistake("hurt", "Then the whole interval would lie below 0."),
        ),
    ),
    "03.3": Exercise(
        Number(),
        right=1,
        because="5 % of 20. That is why one comparison is declared the primary one before anything is run.",
        hint="An interval at 95 % misses the truth in 5 of 100 cases. And in 20?",
        mistakes=(
            Mistake(0, "A 95 % interval is allowed to be wrong. How often?"),
            Mistake(19, "That is how many are expected to stay silent."),
            Mistake(0.05, "That is the share. Of 20 comparisons?"),
            Mistake(5, "5 in a hundred. There are 20."),
        ),
    ),
    "03.4": Exercise(
        Function(),
        right=(((A, B), _right(A, B)), ((A, A), 0.0)),
        because="The bootstrap redraws the columns of exactly this difference, both arms together.",
        hint="Truth values cannot be subtracted: make them float first. Then the mean over everything.",
        mistakes=(
            Mistake(lambda a, b: _right(b, a), "The sign: how much does a lead b?"),
            Mistake(lambda a, b: a.astype(float) - b, "That is the lead on each example; take the mean."),
            Mistake(
                lambda a, b: (a.astype(float) - b).mean(0), "That is the lead on each example; one number is wanted."
            ),
            Mistake(lambda a, b: (a.astype(float) - b).mean(1), "That is the lead of each seed; one number is wanted."),
            Mistake(lambda a, b: float((a & ~b).mean()), "Where b is right and a is wrong, a loses ground."),
        ),
    ),
    "03.5": Exercise(
        Whole(),
        right=10,
        because="The same care for every arm, or the difference measures the care.",
        hint="What would a difference between a tuned arm and one with less tuning measure?",
        mistakes=(
            Mistake(1, "Then the lead may be the tuning's. Look at the two scratch arms above."),
            Mistake(0, "Then the lead may be the tuning's. Look at the two scratch arms above."),
        ),
    ),
}
