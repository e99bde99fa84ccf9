"""Classification metrics: accuracy, precision, recall, F1, confusion matrix, and calibration of probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError, suggest

BINS = 15  # of equal width on the top probability, as in Guo et al. 2017
SUM_TOLERANCE = 1e-3  # error of a float32 softmax: 1e-6; of half-precision outputs: a few 1e-4


def classification(
    labels: ArrayLike, predictions: ArrayLike, class_names: Sequence[str] | None = None
) -> dict[str, Any]:
    """Score predicted classes, and their probabilities when given, against the true classes.

    Args:
        labels: [N] true classes, as numbers 0..C-1 or, with `class_names`, as names.
        predictions: [N, C] probabilities, or [N] predicted classes (numbers or names).
        class_names: Names of the C classes; the numbers as text by default.

    Returns:
        A dict that JSON can hold. Floats: `accuracy`, `balanced_accuracy` (mean recall of the classes among
        the labels), `macro_` and `micro_` `precision`, `recall`, `f1`; with probabilities also `log_loss`
        (nats) and `calibration_error`. `examples` is N; `per_class` has a dict for each class (`name`,
        `precision`, `recall`, `f1`, `support`, `predicted`); `confusion` [C][C] counts, a row for each true
        class; with probabilities `reliability`, the non-empty bins of `calibration`.
        A quotient 0/0, as the recall of a class without test examples, counts as 0. Macro averages are over
        the classes that occur among labels or predictions, so an unused class does not lower them.

    Raises:
        UserError: Nothing to score, lengths that differ, a label outside the classes, or probabilities that
            are NaN, negative or do not sum to 1. The error names the row, counted from 0.

    >>> classification(["cat", "dog", "dog"], ["cat", "dog", "cat"], ["cat", "dog"])["confusion"]
    [[1, 0], [1, 1]]
    """
    predicted = np.asarray(predictions)
    probabilities = None
    if predicted.ndim == 2:
        probabilities = _checked_probabilities(predicted, class_names)
        predicted = probabilities.argmax(-1)  # [N]
    names = _names(class_names, labels, predicted, probabilities)
    true = _class_numbers(labels, names, "label")  # [N]
    predicted = _class_numbers(predicted, names, "prediction")  # [N]
    if len(true) != len(predicted):
        raise UserError(f"{len(true)} labels but {len(predicted)} predictions; give one prediction for each label.")
    result = _class_scores(true, predicted, names)
    if probabilities is not None:
        result |= _probability_scores(true, probabilities)
    return result


def calibration(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> tuple[float, list[dict[str, float]]]:
    """Return the expected calibration error and the points of the reliability curve.

    The top probability of each example falls into one of `bins` intervals (low, high] of equal width. The
    error is the mean over examples of |accuracy − confidence| of their bin, where confidence is the mean top
    probability (Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3).

    Args:
        labels: int [N] true classes.
        probabilities: [N, C].
        bins: Number of bins.

    Returns:
        The error in [0, 1], and for each non-empty bin `low`, `high`, `count`, `confidence` and `accuracy`.
    """
    probabilities = np.asarray(probabilities, np.float64)
    top = probabilities.max(-1)  # [N]
    right = probabilities.argmax(-1) == np.asarray(labels)  # [N]
    which = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)  # [N], bin (low, high]
    error, points = 0.0, []
    for b in np.unique(which):
        inside = which == b
        confidence, accuracy = float(top[inside].mean()), float(right[inside].mean())
        error += float(inside.mean()) * abs(accuracy - confidence)
        points.append(
            {
                "low": float(b / bins),
                "high": float((b + 1) / bins),
                "count": int(inside.sum()),
                "confidence": confidence,
                "accuracy": accuracy,
            }
        )
    return error, points


def _class_scores(true: np.ndarray, predicted: np.ndarray, names: list[str]) -> dict[str, Any]:
    from sklearn import metrics

    everything = np.arange(len(names))
    present = np.unique(true)
    used = np.union1d(present, predicted)
    confusion = metrics.confusion_matrix(true, predicted, labels=everything)  # [C, C]
    columns = metrics.precision_recall_fscore_support(true, predicted, labels=everything, zero_division=0)
    result: dict[str, Any] = {
        "examples": len(true),
        "accuracy": float(metrics.accuracy_score(true, predicted)),
        # sklearn's balanced_accuracy_score is this, with a warning when a predicted class has no examples
        "balanced_accuracy": float(
            metrics.recall_score(true, predicted, labels=present, average="macro", zero_division=0)
        ),
    }
    for average in ("macro", "micro"):
        three = metrics.precision_recall_fscore_support(true, predicted, labels=used, average=average, zero_division=0)[
            :3
        ]
        result |= {f"{average}_{n}": float(v) for n, v in zip(("precision", "recall", "f1"), three)}
    result["per_class"] = [
        {
            "name": name,
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": int(support),
            "predicted": int(count),
        }
        for name, precision, recall, f1, support, count in zip(names, *columns, confusion.sum(0))
    ]
    result["confusion"] = confusion.tolist()
    return result


def _probability_scores(true: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    from sklearn.metrics import log_loss

    classes = probabilities.shape[1]
    error, points = calibration(true, probabilities)
    loss = log_loss(true, probabilities, labels=np.arange(classes)) if classes > 1 else 0.0
    return {"log_loss": float(loss), "calibration_error": error, "reliability": points}


def _checked_probabilities(rows: np.ndarray, class_names: Sequence[str] | None) -> np.ndarray:
    """Return float64 [N, C] whose rows sum to 1 exactly; raise `UserError` naming the row that is no distribution."""
    if rows.dtype.kind not in "fiub":
        raise UserError(f"probabilities must be numbers [N, C], not {rows.dtype}.")
    rows = rows.astype(np.float64)
    if 0 in rows.shape:
        raise UserError(f"there is nothing to score: the probabilities have shape {list(rows.shape)}.")
    if class_names is not None and rows.shape[1] != len(class_names):
        raise UserError(f"probabilities have {rows.shape[1]} columns but there are {len(class_names)} class names.")
    for bad, what in (
        (~np.isfinite(rows), "NaN or infinite; did training diverge? Try a lower learning rate"),
        ((rows < 0) | (rows > 1 + SUM_TOLERANCE), "outside 0..1; are these logits? Apply a softmax first"),
    ):
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise UserError(f"row {row}: the probability of class {column} is {rows[row, column]}: {what}.")
    sums = rows.sum(1)
    far = np.abs(sums - 1) > SUM_TOLERANCE
    if far.any():
        row = int(far.argmax())
        raise UserError(f"row {row}: probabilities sum to {sums[row]:.6g}, not 1; apply a softmax first.")
    return rows / sums[:, None]


def _names(
    given: Sequence[str] | None, labels: ArrayLike, predicted: np.ndarray, probabilities: np.ndarray | None
) -> list[str]:
    if given is not None:
        return [str(name) for name in given]
    if probabilities is not None:
        return [str(number) for number in range(probabilities.shape[1])]
    both = [np.ravel(np.asarray(labels)), np.ravel(predicted)]
    if any(values.dtype.kind not in "fiub" for values in both if values.size):
        raise UserError("labels are names: give class_names as well, which define their order.")
    highest = max((float(np.nan_to_num(values).max()) for values in both if values.size), default=-1.0)
    return [str(number) for number in range(int(highest) + 1)]


def _class_numbers(given: ArrayLike, names: list[str], what: str) -> np.ndarray:
    """Return int64 [N] class numbers of numbers or names; raise `UserError` for the first row outside the classes."""
    values = np.asarray(given)
    if values.ndim != 1:
        raise UserError(f"{what}s must be a list of N classes, not an array of shape {list(values.shape)}.")
    if not len(values):
        raise UserError(f"there is nothing to score: no {what}s were given.")
    if values.dtype.kind in "fiub":
        number = values.astype(np.float64)
        known = (number >= 0) & (number < len(names)) & (number == np.floor(number))
        hint = f"classes are whole numbers from 0 to {len(names) - 1}"
    else:
        lookup = {name: place for place, name in enumerate(names)}
        number = np.array([lookup.get(str(value), -1) for value in values.tolist()], np.float64)
        known = number >= 0
        hint = suggest(str(values[int((~known).argmax())]), names)
    if not known.all():
        row = int((~known).argmax())
        raise UserError(f"row {row}: {what} {values[row].item()!r} is not one of the classes; {hint}.")
    return number.astype(np.int64)
