"""Image–text retrieval metrics of a similarity matrix K: recall@k and ranks, in both directions.

The rank of a query is the position of the first correct candidate when all candidates are sorted by K. Several
candidates may be correct: an image has five captions, or a name several images. Ties count against the query: an
incorrect candidate with the score of the correct one is ranked before it, so that a constant K has the worst rank and
not the best.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError

CUTOFFS = (1, 5, 10)
BLOCK = 2**22  # entries of K in memory at a time


def retrieval(K: ArrayLike, image_ids: ArrayLike | None = None, text_ids: ArrayLike | None = None) -> dict[str, Any]:
    """Return the metrics of both directions.

    Args:
        K: Similarities, float [B, C]: B images, C texts, higher is more similar.
        image_ids: Ids of the images, [B]; a text is correct for an image when their ids are equal.
        text_ids: Ids of the texts, [C]. Without ids, text i belongs to image i.

    Returns:
        "image_to_text" and "text_to_image", each with "recall_at_1", "recall_at_5", "recall_at_10" (shares of queries
        with a correct candidate among the first k), "reciprocal_rank" (mean of 1/rank), "median_rank", and "ranks",
        int [B] or [C].

    Raises:
        UserError: K is no matrix or has an entry that is not finite, ids do not fit, or a query has no correct
            candidate.

    Example:
        >>> found = retrieval([[0.9, 0.1], [0.8, 0.3]])
        >>> found["image_to_text"]["recall_at_1"], found["text_to_image"]["recall_at_1"]
        (0.5, 1.0)
    """
    K = _matrix(K)
    images, texts = _ids(K, image_ids, text_ids)
    return {
        "image_to_text": figures(ranks(K, images, texts, "image")),
        "text_to_image": figures(ranks(K.T, texts, images, "text")),
    }


def ranks(K: ArrayLike, query_ids: ArrayLike, answer_ids: ArrayLike, query: str = "query") -> np.ndarray:
    """Return int [N], the rank of the first correct candidate of each query, 1 for the best.

    It is 1 + the number of incorrect candidates that score at least as high as the best correct one.

    Args:
        K: float [N, M], a row for each query.
        query_ids: [N].
        answer_ids: [M].
        query: Name of a query in an error.
    """
    K, queries, answers = _matrix(K), np.asarray(query_ids), np.asarray(answer_ids)
    found = np.empty(len(K), np.int64)
    rows = max(1, BLOCK // K.shape[1])
    for start in range(0, len(K), rows):
        scores = K[start : start + rows]
        right = queries[start : start + rows, None] == answers[None]  # [n, M]
        without = np.flatnonzero(~right.any(1))
        if len(without):
            row = start + without[0]
            raise UserError(
                f"{query} {row} (id {queries[row]}) has no correct candidate among the {len(answers)}; leave it out"
            )
        best = np.where(right, scores, -np.inf).max(1, keepdims=True)
        found[start : start + rows] = 1 + ((scores >= best) & ~right).sum(1)
    return found


def figures(found: np.ndarray) -> dict[str, Any]:
    """Return recall@1, @5 and @10, mean reciprocal rank, median rank, and the ranks [N] themselves."""
    means = {name: float(np.mean(values)) for name, values in by_query(found).items()}
    return {**means, "median_rank": float(np.median(found)), "ranks": found}


def by_query(found: np.ndarray) -> dict[str, np.ndarray]:
    """Return measure -> the score of each query, float [N] within 0..1, for a paired bootstrap.

    >>> {name: values.tolist() for name, values in by_query(np.array([1, 4])).items()}["reciprocal_rank"]
    [1.0, 0.25]
    """
    recalls = {f"recall_at_{k}": (found <= k).astype(np.float64) for k in CUTOFFS}
    return recalls | {"reciprocal_rank": 1 / np.asarray(found, np.float64)}


def _matrix(K: ArrayLike) -> np.ndarray:
    matrix = np.asarray(K)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise UserError(f"K must be a matrix of images by texts with at least one of each, not {list(matrix.shape)}")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise UserError(f"K is {matrix[row, column]} at image {row}, text {column}; all entries must be finite")
    return matrix


def _ids(K: np.ndarray, image_ids: ArrayLike | None, text_ids: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    if image_ids is None and text_ids is None:
        if K.shape[0] != K.shape[1]:
            raise UserError(f"K has {K.shape[0]} images and {K.shape[1]} texts; give image_ids and text_ids")
        return np.arange(len(K)), np.arange(len(K))
    if image_ids is None or text_ids is None:
        raise UserError("give the ids of both images and texts, or of neither")
    images, texts = np.asarray(image_ids), np.asarray(text_ids)
    if (images.shape, texts.shape) != ((K.shape[0],), (K.shape[1],)):
        raise UserError(
            f"K is {list(K.shape)}; it needs {K.shape[0]} image ids and {K.shape[1]} text ids, not "
            f"{list(images.shape)} and {list(texts.shape)}"
        )
    return images, texts
