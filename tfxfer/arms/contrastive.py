"""The arms of retrieval: pictures and their texts, and what is learned to find the one by the other.

transfer   both towers carry what they learned            random     both are fresh; the picture tower stays so
random_f   only the picture tower is fresh                random_g   only the text tower is fresh
shuffled   as transfer, but texts belong to others        native     ridge regression from character n-grams to pictures
anchors    nothing is trained: similarities to the pairs
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfxfer.arms.controls import deranged
from tfxfer.config import RetrievalConfig
from tfxfer.errors import TfxferError
from tfxfer.evaluate.retrieval import by_query, ranks
from tfxfer.experiment import Outcome, sweep
from tfxfer.records import Record
from tfxfer.transfer.bridges.anchors import Anchors
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder

MEASURES = ("recall_at_1", "reciprocal_rank", "recall_at_5")
NEIGHBOURS, POWERS = (20, 50, 200), (1.0, 2.0, 4.0)  # the k and p of anchors that validation chooses from
STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # of the ridge
NGRAMS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (1, 4), "sublinear_tf": True}


@dataclass(frozen=True)
class Pairs:
    """Pictures as features, each with its texts: what all arms share.

    Attributes:
        features: split -> float32 [P, D] of the locked picture tower.
        captions: split -> P lists of texts, one or more each.
        ids: split -> int [P], what a picture shows; two that are the same picture share one.
    """

    features: dict[str, np.ndarray]
    captions: dict[str, list[list[str]]]
    ids: dict[str, np.ndarray]

    def texts(self, split: str) -> list[str]:
        """Return all C texts of a split, those of a picture one after the other."""
        return [text for each in self.captions[split] for text in each]

    def owners(self, split: str) -> np.ndarray:
        """Return int [C], the place of the picture that each text is about."""
        return np.repeat(np.arange(len(self.captions[split])), [len(each) for each in self.captions[split]])

    def drawn(self, budget: int | None, seed: int) -> "Pairs":
        """Return the pairs with `budget` pictures in training; a smaller draw is part of a greater one."""
        rows = np.random.default_rng(seed).permutation(len(self.ids["train"]))[:budget]
        return Pairs(
            self.features | {"train": self.features["train"][rows]},
            self.captions | {"train": [self.captions["train"][i] for i in rows]},
            self.ids | {"train": self.ids["train"][rows]},
        )

    def shuffled(self, seed: int) -> "Pairs":
        """Return the pairs whose training texts belong to other pictures: no picture keeps its own."""
        order = deranged(len(self.captions["train"]), seed + 1)
        return replace(self, captions=self.captions | {"train": [self.captions["train"][i] for i in order]})

    def ranks(self, k: np.ndarray, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the ranks of K [P, C] over a split: int [P] of each picture's best text, int [C] of each text's."""
        ids, of_texts = self.ids[split], self.ids[split][self.owners(split)]
        return ranks(k, ids, of_texts, "picture"), ranks(k.T, of_texts, ids, "text")

    def score(self, k: np.ndarray, split: str) -> dict[str, np.ndarray]:
        """Return measure -> float [P] of each picture of a split, from K [P, C].

        A picture finds a text, any of its own; each of its texts finds a picture, and the mean over them counts. A
        measure without a direction is the mean of both.
        """
        of_pictures, of_texts = self.ranks(k, split)
        owners, count = self.owners(split), np.array([len(each) for each in self.captions[split]])
        by_picture = by_query(of_pictures)
        by_text = {n: np.bincount(owners, v, len(count)) / count for n, v in by_query(of_texts).items()}
        both = {name: (by_picture[name] + by_text[name]) / 2 for name in by_picture}
        ways = {"image_to_text": by_picture, "text_to_image": by_text}
        return both | {f"{way}_{name}": values for way, found in ways.items() for name, values in found.items()}

    def outcome(self, k: np.ndarray, settings: dict[str, Any], trainable: int = 0) -> Outcome:
        """Return what an arm answers on the test pairs: for each picture the text that K puts first."""
        texts = self.texts("test")
        medians = {"median_ranks": [float(np.median(found)) for found in self.ranks(k, "test")]}
        answers = [texts[i] for i in k.argmax(1)]
        return Outcome(None, settings | medians, trainable, scores=self.score(k, "test"), answers=answers)

    def validate(self, k: np.ndarray) -> float:
        """Return the mean reciprocal rank of K on the validation pairs, which every choice is made by."""
        return float(self.score(k, "validation")["reciprocal_rank"].mean())


class ContrastiveArm:
    """An arm that trains the text tower of a `DualEncoder` for every budget and seed.

    The learning rate is chosen once, at the greatest budget with the first seed, where there is most to learn.

    Args:
        towers: The encoder, the same object for all arms: it is compiled once.
        start: seed -> its weights before training.
        pairs: (budget, seed) -> what is learned and answered.
        config: The training.
        on_training: Called with a row after each training.
    """

    def __init__(
        self,
        towers: DualEncoder,
        start: Callable[[int], list[np.ndarray]],
        pairs: Callable[[int | None, int], Pairs],
        config: RetrievalConfig,
        on_training: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.towers, self.start, self.pairs, self.config = towers, start, pairs, config
        self.on_training = on_training
        self.keep = (max(config.pairs), config.seed)  # whose weights are kept
        self.kept: list[np.ndarray] | None = None
        self.rate: float | None = None
        self.tried: dict[str, float] = {}

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Train the text tower, and answer the test pairs."""
        rate = self._rate()
        if (budget, seed) == self.keep and self.kept is not None:
            self.towers.trained.set_weights(self.kept)
        else:
            self._attempt(rate, budget, seed)
        settings = {"learning_rate": rate, "validation": self.tried, "updates": self.updates(budget)}
        settings["temperature"] = round(1 / float(self.towers.matrix.scale()), 4)
        pairs = self.pairs(budget, seed)
        trainable = sum(int(np.prod(v.shape)) for v in self.towers.trained.trainable_variables)
        return pairs.outcome(self.towers.K(pairs.features["test"], pairs.texts("test")), settings, trainable)

    def recall(self, record: Record) -> None:
        """Go on with the learning rate that an earlier run chose."""
        self.rate, self.tried = record.settings["learning_rate"], record.settings["validation"]

    def final(self) -> DualEncoder:
        """Return the encoder with the weights of `keep`, trained again when its record came from elsewhere."""
        if self.kept is None:
            self._attempt(self._rate(), *self.keep)
            self.kept = self.towers.trained.get_weights()
        self.towers.trained.set_weights(self.kept)
        return self.towers

    def updates(self, budget: int | None) -> int:
        """Return the steps of a training: fewer pairs get fewer, by the square root of their share of the greatest."""
        most = max(self.config.pairs)
        return max(1, round(self.config.updates * math.sqrt((budget or most) / most)))

    def _rate(self) -> float:
        """Return the learning rate that validates best, chosen when it is first asked for."""
        if self.rate is None:
            self.rate, self.kept, self.tried = sweep(
                self.config.learning_rates, lambda rate: self._attempt(rate, *self.keep)
            )
        return self.rate

    def _attempt(self, rate: float, budget: int | None, seed: int) -> tuple[float, list[np.ndarray]]:
        """Train once; return the reciprocal rank on validation, and the weights."""
        towers, pairs, config = self.towers, self.pairs(budget, seed), self.config
        towers.trained.set_weights(self.start(seed))
        history = towers.fit(
            pairs.features["train"],
            pairs.texts("train"),
            pairs.ids["train"],
            owners=pairs.owners("train"),
            steps=self.updates(budget),
            batch_size=config.batch_size,
            learning_rate=rate,
            fitted=config.fitted,
            seed=seed,
        )
        score = pairs.validate(towers.K(pairs.features["validation"], pairs.texts("validation")))
        if not math.isfinite(score):
            raise TfxferError(f"learning rate {rate:g} ended in a reciprocal rank of {score}")
        if self.on_training:
            row = {"loss": history.history["loss"][-1], "validation": score, "learning_rate": rate}
            self.on_training({**row, "pairs": budget, "seed": seed})
        return score, towers.trained.get_weights()


def native(pairs: Pairs) -> Outcome:
    """Ridge regression from character n-grams to standardised picture features; K is the cosine to what it predicts."""
    from sklearn.kernel_ridge import KernelRidge

    pictures, grams = {n: unit(rows) for n, rows in standardised(pairs.features).items()}, ngrams(pairs)
    wanted = pictures["train"][pairs.owners("train")]  # [C, D]
    tried: dict[float, float] = {}
    best: tuple[float, np.ndarray] = (-math.inf, np.zeros(0))
    for strength in STRENGTHS:
        ridge = KernelRidge(alpha=strength).fit(grams["train"], wanted)
        k = {split: pictures[split] @ unit(ridge.predict(grams[split])).T for split in ("validation", "test")}
        tried[strength] = pairs.validate(k["validation"])
        best = max(best, (tried[strength], k["test"]), key=lambda row: row[0])
    chosen = max(tried, key=lambda strength: tried[strength])
    settings = {"method": "ridge regression from character n-grams to picture features", "strength": chosen}
    return pairs.outcome(best[1], settings, trainable=wanted.size)


def anchors(pairs: Pairs) -> Outcome:
    """Similarities to the training pairs (ASIF): pictures by their features, texts by their character n-grams.

    The text side of an anchor is the mean of its picture's texts.
    """
    pictures, grams = (
        standardised(pairs.features),
        {s: rows.astype(np.float32).toarray() for s, rows in ngrams(pairs).items()},
    )
    firsts = np.flatnonzero(np.diff(pairs.owners("train"), prepend=-1))
    counts = np.diff(np.append(firsts, len(grams["train"])))
    texts = np.add.reduceat(grams["train"], firsts) / counts[:, None]  # [P, E]
    best: tuple[float, dict[str, Any], Anchors | None] = (-math.inf, {}, None)
    for k in sorted({min(k, len(texts)) for k in NEIGHBOURS}):
        for p in POWERS:
            bridge = Anchors(pictures["train"], texts, k=k, p=p)
            score = pairs.validate(bridge.K(pictures["validation"], grams["validation"]))
            best = max(best, (score, {"k": k, "p": p}, bridge), key=lambda row: row[0])
    assert best[2] is not None  # there is at least one k
    answered = best[2].K(pictures["test"], grams["test"])
    return pairs.outcome(answered, {"method": "ASIF over character n-grams", **best[1]})


def ngrams(pairs: Pairs) -> dict[str, Any]:
    """Return split -> sparse TF-IDF rows [C, E] of character n-grams that occur in training."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(**NGRAMS).fit(pairs.texts("train"))
    return {split: vectorizer.transform(pairs.texts(split)) for split in pairs.captions}


def standardised(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return features with the training pictures' mean 0 and deviation 1."""
    mean, deviation = features["train"].mean(0), features["train"].std(0)
    deviation = np.maximum(deviation, max(1e-3 * float(deviation.max()), 1e-12))
    return {split: (rows - mean) / deviation for split, rows in features.items()}


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows [N, D] at length 1; a row of zeros stays one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
