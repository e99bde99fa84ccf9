"""The cross-validated probe: the accuracy of a linear classifier on rows that it was not fitted on."""

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.choose.inputs import labelled
from tfxfer.errors import UserError


def cross_validated_probe(
    features: ArrayLike, labels: ArrayLike, *, folds: int = 5, l2: float = 1e-2, seed: int = 0
) -> float:
    """Return the accuracy of a linear probe, f(x) = W·φ(x) + b, over stratified folds.

    The probe is that of `tfxfer.transfer.feature.linear_probe`: features scaled to variance 1, and

        J(W, b) = (1/N) Σᵢ −log softmax(Wᵀφᵢ + b)[yᵢ] + (λ/2) ‖W‖²

    with one λ, so that nothing is chosen on the rows that are held out. The folds are drawn: by another order of rows
    or another seed the score moves by its sampling error.

    Args:
        features: Numbers [N, D].
        labels: The target's classes [N]: whole numbers or text.
        folds: How many; fewer where the smallest class has fewer rows.
        l2: λ.
        seed: Of the draw of the folds.

    Returns:
        The share of rows whose class is predicted right, within 0 and 1. Higher is better.

    Raises:
        UserError: A class has one row, folds or λ out of range, or what `tfxfer.choose.inputs` refuses.

    References:
        Alain and Bengio 2016, "Understanding Intermediate Layers Using Linear Classifier Probes".

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(60) % 3
        >>> cross_validated_probe(np.eye(3)[labels] + rng.normal(0, 0.1, (60, 3)), labels)
        1.0
    """
    F, classes = labelled(features, labels)
    smallest = int(np.bincount(classes).min())
    if smallest < 2:
        row = int(np.flatnonzero(np.bincount(classes)[classes] == 1)[0])
        raise UserError(f"labels: row {row} is alone in its class; a probe that holds rows out needs two of each class")
    return float(np.mean(held_out_classes(F, classes, min(folds, smallest), l2, seed) == classes))


def held_out_classes(F: np.ndarray, classes: np.ndarray, folds: int, l2: float, seed: int) -> np.ndarray:
    """Return the class of each row as predicted by a probe that was fitted on the other folds, [N].

    Classes weigh the same in proportion to their rows.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    if folds < 2 or not l2 > 0:
        raise UserError(f"folds must be 2 or more and l2 above 0, not {folds} and {l2}")
    predicted = np.empty_like(classes)
    sides = 2 if classes.max() == 1 else 1  # scikit-learn fits one logit where there are two classes
    draw = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with threadpool_limits(1, user_api="blas"):  # the idle threads of two BLAS take the processor from many short calls
        for fitted, held_out in draw.split(F, classes):
            head = LogisticRegression(C=sides / (len(fitted) * l2), max_iter=1000)
            probe = make_pipeline(StandardScaler(), head).fit(F[fitted], classes[fitted])
            predicted[held_out] = probe.predict(F[held_out])
    return predicted
