"""Do two modalities complement each other? Partial information decomposition: unique, shared and synergistic parts.

Two variables X₁ and X₂ together tell I(X₁,X₂;Y) bits of a class Y. Williams & Beer (2010) split this into four parts:

    I(X₁,X₂;Y) = R + U₁ + U₂ + S        I(X₁;Y) = R + U₁        I(X₂;Y) = R + U₂

R is what either of them tells (shared), U₁ and U₂ what only one tells (unique), S what neither tells alone (synergy).
The definition here is that of Bertschinger et al. (2014), which Liang et al. (2023) use for modalities: R, U₁ and U₂
depend on p(x₁,y) and p(x₂,y) only. So I(X₁,X₂;Y) − S is the minimum of I_q(X₁,X₂;Y) over all q with these two margins.

References:
    Bertschinger, Rauh, Olbrich, Jost & Ay (2014), Quantifying unique information. Entropy 16.
    Banerjee, Rauh & Montúfar (2018), Computing the unique information. ISIT.
    Liang et al. (2023), Quantifying & modeling multimodal interactions. NeurIPS.
"""

from dataclasses import astuple, dataclass

import numpy as np

from tfxfer.errors import UserError

ROUNDS, INNER = 2000, 8  # of the alternating minimisation, and of the scaling to the margins within each
CLOSE = 1e-9  # bits by which a round has to lower the minimum, for a next one
MOST_CLUSTERS, PER_CELL = 8, 10  # of a modality; labelled examples for each cell of the table, at least
TINY = 1e-300


@dataclass(frozen=True)
class Decomposition:
    """The four parts of what two variables tell of a class, in bits.

    Attributes:
        shared: R, what either of them tells.
        first: U₁, what only the first tells.
        second: U₂, what only the second tells.
        synergy: S, what both tell together and neither alone.
    """

    shared: float
    first: float
    second: float
    synergy: float

    @property
    def total(self) -> float:
        """I(X₁,X₂;Y), the sum of the four parts."""
        return self.shared + self.first + self.second + self.synergy


@dataclass(frozen=True)
class Complementarity:
    """The decomposition of two modalities' clusters, beside what it finds where there is nothing.

    Attributes:
        found: The parts of the data.
        chance: The same with shuffled labels, the mean of some shuffles: how much of `found` few examples pretend.
        chance_most: Each part's greatest value over the shuffles.
        entropy: H(Y) in bits, the most that could be told.
        clusters: Number of clusters of each modality.
        examples: Number of labelled examples.
    """

    found: Decomposition
    chance: Decomposition
    chance_most: Decomposition
    entropy: float
    clusters: int
    examples: int

    @property
    def corrected(self) -> Decomposition:
        """`found` less `chance`, at least 0."""
        return Decomposition(*(max(0.0, a - b) for a, b in zip(astuple(self.found), astuple(self.chance))))


def decompose(joint: np.ndarray) -> Decomposition:
    """Return the parts of a table of probabilities, or of counts.

    The minimum over q is found by alternating minimisation: q(x₁,x₂|y) becomes the distribution with the margins of
    class y that is nearest to the mean over the classes, and the mean is taken again (Banerjee et al. 2018).

    Args:
        joint: [A, B, C], p(x₁, x₂, y) or counts; not all 0.

    Raises:
        UserError: The table has other dimensions, a negative entry, or only zeros.

    >>> xor = np.zeros((2, 2, 2))
    >>> xor[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 1
    >>> parts = decompose(xor)
    >>> round(parts.synergy, 3), round(parts.shared + parts.first + parts.second, 3)
    (1.0, 0.0)
    """
    table = np.asarray(joint, np.float64)
    if table.ndim != 3 or not np.isfinite(table).all() or table.min(initial=0) < 0 or table.sum() <= 0:
        raise UserError(f"a table {table.shape} of x₁, x₂ and y: give three axes of counts that are not all 0")
    table = table / table.sum()
    one, two = _information(table.sum(1)), _information(table.sum(0))
    least = max(_least(table), one, two)
    whole = max(_information(table.reshape(-1, table.shape[2])), least)
    return Decomposition(max(0.0, one + two - least), least - two, least - one, whole - least)


def _information(joint: np.ndarray) -> float:
    """Return I(X;Y) in bits of a table p(x, y)."""
    rows, columns = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    at = joint > 0
    return float((joint[at] * np.log2(joint[at] / (rows * columns)[at])).sum())


def _least(table: np.ndarray) -> float:
    """Return the minimum of I_q(X₁,X₂;Y) in bits over all q with the margins p(x₁,y) and p(x₂,y)."""
    shares = table.sum((0, 1))  # [C]
    classes = np.moveaxis(table[..., shares > 0], 2, 0)  # [C, A, B]
    shares = shares[shares > 0]
    rows, columns = (classes.sum(axis) / shares[:, None] for axis in (2, 1))  # [C, A], [C, B]
    q = rows[:, :, None] * columns[:, None, :]
    scale, best = np.ones_like(columns), np.inf
    for _ in range(ROUNDS):
        mean = np.tensordot(shares, q, 1)  # [A, B]
        now = float(np.tensordot(shares, (q * np.log2(np.maximum(q, TINY) / np.maximum(mean, TINY))).sum((1, 2)), 1))
        if best - now < CLOSE:
            return min(best, now)
        best = now
        for _ in range(INNER):  # Sinkhorn: q(·|y) = diag(u) · mean · diag(v) with the margins of y
            left = rows / np.maximum(scale @ mean.T, TINY)
            scale = columns / np.maximum(left @ mean, TINY)
        q = left[:, :, None] * mean * scale[:, None, :]
    return best


def complementarity(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, *, shuffles: int = 5, seed: int = 0
) -> Complementarity:
    """Estimate the parts of two modalities: the features of each are put into clusters, and the clusters counted.

    The clusters are those of k-means after a PCA, made without the labels, so that a synergy is not lost that neither
    modality shows alone. Their number grows with the root of the number of examples for each class.

    Clusters hide what lies within them, so the total is a lower bound in the limit of many examples. With few examples,
    counts pretend information, synergy most of all: `chance` says how much.

    Args:
        first: Features of one modality [N, D₁].
        second: Features of the other [N, D₂].
        labels: int [N].
        shuffles: How many times the labels are shuffled for `chance`.
        seed: Of clusters and shuffles.
    """
    labels = np.unique(np.asarray(labels), return_inverse=True)[1]
    classes = int(labels.max()) + 1
    count = int(np.clip(round(np.sqrt(len(labels) / (PER_CELL * classes))), 2, MOST_CLUSTERS))
    groups = [_clusters(np.asarray(rows, np.float64), count, seed) for rows in (first, second)]
    rng = np.random.default_rng(seed)

    def parts(of: np.ndarray) -> Decomposition:
        joint = np.zeros((count, count, classes))
        np.add.at(joint, (*groups, of), 1)
        return decompose(joint)

    null = np.array([astuple(parts(rng.permutation(labels))) for _ in range(shuffles)])
    shares = np.bincount(labels) / len(labels)
    return Complementarity(
        parts(labels),
        Decomposition(*map(float, null.mean(0))),
        Decomposition(*map(float, null.max(0))),
        float(-(shares * np.log2(shares)).sum()),
        count,
        len(labels),
    )


def _clusters(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the cluster of each row, int [N], in 0..count − 1."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    spread = rows.std(0)
    rows = (rows - rows.mean(0)) / np.maximum(spread, 1e-6 * spread.max() + 1e-12)
    with threadpool_limits(1):
        small = PCA(min(16, *rows.shape), random_state=seed).fit_transform(rows)
        return np.asarray(KMeans(count, n_init=3, random_state=seed).fit_predict(small))
