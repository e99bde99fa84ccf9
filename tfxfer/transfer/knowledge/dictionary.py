"""Images as a dictionary: K = g(Y₁)·g(Y₂), two languages that meet in the space of images.

    t(Y)    character n-grams of a text (TF-IDF), at length 1                                              [N, G]
    φ(X)    features of an image, from a frozen encoder                                                    [P, D]
    A       ridge regression from the texts of one language to the features of their images, A = Tᵀ·(T·Tᵀ + α·1)⁻¹·Φ
    g(Y)    A·t(Y) at length 1: where the image of this text should lie                                  [N, D]
    K       the cosine of two texts of two languages; the answer is the text with the greatest one         [N, M]

No text of one language is ever shown beside a text of the other. But when both learn from the *same* images, the
images are a hidden bilingual list: random vectors in their place do as well. Only with images of its own for each
language does K show what φ knows (`python -m tfxfer.train dictionary` runs both).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse
from sklearn.preprocessing import normalize

from tfxfer.errors import UserError
from tfxfer.models.saved_folder import load_folder, save_folder

NGRAMS = 4  # characters of the longest n-gram
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)  # of the ridge that validation chooses from; t(Y) has length 1
BATCH = 256


class Translated(NamedTuple):
    """The k best texts of the other language for each of N texts, the best first.

    Attributes:
        texts: [N][k].
        scores: K, float32 [N, k], each from −1 to 1.
    """

    texts: list[list[str]]
    scores: np.ndarray


@keras.saving.register_keras_serializable("tfxfer")
class BetweenBlanks(keras.layers.Layer):
    """Puts lower-case texts [B] between two blanks, so that n-grams know where a word begins."""

    def call(self, texts: tf.Tensor) -> tf.Tensor:
        """Return strings [B]."""
        return tf.strings.join([" ", tf.strings.lower(texts, encoding="utf-8"), " "])

    def compute_output_spec(self, texts: keras.KerasTensor) -> keras.KerasTensor:
        """Return the shape and type of the output: those of the input."""
        return keras.KerasTensor(texts.shape, texts.dtype)


class Dictionary:
    """Texts of several languages in one space, each language learned from images of its own.

    Args:
        languages: Codes or names of two or more languages.
        strength: α, the L2 penalty of the ridge.

    Attributes:
        model: Keras model {language: string [N]} → {language: g float32 [N, D]}.
        known: Language -> texts that `predict` answers with where no candidates are given.

    Raises:
        UserError: There are fewer than two languages.

    Example:
        >>> words = {"de": ["Hund", "Haus"], "fr": ["chien", "maison"]}              # doctest: +SKIP
        >>> images = {"de": phi(german_images), "fr": phi(french_images)}      # doctest: +SKIP
        >>> Dictionary(("de", "fr")).fit(words, images).predict(["Hunde"], "de", "fr").texts  # doctest: +SKIP
        [['chien']]
    """

    def __init__(self, languages: Sequence[str], strength: float = 0.3) -> None:
        self.languages, self.strength = tuple(dict.fromkeys(languages)), strength
        if len(self.languages) < 2:
            raise UserError(f"languages {', '.join(self.languages) or 'none'}: a dictionary needs two")
        self.known: dict[str, list[str]] = {}
        self.ngrams: dict[str, keras.Layer] = {}

    def adapt(self, texts: Mapping[str, Sequence[str]]) -> Self:
        """Learn the n-grams t of each language from texts, which need no images.

        Args:
            texts: Language -> texts.
        """
        for language in self.languages:
            if not len(texts.get(language, ())):
                raise UserError(f"language '{language}' has no texts to learn from")
            layer = keras.layers.TextVectorization(
                standardize=None,
                split="character",
                ngrams=NGRAMS,
                output_mode="tf_idf",
                name=f"ngrams_{language}",
            )
            layer.adapt(BetweenBlanks()(tf.constant(list(texts[language]))))
            self.ngrams[language] = layer
        return self

    def rows(self, texts: Sequence[str], language: str) -> sparse.csr_matrix:
        """Return t, sparse float64 [N, G], at length 1; a text without a known n-gram is zero."""
        layer, blanks = self.ngrams[language], BetweenBlanks()
        counts = (np.asarray(layer(blanks(tf.constant(part))), np.float64) for part in _batches(texts))
        parts = [sparse.csr_matrix(rows) for rows in counts]
        return normalize(sparse.vstack(parts).tocsr())

    def fit(self, texts: Mapping[str, Sequence[str]], features: Mapping[str, np.ndarray]) -> Self:
        """Fit g of each language on P texts and the features of their images.

        Args:
            texts: Language -> P texts; t is learned from them too, unless `adapt` was called.
            features: Language -> φ, float [P, D], standardised alike for all languages.

        Raises:
            UserError: A language has no texts, or other images than texts, or features that are not finite.
        """
        for language in self.languages:
            _check(language, texts.get(language, ()), features.get(language, ()))
        if not self.ngrams:
            self.adapt(texts)
        inputs = {code: keras.Input((), dtype="string", name=code) for code in self.languages}
        outputs = {}
        for code in self.languages:
            rows = self.rows(texts[code], code)
            kernel = np.asarray(rows.T @ ridge(rows, features[code])(self.strength), np.float32)  # [G, D]
            outputs[code] = self._tower(code, kernel)(inputs[code])
        self.model = keras.Model(inputs, outputs, name="dictionary")
        self.model.trainable = False
        self.known = {language: list(dict.fromkeys(texts[language])) for language in self.languages}
        return self

    def _tower(self, language: str, kernel: np.ndarray) -> keras.Model:
        """Return string [N] → g [N, D] of one language, A as the kernel [G, D] of a Dense."""
        dense = keras.layers.Dense(kernel.shape[1], use_bias=False, name=f"ridge_{language}")
        unit = keras.layers.UnitNormalization
        tower = keras.Sequential(
            [keras.Input((), dtype="string"), BetweenBlanks(), self.ngrams[language], unit(), dense, unit()],
            name=f"g_{language}",
        )
        dense.set_weights([kernel])
        return tower

    def encode(self, texts: Sequence[str], language: str) -> np.ndarray:
        """Return g of N texts, float32 [N, D].

        Raises:
            UserError: It has not learned this language.
        """
        if language not in self.languages:
            raise UserError(f"language '{language}': this dictionary has {', '.join(self.languages)}")
        tower = self.model.get_layer(f"g_{language}")
        return np.concatenate([np.asarray(tower(tf.constant(part))) for part in _batches(texts)])

    def scores(self, texts: Sequence[str], language: str, others: Sequence[str], to: str) -> np.ndarray:
        """Return K, float32 [N, M]: the cosines of N texts of one language and M of another."""
        return self.encode(texts, language) @ self.encode(others, to).T

    def predict(
        self, texts: Sequence[str], language: str, to: str, *, candidates: Sequence[str] | None = None, k: int = 1
    ) -> Translated:
        """Return for each text the k texts of another language with the greatest K.

        Args:
            texts: N texts.
            language: Their language.
            to: The language that is answered in.
            candidates: What is answered with (default: the texts that this language learned from).
            k: How many answers.
        """
        found = list(self.known[to] if candidates is None and to in self.known else candidates or ())
        if not found:
            raise UserError("there is no candidate to choose from")
        table = self.scores(texts, language, found, to)
        best = np.argsort(-table, axis=1, kind="stable")[:, :k]
        return Translated([[found[i] for i in row] for row in best], np.take_along_axis(table, best, 1))

    def score(self, texts: Mapping[str, Sequence[str]]) -> dict[str, float]:
        """Return recall@1 of the first two languages in both directions; text i of both means the same.

        Args:
            texts: Language -> N texts.
        """
        one, two = self.languages[:2]
        table = self.scores(texts[one], one, texts[two], two)
        right = np.arange(len(table))
        found = {f"{one}_to_{two}": table.argmax(1) == right, f"{two}_to_{one}": table.argmax(0) == right}
        return {f"{name}_recall_at_1": float(hits.mean()) for name, hits in found.items()}

    def save(self, folder: str | Path) -> Path:
        """Write `model.keras` and `model.json`; return the folder."""
        known = {f"known_{language}": self.known[language] for language in self.languages}
        described = {"class": "Dictionary", "input": "text", "languages": list(self.languages), **known}
        return save_folder(folder, self.model, described)

    @classmethod
    def load(cls, folder: str | Path) -> "Dictionary":
        """Return the dictionary that `save` wrote."""
        model, described = load_folder(folder, "Dictionary", ("languages",))
        made = cls(described["languages"])
        made.model = model
        made.known = {language: list(described[f"known_{language}"]) for language in made.languages}
        return made


def ridge(rows: sparse.csr_matrix, features: np.ndarray) -> Callable[[float], np.ndarray]:
    """Return strength α -> (T·Tᵀ + α·1)⁻¹·Φ, float [P, D], so that g(Y) is t(Y)·Tᵀ times it, at length 1.

    Args:
        rows: T, the n-grams of P texts, sparse [P, G].
        features: Φ, the features of their images, [P, D]; each is scaled to length 1.
    """
    values, vectors = np.linalg.eigh((rows @ rows.T).toarray())
    turned = vectors.T @ normalize(np.asarray(features, np.float64))
    return lambda strength: vectors @ (turned / (np.maximum(values, 0) + strength)[:, None])


def _batches(texts: Sequence[str]) -> list[list[str]]:
    return [list(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]


def _check(language: str, texts: Sequence[str], features: Any) -> None:
    if not len(texts):
        raise UserError(f"language '{language}' has no texts to learn from")
    if len(texts) != len(features):
        raise UserError(f"language '{language}': {len(texts)} texts and {len(features)} images are no pairs")
    if not np.isfinite(features).all():
        raise UserError(f"language '{language}': the features of an image are not finite")
