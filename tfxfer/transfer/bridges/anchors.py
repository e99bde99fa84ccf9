"""The `anchors` bridge: known pairs are the common space; nothing is trained (ASIF, Norelli et al. 2022).

    r(x)_i = cos(x, aᵢ)        how alike x is to the i-th anchor, in its own modality's features

Only the k greatest are kept, raised to a power p, and r is scaled to length 1. A picture and a text belong together
when they are like the same anchors: K = r_picture · r_text. Features of the two sides need nothing in common.
"""

from typing import Any

import numpy as np

from tfxfer.errors import UserError

BLOCK = 2**24  # numbers of a matrix of similarities worked on in one go, 64 MiB


class Anchors:
    """Known pairs, and how alike anything else is to them.

    Args:
        pictures: Features of the anchors' pictures, float [A, D].
        texts: Features of their texts, float [A, E]; row i belongs to picture i.
        k: How many similarities a row keeps; all when k is A or more.
        p: Power they are raised to; above 1, near anchors count for more.
        centre: Take the anchors' mean off all features first. Features behind a ReLU point all the same way without it.

    Raises:
        UserError: Pictures and texts are not as many, or hold numbers that are not finite; k or p is not positive.

    Example:
        >>> pairs = Anchors([[1, 0], [0, 1]], [[2, 2, 0], [0, 0, 5]], k=1, centre=False)
        >>> pairs.K([[0.9, 0.1]], [[0, 0, 1], [1, 1, 0]]).tolist()
        [[0.0, 1.0]]
    """

    def __init__(self, pictures: Any, texts: Any, *, k: int = 100, p: float = 4.0, centre: bool = True) -> None:
        if k < 1 or p <= 0:
            raise UserError(f"anchors need k of 1 or more and p above 0, not k={k} and p={p:g}")
        self.k, self.p = int(k), float(p)
        sides = {"picture": _rows(pictures, "picture"), "text": _rows(texts, "text")}
        if len(sides["picture"]) != len(sides["text"]):
            counts = f"{len(sides['picture'])} pictures and {len(sides['text'])} texts"
            raise UserError(f"{counts} do not make pairs; each anchor has one of both")
        self._means = {name: rows.mean(0) * centre for name, rows in sides.items()}
        self._anchors = {name: _unit(rows - self._means[name]) for name, rows in sides.items()}

    def __len__(self) -> int:
        """Return A."""
        return len(self._anchors["text"])

    def picture_vectors(self, features: Any) -> np.ndarray:
        """Return r of pictures' features [N, D]: float32 [N, A], at most k of a row above 0, of length 1 (or 0)."""
        return self._relative("picture", features)

    def text_vectors(self, features: Any) -> np.ndarray:
        """Return r of texts' features [N, E]: float32 [N, A], of the same space as `picture_vectors`."""
        return self._relative("text", features)

    def K(self, pictures: Any, texts: Any) -> np.ndarray:
        """Return K = r_picture · r_text, float32 [B, C] within 0..1, of features [B, D] and [C, E]."""
        return self.picture_vectors(pictures) @ self.text_vectors(texts).T

    def _relative(self, side: str, features: Any) -> np.ndarray:
        rows, anchors = _rows(features, side), self._anchors[side]
        if rows.shape[1] != anchors.shape[1]:
            raise UserError(f"{side} features are {rows.shape[1]} wide, the anchors' {anchors.shape[1]}")
        step = max(1, BLOCK // len(anchors))
        blocks = [
            self._sharpened(_unit(rows[i : i + step] - self._means[side]) @ anchors.T)
            for i in range(0, len(rows), step)
        ]
        return np.concatenate(blocks)

    def _sharpened(self, similar: np.ndarray) -> np.ndarray:
        """Keep the k greatest similarities of each row [n, A], to the power p, at length 1; what is unlike counts 0."""
        if self.k < similar.shape[1]:
            others = np.argpartition(-similar, self.k - 1, axis=1)[:, self.k :]
            np.put_along_axis(similar, others, 0, axis=1)
        return _unit(np.maximum(similar, 0) ** self.p)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows at length 1; a row of zeros stays one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def _rows(features: Any, side: str) -> np.ndarray:
    rows = np.asarray(features, np.float32)
    if rows.ndim != 2 or not len(rows):
        raise UserError(f"{side} features must be [N, D] with at least one row, not {list(rows.shape)}")
    wrong = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(wrong):
        raise UserError(f"{side} features are not finite in {len(wrong)} of {len(rows)} rows, first row {wrong[0]}")
    return rows
