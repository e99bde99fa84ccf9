"""Labels that are probably wrong: a classifier that has not seen an example is sure of another class.

The rule is that of confident learning (Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in
dataset labels"). p[i, k] are probabilities out of cross-validation, t[k] the mean of p[i, k] over examples labelled k.
Example i is a suspect when some other class has p[i, k] ≥ t[k], and the most probable of those is more probable than
its own label. It finds labels exchanged at random, and it is fooled by classes that overlap. So it is asked only where
the classifier is right often enough: `LEAST` of out-of-fold accuracy.
"""

import numpy as np

LEAST = 0.8  # out-of-fold accuracy below which a suspect says more about the classifier than about the label
SURE = 0.6  # the least probability of the other class
FOLDS = 5
MOST_CLASSES = 100  # a linear model of more takes minutes
MOST = 20_000  # examples; of more, so many are drawn


def out_of_fold(features: object, labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return probabilities [N, C] of a logistic regression that has not seen the example's fold.

    Args:
        features: Array or sparse matrix [N, D].
        labels: int [N], from 0 to C − 1, at least `FOLDS` of each.
        seed: Of the folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with threadpool_limits(1, user_api="blas"):
        model = LogisticRegression(C=10.0, max_iter=300)
        return np.asarray(cross_val_predict(model, features, labels, cv=folds, method="predict_proba"))


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of suspects, the surest first, int [K], and the class that is more probable, int [K].

    >>> sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    >>> [found.tolist() for found in suspects(sure, np.array([0, 0, 1, 1, 1]))]
    [[2], [0]]
    """
    classes = np.arange(probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    typical = np.array([probabilities[labels == k, k].mean() if (labels == k).any() else np.inf for k in classes])
    able = (probabilities >= np.maximum(typical, SURE)) & (classes[None] != labels[:, None])
    other = np.where(able, probabilities, -1).argmax(1)
    lead = probabilities[np.arange(len(labels)), other] - own
    found = np.flatnonzero(able.any(1) & (lead > 0))
    order = found[np.argsort(-lead[found], kind="stable")]
    return order, other[order]
