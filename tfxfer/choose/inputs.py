"""What every score checks first: features that are numbers, finite and not all alike, and labels that name classes."""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError

LARGEST = 1e100  # the square of a much larger feature is no float64, that of one as small is 0
SUMS_TO_ONE = 1e-3  # how far the probabilities of a row may be from a sum of 1


def as_features(features: ArrayLike, what: str = "features", *, vary: bool = True) -> np.ndarray:
    """Return features as float64 [N, D].

    Args:
        features: Numbers [N, D], a row an example.
        what: Their name in an error.
        vary: Refuse features that are the same in every row.

    Raises:
        UserError: They are not numbers [N, D], not finite (the first row is named), too large, one row, or all alike.
    """
    given = np.asarray(features)
    if given.dtype.kind not in "biuf":
        raise UserError(f"{what} must be numbers [N, D], not {given.dtype}; convert them, e.g. with astype('float32')")
    if given.ndim != 2 or 0 in given.shape:
        hint = f"; one number a row is {what}.reshape(-1, 1)" if given.ndim == 1 and len(given) else ""
        raise UserError(f"{what} must be [N, D], a row an example, not {list(given.shape)}{hint}")
    rows = np.asarray(given, np.float64)
    largest = max(rows.max(), -rows.min())  # nan where any is
    if not largest <= LARGEST:
        _refuse_values(rows, what)
    if 0 < largest < 1 / LARGEST:
        raise UserError(f"{what}: no value is beyond {largest:g}; scale the features up")
    if len(rows) < 2:
        raise UserError(f"{what}: one row says nothing; give two or more")
    if vary and not (rows[-1] != rows[0]).any() and not (rows != rows[0]).any():
        raise UserError(f"{what}: all {len(rows):,} rows are equal; there is nothing to tell them apart")
    return rows


def as_classes(labels: ArrayLike, rows: int, what: str = "features") -> np.ndarray:
    """Return the class of each row as int64 [N], counted from 0 in the sorted order of the labels.

    Args:
        labels: Whole numbers, strings or booleans [N].
        rows: N of the array beside them.
        what: That array's name in an error.

    Raises:
        UserError: Another number of labels, a row without one, numbers with a fraction, labels of mixed types, one
            class only, or a class of its own for each row.
    """
    given = np.asarray(labels)
    if given.shape != (rows,):
        raise UserError(f"labels must be [{rows}], one for each row of {what}, not {list(given.shape)}")
    if given.dtype.kind == "O" and len({_kind(label) for label in given} - {None}) > 1:
        raise UserError("labels are of several types; make them all text, e.g. with map(str, labels)")
    missing = [row for row, label in enumerate(given) if label is None or label != label] if _may_miss(given) else []
    if missing:
        raise UserError(f"labels: {len(missing):,} rows have none, the first is row {missing[0]}; leave these rows out")
    if given.dtype.kind not in "biufUSO":
        raise UserError(f"labels must be whole numbers or text, not {given.dtype}")
    if given.dtype.kind == "f" and (given % 1).any():
        row = np.flatnonzero(given % 1)[0]
        raise UserError(f"labels: row {row} has {given[row]:g}; a score needs classes, not numbers with a fraction")
    names, codes = np.unique(given, return_inverse=True)
    if len(names) < 2:
        raise UserError(f"labels: every row is of class '{names[0]}'; a score needs two classes or more")
    if len(names) == rows:
        raise UserError(f"labels: each of the {rows} rows is a class of its own; a score needs classes of several rows")
    return codes.reshape(-1).astype(np.int64)


def labelled(features: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return features as float64 [N, D] and classes as int64 [N], both checked."""
    rows = as_features(features)
    return rows, as_classes(labels, len(rows))


def paired(features: ArrayLike, other: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return two representations of the same N examples, float64 [N, D] and [N, E].

    Raises:
        UserError: As `as_features`, or they have another number of rows.
    """
    one, two = as_features(features), as_features(other, "the other features")
    if len(one) != len(two):
        raise UserError(f"row i of both must be the same example, but there are {len(one):,} and {len(two):,} rows")
    return one, two


def two_samples(source: ArrayLike, target: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return two samples in one feature space, float64 [M, D] and [N, D].

    Raises:
        UserError: As `as_features`, they have another width, or all rows of both are equal.
    """
    one = as_features(source, "source features", vary=False)
    two = as_features(target, "target features", vary=False)
    if one.shape[1] != two.shape[1]:
        raise UserError(f"source features are {one.shape[1]} wide, target features {two.shape[1]}; use one φ for both")
    as_features(np.concatenate([one, two]), "source and target features")
    return one, two


def as_probabilities(probabilities: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return a source model's class probabilities θ as float64 [N, Z], each row with a sum of 1, and classes int64 [N].

    Raises:
        UserError: As `as_features` and `as_classes`, or a row is no distribution.
    """
    theta = as_features(probabilities, "probabilities", vary=False)
    sums = theta.sum(1)
    wrong = (theta < 0).any(1) | (np.abs(sums - 1) > SUMS_TO_ONE)
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        raise UserError(
            f"probabilities: {int(wrong.sum()):,} rows are no distribution, the first is row {row}: least value "
            f"{theta[row].min():.4g}, sum {sums[row]:.4g}; give what comes after the softmax, not logits"
        )
    return theta / sums[:, None], as_classes(labels, len(theta), "probabilities")


def class_sums(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the sum of the rows of each class, [C, D].

    >>> class_sums(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([1, 0, 1])).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    from scipy.sparse import csr_array

    rows = np.arange(len(classes))
    return csr_array((np.ones(len(rows)), (classes, rows))) @ values


def _refuse_values(rows: np.ndarray, what: str) -> NoReturn:
    bad = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(bad):
        raise UserError(
            f"{what}: {len(bad):,} of {len(rows):,} rows are not finite, the first is row {bad[0]}; "
            "look for what made them, or leave these rows out"
        )
    row = np.flatnonzero((np.abs(rows) > LARGEST).any(1))[0]
    raise UserError(f"{what}: row {row} has a value beyond {LARGEST:g}; scale the features down")


def _kind(label: Any) -> str | None:
    """Return "text", "number", another type's name, or None where there is no label."""
    if label is None or label != label:
        return None
    return "text" if isinstance(label, str) else "number" if isinstance(label, int | float) else type(label).__name__


def _may_miss(labels: np.ndarray) -> bool:
    return labels.dtype.kind in "fO"
