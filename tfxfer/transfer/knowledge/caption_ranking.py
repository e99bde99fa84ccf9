"""Rank the candidates of a decoder by both terms of K: h(X, Y) + λ · f(X)·g(Y).

    h      log p(caption | image) a token, the score of beam search           [N, R]
    f·g    the cosine of image and caption, by `RidgeCaptionScorer`                  [N, R]

A decoder may prefer captions that are likely as language and wrong for the image. f·g has no language model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from tfxfer.errors import UserError
from tfxfer.models.standardize import mean_and_deviation

WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)  # λ that validation chooses from; 0 keeps the order of beam search


class RidgeCaptionScorer:
    """f·g without a network: g is ridge regression from a caption's words to its image's features.

    f(X) are the image's features, standardised, at length 1. g(Y) is what the words and word pairs of Y (TF-IDF)
    predict of them, at length 1. It is fitted in closed form, in a second, where two towers take minutes.

    Args:
        strength: Weight of the L2 penalty.
    """

    def __init__(self, strength: float = 0.1) -> None:
        self.strength = strength

    def fit(self, features: np.ndarray, captions: Sequence[Sequence[str]]) -> "RidgeCaptionScorer":
        """Fit g on N images' features [N, D] and all their captions.

        Raises:
            UserError: There is no image, or no caption has a word.
        """
        from sklearn.kernel_ridge import KernelRidge

        if not len(features) or not any(text.split() for each in captions for text in each):
            raise UserError("there are no images with captions to fit f·g on")
        self.mean, self.deviation = mean_and_deviation(features)
        self.words = _word_pairs()
        rows = np.repeat(np.arange(len(captions)), [len(each) for each in captions])
        grams = self.words.fit_transform([text for each in captions for text in each])  # [M, G], sparse
        ridge = KernelRidge(alpha=self.strength).fit(grams, self.f(features)[rows])
        self.weights = grams.T @ ridge.dual_coef_  # [G, D]
        return self

    def f(self, features: np.ndarray) -> np.ndarray:
        """Return f(X), float [N, D]."""
        return normalize((features - self.mean) / self.deviation)

    def g(self, captions: Sequence[str]) -> np.ndarray:
        """Return g(Y), float [C, D]; zeros for a caption without a known word."""
        return normalize(self.words.transform(captions) @ self.weights)

    def terms(self, features: np.ndarray, candidates: Sequence[Sequence[str]]) -> np.ndarray:
        """Return f(X)·g(Y), float [N, R], of each image and its own R candidates."""
        flat = self.g([text for row in candidates for text in row])
        return np.einsum("nd,nrd->nr", self.f(features), flat.reshape(len(candidates), -1, flat.shape[1]))

    def state(self) -> dict[str, np.ndarray]:
        """Return what was fitted, as arrays to keep."""
        known = sorted(self.words.vocabulary_, key=self.words.vocabulary_.get)
        numbers = {name: getattr(self, name) for name in ("mean", "deviation", "weights")}
        return {"known": np.array(known, dtype=np.str_), "idf": self.words.idf_, **numbers}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> "RidgeCaptionScorer":
        """Return the map that `state` was taken of."""
        made = cls()
        made.words = _word_pairs({str(gram): i for i, gram in enumerate(state["known"])})
        made.words.idf_ = np.asarray(state["idf"])
        made.mean, made.deviation, made.weights = (np.asarray(state[n]) for n in ("mean", "deviation", "weights"))
        return made


def rerank(h: np.ndarray, fg: np.ndarray, weight: float) -> np.ndarray:
    """Return int [N]: the candidate with the greatest h + λ f·g, the first among equals.

    >>> rerank(np.array([[-1.0, -1.2]]), np.array([[0.2, 0.5]]), weight=1.0).tolist()
    [1]
    """
    if np.shape(h) != np.shape(fg):
        raise UserError(f"h is {list(np.shape(h))} and f·g {list(np.shape(fg))}; both must be [images, candidates]")
    return np.argmax(np.asarray(h) + weight * np.asarray(fg), axis=1)


def choose_weight(h: np.ndarray, fg: np.ndarray, worth: np.ndarray, weights: Sequence[float] = WEIGHTS) -> float:
    """Return the λ whose choices have the greatest mean worth, the smallest among equals.

    Args:
        h: float [N, R].
        fg: float [N, R].
        worth: A score of each candidate, such as its CIDEr-D, float [N, R].
        weights: The λ to choose from.

    >>> h, fg = np.array([[-1.0, -1.2]]), np.array([[0.2, 0.5]])
    >>> choose_weight(h, fg, worth=np.array([[0.2, 0.9]]))
    1.0
    """
    rows = np.arange(len(h))
    means = [float(np.asarray(worth)[rows, rerank(h, fg, weight)].mean()) for weight in weights]
    return float(weights[int(np.argmax(means))])


def _word_pairs(known: Mapping[str, int] | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", vocabulary=known)
