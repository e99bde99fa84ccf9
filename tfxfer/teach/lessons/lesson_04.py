"""Exercises of lesson 04, K as a matrix."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, Shape

F = np.array([[3.0, 4.0], [1.0, 0.0]])  # [B, D]
G = np.array([[0.0, 2.0], [1.0, 1.0], [5.0, 0.0]])  # [C, D]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _right(f: np.ndarray, g: np.ndarray, temperature: float) -> np.ndarray:
    return _unit(f) @ _unit(g).T / temperature


EXERCISES = {
    "04.1": Exercise(
        Shape(),
        right=(12, 300),
        because="A row for each picture, a column for each text.",
        hint="Rows are X, columns are Y.",
        mistakes=(
            Mistake((300, 12), "Turned round: rows are pictures."),
            Mistake((12,), "Every picture is compared with every text."),
            Mistake((12, 12), "There are more texts than pictures, and all of them are compared."),
        ),
    ),
    "04.2": Exercise(
        Number(0.01),
        right=2 / 3,
        because="In rows 1 and 3 the greatest number stands on the diagonal; in row 2 it does not.",
        hint="For each row: is its greatest number on the diagonal?",
        mistakes=(
            Mistake(1, "That is from texts to pictures: down the columns. Go along the rows."),
            Mistake(1 / 3, "Count the rows that are right, not those that are wrong."),
            Mistake(2, "A share: of how many rows?"),
        ),
    ),
    "04.3": Exercise(
        Function(),
        right=(((F, G, 1.0), _right(F, G, 1.0)), ((F, G, 0.1), _right(F, G, 0.1))),
        because="Lengths are divided out first, so that only directions count.",
        hint="Divide each row by its own length (np.linalg.norm, axis=1, keepdims=True), then multiply.",
        mistakes=(
            Mistake(lambda f, g, t: f @ g.T / t, "Long vectors win here. Cosines do not know lengths."),
            Mistake(lambda f, g, t: _unit(f) @ g.T / t, "f has length 1 now. And g?"),
            Mistake(lambda f, g, t: _unit(f) @ _unit(g).T * t, "A low temperature makes differences larger: divide."),
            Mistake(lambda f, g, t: (_unit(f) @ _unit(g).T / t).T, "Turned round: rows are f."),
        ),
    ),
    "04.4": Exercise(
        Choice(("0", "300", "3000")),
        right="0",
        because="It learned from pictures with labels. The texts came into their space without any.",
        hint="What does `picture_head` get?",
        mistakes=(
            Mistake("3000", "So many *pictures* had a label."),
            Mistake("300", "So many are tested, and their labels are not shown to the head."),
        ),
    ),
}
