"""The `anchors` bridge: relative representations with known pairs, without training (ASIF, Norelli et al. 2022).

    r(x)_i = cos(x, aᵢ)        similarity of x to the i-th anchor, in the features of its own modality

Only the k greatest similarities are kept, raised to a power p, and r is scaled to length 1. An image and a text match
when they are similar to the same anchors: K = r_image · r_text. The features of both sides can come from any models.
"""

from typing import Any

import numpy as np

from tfxfer.errors import UserError

BLOCK = 2**24  # numbers of a matrix of similarities worked on in one go, 64 MiB


class Anchors:
    """Known image–text pairs, and the similarities of other images and texts to them.

    Args:
        images: Features of the anchors' images, float [A, D].
        texts: Features of the anchors' texts, float [A, E]; row i belongs to image i.
        k: Similarities kept in a row; all when k is A or more.
        p: Their power; above 1, near anchors have more weight.
        centre: Subtract the anchors' mean from all features first. Features behind a ReLU are all similar without it.

    Raises:
        UserError: Images and texts differ in number, or are not finite; k or p is not positive.

    Example:
        >>> pairs = Anchors([[1, 0], [0, 1]], [[2, 2, 0], [0, 0, 5]], k=1, centre=False)
        >>> pairs.predict([[0.9, 0.1]], [[0, 0, 1], [1, 1, 0]]).tolist()
        [[0.0, 1.0]]
    """

    def __init__(self, images: Any, texts: Any, *, k: int = 100, p: float = 4.0, centre: bool = True) -> None:
        if k < 1 or p <= 0:
            raise UserError(f"anchors need k of 1 or more and p above 0, not k={k} and p={p:g}")
        self.k, self.p = int(k), float(p)
        from sklearn.preprocessing import normalize  # slow to import

        sides = {"image": _rows(images, "image"), "text": _rows(texts, "text")}
        if len(sides["image"]) != len(sides["text"]):
            counts = f"{len(sides['image'])} images and {len(sides['text'])} texts"
            raise UserError(f"{counts} do not make pairs; each anchor has one of both")
        self._means = {name: rows.mean(0) * centre for name, rows in sides.items()}
        self._anchors = {name: normalize(rows - self._means[name]) for name, rows in sides.items()}

    def __len__(self) -> int:
        """Return A."""
        return len(self._anchors["text"])

    def encode_images(self, features: Any) -> np.ndarray:
        """Return r of image features [N, D]: float32 [N, A], at most k of a row above 0, of length 1 (or 0)."""
        return self._relative("image", features)

    def encode_texts(self, features: Any) -> np.ndarray:
        """Return r of text features [N, E]: float32 [N, A], in the same space as `encode_images`."""
        return self._relative("text", features)

    def predict(self, images: Any, texts: Any) -> np.ndarray:
        """Return K = r_image · r_text, float32 [B, C] within 0..1, of features [B, D] and [C, E]."""
        return self.encode_images(images) @ self.encode_texts(texts).T

    def _relative(self, side: str, features: Any) -> np.ndarray:
        from sklearn.preprocessing import normalize

        rows, anchors = _rows(features, side), self._anchors[side]
        if rows.shape[1] != anchors.shape[1]:
            raise UserError(f"{side} features are {rows.shape[1]} wide, the anchors' {anchors.shape[1]}")
        step = max(1, BLOCK // len(anchors))
        blocks = (rows[i : i + step] - self._means[side] for i in range(0, len(rows), step))
        return np.concatenate([normalize(self._sharpen(normalize(block) @ anchors.T)) for block in blocks])

    def _sharpen(self, similarities: np.ndarray) -> np.ndarray:
        """Keep the k greatest similarities of each row [n, A], to the power p; negative ones become 0."""
        if self.k < similarities.shape[1]:
            others = np.argpartition(-similarities, self.k - 1, axis=1)[:, self.k :]
            np.put_along_axis(similarities, others, 0, axis=1)
        return np.maximum(similarities, 0) ** self.p


def _rows(features: Any, side: str) -> np.ndarray:
    rows = np.asarray(features, np.float32)
    if rows.ndim != 2 or not len(rows):
        raise UserError(f"{side} features must be [N, D] with at least one row, not {list(rows.shape)}")
    wrong = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(wrong):
        raise UserError(f"{side} features are not finite in {len(wrong)} of {len(rows)} rows, first row {wrong[0]}")
    return rows
