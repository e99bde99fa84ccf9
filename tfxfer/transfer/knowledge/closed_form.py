"""Captions in closed form: K = f(X)·g(Y) alone, by ridge regression. No network trains.

    g(Y)   the words and word pairs of a caption (TF-IDF), at length 1                                    [C, G], sparse
    f(X)   ridge regression from all positions of an image's feature map to g of the image's captions        [N, G]
    K      the cosine of f(X) and g(Y); the answer is the caption with the greatest one                    [N, C]

For the centred maps Φ [P, D] of P training images and the rows G [P, G] of their captions,

    f(x) = mean(G) + φ(x)·Φᵀ·(Φ·Φᵀ + α·1)⁻¹·(G − mean(G)) = Σᵢ wᵢ(x)·Gᵢ

So f is a weighted sum of the rows of the training captions, and D x G weights are never made. The positions of a map
are kept, as the mean over them forgets where something is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize

from tfxfer.errors import UserError
from tfxfer.evaluate.captions import captions as caption_scores
from tfxfer.evaluate.cider import cider
from tfxfer.models.standardize import mean_and_channel_deviation

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # of the ridge, relative to the mean squared length of a centred map
CELLS = 2**26  # of scores [N, C] that are made at a time
FEW = 2000  # images whose kernel one thread takes apart in a second
TINY = 1e-30  # of what is divided by


class Retrieved(NamedTuple):
    """The best k candidates of each of N images, the best first.

    Attributes:
        texts: Captions [N][k].
        scores: K, float32 [N, k], each from −1 to 1.
    """

    texts: list[list[str]]
    scores: np.ndarray


class ClosedFormCaptioner:
    """The caption of another image, or of none, that matches an image best: K = f(X)·g(Y) by ridge regression.

    Args:
        strength: Of the L2 penalty, relative to the mean squared length of the centred maps; None: `fit` chooses it by
            CIDEr-D on validation.

    Attributes:
        candidates: What `predict` answers with where nothing else is given: the training captions, each once.

    Example:
        >>> red, blue = np.zeros((2, 2, 1)), np.ones((2, 2, 1))
        >>> fitted = ClosedFormCaptioner(0.1).fit(np.stack([red, blue]), [["a red square"], ["a blue square"]])
        >>> fitted.predict(np.stack([blue - 0.1])).texts
        [['a blue square']]
    """

    def __init__(self, strength: float | None = None) -> None:
        self.strength = strength

    def fit(
        self,
        maps: np.ndarray,
        captions: Sequence[Sequence[str]],
        *,
        validation: tuple[np.ndarray, Sequence[Sequence[str]]] | None = None,
        strengths: Sequence[float] = STRENGTHS,
    ) -> "ClosedFormCaptioner":
        """Fit f on P images and all their captions.

        Args:
            maps: Feature maps, float [P, h, w, E], or features [P, D].
            captions: The captions of each image, words separated by spaces.
            validation: Maps and captions that choose the strength, by the CIDEr-D of what is answered.
            strengths: What is chosen from.

        Raises:
            UserError: There are no images, an image has no caption, no caption has a word, a value is not finite, or
                there is neither a strength nor validation.
        """
        from threadpoolctl import threadpool_limits

        _check(maps, captions)
        if self.strength is None and validation is None:
            raise UserError("the ridge has no strength: give one, or `validation` to choose it")
        self.candidates = list(dict.fromkeys(text for each in captions for text in each if text.strip()))
        self.words = _word_pairs()
        self.words.fit([text for each in captions for text in each])
        self.rows = _rows_by_image(self.words, captions)
        self.mean, self.deviation = mean_and_channel_deviation(maps)
        phi = self._phi(maps)
        with threadpool_limits(1 if len(phi) <= FEW else None, user_api="blas"):  # idle threads spin, see `probe.py`
            values, vectors = np.linalg.eigh(phi @ phi.T)  # of the kernel [P, P]
        values = np.maximum(values, 0)  # rounding
        size = max(float(values.mean()), TINY)
        back = (vectors - vectors.mean(0)).T  # G is centred too

        def solve(turned: np.ndarray, strength: float) -> np.ndarray:
            return turned / (values + strength * size) @ back

        if self.strength is None and validation is not None:
            turned = self._phi(validation[0]) @ phi.T @ vectors  # [N, P]
            self.strength = self._chosen(lambda strength: solve(turned, strength), validation[1], strengths)
        self.weights = solve(phi.T @ vectors, float(self.strength or 0.0)).astype(np.float32)  # [D, P]
        return self

    def scores(self, maps: np.ndarray, captions: Sequence[str] | None = None) -> np.ndarray:
        """Return K, float32 [N, C]: the cosines of N images and C captions (default: the candidates)."""
        texts = self.candidates if captions is None else captions
        return self._cosines(*self._f(maps), self.g(texts))

    def terms(self, maps: np.ndarray, captions: Sequence[Sequence[str]]) -> np.ndarray:
        """Return K, float32 [N, R], of each image and its own R captions."""
        weights, lengths = self._f(maps)
        rows = self.g([text for each in captions for text in each]) @ self.rows.T  # [N · R, P], sparse
        own = np.repeat(np.arange(len(weights)), [len(each) for each in captions])
        found = np.asarray(rows.multiply(weights[own]).sum(1)).reshape(len(weights), -1)
        return (found / lengths[:, None]).astype(np.float32)

    def predict(self, maps: np.ndarray, candidates: Sequence[str] | None = None, k: int = 1) -> Retrieved:
        """Return the k candidates with the greatest K of each of N images; all of them where there are fewer."""
        texts = self.candidates if candidates is None else list(candidates)
        if not texts:
            raise UserError("there is no candidate to choose from")
        known, k = self.g(texts), min(k, len(texts))
        weights, lengths = self._f(maps)
        step = max(1, CELLS // len(texts))
        found: list[list[str]] = []
        kept = np.zeros((len(weights), k), np.float32)
        for start in range(0, len(weights), step):
            part = slice(start, start + step)
            table = self._cosines(weights[part], lengths[part], known)
            best = np.argsort(-table, axis=1, kind="stable")[:, :k]
            kept[part] = np.take_along_axis(table, best, 1)
            found += [[texts[i] for i in row] for row in best]
        return Retrieved(found, kept)

    def score(self, maps: np.ndarray, captions: Sequence[Sequence[str]]) -> dict[str, float]:
        """Return the mean CIDEr-D, exact match and token F1 of the best candidates.

        Args:
            maps: As for `fit`.
            captions: The captions of each image, words separated by spaces.
        """
        answers = [row[0] for row in self.predict(maps).texts]
        found = caption_scores(answers, captions)
        return {name: float(found[name]) for name in ("cider_d", "exact_match", "token_f1")}

    def g(self, captions: Sequence[str]) -> sparse.csr_matrix:
        """Return g(Y), sparse float [C, G]; a row without a known word is zero."""
        return normalize(self.words.transform(captions))

    @property
    def trainable(self) -> int:
        """Number of fitted weights."""
        return int(self.weights.size)

    def state(self) -> dict[str, np.ndarray]:
        """Return what was fitted, as arrays to keep."""
        known = sorted(self.words.vocabulary_, key=self.words.vocabulary_.get)
        rows = {name: getattr(self.rows, name) for name in ("data", "indices", "indptr")}
        return {
            "known": np.array(known, dtype=np.str_),
            "idf": self.words.idf_,
            "candidates": np.array(self.candidates, dtype=np.str_),
            **{name: getattr(self, name) for name in ("mean", "deviation", "weights")},
            **{f"rows_{name}": values for name, values in rows.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> "ClosedFormCaptioner":
        """Return the map that `state` was taken of."""
        made = cls()
        made.words = _word_pairs({str(gram): i for i, gram in enumerate(state["known"])})
        made.words.idf_ = np.asarray(state["idf"])
        made.candidates = [str(text) for text in state["candidates"]]
        made.mean, made.deviation, made.weights = (np.asarray(state[n]) for n in ("mean", "deviation", "weights"))
        parts = tuple(np.asarray(state[f"rows_{name}"]) for name in ("data", "indices", "indptr"))
        made.rows = sparse.csr_matrix(parts, shape=(made.weights.shape[1], len(state["known"])))
        return made

    def _phi(self, maps: np.ndarray) -> np.ndarray:
        """Return centred and scaled maps as rows, float64 [N, D]."""
        found = (np.asarray(maps, np.float64) - self.mean) / self.deviation
        return found.reshape(len(found), -1)

    def _f(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights w of the training images' rows, float [N, P], and the length of f(X), [N]."""
        return self._with_length(self._phi(maps) @ self.weights)

    def _with_length(self, centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights = centred + 1 / self.rows.shape[0]
        f = (self.rows.T @ weights.T).T  # [N, G]
        return weights, np.sqrt(np.maximum(np.square(f).sum(1), TINY))

    def _cosines(self, weights: np.ndarray, lengths: np.ndarray, known: sparse.csr_matrix) -> np.ndarray:
        table = (known @ (self.rows.T @ weights.T)).T  # [N, C]
        return (np.asarray(table) / lengths[:, None]).astype(np.float32)

    def _chosen(
        self,
        centred: Callable[[float], np.ndarray],
        references: Sequence[Sequence[str]],
        strengths: Sequence[float],
    ) -> float:
        """Return the strength whose answers have the greatest CIDEr-D, the greatest strength among equals.

        Args:
            centred: Strength -> the weights of the training images' rows for the validation images, less 1/P, [N, P].
            references: The captions of the validation images.
            strengths: What is chosen from.
        """
        known, best = self.g(self.candidates), (-np.inf, 0.0)
        for strength in sorted(strengths):
            table = self._cosines(*self._with_length(centred(strength)), known)
            answers = [self.candidates[i] for i in table.argmax(1)]
            best = max(best, (float(cider(answers, references)["cider_d"].mean()), strength))
        return float(best[1])


def _check(maps: np.ndarray, captions: Sequence[Sequence[str]]) -> None:
    if len(maps) != len(captions):
        raise UserError(f"{len(maps)} images and captions for {len(captions)} are no pairs")
    if not len(maps) or not any(text.split() for each in captions for text in each):
        raise UserError("there are no images with captions to fit f·g on")
    empty = next((i for i, each in enumerate(captions) if not each), None)
    if empty is not None:
        raise UserError(f"image {empty} has no caption")
    if not np.isfinite(maps).all():
        raise UserError("a feature map has values that are not finite")


def _rows_by_image(words: Any, captions: Sequence[Sequence[str]]) -> sparse.csr_matrix:
    """Return for each image the mean row of its captions, at length 1; sparse [P, G]."""
    rows = normalize(words.transform([text for each in captions for text in each]))
    counts = [len(each) for each in captions]
    image = np.repeat(np.arange(len(counts)), counts)
    sums = sparse.csr_matrix((np.ones(len(image)), (image, np.arange(len(image)))), shape=(len(counts), len(image)))
    return sparse.csr_matrix(normalize(sums @ rows))


def _word_pairs(known: Mapping[str, int] | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", vocabulary=known)
