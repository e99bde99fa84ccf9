"""Exercises of lesson 04, K as a matrix."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, Shape

F = np.array([[3.0, 4.0], [1.0, 0.0]])  # [B, D]
G = np.array([[0.0, 2.0], [1.0, 1.0], [5.0, 0.0]])  # [C, D]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _right(f: np.ndarray, g: np.ndarray, temperature: float) -> np.ndarray:
    return _unit(f) @ _unit(g).T / temperature


T = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])  # [N, G]
P = np.array([[1.0, -1.0], [0.5, 2.0]])  # [N, D]
Q = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [2.0, 0.0, 1.0]])  # [M, G]


def _towards(t: np.ndarray, p: np.ndarray, q: np.ndarray, a: float) -> np.ndarray:
    return q @ t.T @ np.linalg.solve(t @ t.T + a * np.eye(len(t)), p)


EXERCISES = {
    "04.1": Exercise(
        Shape(),
        right=(12, 300),
        because="A row for each image, a column for each text.",
        hint="Rows are X, columns are Y.",
        mistakes=(
            Mistake((300, 12), "The axes are swapped: rows are images."),
            Mistake((12,), "Every image is compared with every text."),
            Mistake((12, 12), "There are more texts than images, and all of them are compared."),
        ),
    ),
    "04.2": Exercise(
        Number(decimals=2),
        right=2 / 3,
        because="In rows 1 and 3 the largest number is on the diagonal; in row 2 it is not.",
        hint="For each row: is its largest number on the diagonal?",
        mistakes=(
            Mistake(1, "That is recall from texts to images, over the columns. Use the rows."),
            Mistake(1 / 3, "Count the rows that are right, not the rows that are wrong."),
            Mistake(2, "recall@1 is a share: divide by the number of rows."),
        ),
    ),
    "04.3": Exercise(
        Function(),
        right=(((F, G, 1.0), _right(F, G, 1.0)), ((F, G, 0.1), _right(F, G, 0.1))),
        because="Each vector is normalised to length 1, so only its direction counts.",
        hint="Divide each row by its norm (np.linalg.norm, axis=1, keepdims=True), then multiply.",
        mistakes=(
            Mistake(
                lambda f, g, t: f @ g.T / t,
                "Here the length of a vector changes the result. A cosine does not depend on lengths.",
            ),
            Mistake(lambda f, g, t: _unit(f) @ g.T / t, "f is normalised. g is not."),
            Mistake(lambda f, g, t: _unit(f) @ _unit(g).T * t, "A low temperature makes differences larger: divide."),
            Mistake(lambda f, g, t: (_unit(f) @ _unit(g).T / t).T, "The axes are swapped: rows are f."),
        ),
    ),
    "04.4": Exercise(
        Choice(("0", "300", "3000")),
        right="0",
        because="The head learned from labelled images. The texts were aligned to the images without labels.",
        hint="What are the arguments of `image_head`?",
        mistakes=(
            Mistake("3000", "That many *images* had a label."),
            Mistake("300", "That many are in the test split. The head is not fitted on their labels."),
        ),
    ),
    "04.5": Exercise(
        Function(),
        right=(((T, P, Q, 0.3), _towards(T, P, Q, 0.3)), ((T, P, Q, 2.0), _towards(T, P, Q, 2.0))),
        because="T·Tᵀ has a row for each name, so few names with many n-grams are a small system of equations.",
        hint="np.linalg.solve(T @ T.T + a * np.eye(len(T)), P) is the right part.",
        mistakes=(
            Mistake(lambda t, p, q, a: q @ t.T @ p, "The inverse is missing: similar names would count twice."),
            Mistake(
                lambda t, p, q, a: q @ t.T @ np.linalg.solve(t @ t.T + a, p),
                "a is added to every entry. It belongs on the diagonal: a * np.eye(N).",
            ),
            Mistake(
                lambda t, p, q, a: q @ t.T @ np.linalg.solve(t @ t.T, p),
                "Without a the known names are met exactly, and new ones badly.",
            ),
        ),
    ),
}
