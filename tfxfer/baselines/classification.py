"""The plain rivals of the target's own field: what a transfer has to be worth its trouble against."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfxfer.experiment import Outcome
from tfxfer.tasks.classification import Task, joined_labels
from tfxfer.transfer.feature.probe import linear_probe

STRENGTHS = (10.0, 1.0, 100.0)  # scikit-learn's C; the first one also decides between the units
UNITS: dict[str, dict[str, Any]] = {
    "characters": {"analyzer": "char_wb", "ngram_range": (1, 3)},
    "words": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\S+"},
}

NEAR = 1e-2  # of the lowest loss: pixels are many and alike, and the last per cent costs half of the time


def native_text(
    train: tuple[Sequence[str], np.ndarray],
    validation: tuple[Sequence[str], np.ndarray],
    test: Sequence[str],
    num_classes: int,
) -> Outcome:
    """TF-IDF of character or word n-grams and logistic regression; validation chooses the unit and C.

    Args:
        train: Texts and int labels [N].
        validation: Texts and int labels that choose.
        test: Texts to answer.
        num_classes: C; classes absent from train get probability 0.
    """
    chosen = chosen_ngrams(train, validation)
    model = chosen.model
    probabilities = np.zeros((len(test), num_classes), np.float32)
    probabilities[:, model.classes_] = model.predict_proba(chosen.vectorizer.transform(test))
    settings = {
        "method": f"TF-IDF of {chosen.unit}, logistic regression",
        "C": model.C,
        "validation": chosen.tried,
    }
    return Outcome(probabilities, settings, trainable=int(model.coef_.size + model.intercept_.size))


@dataclass(frozen=True)
class NgramModel:
    """N-grams and a logistic regression, as validation chose them.

    Attributes:
        score: Accuracy on the validation split.
        unit: "characters" or "words".
        vectorizer: Fitted on the training texts.
        model: Fitted on its rows.
        tried: Accuracy of each choice on the validation split.
    """

    score: float
    unit: str
    vectorizer: Any
    model: Any
    tried: dict[str, float]


def chosen_ngrams(train: tuple[Sequence[str], np.ndarray], validation: tuple[Sequence[str], np.ndarray]) -> NgramModel:
    """Fit TF-IDF and logistic regression; validation chooses the unit, then C. The arguments are `native_text`'s."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    tried: dict[str, float] = {}
    fitted = []

    def fit(unit: str, vectorizer: Any, rows: Any, held: Any, strength: float) -> None:
        model = LogisticRegression(C=strength, max_iter=1000)
        with threadpool_limits(1, user_api="blas"):  # several threads take the processor from one another here
            model.fit(rows, train[1])
        score = float(model.score(held, validation[1]))
        tried[f"{unit}, C={strength:g}"] = round(score, 4)
        fitted.append((score, unit, vectorizer, rows, held, model))

    for unit, options in UNITS.items():
        vectorizer = TfidfVectorizer(sublinear_tf=True, **options)
        rows = vectorizer.fit_transform(train[0])
        fit(unit, vectorizer, rows, vectorizer.transform(validation[0]), STRENGTHS[0])
    _, unit, vectorizer, rows, held, _ = max(fitted, key=lambda row: row[0])
    for strength in STRENGTHS[1:]:
        fit(unit, vectorizer, rows, held, strength)
    score, unit, vectorizer, _, _, model = max(fitted, key=lambda row: row[0])
    return NgramModel(score, unit, vectorizer, model, tried)


def native_image(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    test: np.ndarray,
    num_classes: int,
) -> Outcome:
    """Logistic regression on raw pixels; validation chooses the strength of L2.

    Args:
        train: uint8 images [N, H, W, C] and int labels [N], or shares of the classes [N, C].
        validation: Images and labels that choose.
        test: Images to answer.
        num_classes: Number of classes.
    """

    def flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32) / 255

    held_out = (flat(validation[0]), validation[1])
    probe = linear_probe(flat(train[0]), train[1], validation=held_out, num_classes=num_classes, tolerance=NEAR)
    scores = {f"{point.l2:g}": point.validation_accuracy for point in probe.path}
    settings = {"method": "raw pixels, logistic regression", "l2": probe.l2, "validation": scores}
    return Outcome(probe.predict_proba(flat(test)), settings, trainable=probe.W.size + probe.b.size)


def majority(train_labels: np.ndarray, test_size: int, num_classes: int) -> Outcome:
    """Answer always with the shares of the classes in training: the most frequent class wins every time."""
    shares = np.bincount(train_labels, minlength=num_classes) / len(train_labels)
    return Outcome(np.repeat(shares[None].astype(np.float32), test_size, axis=0), {"method": "class shares"})


def native(task: Task, budget: int | None, seed: int) -> Outcome:
    """The plain baseline of the target's own field."""
    small = task.train(budget, seed)
    train, held, test = ((small, "train"), (task.dataset, "validation"), (task.dataset, "test"))
    classes = len(task.class_names)
    asked = [test] if task.shift is None else [test, (task.shift, "test")]  # both are answered at once
    extra = task.copies(small, seed)
    if task.key == "text":
        rows = [(d.texts(split), d.labels(split)) for d, split in (train, held)]
        if extra is not None:
            rows[0] = (rows[0][0] + extra.texts("train"), np.concatenate([rows[0][1], extra.labels("train")]))
        texts = [text for d, split in asked for text in d.texts(split)]
        return in_two(native_text(rows[0], rows[1], texts, classes), task)
    images = [(d.arrays(split, **task.reading)["image"], d.labels(split)) for d, split in (train, held)]
    if extra is not None:
        copied = extra.arrays("train")
        labels = joined_labels(images[0][1], copied, classes)
        images[0] = (np.concatenate([images[0][0], copied["image"]]), labels)
    pixels = np.concatenate([d.arrays(split, **task.reading)["image"] for d, split in asked])
    return in_two(native_image(images[0], images[1], pixels, classes), task)


def in_two(outcome: Outcome, task: Task) -> Outcome:
    """Return the answers to the test split, and which of the shifted test set, after it, are correct."""
    size, probabilities = task.sizes["test"], np.asarray(outcome.probabilities)
    return replace(outcome, probabilities=probabilities[:size], elsewhere=task.shifted(probabilities[size:]))


def most_frequent(task: Task, budget: int | None, seed: int) -> Outcome:
    """The share of each class among all training labels."""
    more = task.shift.sizes["test"] if task.shift else 0
    return in_two(majority(task.labels("train"), task.sizes["test"] + more, len(task.class_names)), task)
