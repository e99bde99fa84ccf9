"""CIDEr and CIDEr-D (Vedantam et al. 2015) of a set of captions, vectorised with NumPy."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfxfer.errors import UserError
from tfxfer.given_files import read_given_json

ORDERS = (1, 2, 3, 4)  # lengths of the n-grams
SIGMA = 6.0  # CIDEr-D: standard deviation of the Gaussian length penalty
LARGEST = 2**30  # bytes of a file of document frequencies


@dataclass(frozen=True)
class DocumentFrequencies:
    """Document frequencies for the tf-idf weights of CIDEr: the number of images whose references contain an n-gram.

    Attributes:
        images: Number of images.
        counts: n-gram -> number of images.

    >>> found = DocumentFrequencies.of([["a cat", "the cat"], ["a dog"]])
    >>> found.images, found.counts[("a",)], found.counts[("cat",)]
    (2, 2, 1)
    """

    images: int
    counts: Counter[tuple[str, ...]]

    @classmethod
    def of(cls, references: Sequence[Sequence[str]]) -> "DocumentFrequencies":
        """Return the document frequencies of references: N images, a list of texts for each."""
        texts = _Texts([text.split() for each in references for text in each], _image_of(references))
        counts: Counter[tuple[str, ...]] = Counter()
        for grams in texts.orders():
            names, found = grams.names(texts.words), grams.in_images(texts.image)
            counts.update({name: int(count) for name, count in zip(names, found)})
        return cls(len(references), counts)

    def save(self, path: str | Path) -> None:
        """Write as JSON, n-grams joined by spaces."""
        rows = {" ".join(gram): count for gram, count in self.counts.items()}
        text = json.dumps({"images": self.images, "counts": rows}, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "DocumentFrequencies":
        """Read what `save` wrote.

        Raises:
            UserError: The file has another format.
        """
        plain = read_given_json(path, "this is not a file of document frequencies; make it with .save", LARGEST)
        try:
            return cls(int(plain["images"]), Counter({tuple(k.split(" ")): int(v) for k, v in plain["counts"].items()}))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise UserError(f"{path}: not a file of document frequencies ({error}); make it with .save") from error


def cider(
    candidates: Sequence[str], references: Sequence[Sequence[str]], frequencies: DocumentFrequencies | None = None
) -> dict[str, np.ndarray]:
    """Return "cider" and "cider_d" of each caption, float64 [N], 0 … 10.

    For n = 1 … 4 the weight of an n-gram is tf · (ln N − ln max(1, df)). CIDEr is the cosine of the two weight vectors;
    CIDEr-D clips the caption's weights at those of the reference and multiplies by exp(−Δℓ²/2σ²), where Δℓ is the
    difference in the number of bigrams. Both are means over n and over references, times 10.

    Args:
        candidates: N captions.
        references: N lists of one or more reference captions.
        frequencies: Document frequencies; by default those of `references`.
    """
    size = len(candidates)
    image = np.concatenate([np.arange(size), _image_of(references)])  # [T]: captions first, then references
    texts = _Texts([text.split() for text in (*candidates, *(t for each in references for t in each))], image)
    images = frequencies.images if frequencies else len(references)
    plain, clipped = np.zeros(len(image)), np.zeros(len(image))
    for grams in texts.orders():
        known: np.ndarray
        if frequencies:
            known = np.array([frequencies.counts[name] for name in grams.names(texts.words)], float)
        else:
            known = grams.in_images(image, first=size)
        idf = np.log(max(1, images)) - np.log(np.maximum(1, known))
        cosine, clip = _similarity(grams, grams.count * idf[grams.gram], image, size)
        plain += cosine
        clipped += clip
    bigrams = np.maximum(0, texts.lengths - 1)
    clipped *= np.exp(-((bigrams - bigrams[image]) ** 2) / (2 * SIGMA**2))
    share = 10 / len(ORDERS) / np.bincount(image[size:], minlength=size)
    return {
        "cider": share * np.bincount(image[size:], plain[size:], size),
        "cider_d": share * np.bincount(image[size:], clipped[size:], size),
    }


def _image_of(references: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the image of each reference, int [R]."""
    return np.repeat(np.arange(len(references)), [len(each) for each in references])


@dataclass(frozen=True)
class _Grams:
    """The n-grams of one length in all texts: E entries, one for each text and each distinct n-gram in it.

    Attributes:
        order: n.
        text: int [E], sorted.
        gram: int [E], number of the n-gram; sorted within a text.
        count: int [E], number of occurrences of the n-gram in the text.
        start: int [G], for each n-gram the position of one occurrence among all tokens.
    """

    order: int
    text: np.ndarray
    gram: np.ndarray
    count: np.ndarray
    start: np.ndarray

    def names(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the n-grams as tuples of words."""
        return [tuple(words[start : start + self.order]) for start in self.start.tolist()]

    def in_images(self, image: np.ndarray, first: int = 0) -> np.ndarray:
        """Return the number of images with each n-gram, int [G], counting texts from `first` on."""
        rows = self.text >= first
        pairs = np.unique(image[self.text[rows]] * max(1, len(self.start)) + self.gram[rows])
        return np.bincount(pairs % max(1, len(self.start)), minlength=len(self.start))


class _Texts:
    """Texts as one concatenated list of tokens.

    Args:
        tokens: The tokens of each text.
        image: int [T], the image of each text.
    """

    def __init__(self, tokens: list[list[str]], image: np.ndarray) -> None:
        self.image = image
        self.lengths = np.array([len(each) for each in tokens], np.int64)
        self.words = [word for each in tokens for word in each]
        numbers: dict[str, int] = {}
        self.token = np.array([numbers.setdefault(word, len(numbers)) for word in self.words], np.int64)
        self.size = len(numbers)
        self.text = np.repeat(np.arange(len(tokens)), self.lengths)
        self.left = np.cumsum(self.lengths)[self.text] - np.arange(len(self.words))  # tokens to the end of the text

    def orders(self) -> Iterator[_Grams]:
        """Yield the n-grams of each length; an n-gram is encoded as an (n − 1)-gram and the token after it."""
        gram = np.zeros(len(self.token), np.int64)
        for order in ORDERS:
            places = np.flatnonzero(self.left >= order)
            pairs = gram[places] * max(1, self.size) + self.token[places + order - 1]
            _, start, number = np.unique(pairs, return_index=True, return_inverse=True)
            gram[places] = number
            entries, count = np.unique(self.text[places] * max(1, len(start)) + number, return_counts=True)
            yield _Grams(order, *np.divmod(entries, max(1, len(start))), count, places[start])


def _similarity(grams: _Grams, weight: np.ndarray, image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosine of each text with the caption of its image, plain and with the caption's weights clipped.

    Args:
        grams: The n-grams of one length.
        weight: float [E].
        image: int [T]; texts 0 … size − 1 are the captions.
        size: Number of captions.
    """
    width = max(1, len(grams.start))
    captions = int(np.searchsorted(grams.text, size))  # entries before this one belong to captions
    keys = grams.text[:captions] * width + grams.gram[:captions]
    wanted = image[grams.text] * width + grams.gram  # the same n-gram in the caption of the same image
    position = np.minimum(np.searchsorted(keys, wanted), max(0, captions - 1))
    shared = np.flatnonzero(keys[position] == wanted) if captions else np.zeros(0, int)
    text, candidate, reference = grams.text[shared], weight[position[shared]], weight[shared]
    length = np.sqrt(np.bincount(grams.text, weight**2, len(image)))
    lengths = length * length[image]
    scale = (lengths > 0) / np.where(lengths > 0, lengths, 1)
    cosine = np.bincount(text, candidate * reference, len(image)) * scale
    clipped = np.bincount(text, np.minimum(candidate, reference) * reference, len(image)) * scale
    return cosine, clipped
