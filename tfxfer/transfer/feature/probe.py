"""The linear probe: multinomial logistic regression on frozen features, f(x) = W·φ(x) + b.

The objective, for N examples and strength λ, is the mean cross-entropy plus a penalty on W alone:

    J(W, b) = (1/N) Σᵢ −log softmax(Wᵀφᵢ + b)[yᵢ] + (λ/2) ‖W‖²

which is scikit-learn's `LogisticRegression(C=1 / (N·λ))` for three classes or more. With two classes
scikit-learn fits a single logit, and the same W, b come from `C = 2 / (N·λ)`.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfxfer.errors import UserError

if TYPE_CHECKING:
    import keras

STRENGTHS = tuple(float(s) for s in np.logspace(-5, 1, 7))
FAINT = 1e-3  # a feature that varies less than this share of the liveliest one is standardised as if it varied so much
TINY = 1e-30  # keeps a loss of 0, and with it no curvature, from being divided by
BLOCK = 16_384  # rows standardised or predicted at a time
BUSY = 1e9  # floating-point operations of one evaluation from which more than one BLAS thread pays


@dataclass(frozen=True)
class PathPoint:
    """One strength of the path.

    Attributes:
        l2: λ.
        train_loss: J at the fitted W, b: mean cross-entropy in nats and the penalty.
        validation_accuracy: Share of validation rows predicted right, or None without validation.
        validation_loss: Mean cross-entropy on the validation rows in nats, or None without validation.
        iterations: L-BFGS iterations spent, after the warm start from the next stronger λ.
    """

    l2: float
    train_loss: float
    validation_accuracy: float | None
    validation_loss: float | None
    iterations: int


@dataclass(frozen=True)
class Probe:
    """A fitted linear head.

    Attributes:
        W: float32 [D, C], on features as they come out of φ (standardisation is folded in).
        b: float32 [C].
        l2: The strength λ that validation chose.
        path: One `PathPoint` for each strength, from the strongest to the weakest.
    """

    W: np.ndarray
    b: np.ndarray
    l2: float
    path: tuple[PathPoint, ...]

    def predict_proba(self, features: Any) -> np.ndarray:
        """Return softmax(features·W + b) as float32 [N, C].

        Raises:
            UserError: The features are not [N, D] with this probe's D.
        """
        from scipy.special import softmax

        shape = np.shape(features)
        if len(shape) != 2 or shape[1] != len(self.W):
            raise UserError(f"the probe takes features [N, {len(self.W)}], not {list(shape)}")
        blocks = [features[i : i + BLOCK] @ self.W + self.b for i in range(0, shape[0], BLOCK)]
        logits = np.concatenate(blocks) if blocks else np.zeros((0, len(self.b)), np.float32)  # [N, C]
        return softmax(logits, axis=1).astype(np.float32)

    def as_layer(self, name: str = "probe") -> "keras.layers.Dense":
        """Return a built Keras `Dense` layer, softmax included, that holds W and b: [B, D] → [B, C]."""
        import keras

        dense = keras.layers.Dense(len(self.b), activation="softmax", name=name, dtype="float32")
        dense.build((None, len(self.W)))
        dense.set_weights([self.W, self.b])
        return dense


def linear_probe(
    features: Any,
    labels: Any,
    *,
    validation: tuple[Any, Any] | None = None,
    strengths: Sequence[float] = STRENGTHS,
    standardise: bool = True,
    num_classes: int | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> Probe:
    """Fit W and b by L-BFGS along a warm-started path of L2 strengths and keep the best on validation.

    The best strength has the highest validation accuracy; of equal ones, the lowest validation cross-entropy.
    A class below `num_classes` that no training label names gets the mean logit of the others less log(N +
    1), so its probability is finite and below 1/(N + 1), in the spirit of the rule of succession.

    Args:
        features: float [N, D], finite; an array or `Features`.
        labels: int [N], from 0; or shares of the classes, float [N, C], each row of which sums to 1 (mixup).
        validation: Features [M, D] and labels [M] that choose the strength; not needed for one strength.
        strengths: The λ to try, in any order.
        standardise: Penalise the weights of features scaled to variance 1, rather than of features as they
            are. Features that vary less than a thousandth of the liveliest one are scaled as that thousandth.
        num_classes: C; by default, the largest label and one.
        tolerance: Stop when J is estimated to be within this share of its minimum.
        max_iterations: L-BFGS iterations allowed for each strength.

    Returns:
        The `Probe` of the chosen strength.

    Raises:
        UserError: Empty, not finite or mismatched features, labels outside 0..C−1, or one class only.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 3, 90)
        >>> probe = linear_probe(np.eye(3)[labels] + rng.normal(0, 0.1, (90, 3)), labels, strengths=[1e-3])
        >>> probe.predict_proba(np.eye(3)).argmax(1).tolist()
        [0, 1, 2]
    """
    shares = None
    if np.ndim(labels) == 2:
        shares = _checked_shares(labels, num_classes)
        labels = shares.argmax(1)
    X, y = _checked(features, labels, "training", num_classes)
    classes = int(num_classes or y.max() + 1)
    path_l2 = _checked_strengths(strengths, validation)
    present = np.unique(y) if shares is None else np.flatnonzero(shares.sum(0) > 0)
    if len(present) < 2:
        raise UserError(f"a probe needs two classes or more; every training label is {present[0]}")
    held_out = _checked(*validation, "validation", classes) if validation is not None else None
    if held_out is not None and held_out[0].shape[1] != X.shape[1]:
        raise UserError(f"training features are {X.shape[1]} wide, validation features {held_out[0].shape[1]}")

    space = _Space(X, standardise)
    problem = (
        _Softmax(space.rows, np.searchsorted(present, y), len(present))
        if shares is None
        else _SoftmaxOfShares(space.rows, shares[:, present])
    )
    coefficients = np.zeros((len(present), len(space.rows)))  # [C', R + 1]
    best: tuple[tuple[float, float], Probe] | None = None
    points: list[PathPoint] = []
    for l2 in path_l2:
        with problem.threads():
            coefficients, loss, iterations = problem.minimise(coefficients, l2, tolerance, max_iterations)
        W, b = space.fold(coefficients)
        probe = Probe(*_with_absent(W, b, present, classes, len(y)), l2, ())
        accuracy, cross_entropy = _score(probe, *held_out) if held_out else (None, None)
        points.append(PathPoint(l2, loss, accuracy, cross_entropy, iterations))
        rank = (accuracy or 0.0, -(cross_entropy or 0.0))
        if best is None or rank > best[0]:
            best = (rank, probe)
    assert best is not None
    return Probe(best[1].W, best[1].b, best[1].l2, tuple(points))


class _Space:
    """The coordinates the optimiser works in: centred, scaled, and turned onto the principal axes.

    Turning leaves ‖W‖² as it is, and makes the Hessian nearly diagonal, so that scaling each axis is a good
    preconditioner. With fewer rows than columns, W lies in the span of the rows (the gradient of the loss
    does), and only that span is kept. Centring moves the intercept only, which is not penalised.
    """

    def __init__(self, X: np.ndarray, standardise: bool):
        self.mean = X.mean(0, dtype=np.float64).astype(np.float32)  # [D]
        deviation = _deviation(X, self.mean)
        constant = deviation <= 1e-6 * np.abs(self.mean)  # [D]; rounding noise is not a feature
        floor = FAINT * deviation.max(initial=0)  # a unit that hardly ever fires must not get a huge weight
        self.scale = np.where(constant | (not standardise), 1, np.maximum(deviation, floor)).astype(np.float32)
        centred = (X - self.mean) / self.scale
        centred[:, constant] = 0
        axes = np.eye(X.shape[1], dtype=np.float32)
        if len(X) < X.shape[1]:
            axes = np.linalg.qr(centred.T)[0]  # [D, N]
            centred = centred @ axes
        turn = np.linalg.eigh(centred.T @ centred)[1]
        self.axes = axes @ turn  # [D, R]
        self.rows = np.empty(
            (self.axes.shape[1] + 1, len(X)), np.float32
        )  # [R + 1, N]: the last row is the intercept's
        np.matmul(turn.T, centred.T, out=self.rows[:-1])
        self.rows[-1] = 1

    def fold(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn [C, R + 1] in these coordinates into W [D, C] and b [C] on raw features."""
        W = (self.axes @ coefficients[:, :-1].T) / self.scale[:, None]
        return W, coefficients[:, -1] - self.mean.astype(np.float64) @ W


class _Softmax:
    """J and its gradient over rows [R + 1, N], classes first, so that sums over classes run along memory."""

    def __init__(self, rows: np.ndarray, labels: np.ndarray, classes: int):
        self.rows = rows
        self.right = labels * rows.shape[1] + np.arange(rows.shape[1])  # where the true logits sit in [C, N]
        self.classes = classes
        self.second_moment = np.einsum("rn,rn->r", rows, rows, dtype=np.float64) / rows.shape[1]  # [R + 1]

    def residuals(self, coefficients: np.ndarray) -> tuple[np.ndarray, float]:
        """Return softmax − one-hot [C, N] and the mean cross-entropy in nats.

        When a row is nearly certain, 1 − p of its true class and log(1/p) are small differences of numbers
        near 1; they are taken from the sum over the other classes instead, which keeps float32 exact enough.
        """
        P = coefficients.astype(self.rows.dtype) @ self.rows  # [C, N], logits
        P -= P.max(0)
        true_logits = P.take(self.right)  # [N]
        np.exp(P, out=P)
        true_powers = P.take(self.right)
        np.put(P, self.right, 0)
        others = P.sum(0)
        total = others + true_powers
        P /= total
        np.put(P, self.right, -others / total)
        beyond_top = np.where(true_logits == 0, others, total - 1)  # the sum without the largest power, which is 1
        return P, float(np.mean(np.log1p(beyond_top) - true_logits, dtype=np.float64))

    def threads(self) -> AbstractContextManager[Any]:
        """Keep BLAS to one thread unless the problem is large.

        NumPy and SciPy each bring a BLAS whose idle threads spin for a while; between short calls they take
        the processor from one another, which made small problems ten times slower on 2 CPU cores.
        """
        from threadpoolctl import threadpool_limits

        return threadpool_limits(None if 4.0 * self.rows.size * self.classes > BUSY else 1, user_api="blas")

    def minimise(
        self, start: np.ndarray, l2: float, tolerance: float, max_iterations: int
    ) -> tuple[np.ndarray, float, int]:
        """Run L-BFGS from `start` [C, R + 1] in coordinates where the Hessian is close to the identity.

        With q the mean of p(1−p), the Hessian H along axis r is about q·E[z_r²] + λ, and u = w·√H. How far J
        is above its minimum is estimated as ½ Σ (∂J/∂w)²/H, with q no larger than the mean cross-entropy over
        C (both fall together when the rows become certain); this decides when to stop.
        """
        from scipy.optimize import minimize

        G, _ = self.residuals(start)
        spread = max(float(np.mean(np.abs(G) * (1 - np.abs(G)))), 1e-6)
        penalty = np.append(np.full(len(self.rows) - 1, l2), 0.0)  # [R + 1]
        stretch = np.sqrt(spread * self.second_moment + penalty)
        excess = np.inf

        def objective(u: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal excess
            w = u.reshape(start.shape) / stretch
            G, loss = self.residuals(w)
            gradient = G @ self.rows.T / self.rows.shape[1] + penalty * w  # [C, R + 1]
            value = loss + 0.5 * float(np.sum(penalty * w * w))
            curvature = min(spread, loss / self.classes) * self.second_moment + penalty + TINY
            excess = 0.5 * float(np.sum(gradient**2 / curvature)) / value
            return value, (gradient / stretch).ravel()

        def stop_when_close(_: np.ndarray) -> None:
            if excess < tolerance:
                raise StopIteration

        options = {"maxiter": max_iterations, "maxcor": 20, "ftol": 0.0, "gtol": 0.0}
        u = (start * stretch).ravel()
        found = minimize(objective, u, jac=True, method="L-BFGS-B", callback=stop_when_close, options=options)
        return found.x.reshape(start.shape) / stretch, float(found.fun), int(found.nit)


class _SoftmaxOfShares(_Softmax):
    """The same with targets that are shares of the classes [N, C]: the mean of −Σ share · log p."""

    def __init__(self, rows: np.ndarray, shares: np.ndarray):
        super().__init__(rows, shares.argmax(1), shares.shape[1])
        self.shares = shares.T.astype(rows.dtype)  # [C, N]

    def residuals(self, coefficients: np.ndarray) -> tuple[np.ndarray, float]:
        """Return softmax − shares [C, N] and the mean cross-entropy in nats."""
        logits = coefficients.astype(self.rows.dtype) @ self.rows  # [C, N]
        logits -= logits.max(0)
        powers = np.exp(logits)
        total = powers.sum(0)
        loss = np.log(total) - (self.shares * logits).sum(0)
        return powers / total - self.shares, float(np.mean(loss, dtype=np.float64))


def _checked_shares(shares: Any, classes: int | None) -> np.ndarray:
    """Return shares of the classes as float32 [N, C], or say what is wrong with them."""
    found = np.asarray(shares, np.float32)
    if found.shape[1] != (classes or found.shape[1]) or (found < 0).any() or np.abs(found.sum(1) - 1).max() > 1e-3:
        raise UserError(f"training: shares of the classes must be [N, {classes or 'C'}], 0 or more, and sum to 1")
    return found


def _deviation(X: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column, without a second copy of X in memory."""
    squares = np.zeros(X.shape[1])
    for i in range(0, len(X), BLOCK):
        squares += np.square(X[i : i + BLOCK] - mean, dtype=np.float64).sum(0)
    return np.sqrt(squares / len(X))


def _with_absent(
    W: np.ndarray, b: np.ndarray, present: np.ndarray, classes: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Spread W [D, C'] and b [C'] of the present classes over all C classes, as float32."""
    full_W = np.repeat(W.mean(1, keepdims=True), classes, axis=1)
    full_b = np.full(classes, b.mean() - np.log(count + 1))
    full_W[:, present], full_b[present] = W, b
    return full_W.astype(np.float32), full_b.astype(np.float32)


def _score(probe: Probe, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return accuracy and mean cross-entropy in nats."""
    P = probe.predict_proba(X)
    likelihood = np.maximum(P[np.arange(len(y)), y], np.finfo(np.float32).tiny)
    return float(np.mean(P.argmax(1) == y)), float(-np.mean(np.log(likelihood)))


def _checked(features: Any, labels: Any, which: str, classes: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 [N, D] and int64 [N], or say which rows cannot be used."""
    X, y = np.asarray(features, dtype=np.float32), np.asarray(labels)
    if X.ndim != 2 or y.ndim != 1 or len(X) != len(y):
        raise UserError(f"{which}: need features [N, D] and labels [N], got {list(X.shape)} and {list(y.shape)}")
    if not X.size:
        raise UserError(f"{which}: there is nothing to fit a probe on, features are {list(X.shape)}")
    bad = np.flatnonzero(~np.isfinite(X.sum(1, dtype=np.float64)))
    if len(bad):
        raise UserError(f"{which}: features are not finite in {len(bad)} of {len(X)} rows, first row {bad[0]}")
    whole = np.asarray(y, dtype=np.int64) if y.dtype.kind in "iufb" else None
    if whole is None or not np.array_equal(whole, y):
        raise UserError(f"{which}: labels must be whole numbers from 0, not {y.dtype}")
    outside = np.flatnonzero((whole < 0) | (whole >= (classes or np.inf)))
    if len(outside):
        top = "" if classes is None else f"..{classes - 1}"
        raise UserError(f"{which}: row {outside[0]} has label {whole[outside[0]]}, outside 0{top}")
    return X, whole


def _checked_strengths(strengths: Sequence[float], validation: Any) -> list[float]:
    """Return the strengths from the strongest to the weakest."""
    path = sorted({float(s) for s in strengths}, reverse=True)
    if not path or path[-1] <= 0 or not np.isfinite(path[0]):
        raise UserError(f"strengths must be positive numbers, not {list(strengths)}")
    if len(path) > 1 and validation is None:
        raise UserError(f"{len(path)} strengths need validation=(features, labels) to choose from; or give one")
    return path
