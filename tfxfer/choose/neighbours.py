"""Scores from nearest neighbours: whether two representations have the same ones, and whether they share a class."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.choose.inputs import labelled, paired
from tfxfer.errors import UserError

BLOCK = 512  # rows compared with all others at a time
ROUNDING = 1e-9  # similarities that differ by less are equal

Similarity = Callable[[slice], np.ndarray]  # rows -> their similarity to all rows [n, N]


@dataclass(frozen=True)
class Alignment:
    """How far two representations have the same nearest neighbours.

    Attributes:
        score: `shared` less `null`.
        shared: Mean share of the k neighbours of an example that are its neighbours in both.
        null: What unrelated representations share: k/(N − 1), the exact mean over all shuffles of the rows of one side.
        gallery: N, among how many examples neighbours were looked for. Only alignments of the same N and k compare: in
            a larger gallery the same two models share fewer neighbours.
        k: Number of neighbours.
    """

    score: float
    shared: float
    null: float
    gallery: int
    k: int


def mutual_knn(features: ArrayLike, other: ArrayLike, *, k: int = 10) -> float:
    """Return mutual k-nearest-neighbour alignment less its null; `mutual_knn_alignment` gives its parts too.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(100, 4))
        >>> round(mutual_knn(X, 2 * X), 3), abs(mutual_knn(X, rng.normal(size=(100, 4)))) < 0.05  # 1 − 10/99
        (0.899, True)
    """
    return mutual_knn_alignment(features, other, k=k).score


def mutual_knn_alignment(features: ArrayLike, other: ArrayLike, *, k: int = 10) -> Alignment:
    """Return mutual k-nearest-neighbour alignment with its null and the size of the gallery.

    With S_X(i) the k examples most like i by the cosine in X,

        shared = (1/N) Σᵢ |S_X(i) ∩ S_Y(i)| / k        null = k / (N − 1)

    Examples that are equally like i share the places that are left, so the order of rows does not matter.

    Args:
        features: X, numbers [N, D].
        other: Y, numbers [N, E]: row i is the same example as row i of X.
        k: Number of neighbours, below N.

    Returns:
        `Alignment`, whose score is within −k/(N − 1) and 1 − k/(N − 1); 0 is what shuffled rows give. Higher is more
        alike.

    Raises:
        UserError: Other numbers of rows, k not within 1..N−1, or what `tfxfer.choose.inputs` refuses.

    References:
        Huh et al. 2024, "The Platonic Representation Hypothesis", without the null.
    """
    X, Y = paired(features, other)
    _check_k(k, len(X))
    shared = 0.0
    for (_, ours), (_, theirs) in zip(_neighbours(_cosine(X), len(X), k), _neighbours(_cosine(Y), len(Y), k)):
        shared += float(np.sum(ours * theirs))
    shared, null = shared / (k * len(X)), k / (len(X) - 1)
    return Alignment(shared - null, shared, null, len(X), k)


def knn_probe(features: ArrayLike, labels: ArrayLike, *, k: int = 5) -> float:
    """Return the leave-one-out accuracy of k nearest neighbours, by the Euclidean distance.

    Each example gets the class that most of its k nearest neighbours have. Examples at the same distance share the
    places that are left, and classes with as many votes share the answer. A copy of an
    example predicts it: remove copies first.

    Args:
        features: Numbers [N, D].
        labels: The target's classes [N]: whole numbers or text.
        k: Number of neighbours, below N.

    Returns:
        A share within 0 and 1. Higher is better.

    Raises:
        UserError: k is not within 1..N−1, or what `tfxfer.choose.inputs` refuses.

    References:
        Cover and Hart 1967, "Nearest Neighbor Pattern Classification".

    Example:
        >>> knn_probe([[0.0], [0.1], [0.3], [5.0], [5.1], [1.0]], list("aaabbb"), k=1)  # the last is nearest to an a
        0.8333333333333334
    """
    F, classes = labelled(features, labels)
    _check_k(k, len(F))
    one_hot = np.eye(classes.max() + 1)[classes]
    right = 0.0
    for rows, near in _neighbours(_closeness(F), len(F), k):
        votes = near @ one_hot  # [n, C]
        first = votes >= votes.max(1, keepdims=True) - ROUNDING
        right += float(np.sum(first * one_hot[rows] / first.sum(1, keepdims=True)))
    return right / len(F)


def _neighbours(similarity: Similarity, count: int, k: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows, and how much of each row's k places each other row has, [n, N]: 1, 0, or a part where rows tie."""
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        like = similarity(rows)
        like[np.arange(len(like)), np.arange(start, rows.stop)] = -np.inf  # no row is its own neighbour
        last = np.partition(like, count - k, axis=1)[:, count - k, None]  # the k-th
        above = like > last + ROUNDING
        tied = (like >= last - ROUNDING) & ~above
        yield rows, above + tied * ((k - above.sum(1, keepdims=True)) / tied.sum(1, keepdims=True))


def _cosine(F: np.ndarray) -> Similarity:
    lengths = np.linalg.norm(F, axis=1, keepdims=True)
    unit = F / np.where(lengths > 0, lengths, 1)  # a row of zeros is as like as unlike to all
    return lambda rows: unit[rows] @ unit.T


def _closeness(F: np.ndarray) -> Similarity:
    """Return the negative squared distance, in units of the rows' mean squared distance from their mean."""
    F = F - F.mean(0)
    F = F / np.sqrt((F**2).sum(1).mean())
    squares = (F**2).sum(1)
    return lambda rows: 2 * F[rows] @ F.T - squares[rows, None] - squares


def _check_k(k: int, count: int) -> None:
    if not 1 <= k < count:
        raise UserError(f"k is {k}; with {count:,} rows it can be 1 to {count - 1:,}")
