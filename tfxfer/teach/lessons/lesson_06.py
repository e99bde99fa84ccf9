"""Exercises of lesson 06, questions about images."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, Shape, WholeNumber

OWN = np.array([[2.0, 1.0, 0.5], [0.1, 0.3, 0.9], [1.0, 3.0, 2.0], [0.0, 5.0, 4.0]])  # [N, A]
OTHER = np.array([[2.0, 0.2, 0.9], [0.8, 0.2, 0.1], [1.5, 2.0, 1.0], [0.0, 5.0, 4.0]])  # [N, A]


def _right(own: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean(own.argmax(1) != other.argmax(1)))


EXERCISES = {
    "06.1": Exercise(
        Shape(),
        right=(10, 40),
        because="A row for each pair of image and question, a column for each answer. The positions are pooled.",
        hint="What is left when the mean over the positions is taken?",
        mistakes=(
            Mistake((10, 64, 40), "That is K before pooling."),
            Mistake((10, 64), "That is one value for each place. The logits have one value for each answer."),
            Mistake((64, 40), "That is K of one pair before pooling."),
            Mistake((40, 10), "The axes are swapped: rows are pairs."),
        ),
    ),
    "06.2": Exercise(
        Number(decimals=2),
        right=0.75,
        because="Its answers are yes, yes, circle and yes. An unknown question gets the most frequent answer.",
        hint="Write down its answer to each of the four questions, and count.",
        mistakes=(
            Mistake(0.5, "A question that is not in training gets the most frequent answer of all."),
            Mistake(3, "Accuracy is a share: divide by the number of questions."),
            Mistake(1, "The prior does not use the image: both questions “is it red?” get the same answer."),
            Mistake(0.25, "That is the share of wrong answers."),
        ),
    ),
    "06.3": Exercise(
        Function(),
        right=(((OWN, OTHER), _right(OWN, OTHER)), ((OWN, OWN), 0.0), ((OTHER, OWN[::-1]), _right(OTHER, OWN[::-1]))),
        because="No true answer is needed: the answers of a model that uses the image depend on the image.",
        hint="own.argmax(1) are the answers with the own image. In which rows does other.argmax(1) differ?",
        mistakes=(
            Mistake(
                lambda a, b: float(np.mean(a != b)),
                "Logits nearly always differ a little. Compare the answers, the argmax.",
            ),
            Mistake(
                lambda a, b: float(np.mean(a.argmax(1) == b.argmax(1))),
                "That is the share of answers that do not change.",
            ),
            Mistake(
                lambda a, b: int(np.sum(a.argmax(1) != b.argmax(1))), "That is a count. The exercise asks for a share."
            ),
            Mistake(
                lambda a, b: float(np.mean(a.argmax(0) != b.argmax(0))),
                "Rows are questions: take the argmax along axis 1.",
            ),
            Mistake(lambda a, b: float(np.mean(a.max(1) != b.max(1))), "max gives the value, argmax gives the answer."),
        ),
    ),
    "06.4": Exercise(
        Choice(("yes", "worse", "no evidence")),
        right="no evidence",
        because="The interval contains 0, and also a gain that would matter. More test questions would narrow it.",
        hint="Does the interval contain 0? Which other values does it contain?",
        mistakes=(
            Mistake("yes", "Then the whole interval would be above 0."),
            Mistake("worse", "Then the whole interval would be below 0."),
        ),
    ),
    "06.5": Exercise(
        WholeNumber(),
        right=160,
        because="180 of each answer: always “yes” is then right in one half.",
        hint="How many with “no” make the two answers equally frequent?",
        mistakes=(
            Mistake(20, "That many are there already."),
            Mistake(180, "That is the total with the answer “no”, and some are there already."),
            Mistake(90, "How many of the answers are “yes”, and how many are “no”?"),
            Mistake(200, "Then “no” would be the more frequent answer."),
        ),
    ),
}
