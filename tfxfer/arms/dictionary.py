"""The arms of the dictionary: two ridge regressions from texts into one space, one thing changed at a time.

transfer                     each language has images of its own, and the space is that of a frozen encoder
random                       the encoder has fresh weights
random_vectors               a random vector stands for every image
same_images                  both languages have the same images: these are then a hidden bilingual list
same_images_random_vectors   the same, with a random vector for every image
strings                      no image: names are similar when their letters are
"""

from collections.abc import Callable

import numpy as np
from sklearn.preprocessing import normalize

from tfxfer.baselines.retrieval import NGRAMS
from tfxfer.experiment import Outcome
from tfxfer.tasks.named_images import NamedImages, scores
from tfxfer.transfer.knowledge.dictionary import STRENGTHS, Dictionary, ridge

RANDOM_WIDTH = 256  # of a random vector
Features = Callable[[int], np.ndarray]  # seed -> float [P, D] of the training images


class DictionaryArms:
    """What all arms share: the n-grams of every name, which need no image.

    Args:
        task: Images with names in two languages.
        dictionary: Its n-grams are learned here, from all training names of each language.
    """

    def __init__(self, task: NamedImages, dictionary: Dictionary) -> None:
        self.task, self.dictionary = task, dictionary
        dictionary.adapt({code: task.names(code, "train") for code in task.languages})
        self.rows = {
            code: {split: dictionary.rows(task.names(code, split), code) for split in ("train", "validation", "test")}
            for code in task.languages
        }

    def arm(self, features: Features, shared: bool = False) -> Callable[[int | None, int], Outcome]:
        """Return the arm that learns from features of the training images.

        Args:
            features: Seed -> float [P, D].
            shared: Whether both languages learn from the same images.
        """

        def run(budget: int | None, seed: int) -> Outcome:
            strength, k = self.fitted(features(seed), budget or self.task.most, seed, shared)
            return self.task.outcome(k, {"strength": strength})

        return run

    def fitted(self, phi: np.ndarray, budget: int, seed: int, shared: bool = False) -> tuple[float, np.ndarray]:
        """Return the strength that ranks best on validation, and K of the test names, float [N, N]."""
        drawn = self.task.drawn(budget, seed, shared)
        towers = {code: self._tower(code, phi, rows) for code, rows in drawn.items()}

        def k(strength: float, split: str) -> np.ndarray:
            one, two = (towers[code](strength, split) for code in self.task.languages)
            return one @ two.T

        strength = max(STRENGTHS, key=lambda each: (scores(k(each, "validation"))["reciprocal_rank"].mean(), each))
        return strength, k(strength, "test")

    def _tower(self, code: str, phi: np.ndarray, rows: np.ndarray) -> Callable[[float, str], np.ndarray]:
        """Return (strength, split) -> g of a split's names, float [N, D]."""
        known = self.rows[code]["train"][rows]
        solved = ridge(known, phi[rows])
        return lambda strength, split: normalize((self.rows[code][split] @ known.T) @ solved(strength))

    def final(self, phi: np.ndarray, budget: int, seed: int) -> Dictionary:
        """Return the dictionary of `transfer` at one budget and seed, as a Keras model."""
        self.dictionary.strength = self.fitted(phi, budget, seed)[0]
        drawn = self.task.drawn(budget, seed)
        texts = {code: [self.task.names(code, "train")[row] for row in rows] for code, rows in drawn.items()}
        made = self.dictionary.fit(texts, {code: phi[rows] for code, rows in drawn.items()})
        made.known = {code: self.task.names(code, "train") for code in self.task.languages}
        return made


def random_vectors(count: int, seed: int) -> np.ndarray:
    """Return a random vector for each of N images, float [N, D]."""
    return np.random.default_rng(seed).standard_normal((count, RANDOM_WIDTH))


def strings(task: NamedImages) -> Outcome:
    """Answer by the letters alone: the cosine of character n-grams that both languages have in common."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [name for code in task.languages for name in task.names(code, "train")]
    vectorizer = TfidfVectorizer(**NGRAMS).fit(texts)
    one, two = (vectorizer.transform(task.names(code, "test")) for code in task.languages)
    return task.outcome((one @ two.T).toarray(), {"method": "cosine of character n-grams"})
