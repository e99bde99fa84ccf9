"""Exercises of lesson 06, questions about pictures."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, Shape, Whole

OWN = np.array([[2.0, 1.0, 0.5], [0.1, 0.3, 0.9], [1.0, 3.0, 2.0], [0.0, 5.0, 4.0]])  # [N, A]
OTHER = np.array([[2.0, 0.2, 0.9], [0.8, 0.2, 0.1], [1.5, 2.0, 1.0], [0.0, 5.0, 4.0]])  # [N, A]


def _right(own: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean(own.argmax(1) != other.argmax(1)))


EXERCISES = {
    "06.1": Exercise(
        Shape(),
        right=(10, 40),
        because="A row for each pair of picture and question, a column for each answer; places and words are pooled.",
        hint="What is left when the mean over the places is taken?",
        mistakes=(
            Mistake((10, 64, 40), "That is K before it is pooled."),
            Mistake((10, 64), "That is where it looks. What does it say?"),
            Mistake((64, 40), "That is K of one pair, before it is pooled."),
            Mistake((40, 10), "Turned round: rows are pairs."),
        ),
    ),
    "06.2": Exercise(
        Number(0.001),
        right=0.75,
        because="It says yes, yes, circle, and to the question that training never had the commonest answer, yes.",
        hint="Write down what it answers to each of the four, and count.",
        mistakes=(
            Mistake(0.5, "To a question it has never read it gives the commonest answer of all."),
            Mistake(3, "A share: of how many questions?"),
            Mistake(1, "It has no eyes: both pictures with “is it red?” get the same answer."),
            Mistake(0.25, "That is the share it gets wrong."),
        ),
    ),
    "06.3": Exercise(
        Function(),
        right=(((OWN, OTHER), _right(OWN, OTHER)), ((OWN, OWN), 0.0), ((OTHER, OWN[::-1]), _right(OTHER, OWN[::-1]))),
        because="No true answer is needed: a model that looks must change its mind when the picture changes.",
        hint="own.argmax(1) are the answers with the own picture. In which rows are the other ones different?",
        mistakes=(
            Mistake(
                lambda a, b: float(np.mean(a != b)), "Logits nearly always differ a little. Did the answer change?"
            ),
            Mistake(lambda a, b: float(np.mean(a.argmax(1) == b.argmax(1))), "That is the share that stays the same."),
            Mistake(lambda a, b: int(np.sum(a.argmax(1) != b.argmax(1))), "A share, not a count."),
            Mistake(
                lambda a, b: float(np.mean(a.argmax(0) != b.argmax(0))), "Rows are questions: argmax along axis 1."
            ),
            Mistake(lambda a, b: float(np.mean(a.max(1) != b.max(1))), "max says how high, argmax says which answer."),
        ),
    ),
    "06.4": Exercise(
        Choice(("looks", "blind", "not shown")),
        right="not shown",
        because="The interval holds 0, and also a gain that would matter. More questions would tell.",
        hint="Is 0 in the interval? And what else is in it?",
        mistakes=(
            Mistake("looks", "The interval reaches below 0."),
            Mistake("blind", "An interval that holds 0 also holds other numbers. Can you exclude them all?"),
        ),
    ),
    "06.5": Exercise(
        Whole(),
        right=160,
        because="180 of each: then “yes” to all of them is right in one half, and only a look can do better.",
        hint="How many with “no” make the two answers equally common?",
        mistakes=(
            Mistake(20, "So many are there already."),
            Mistake(180, "So many there must be in all, and some are there already."),
            Mistake(90, "Count again: how many say “yes”, how many say “no”?"),
            Mistake(200, "Then “no” would be the commoner answer."),
        ),
    ),
}
