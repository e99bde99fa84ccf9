"""Exercises of lesson 10, choosing a method."""

import math

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, WholeNumber

A, B = [0.62, 0.55, 0.58, 0.60], [0.31, 0.40]

EXERCISES = {
    "10.1": Exercise(
        Number(2),
        right=0.02,
        because="The best candidate has 0.62, native 0.60.",
        hint="What is the best accuracy that there is, and what has your choice?",
        mistakes=(
            Mistake(0.0, "There is a better choice than native here."),
            Mistake(-0.02, "A regret is never below 0: it is what is lost."),
            Mistake(0.07, "That is the distance of the best and the worst."),
            Mistake(0.62, "That is the best accuracy. How much less has your choice?"),
        ),
    ),
    "10.2": Exercise(
        Choice(("0", "9", "it depends")),
        right="9",
        because="With N − 1 ≤ D every labelling is separated linearly: the score is C − 1 for any features.",
        hint="Can 99 dimensions separate 100 points? Then the class means explain everything.",
        mistakes=(
            Mistake("0", "That would be so if all classes had one mean."),
            Mistake("it depends", "With fewer examples than features it does not: the labels can always be separated."),
        ),
    ),
    "10.3": Exercise(
        Function(),
        right=tuple(((rows, i), max(rows) - rows[i]) for rows in (A, B) for i in range(len(rows))),
        because="It is 0 for the best choice and above 0 for every other.",
        hint="Start from the best accuracy of all.",
        mistakes=(
            Mistake(lambda rows, i: rows[i] - max(rows), "The sign is wrong: a regret is never below 0."),
            Mistake(lambda rows, i: rows[i], "That is the accuracy of the choice. What is lost?"),
            Mistake(lambda rows, i: sum(rows) / len(rows) - rows[i], "Compare with the best, not with the mean."),
        ),
    ),
    "10.4": Exercise(
        WholeNumber(),
        right=20,
        because="An interval at 90 % leaves out one in ten.",
        hint="Which share does an interval at 90 % leave out?",
        mistakes=(
            Mistake(10, "That would be 95 %."),
            Mistake(180, "That is how many lie inside."),
            Mistake(0, "Then the intervals would be too wide."),
        ),
    ),
    "10.5": Exercise(
        Choice(("train", "validation", "test")),
        right="validation",
        because="The test split is looked at once, by the one training that was chosen.",
        hint="What must not have decided anything when the result is reported?",
        mistakes=(
            Mistake("test", "Then the test examples have chosen the method, and its score is too good."),
            Mistake("train", "A pilot that is scored on what it learned prefers whatever fits most closely."),
        ),
    ),
    "10.6": Exercise(
        Number(2),
        right=-math.log(2),
        because="An answer that says nothing leaves the whole entropy of the label, ln 2.",
        hint="NCE is minus the entropy of the label that is left, in nats.",
        mistakes=(
            Mistake(0.0, "0 is reached when the source's answer tells the label surely."),
            Mistake(math.log(2), "NCE is minus an entropy."),
            Mistake(-1.0, "That is in bits. NCE is in nats."),
            Mistake(-0.5, "That is no entropy: −Σ p ln p with p = 1/2."),
        ),
    ),
}
