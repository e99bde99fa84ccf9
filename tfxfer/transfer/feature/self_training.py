"""Self-training: a classifier labels examples that have no label, and learns from those that it is sure of.

    round r     fit on what has a label; each example without one gets argmax p where max p > threshold
    the end     no new label, or the last round; then fit once more

One round is pseudo-labelling (Lee 2013); several are Yarowsky's algorithm (1995). A label that was given is not taken
back. The rounds are those of scikit-learn's `SelfTrainingClassifier`. The threshold is chosen on validation, and no
pseudo-label at all is one of the choices: it wins unless a threshold validates better.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from tfxfer.transfer.feature.probe import linear_probe

NONE = "none"  # the choice of no pseudo-label
THRESHOLDS = (0.5, 0.7, 0.9, 0.97)
ROUNDS = 5


class ProbeEstimator(ClassifierMixin, BaseEstimator):
    """`linear_probe` of one strength, as an estimator of scikit-learn.

    Args:
        num_classes: C; probabilities are [N, C] whatever classes the labels name.
        l2: Strength of the L2 penalty.
        standardise: As for `linear_probe`.
    """

    def __init__(self, num_classes: int = 2, l2: float = 1e-3, standardise: bool = True) -> None:
        self.num_classes, self.l2, self.standardise = num_classes, l2, standardise

    def fit(self, X: Any, y: Any) -> "ProbeEstimator":
        """Fit W and b on features [N, D] and labels int [N]."""
        self.classes_ = np.arange(self.num_classes)
        some: dict[str, Any] = {"num_classes": self.num_classes, "standardise": self.standardise}
        self.probe_ = linear_probe(X, y, strengths=(self.l2,), **some)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return float32 [N, C]."""
        return self.probe_.predict_proba(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable classes, int [N]."""
        return self.predict_proba(X).argmax(1)


@dataclass(frozen=True)
class SelfTrained:
    """What self-training gave.

    Attributes:
        model: The classifier of the chosen threshold, with `predict_proba`; None where none is chosen.
        threshold: The chosen one; None where no threshold validates better than no pseudo-label.
        validation: Choice -> accuracy on the validation split: "none" and each threshold.
        rounds: Threshold -> for each round [pseudo-labels, how many of them are right]; the second is None where the
            true labels are not known.
    """

    model: Any
    threshold: float | None
    validation: dict[str, float]
    rounds: dict[str, list[list[int | None]]] = field(default_factory=dict)

    @property
    def best(self) -> str | None:
        """The threshold that validates best, whether or not it was chosen; None where none was tried."""
        tried = {name: score for name, score in self.validation.items() if name != NONE}
        return max(tried, key=lambda name: tried[name]) if tried else None


def self_training(
    train: tuple[Any, np.ndarray],
    unlabelled: Any,
    validation: tuple[Any, np.ndarray],
    estimator: Any,
    supervised: float,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    rounds: int = ROUNDS,
    hidden: np.ndarray | None = None,
) -> SelfTrained:
    """Self-train a classifier with each threshold, and choose one of them, or none, on validation.

    Of thresholds that validate equally well, the highest is chosen.

    Args:
        train: Rows [N, D], dense or sparse, and labels int [N].
        unlabelled: Rows [U, D] without labels.
        validation: Rows and labels that choose the threshold.
        estimator: An estimator of scikit-learn with `predict_proba`; it is cloned.
        supervised: Accuracy on the validation split of the classifier without pseudo-labels, which is to be beaten.
        thresholds: Confidences above which a pseudo-label is given, in (0, 1].
        rounds: Most rounds.
        hidden: True labels int [U], −1 where unknown. They are only counted, for a person to see.
    """
    from threadpoolctl import threadpool_limits

    model, chosen = None, None
    scores: dict[str, float] = {NONE: round(float(supervised), 4)}
    counts = {}
    for threshold in sorted(set(thresholds), reverse=True) if unlabelled.shape[0] else ():
        with threadpool_limits(1, user_api="blas"):  # several threads take the processor from one another here
            fitted = _fit(estimator, train, unlabelled, threshold, rounds)
            score = _accuracy(fitted, validation)
        counts[f"{threshold:g}"] = _counts(fitted, len(train[1]), hidden)
        if score > max(scores.values()):
            model, chosen = fitted.estimator_, threshold
        scores[f"{threshold:g}"] = score
    return SelfTrained(model, chosen, scores, counts)


def _fit(estimator: Any, train: tuple[Any, np.ndarray], unlabelled: Any, threshold: float, rounds: int) -> Any:
    """Return scikit-learn's fitted `SelfTrainingClassifier`, which wants a threshold below 1."""
    from scipy.sparse import issparse, vstack
    from sklearn.semi_supervised import SelfTrainingClassifier

    rows = vstack([train[0], unlabelled]).tocsr() if issparse(unlabelled) else np.concatenate([train[0], unlabelled])
    labels = np.concatenate([train[1], np.full(unlabelled.shape[0], -1)])
    model = SelfTrainingClassifier(estimator, threshold=min(threshold, np.nextafter(1, 0)), max_iter=rounds)
    return model.fit(rows, labels)


def _accuracy(model: Any, rows: tuple[Any, np.ndarray]) -> float:
    return round(float(np.mean(model.predict(rows[0]) == rows[1])), 4)


def _counts(fitted: Any, labelled: int, hidden: np.ndarray | None) -> list[list[int | None]]:
    """Return for each round how many pseudo-labels were given, and how many of them are right."""
    given, when = fitted.transduction_[labelled:], fitted.labeled_iter_[labelled:]
    found: list[list[int | None]] = []
    for number in range(1, int(when.max(initial=0)) + 1):
        rows = when == number
        right = None if hidden is None or (hidden < 0).any() else int((given[rows] == hidden[rows]).sum())
        found.append([int(rows.sum()), right])
    return found


def label_spreading(
    train: tuple[np.ndarray, np.ndarray],
    unlabelled: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray],
    *,
    neighbours: Sequence[int] = (7, 20),
    alphas: Sequence[float] = (0.2, 0.9),
    hidden: np.ndarray | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Spread labels along a graph of nearest neighbours (Zhou et al. 2004), scikit-learn's `LabelSpreading`.

    An example that no label reaches has the same probability for every class.

    Args:
        train: Features [N, D] and labels int [N], which name every class.
        unlabelled: Features [U, D].
        validation: Features and labels that choose the number of neighbours and α.
        neighbours: The numbers to choose from.
        alphas: α to choose from, in (0, 1): the share of its label that an example takes from its neighbours. With a
            small one labels do not reach far.
        hidden: True labels int [U], −1 where unknown, which are only counted.

    Returns:
        A function from features [M, D] to probabilities [M, C], and settings: "neighbours", "alpha", "validation" and
        "rounds".
    """
    from sklearn.preprocessing import StandardScaler

    rows = np.concatenate([train[0], unlabelled])
    scaler = StandardScaler().fit(rows)
    labels = np.concatenate([train[1], np.full(len(unlabelled), -1)])
    held, tried = scaler.transform(validation[0]), []
    for number, alpha in product(neighbours, alphas):
        model = _spread(scaler.transform(rows), labels, number, alpha)
        tried.append((float(np.mean(_reached(model, held).argmax(1) == validation[1])), (number, alpha), model))
    _, (number, alpha), model = max(tried, key=lambda row: row[0])
    given = model.transduction_[len(train[1]) :]
    known = hidden is not None and not (hidden < 0).any()
    settings = {
        "neighbours": number,
        "alpha": alpha,
        "validation": {f"{one} neighbours, α {share:g}": round(score, 4) for score, (one, share), _ in tried},
        "rounds": [[len(given), int((given == hidden).sum()) if known else None]],
    }
    return lambda features: _reached(model, scaler.transform(features)), settings


def _spread(rows: np.ndarray, labels: np.ndarray, neighbours: int, alpha: float) -> Any:
    """Return a fitted `LabelSpreading`; its own tolerance of 1e-3 stops before labels have come far."""
    from sklearn.semi_supervised import LabelSpreading

    count = min(neighbours, len(rows) - 1)
    with np.errstate(invalid="ignore"):  # 0 / 0 where no label comes; see `_reached`
        return LabelSpreading(kernel="knn", n_neighbors=count, alpha=alpha, max_iter=1000, tol=1e-6).fit(rows, labels)


def _reached(model: Any, rows: np.ndarray) -> np.ndarray:
    """Return probabilities float32 [M, C], equal ones where no label reaches the neighbours of a row."""
    with np.errstate(invalid="ignore"):
        found = np.asarray(model.predict_proba(rows), np.float32)
    return np.where(np.isfinite(found), found, np.float32(1 / found.shape[1]))
