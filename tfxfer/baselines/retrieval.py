"""Baselines of image–text retrieval that train no network: ridge regression from n-grams, and anchors."""

import math
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from tfxfer.experiment import Outcome
from tfxfer.models.standardize import mean_and_deviation
from tfxfer.tasks.image_text_pairs import ImageTextPairs
from tfxfer.transfer.bridges.anchors import Anchors

NEIGHBOURS, POWERS = (20, 50, 200), (1.0, 2.0, 4.0)  # the k and p of anchors that validation chooses from
STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # of the ridge
NGRAMS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (1, 4), "sublinear_tf": True}


def ridge(pairs: ImageTextPairs) -> Outcome:
    """Ridge regression from character n-grams to standardised image features; K is the cosine to what it predicts."""
    from sklearn.kernel_ridge import KernelRidge

    images, grams = {n: normalize(rows) for n, rows in standardised(pairs.features).items()}, ngrams(pairs)
    wanted = images["train"][pairs.image_index("train")]  # [C, D]
    tried: dict[float, float] = {}
    best: tuple[float, np.ndarray] = (-math.inf, np.zeros(0))
    for strength in STRENGTHS:
        ridge = KernelRidge(alpha=strength).fit(grams["train"], wanted)
        k = {split: images[split] @ normalize(ridge.predict(grams[split])).T for split in ("validation", "test")}
        tried[strength] = pairs.validate(k["validation"])
        best = max(best, (tried[strength], k["test"]), key=lambda row: row[0])
    chosen = max(tried, key=lambda strength: tried[strength])
    settings = {"method": "ridge regression from character n-grams to image features", "strength": chosen}
    return pairs.outcome(best[1], settings, trainable=wanted.size)


def anchors(pairs: ImageTextPairs) -> Outcome:
    """Similarities to the training pairs (ASIF): images by their features, texts by their character n-grams.

    The text side of an anchor is the mean of its image's texts.
    """
    images, grams = (
        standardised(pairs.features),
        {s: rows.astype(np.float32).toarray() for s, rows in ngrams(pairs).items()},
    )
    firsts = np.flatnonzero(np.diff(pairs.image_index("train"), prepend=-1))
    counts = np.diff(np.append(firsts, len(grams["train"])))
    texts = np.add.reduceat(grams["train"], firsts) / counts[:, None]  # [P, E]
    best: tuple[float, dict[str, Any], Anchors | None] = (-math.inf, {}, None)
    for k in sorted({min(k, len(texts)) for k in NEIGHBOURS}):
        for p in POWERS:
            bridge = Anchors(images["train"], texts, k=k, p=p)
            score = pairs.validate(bridge.predict(images["validation"], grams["validation"]))
            best = max(best, (score, {"k": k, "p": p}, bridge), key=lambda row: row[0])
    assert best[2] is not None  # there is at least one k
    answered = best[2].predict(images["test"], grams["test"])
    return pairs.outcome(answered, {"method": "ASIF over character n-grams", **best[1]})


def ngrams(pairs: ImageTextPairs) -> dict[str, Any]:
    """Return split -> sparse TF-IDF rows [C, E] of character n-grams that occur in training."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(**NGRAMS).fit(pairs.texts("train"))
    return {split: vectorizer.transform(pairs.texts(split)) for split in pairs.captions}


def standardised(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return features with the training images' mean 0 and deviation 1."""
    mean, deviation = mean_and_deviation(features["train"])
    return {split: (rows - mean) / deviation for split, rows in features.items()}
