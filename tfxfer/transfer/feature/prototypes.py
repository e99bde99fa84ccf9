"""Few-shot episodes: draw a few classes and a few examples of each, classify others by the nearest class mean.

    prototype   c_k = mean of φ(x) over the support examples of class k
    answer      argmin_k ‖φ(x) − c_k‖²  or  argmax_k cos(φ(x), c_k)

Snell, Swersky & Zemel 2017, "Prototypical networks for few-shot learning", without their training by episodes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxfer.errors import UserError
from tfxfer.transfer.feature.probe import FAINT

QUERIES = 15  # of each class, as is usual
METRICS = ("euclidean", "cosine")
COMPONENTS = 32  # of whitened features


@dataclass(frozen=True)
class Episode:
    """One draw of classes and examples.

    Attributes:
        classes: The K classes, int [K].
        support: Rows of the training examples, int [K, S].
        queries: Rows of the test examples, int [K, Q].
    """

    classes: np.ndarray
    support: np.ndarray
    queries: np.ndarray

    @property
    def support_labels(self) -> np.ndarray:
        """Place of the class of each support example, int [K·S]."""
        return np.repeat(np.arange(len(self.classes)), self.support.shape[1])

    @property
    def query_labels(self) -> np.ndarray:
        """Place of the class of each query, int [K·Q]."""
        return np.repeat(np.arange(len(self.classes)), self.queries.shape[1])


def draw_episodes(
    train: np.ndarray,
    test: np.ndarray,
    class_names: Sequence[str],
    *,
    episodes: int,
    ways: int,
    shots: int,
    queries: int = QUERIES,
    seed: int = 0,
) -> tuple[Episode, ...]:
    """Draw episodes: K classes, S support examples of each from `train`, Q queries of each from `test`.

    Args:
        train: Labels int [N] of the examples that support is drawn from.
        test: Labels int [M] of the examples that queries are drawn from.
        class_names: Names of the C classes.
        episodes: How many.
        ways: K.
        shots: S.
        queries: Q.
        seed: Seed of the draws.

    Raises:
        UserError: Fewer than K classes have S training and Q test examples.
    """
    able = classes_for(train, test, class_names, ways, shots, queries)
    rows = {c: (np.flatnonzero(train == c), np.flatnonzero(test == c)) for c in able}

    def drawn() -> Iterator[Episode]:
        rng = np.random.default_rng(seed)
        for _ in range(episodes):
            classes = rng.choice(able, ways, replace=False)
            support = [rng.choice(rows[c][0], shots, replace=False) for c in classes]
            asked = [rng.choice(rows[c][1], queries, replace=False) for c in classes]
            yield Episode(classes, np.stack(support), np.stack(asked))

    return tuple(drawn())


def classes_for(
    train: np.ndarray, test: np.ndarray, class_names: Sequence[str], ways: int, shots: int, queries: int
) -> np.ndarray:
    """Return the classes with enough examples for an episode, int [≥ K]; raises `UserError` for fewer than K."""
    count = len(class_names)
    sizes = [np.bincount(labels, minlength=count) for labels in (train, test)]
    able = np.flatnonzero((sizes[0] >= shots) & (sizes[1] >= queries))
    if len(able) >= ways:
        return able
    if ways > count:
        raise UserError(f"--ways {ways}: there are {count} classes; ask for at most {count}")
    few = min(range(count), key=lambda c: (min(sizes[0][c] - shots, sizes[1][c] - queries), c))
    raise UserError(
        f"--ways {ways} --shots {shots}: {len(able)} of {count} classes have {shots} training and {queries} test "
        f"examples; class '{class_names[few]}' has {sizes[0][few]} and {sizes[1][few]}. Ask for fewer --ways, --shots "
        "or --queries"
    )


def whitening(features: Any, components: int = COMPONENTS) -> Callable[[Any], np.ndarray]:
    """Return a map to the first principal components, each with variance 1, fitted on examples without labels.

    Features of a frozen network often vary most in what no class depends on, and that decides all distances. After
    whitening, every direction counts alike; the nearest class mean is then that of the Mahalanobis distance.

    Args:
        features: float [N, D]; each column is scaled to variance 1 first, one that hardly varies by a floor.
        components: How many are kept, at most the rank.

    Returns:
        A function from features [M, D] to float64 [M, components].
    """
    rows = np.asarray(features, np.float64)
    mean, deviation = rows.mean(0), rows.std(0)
    scale = np.maximum(deviation, FAINT * deviation.max(initial=0) + 1e-12)
    _, spread, axes = np.linalg.svd((rows - mean) / scale, full_matrices=False)
    kept = min(components, int((spread > 1e-6 * spread[0]).sum()))
    turn = axes[:kept].T / spread[:kept] * np.sqrt(len(rows))  # [D, components]
    return lambda given: ((np.asarray(given, np.float64) - mean) / scale) @ turn


def nearest_prototype(support: Any, labels: np.ndarray, queries: Any, metric: str = "euclidean") -> np.ndarray:
    """Return the place of the nearest class mean of each query, int [M]; of equal ones, the earlier.

    Args:
        support: Features [N, D], dense or sparse.
        labels: int [N], 0 to K − 1, each at least once.
        queries: Features [M, D].
        metric: "euclidean" or "cosine".

    >>> nearest_prototype(np.eye(2), np.array([0, 1]), np.array([[0.9, 0.2]])).tolist()
    [0]
    """
    if metric not in METRICS:
        raise UserError(f"there is no metric '{metric}'; use {' or '.join(METRICS)}")
    share = np.zeros((int(labels.max()) + 1, len(labels)))  # [K, N]
    share[labels, np.arange(len(labels))] = 1 / np.bincount(labels)[labels]
    means = np.asarray((support.T @ share.T).T, np.float64)  # [K, D]
    dots = np.asarray(queries @ means.T, np.float64)  # [M, K]
    lengths = (means**2).sum(1)
    if metric == "cosine":
        return np.asarray((dots / np.sqrt(np.maximum(lengths, 1e-30))).argmax(1))
    return np.asarray((2 * dots - lengths).argmax(1))
