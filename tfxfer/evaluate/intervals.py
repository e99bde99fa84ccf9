"""95 % intervals of the figures of `tfxfer.evaluate.classification`, over the draw of the examples.

- *Shares* (accuracy, micro averages, precision and recall of a class): Wilson's score interval, which is not empty when
  all answers are right. F1 = 2J/(1+J) rises with J = TP/(TP+FP+FN), a share too: its interval is J's, carried over.
- *Means over classes* (balanced accuracy, macro averages) and the log loss: percentiles of a bootstrap over examples.
- *Calibration error*: the absolute values in it make it too large in a small sample, and larger still in a sample drawn
  from that sample. So its interval is the bootstrap's turned round at the estimate (the basic bootstrap interval).

In 200 simulated sets of 4 classes, one of them rare, they hold the true figure in 90 to 97 % of cases with 300
examples, and in 85 to 97 % with 60.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.evaluate.classification import BINS
from tfxfer.evaluate.verdict import interval

DRAWS = 2_000
BLOCK = 2**22  # numbers that are held at a time
Pair = tuple[float, float]


def classification_intervals(
    scores: dict[str, Any], labels: ArrayLike, probabilities: ArrayLike, *, level: float = 0.95, seed: int = 0
) -> tuple[dict[str, Pair], list[dict[str, Pair | None]]]:
    """Return the intervals of all figures of one set of predictions.

    Args:
        scores: What `classification` returned for them.
        labels: int [N], the true classes.
        probabilities: float [N, C].
        level: Confidence level.
        seed: Seed of the bootstrap.

    Returns:
        Name of a figure -> (low, high); and for each class "precision", "recall" and "f1" -> (low, high), or None where
        nothing decides them, as the recall of a class without examples.
    """
    true, given = np.asarray(labels), np.asarray(probabilities, np.float64)
    given = given / given.sum(1, keepdims=True)
    predicted, ends = given.argmax(1), ((1 - level) / 2, (1 + level) / 2)
    right = int((predicted == true).sum())
    accuracy = wilson(right, len(true), level)
    assert accuracy is not None  # `classification` refuses an empty set
    found = dict.fromkeys(("accuracy", "micro_precision", "micro_recall", "micro_f1"), accuracy)
    rng = np.random.default_rng(seed)
    for name, values in _class_means(true, predicted, given.shape[1], rng).items():
        low, high = np.quantile(values, ends).tolist()
        found[name] = (low, high) if low < high else accuracy  # no two draws differ: all are right, or all are wrong
    eps = np.finfo(np.float64).eps
    losses = -np.log(np.clip(given[np.arange(len(true)), true], eps, 1 - eps))
    found["log_loss"] = interval(losses, level=level, draws=DRAWS, seed=seed)[1:]
    estimate = scores["calibration_error"]
    low, high = np.quantile(_calibration_errors(true, given, rng), ends).tolist()
    found["calibration_error"] = (max(0.0, min(estimate, 2 * estimate - high)), max(estimate, 2 * estimate - low))
    return found, _by_class(np.asarray(scores["confusion"]), level)


def wilson(right: int, count: int, level: float = 0.95) -> Pair | None:
    """Return the interval of a share by Wilson (1927); None for a share of nothing.

    >>> [round(end, 3) for end in wilson(10, 10)]
    [0.722, 1.0]
    """
    from scipy.stats import binomtest

    if not count:
        return None
    found = binomtest(right, count).proportion_ci(level, "wilson")
    return float(found.low), float(found.high)


def _by_class(confusion: np.ndarray, level: float) -> list[dict[str, Pair | None]]:
    rows = []
    for hits, support, predicted in zip(np.diag(confusion), confusion.sum(1), confusion.sum(0)):
        jaccard = wilson(int(hits), int(support + predicted - hits), level)
        f1 = jaccard and (2 * jaccard[0] / (1 + jaccard[0]), 2 * jaccard[1] / (1 + jaccard[1]))
        rows.append(
            {
                "precision": wilson(int(hits), int(predicted), level),
                "recall": wilson(int(hits), int(support), level),
                "f1": f1,
            }
        )
    return rows


def _class_means(
    true: np.ndarray, predicted: np.ndarray, classes: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the means over classes in each draw, float [draws]; they depend on the confusion matrix alone."""
    from scipy.sparse import csr_array

    cells, counts = np.unique(true.astype(np.int64) * classes + predicted, return_counts=True)  # [K]
    row, column, each = cells // classes, cells % classes, np.arange(len(cells))

    def into(place: np.ndarray, kept: np.ndarray) -> Any:
        return csr_array((kept.astype(float), (place, each)), (classes, len(cells)))  # counts [K] -> classes [C]

    every = np.ones(len(cells))
    of_true, of_predicted, of_hits = into(row, every), into(column, every), into(row, row == column)
    names = ("balanced_accuracy", "macro_precision", "macro_recall", "macro_f1")
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    size = max(1, BLOCK // (len(cells) + 3 * classes))
    for start in range(0, DRAWS, size):
        drawn = rng.multinomial(len(true), counts / len(true), min(size, DRAWS - start)).T  # [K, draws]
        support, given, hits = of_true @ drawn, of_predicted @ drawn, of_hits @ drawn  # [C, draws]
        recall, used = hits / np.maximum(1, support), (support + given > 0).sum(0)
        found["balanced_accuracy"].append(recall.sum(0) / (support > 0).sum(0))
        found["macro_precision"].append((hits / np.maximum(1, given)).sum(0) / used)
        found["macro_recall"].append(recall.sum(0) / used)
        found["macro_f1"].append((2 * hits / np.maximum(1, support + given)).sum(0) / used)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _calibration_errors(true: np.ndarray, probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the calibration error of each draw, float [draws]."""
    count, top = len(true), probabilities.max(1)
    gap = top - (probabilities.argmax(1) == true)  # confidence minus correctness
    bins = np.clip(np.ceil(top * BINS).astype(int) - 1, 0, BINS - 1)  # as `calibration` groups them
    errors, size = [], max(1, BLOCK // count)
    for start in range(0, DRAWS, size):
        draws = min(size, DRAWS - start)
        rows = rng.integers(0, count, (draws, count))
        place = bins[rows] + BINS * np.arange(draws)[:, None]
        sums = np.bincount(place.ravel(), gap[rows].ravel(), draws * BINS).reshape(draws, BINS)
        errors.append(np.abs(sums).sum(1) / count)
    return np.concatenate(errors)
