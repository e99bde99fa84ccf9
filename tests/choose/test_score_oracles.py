"""Each score against the formula written in another way or another package, and against errors of published code."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.decomposition import PCA
from sklearn.metrics import mutual_info_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import LeaveOneOut, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from tfxfer.choose import SCORES, gbc, h_score, knn_probe, leep, logme, mmd, mutual_knn_alignment, nce, transrate

# === The formulas, written in another way ===


def evidence(gram, y, log_alpha, log_beta):
    """The log marginal likelihood of y by its N×N covariance I/β + FFᵀ/α."""
    factor = np.linalg.cholesky(np.eye(len(y)) / np.exp(log_beta) + gram / np.exp(log_alpha))
    whitened = solve_triangular(factor, y, lower=True)
    return -np.log(np.diag(factor)).sum() - (whitened @ whitened + len(y) * math.log(2 * math.pi)) / 2


def greatest_evidence(F, y):
    """Its maximum over α and β: a grid, then a simplex."""
    gram = F @ F.T
    grid = [(a, b) for a in np.arange(-4, 13, 1.5) for b in np.arange(-2, 6, 1.0)]
    start = max(grid, key=lambda point: evidence(gram, y, *point))
    return -minimize(lambda point: -evidence(gram, y, *point), start, method="Nelder-Mead", tol=1e-6).fun


def by_covariance(F, y):
    return np.mean([greatest_evidence(F, (y == c).astype(float)) / len(y) for c in np.unique(y)])


def class_means(F, y):
    return np.array([F[y == label].mean(0) for label in y])


def by_trace(F, y):
    return np.trace(np.linalg.pinv(np.cov(F.T)) @ np.cov(class_means(F, y).T))


def by_shrunk_trace(F, y):
    """Ledoit and Wolf 2004, written out."""
    X = F - F.mean(0)
    n, d = X.shape
    S, identity = X.T @ X / n, np.eye(d)
    target = np.trace(S) / d * identity
    noise = sum(np.sum((np.outer(x, x) - S) ** 2) for x in X) / n**2
    alpha = min(noise / np.sum((S - target) ** 2), 1)
    G = class_means(X, y)
    return np.trace(np.linalg.inv((1 - alpha) * S + alpha * target) @ ((1 - alpha) * G.T @ G / n))


def rate(Z, epsilon=1e-4):
    return 0.5 * np.log1p(np.linalg.svd(Z, compute_uv=False) ** 2 / (len(Z) * epsilon)).sum()


def by_rates(F, y, weighted=False):
    Z = F - F.mean(0)
    labels, counts = np.unique(y, return_counts=True)
    weights = counts / len(y) if weighted else np.full(len(labels), 1 / len(labels))
    return rate(Z) - sum(w * rate(Z[y == label]) for w, label in zip(weights, labels))


def by_gaussians(F, y, spherical=False):
    Z = PCA(min(64, len(F) - 1, F.shape[1])).fit_transform(F)
    total = 0.0
    for a in np.unique(y):
        for b in set(y) - {a}:
            parts = [np.maximum(Z[y == label].var(0), 1e-4) for label in (a, b)]
            one, two = (np.diag(np.full(len(v), v.mean()) if spherical else v) for v in parts)
            shared, apart = (one + two) / 2, Z[y == a].mean(0) - Z[y == b].mean(0)
            logs = [np.linalg.slogdet(matrix)[1] for matrix in (shared, one, two)]
            total += math.exp(-apart @ np.linalg.inv(shared) @ apart / 8 - logs[0] / 2 + (logs[1] + logs[2]) / 4)
    return -total


def by_neighbours(F, y):
    return cross_val_score(KNeighborsClassifier(5, algorithm="brute"), F, y, cv=LeaveOneOut()).mean()


def told(F, y, folds):
    """The held-out answers of the probe, by a general optimiser on its objective."""
    y, answers = np.unique(y, return_inverse=True)[1], np.empty(len(y), int)
    classes = y.max() + 1
    for fitted, held_out in StratifiedKFold(folds, shuffle=True, random_state=0).split(F, y):
        mean, scale = F[fitted].mean(0), F[fitted].std(0)
        X, one_hot = (F - mean) / scale, np.eye(classes)[y[fitted]]

        def loss(flat, X=X[fitted], one_hot=one_hot):
            W, b = flat[:-classes].reshape(-1, classes), flat[-classes:]
            return -(log_softmax(X @ W + b, 1) * one_hot).sum(1).mean() + 0.5e-2 * (W**2).sum()

        found = minimize(loss, np.zeros((F.shape[1] + 1) * classes)).x
        answers[held_out] = (X[held_out] @ found[:-classes].reshape(-1, classes) + found[-classes:]).argmax(1)
    return answers, y


def by_optimiser(F, y):
    answers, right = told(F, y, 5)
    return np.mean(answers == right)


def by_loops(theta, y):
    joint = {(a, z): theta[y == a, z].sum() for a in np.unique(y) for z in range(theta.shape[1])}
    logs = [
        math.log(sum(joint[label, z] / theta[:, z].sum() * row[z] for z in range(len(row))))
        for row, label in zip(theta, y)
    ]
    return np.mean(logs)


def by_mutual_information(theta, y):
    return mutual_info_score(y, theta.argmax(1)) - stats.entropy(np.unique(y, return_counts=True)[1])


def by_gram(X, Y):
    H = np.eye(len(X)) - 1 / len(X)
    K, L = H @ X @ X.T @ H, H @ Y @ Y.T @ H
    return np.trace(K @ L) / math.sqrt(np.trace(K @ K) * np.trace(L @ L))


def by_zero_diagonals(X, Y):
    n, one = len(X), np.ones(len(X))

    def hsic(K, L):
        ends = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
        return (np.trace(K @ L) + ends - 2 / (n - 2) * one @ K @ L @ one) / (n * (n - 3))

    K, L = (Z @ Z.T - np.diag((Z**2).sum(1)) for Z in (X, Y))
    return hsic(K, L) / math.sqrt(hsic(K, K) * hsic(L, L))


def by_sets(X, Y, k=10):
    def near(Z):
        Z = Z / np.linalg.norm(Z, axis=1, keepdims=True)
        return [set(np.argsort(-row)[: k + 1]) - {i} for i, row in enumerate(Z @ Z.T)]

    return np.mean([len(a & b) / k for a, b in zip(near(X), near(Y))]) - k / (len(X) - 1)


def by_kernel_matrices(X, Y):
    both = np.concatenate([X, Y])
    distances = [np.linalg.norm(a - b) for i, a in enumerate(both) for b in both[:i]]
    K = rbf_kernel(both, gamma=1 / (2 * np.median(distances) ** 2))
    m, n = len(X), len(Y)
    within = (K[:m, :m].sum() - m) / (m * (m - 1)) + (K[m:, m:].sum() - n) / (n * (n - 1))
    return within - 2 * K[:m, m:].mean()


def by_two_errors(X, Y):
    answers, right = told(np.concatenate([X, Y]), np.repeat([0, 1], [len(X), len(Y)]), 2)
    errors = [np.mean(answers[right == side] != side) for side in (0, 1)]
    return 2 * (1 - 2 * np.mean(errors))


ORACLES = {
    "logme": by_covariance,
    "h_score": by_trace,
    "h_score_shrunk": by_shrunk_trace,
    "transrate": by_rates,
    "transrate_paper": lambda F, y: by_rates(F, y, weighted=True),
    "gbc_diagonal": by_gaussians,
    "gbc_spherical": lambda F, y: by_gaussians(F, y, spherical=True),
    "knn_probe": by_neighbours,
    "cross_validated_probe": by_optimiser,
    "leep": by_loops,
    "nce": by_mutual_information,
    "cka": by_gram,
    "cka_unbiased": by_zero_diagonals,
    "mutual_knn": by_sets,
    "mmd": by_kernel_matrices,
    "proxy_a_distance": by_two_errors,
}


def example(rows, width, classes=2, seed=0):
    """Correlated features of uneven scale, classes of uneven size."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % (classes + 1) % classes
    F = 1.5 * rng.normal(size=(classes, width))[y] + rng.normal(size=(rows, width))
    return F @ rng.normal(size=(width, width)) / math.sqrt(width) + 0.3, y, rng


def arrays(rows, width):
    F, y, rng = example(rows, width)
    theta = rng.dirichlet(np.ones(4), rows) + 0.3 * np.eye(4)[y]
    other = F[:, :3] + rng.normal(size=(rows, 3))
    theta /= theta.sum(1, keepdims=True)
    return {"features": F, "labels": y, "probabilities": theta, "other": other, "source_features": 0.7 * F[::2] + 0.2}


@pytest.mark.parametrize("width", [4, 50])  # below and above the 30 rows
@pytest.mark.parametrize("name", SCORES)
def test_the_score_is_what_another_way_gives(name, width):
    given = arrays(30, min(width, 8) if name in ("cross_validated_probe", "proxy_a_distance") else width)
    own = [given[need] for need in SCORES[name].needs]
    assert SCORES[name].function(*own) == pytest.approx(ORACLES[name](*own), rel=1e-6, abs=1e-6)


# === Errors of published code, named in docs/scores.md: ours is another number on the same arrays ===


def released_logme(F, y):
    """The released fixed point for N < D, as it is and with the (D − k)·ln α that it leaves out of ln|A|."""
    (n, d), found = F.shape, []
    u, s, _ = np.linalg.svd(F, full_matrices=False)
    sigma = s**2
    for c in np.unique(y):
        x2 = (u.T @ (y == c)) ** 2
        rest, t = (y == c).sum() - x2.sum(), 1.0
        for _ in range(11):
            m2, residual = (sigma * x2 / (t + sigma) ** 2).sum(), (x2 / (1 + sigma / t) ** 2).sum() + rest
            gamma = (sigma / (sigma + t)).sum()
            alpha, beta = gamma / (m2 + 1e-5), (n - gamma) / (residual + 1e-5)
            if abs(alpha / beta - t) <= 1e-3 * t:
                break
            t = alpha / beta
        terms = d * np.log(alpha) + n * np.log(beta / (2 * np.pi)) - np.log(alpha + beta * sigma).sum()
        whole = (terms - beta * residual - alpha * m2) / 2
        found.append((whole / n, (whole - (d - len(sigma)) / 2 * np.log(alpha)) / n))
    return np.mean(found, axis=0)


def test_logme_has_the_term_that_the_released_code_leaves_out():
    rng = np.random.default_rng(14)
    F, y = rng.normal(size=(100, 512)), rng.integers(0, 2, 100)
    wrong, completed = released_logme(F, y)
    assert (round(wrong, 2), round(completed, 2)) == (12.92, -1.10)
    assert completed < logme(F, y) < -1.0  # its fixed point stops before the maximum
    assert logme(F, y) == pytest.approx(by_covariance(F, y), abs=1e-5)


def test_h_score_multiplies_matrices_in_float64():
    F, y, rng = example(400, 12, classes=8)
    F[:, 8:] = F[:, :4] + 0.01 * rng.normal(size=(400, 4))
    elementwise = np.trace(np.linalg.pinv(np.cov(F.T)) * np.cov(class_means(F, y).T))
    low = np.concatenate([F, F @ rng.normal(size=(12, 12))], axis=1).astype(np.float32)
    inverse = np.linalg.pinv(np.cov(low.T, dtype=np.float32), rcond=1e-15)
    in_float32 = np.trace(inverse @ np.cov(class_means(low, y).T, dtype=np.float32))
    assert elementwise > 7 and not 0 <= in_float32 <= 7
    assert h_score(F, y) == pytest.approx(by_trace(F, y)) and 0 < h_score(F, y) < 7
    assert h_score(low, y) < 7


def test_a_spherical_gbc_counts_the_logarithm_for_each_dimension():
    rng = np.random.default_rng(0)
    F = np.concatenate([rng.normal(0, 1, (200, 20)), rng.normal(0.2, 3, (200, 20))])
    y = np.repeat([0, 1], 200)
    one, two = (F[y == c].var(0).mean() for c in (0, 1))
    apart = ((F[y == 0].mean(0) - F[y == 1].mean(0)) ** 2).sum() / ((one + two) / 2) / 8
    logarithm = 0.5 * math.log((one + two) / 2 / math.sqrt(one * two))
    ours = -math.log(-gbc(F, y, covariance="spherical", components=None) / 2)
    assert ours == pytest.approx(apart + 20 * logarithm) and ours > 2 * (apart + logarithm)


# === Closed forms and bounds ===


def test_logme_of_no_signal_and_of_all():
    y = np.arange(40) % 2
    far = np.random.default_rng(0).normal(size=(40, 1)) * 1e-9
    nothing = 0.5 * math.log(2) - 0.5 - 0.5 * math.log(2 * math.pi)  # y ~ N(0, ½), whatever the scale of features
    assert nothing <= logme(far, y) < nothing + 0.1
    exact = logme(np.eye(2)[y], y)  # k = 2 directions fit the 40 rows, with a noise variance of 1e-6
    assert 5 < exact < 5.99
    assert logme(np.eye(2)[y] * 1e6, y) == pytest.approx(exact) and logme(np.eye(2)[y] / 1e6, y) == pytest.approx(exact)


def test_h_score_is_at_most_classes_less_one():
    F, y, _ = example(60, 5, classes=4)
    assert 0 < h_score(F, y, shrinkage=True) < h_score(F, y) < 3
    assert h_score(class_means(F, y), y) == pytest.approx(3)
    assert h_score(np.random.default_rng(1).normal(size=(60, 200)), y) == pytest.approx(
        3
    )  # N − 1 ≤ D: whatever they are


def test_leep_and_nce_lie_between_minus_the_entropy_and_zero():
    y = np.array([0, 0, 0, 1])
    entropy = stats.entropy([3, 1])
    for score in (leep, nce):
        assert score(np.full((4, 3), 1 / 3), y) == pytest.approx(-entropy)
        assert score(np.eye(2)[y], y) == pytest.approx(0)
        assert score(np.eye(3)[y], y) == pytest.approx(0)  # a source class that is never answered


def test_the_two_weightings_of_transrate():
    F, y, _ = example(60, 5)
    assert transrate(F, y, weighting="paper") > 0
    assert transrate(F, y) != pytest.approx(transrate(F, y, weighting="paper"))
    even = np.arange(60) % 3
    assert transrate(F, even) == pytest.approx(transrate(F, even, weighting="paper"))


def test_the_null_of_mutual_neighbours_is_the_mean_over_shuffles():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    shuffled = [mutual_knn_alignment(X, Y[rng.permutation(40)], k=5) for _ in range(60)]
    values = [one.shared for one in shuffled]
    assert abs(np.mean(values) - shuffled[0].null) < 3 * np.std(values) / math.sqrt(60)
    assert (shuffled[0].gallery, shuffled[0].k, shuffled[0].null) == (40, 5, 5 / 39)


def test_mmd_is_zero_in_the_mean_for_one_distribution():
    rng = np.random.default_rng(0)
    values = [mmd(rng.normal(size=(20, 2)), rng.normal(size=(30, 2))) for _ in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(60) and min(values) < 0


def test_neighbours_that_tie_share_a_place():
    F = [[0.0], [1.0], [-1.0], [9.0], [9.5]]
    assert knn_probe(F, list("aabbb"), k=1) == pytest.approx((0.5 + 1 + 0 + 1 + 1) / 5)  # row 0 is as near to a as to b
