"""Rank candidates against hubs: a candidate that is near to many queries counts for less with each of them.

Some vectors are among the nearest of very many others (hubs), and are then wrong for most of them. Both rankings here
look at all queries at once. They are *transductive*: the queries help one another, and one query alone has another
ranking. So a figure made with them is no figure of a system that answers one query at a time.

References:
    S. L. Smith et al., Offline bilingual word vectors, orthogonal transformations and the inverted softmax, ICLR 2017.
    A. Conneau et al., Word translation without parallel data, ICLR 2018 (CSLS).
"""

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

Ranking = Callable[[np.ndarray], np.ndarray]  # similarities of queries and candidates [N, M] -> what ranks them [N, M]
RANKINGS = ("similarity", "inverted_softmax", "csls")
NEIGHBOURS = 10  # of CSLS, as in the paper


def similarity(K: np.ndarray) -> np.ndarray:
    """Return K itself: each query is answered alone."""
    return K


def inverted_softmax(K: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return log(exp(β·K_ij) / Σ_n exp(β·K_nj)): a softmax over the queries n of each candidate j.

    Args:
        K: Similarities of queries and candidates, float [N, M].
        beta: Inverse temperature β.

    >>> K = np.array([[0.9, 0.8], [0.7, 0.1]])  # the first candidate is the nearest of both queries
    >>> inverted_softmax(K, beta=10).argmax(1).tolist()
    [1, 0]
    """
    scaled = beta * np.asarray(K, np.float64)
    return scaled - logsumexp(scaled, axis=0, keepdims=True)


def csls(K: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Return 2·K_ij − r_i − r_j, with r the mean similarity of a query or candidate to its nearest k others.

    Args:
        K: Similarities of queries and candidates, float [N, M].
        neighbours: k; all of them where there are fewer.

    >>> csls(np.array([[0.9, 0.8], [0.7, 0.1]]), neighbours=2).argmax(1).tolist()
    [1, 0]
    """
    K = np.asarray(K)
    of_queries, of_candidates = (np.sort(rows, 1)[:, -neighbours:].mean(1) for rows in (K, K.T))
    return 2 * K - of_queries[:, None] - of_candidates
