"""Captions in closed form: K = f(X)·g(Y) alone, by ridge regression. No network trains.

    g(Y)   the words and word pairs of a caption (TF-IDF), at length 1                                    [C, G], sparse
    f(X)   ridge regression from all positions of an image's feature map to g of the image's captions        [N, G]
    K      the cosine of f(X) and g(Y); the answer is the caption with the greatest one                    [N, C]

With *consensus* the answer is another of the k captions with the greatest K: the one that is most like the other k − 1,
by the mean cosine of their rows g (Devlin et al., Exploring nearest neighbor approaches for image captioning, 2015,
arXiv 1505.04467). One caption may match by chance; what many of the best have in common is surer. k is chosen on
validation, and 1 is no consensus.

For the centred maps Φ [P, D] of P training images and the rows G [P, G] of their captions,

    f(x) = mean(G) + φ(x)·Φᵀ·(Φ·Φᵀ + α·1)⁻¹·(G − mean(G)) = Σᵢ wᵢ(x)·Gᵢ

So f is a weighted sum of the rows of the training captions, and D x G weights are never made. The positions of a map
are kept, as the mean over them forgets where something is.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize

from tfxfer.errors import UserError
from tfxfer.evaluate.captions import captions as caption_scores
from tfxfer.evaluate.cider import cider
from tfxfer.models.standardize import mean_and_channel_deviation

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # of the ridge, relative to the mean squared length of a centred map
CONSENSUS = (1, 5, 20)  # the k that validation chooses from
CELLS = 2**26  # of scores [N, C] that are made at a time
FEW = 2000  # images whose kernel one thread takes apart in a second
TINY = 1e-30  # of what is divided by


class Retrieved(NamedTuple):
    """The best k candidates of each of N images, the best first.

    Attributes:
        texts: Captions [N][k].
        scores: K, float32 [N, k], each from −1 to 1; with consensus they are not in descending order.
    """

    texts: list[list[str]]
    scores: np.ndarray


class ClosedFormCaptioner:
    """The caption of another image, or of none, that matches an image best: K = f(X)·g(Y) by ridge regression.

    Args:
        strength: Of the L2 penalty, relative to the mean squared length of the centred maps; None: `fit` chooses it by
            CIDEr-D on validation.
        consensus: How many of the best candidates decide on one of them; None: `fit` chooses it too (1 without
            validation).

    Attributes:
        candidates: What `predict` answers with where nothing else is given: the training captions, each once, or those
            that `fit` was given.

    Example:
        >>> red, blue = np.zeros((2, 2, 1)), np.ones((2, 2, 1))
        >>> fitted = ClosedFormCaptioner(0.1).fit(np.stack([red, blue]), [["a red square"], ["a blue square"]])
        >>> fitted.predict(np.stack([blue - 0.1])).texts
        [['a blue square']]
    """

    def __init__(self, strength: float | None = None, consensus: int | None = None) -> None:
        self.strength, self.consensus = strength, consensus

    def fit(
        self,
        maps: np.ndarray,
        captions: Sequence[Sequence[str]],
        *,
        validation: tuple[np.ndarray, Sequence[Sequence[str]]] | None = None,
        candidates: Sequence[str] | None = None,
        strengths: Sequence[float] = STRENGTHS,
    ) -> "ClosedFormCaptioner":
        """Fit f on P images and all their captions.

        Args:
            maps: Feature maps, float [P, h, w, E], or features [P, D].
            captions: The captions of each image, words separated by spaces.
            validation: Maps and captions that choose strength and consensus, by the CIDEr-D of what is answered.
            candidates: What is answered with (default: the training captions).
            strengths: What is chosen from.

        Raises:
            UserError: There are no images, an image has no caption, no caption has a word, a value is not finite, or
                there is neither a strength nor validation.
        """
        from threadpoolctl import threadpool_limits

        _check(maps, captions)
        if self.strength is None and validation is None:
            raise UserError("the ridge has no strength: give one, or `validation` to choose it")
        given = (text for each in captions for text in each) if candidates is None else candidates
        self.candidates = list(dict.fromkeys(text for text in given if text.strip()))
        self.words = word_pairs()  # of all candidates too: what a caption says beside the known words counts against it
        self.words.fit([*(text for each in captions for text in each), *(candidates or ())])
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

        if None in (self.strength, self.consensus) and validation is not None:
            turned = self._phi(validation[0]) @ phi.T @ vectors  # [N, P]
            some = strengths if self.strength is None else (self.strength,)
            self.strength, self.consensus = self._chosen(lambda one: solve(turned, one), validation[1], some)
        self.consensus = self.consensus or 1
        self.weights = solve(phi.T @ vectors, float(self.strength or 0.0)).astype(np.float32)  # [D, P]
        return self

    def scores(self, maps: np.ndarray, captions: Sequence[str] | None = None) -> np.ndarray:
        """Return K, float32 [N, C]: the cosines of N images and C captions (default: the candidates)."""
        texts = self.candidates if captions is None else captions
        return self._cosines(*self._f(maps), self.g(texts))

    def terms(
        self, maps: np.ndarray, captions: Sequence[Sequence[str]], candidates: Sequence[str] | None = None
    ) -> np.ndarray:
        """Return how well each image and its own R captions match, float32 [N, R].

        It is K. With consensus it is the mean cosine of a caption and the best candidates, itself left out.

        Args:
            maps: As for `fit`.
            captions: R captions for each of N images.
            candidates: Which the best are among (default: the candidates of `fit`).
        """
        own = np.repeat(np.arange(len(captions)), [len(each) for each in captions])
        flat = self.g([text for each in captions for text in each])  # [N · R, G], sparse
        if not self.consensus or self.consensus < 2:
            weights, lengths = self._f(maps)
            found = np.asarray((flat @ self.rows.T).multiply(weights[own]).sum(1)).reshape(len(weights), -1)
            return (found / lengths[:, None]).astype(np.float32)
        best = self._best(maps, self.candidates if candidates is None else list(candidates), self.consensus)[0]
        rows = self.g([text for each in best for text in each])  # [N · k, G], sparse
        among = np.array([text in best[i] for i, each in enumerate(captions) for text in each])
        return _agreement(flat, own, rows, among).reshape(len(captions), -1)

    def predict(self, maps: np.ndarray, candidates: Sequence[str] | None = None, k: int = 1) -> Retrieved:
        """Return the k best candidates of each of N images; all of them where there are fewer.

        The best are those with the greatest K; with consensus, those of them first that are most like the others.
        """
        texts = self.candidates if candidates is None else list(candidates)
        if not texts:
            raise UserError("there is no candidate to choose from")
        voters = min(self.consensus or 1, len(texts))
        found, scores = self._best(maps, texts, max(k, voters))
        if voters > 1:
            rows = self.g([text for each in found for text in each[:voters]])
            order = np.argsort(-consensus(rows, voters), axis=1, kind="stable")
            found = [[*(row[i] for i in own), *row[voters:]] for row, own in zip(found, order)]
            scores[:, :voters] = np.take_along_axis(scores[:, :voters], order, 1)
        return Retrieved([row[:k] for row in found], scores[:, :k])

    def _best(self, maps: np.ndarray, texts: list[str], k: int) -> tuple[list[list[str]], np.ndarray]:
        """Return the k candidates with the greatest K of each of N images [N][k], and K, float32 [N, k]."""
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
        return found, kept

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
            "consensus": np.array(self.consensus or 1),
            **{name: getattr(self, name) for name in ("mean", "deviation", "weights")},
            **{f"rows_{name}": values for name, values in rows.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> "ClosedFormCaptioner":
        """Return the map that `state` was taken of."""
        made = cls()
        made.words = word_pairs({str(gram): i for i, gram in enumerate(state["known"])})
        made.words.idf_ = np.asarray(state["idf"])
        made.candidates = [str(text) for text in state["candidates"]]
        made.consensus = int(state["consensus"])
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
    ) -> tuple[float, int]:
        """Return the strength whose answers have the greatest CIDEr-D, and then the consensus, see `smallest_good`.

        Among equals it is the greatest strength.

        Args:
            centred: Strength -> the weights of the training images' rows for the validation images, less 1/P, [N, P].
            references: The captions of the validation images.
            strengths: What is chosen from.
        """
        known, count = self.g(self.candidates), len(self.candidates)
        sizes = sorted({min(size, count) for size in ((self.consensus,) if self.consensus else CONSENSUS)})

        @cache
        def order(strength: float) -> np.ndarray:
            table = self._cosines(*self._with_length(centred(strength)), known)
            return np.argsort(-table, axis=1, kind="stable")[:, : sizes[-1]]  # [N, k]

        def worth(strength: float, size: int) -> np.ndarray:
            best = order(strength)[:, :size]
            place = consensus(known[best.ravel()], size).argmax(1) if size > 1 else np.zeros(len(best), int)
            answers = [self.candidates[row[i]] for row, i in zip(best, place)]
            return cider(answers, references)["cider_d"]

        strength = max(strengths, key=lambda one: (worth(one, sizes[0]).mean(), one))
        return strength, smallest_good({size: worth(strength, size) for size in sizes})


def smallest_good(scores: Mapping[int, np.ndarray]) -> int:
    """Return the smallest size whose mean score is within one standard error of the best size's, image by image.

    The best of several by validation alone is often the luckiest (the one-standard-error rule, Breiman et al. 1984).

    Args:
        scores: Size -> the scores of N validation images, [N].

    >>> smallest_good({1: np.array([0.1, 0.3, 0.2]), 5: np.array([0.9, 0.8, 0.8]), 20: np.array([0.9, 0.9, 0.7])})
    5
    """
    best = scores[max(scores, key=lambda size: (scores[size].mean(), -size))]
    for size in sorted(scores):
        loss = best - scores[size]
        if not loss.any() or (len(loss) > 1 and loss.mean() <= loss.std(ddof=1) / np.sqrt(len(loss))):
            return size
    raise AssertionError("the best is within any error of itself")


def consensus(rows: sparse.csr_matrix, k: int) -> np.ndarray:
    """Return the mean cosine of each of an image's k captions and the other k − 1, float [N, k].

    Args:
        rows: g of the captions, sparse [N · k, G], those of an image one after the other.
        k: Captions an image.
    """
    among = np.ones(rows.shape[0], bool)
    return _agreement(rows, np.repeat(np.arange(rows.shape[0] // k), k), rows, among).reshape(-1, k)


def _agreement(flat: Any, own: np.ndarray, rows: Any, among: np.ndarray) -> np.ndarray:
    """Return the mean cosine of captions and the k rows of their images, float32 [M].

    Args:
        flat: g of M captions, sparse [M, G].
        own: int [M], which image each belongs to.
        rows: g of k captions of each image, sparse [N · k, G].
        among: bool [M], whether a caption is itself one of the k, and is then left out of them.
    """
    images = int(own[-1]) + 1
    k = rows.shape[0] // images
    image = np.repeat(np.arange(images), k)
    sums = sparse.csr_matrix((np.ones(len(image)), (image, np.arange(len(image)))), (images, len(image))) @ rows
    dots = np.asarray(flat.multiply(sums[own]).sum(1)).ravel()
    itself = np.where(among, np.asarray(flat.multiply(flat).sum(1)).ravel(), 0)
    return ((dots - itself) / np.maximum(k - among, 1)).astype(np.float32)


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


def word_pairs(known: Mapping[str, int] | None = None) -> Any:
    """Return a TF-IDF vectorizer of words and word pairs, to be fitted or of known ones."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", vocabulary=known)
