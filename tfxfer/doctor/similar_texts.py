"""Texts that are the same but for case, blanks and punctuation, and texts that are nearly the same.

The few texts with the greatest cosine of TF-IDF rows of character 2- to 4-grams are compared letter by letter, by
Ratcliff and Obershelp's similarity: twice the number of letters that match in order, over the number of letters
of both. Two texts are nearly the same from `NEAR` on, unless they differ in a number. Names that are built from a
template ("… WITH ACUTE", "… WITH GRAVE") all come near to that, so the limit is raised to what is rare in the data
themselves: see `limit_of`.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

import numpy as np

from tfxfer.data.splits import same_text

NEAR = 0.945  # the least similarity of texts that are nearly the same: one letter in 20 exchanged with its neighbour
HIGHEST = 0.975  # above it a limit would find one letter in forty
CANDIDATE = 0.4  # the least cosine of a pair whose letters are compared
USUAL = 0.02  # the share of texts that may have so near a neighbour within train by themselves
LONGEST = 20_000  # texts of a split that are compared with one another; of more, so many are drawn
SHORTEST = 12  # letters: shorter texts have too few n-grams
FEW = 5
CHUNK = 1024


def normal(text: str) -> str:
    """Return a text without case, punctuation and further blanks, in NFKC.

    >>> normal("  A “cat”, and\\na DOG. ")
    'a cat and a dog'
    """
    folded = same_text(unicodedata.normalize("NFKC", text))
    return " ".join(re.sub(r"[^\w]|_", " ", folded).split()) or folded


def nearest(texts: Sequence[str], others: Sequence[str], same: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return for each text the place of the nearest of `others`, int [N], and how similar they are, float [N].

    Args:
        texts: N texts.
        others: M texts, at least one; with `same` they are `texts`, and a text is not its own neighbour.
        same: Whether both are one list.

    Returns:
        The most similar of the `FEW` with the greatest cosine; similarity 0 where no cosine reaches `CANDIDATE`.
    """
    places, near = np.zeros(len(texts), int), np.zeros(len(texts))
    for i, candidates in enumerate(_by_cosine(texts, others, same)):
        for j in candidates.tolist():
            found = similarity(texts[i], others[j])
            if found > near[i]:
                places[i], near[i] = j, found
    return places, near


def similarity(one: str, other: str) -> float:
    """Return Ratcliff and Obershelp's similarity of two texts, 0 to 1; 0 where their numbers differ.

    >>> round(similarity("bright red circle", "bright red cirlce"), 3), similarity("dollar 2008", "dollar 2009")
    (0.941, 0.0)
    """
    if re.findall(r"\d+", one) != re.findall(r"\d+", other):
        return 0.0
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _by_cosine(texts: Sequence[str], others: Sequence[str], same: bool) -> Iterator[np.ndarray]:
    """Yield for each text the places of at most `FEW` of `others` whose n-grams are most alike, the best first."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    made = TfidfVectorizer(analyzer="char", ngram_range=(2, 4), dtype=np.float32, sublinear_tf=True)
    known = made.fit_transform([*others]).tocsr()
    asked = known if same else made.transform(texts).tocsr()
    turned = known.T.tocsr()
    for first in range(0, len(texts), CHUNK):
        found = (asked[first : first + CHUNK] @ turned).tocsr()
        if same:
            found.setdiag(-1.0, first)
        for i in range(found.shape[0]):
            cosines = found.data[found.indptr[i] : found.indptr[i + 1]]
            near = np.flatnonzero(cosines >= CANDIDATE)
            best = near[np.argsort(-cosines[near], kind="stable")[:FEW]]
            yield found.indices[found.indptr[i] : found.indptr[i + 1]][best]


def limit_of(near: np.ndarray) -> float | None:
    """Return the similarity from which two texts of this data set are nearly the same; None where it cannot be told.

    Args:
        near: Of each training text and its nearest other training text, [N]. Where more than `USUAL` of them reach
            `NEAR`, near texts are the nature of the data, and the limit is where fewer do.
    """
    limit = max(NEAR, float(np.quantile(near, 1 - USUAL, method="higher"))) if len(near) else NEAR
    return None if limit > HIGHEST else limit
