"""Two kinds of features in one linear model: those of a frozen network beside n-grams of the same text."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxfer.baselines.classification import STRENGTHS, UNITS
from tfxfer.experiment import Outcome

SHARES = (0.5, 0.25, 0.75)  # of the squared length of a row that the network's features have; the first is the start
Rows = tuple[Sequence[str], Any, np.ndarray]  # texts [N], features float [N, D], labels int [N]


def beside_ngrams(train: Rows, validation: Rows, test: tuple[Sequence[str], Any], num_classes: int) -> Outcome:
    """Fit one logistic regression on φ beside TF-IDF of character n-grams; validation chooses their shares, then C.

    A row is [√s · z, √(1 − s) · t]: z the standardised features scaled to a mean squared length of 1, t the TF-IDF
    row, which has length 1.

    Args:
        train: Texts, features and labels.
        validation: Texts, features and labels that choose.
        test: Texts and features to answer.
        num_classes: C; classes absent from train get probability 0.
    """
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    vectorizer = TfidfVectorizer(sublinear_tf=True, **UNITS["characters"])
    fitted = np.asarray(train[1], np.float64)
    mean, deviation = fitted.mean(0), fitted.std(0)
    scale = 1 / (np.maximum(deviation, 1e-3 * deviation.max() + 1e-12) * np.sqrt(fitted.shape[1]))
    parts = []
    for i, (texts, features) in enumerate((train[:2], validation[:2], test)):
        grams = vectorizer.transform(texts) if i else vectorizer.fit_transform(texts)
        parts.append(((np.asarray(features, np.float64) - mean) * scale, grams))
    tried: dict[str, float] = {}
    models = []

    def fit(share: float, strength: float) -> None:
        rows, held, asked = (
            hstack([csr_matrix(np.sqrt(share) * own), np.sqrt(1 - share) * grams]).tocsr() for own, grams in parts
        )
        model = LogisticRegression(C=strength, max_iter=1000)
        with threadpool_limits(1, user_api="blas"):
            model.fit(rows, train[2])
        score = float(model.score(held, validation[2]))
        tried[f"share {share:g}, C={strength:g}"] = round(score, 4)
        models.append((score, share, model, asked))

    for share in SHARES:
        fit(share, STRENGTHS[0])
    chosen = max(models, key=lambda row: row[0])[1]
    for strength in STRENGTHS[1:]:
        fit(chosen, strength)
    _, share, model, asked = max(models, key=lambda row: row[0])
    probabilities = np.zeros((asked.shape[0], num_classes), np.float32)
    probabilities[:, model.classes_] = model.predict_proba(asked)
    settings = {"method": "φ beside TF-IDF of characters, logistic regression", "C": model.C, "share": share}
    return Outcome(probabilities, settings | {"validation": tried}, int(model.coef_.size + model.intercept_.size))
