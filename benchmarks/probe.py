"""A path of 7 strengths by `linear_probe`, against seven scikit-learn fits that reach the same loss.

    python -m benchmarks.probe

N = 20,000, D = 256, C = 20. For each strength scikit-learn gets its cheapest setting: float32, and the loosest
tolerance of a ladder that still comes within 1e-4 (relative) of the lowest loss found. Both sides are timed in
turns, on features that are standardised already. The last line is JSON.
"""

import argparse
import json
import time

import numpy as np

N, D, C = 20_000, 256, 20
LADDER = (3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6)
WITHIN = 1e-4


def task(seed=0):
    """Correlated rectified features with a decaying spectrum, and labels a linear rule gets about half right."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, D + 1) ** -0.5
    latent = rng.normal(size=(N + 4000, D))
    scores = latent @ (rng.normal(size=(D, C)) * spectrum[:, None]) * 3
    labels = np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)
    features = np.maximum(latent * spectrum @ rng.normal(size=(D, D)) + 0.3, 0)
    features = (features - features[:N].mean(0)) / features[:N].std(0)
    return features.astype(np.float32), labels


def loss_of(W, b, X, y, l2):
    """The objective of `tfxfer.transfer.feature.probe`, in float64."""
    logits = X.astype(np.float64) @ W.astype(np.float64) + b
    logits -= logits.max(1, keepdims=True)
    loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y])
    return float(loss + l2 / 2 * np.sum(W.astype(np.float64) ** 2))


def sklearn_fit(X, y, l2, tolerance):
    """Return W, b and the seconds taken."""
    from sklearn.linear_model import LogisticRegression

    started = time.perf_counter()
    model = LogisticRegression(C=1 / (len(y) * l2), tol=tolerance, max_iter=5000).fit(X, y)
    return model.coef_.T, model.intercept_, time.perf_counter() - started


def cheapest(X, y, l2, lowest):
    """Return the loosest tolerance that comes close to the lowest loss, the loss above it, and the seconds."""
    for tolerance in LADDER:
        W, b, spent = sklearn_fit(X, y, l2, tolerance)
        excess = loss_of(W, b, X, y, l2) / lowest - 1
        if excess <= WITHIN:
            break
    return tolerance, excess, spent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    from tfxfer.transfer.feature.probe import linear_probe

    features, labels = task()
    X, y, validation = features[:N], labels[:N], (features[N:], labels[N:])
    linear_probe(X[:500], y[:500], validation=validation, num_classes=C)  # imports SciPy before the clock starts
    exact = linear_probe(X, y, validation=validation, tolerance=1e-10)
    path = linear_probe(X, y, validation=validation).path

    print("   strength   lowest loss   accuracy   ours above it   scikit-learn above it   at its tolerance")
    fits = {}
    for point, best in zip(path, exact.path):
        fits[point.l2] = cheapest(X, y, point.l2, best.train_loss)
        tolerance, excess, _ = fits[point.l2]
        ours = point.train_loss / best.train_loss - 1
        print(
            f"   {point.l2:8.0e} {best.train_loss:13.6f} {point.validation_accuracy:10.3f} {ours:15.1e}"
            f" {excess:23.1e} {tolerance:18.0e}",
            flush=True,
        )

    ours, theirs = [], []
    for _ in range(args.repeats):
        started = time.perf_counter()
        linear_probe(X, y, validation=validation)
        ours.append(time.perf_counter() - started)
        theirs.append(sum(sklearn_fit(X, y, l2, tolerance)[2] for l2, (tolerance, _, _) in fits.items()))
    excess = max(point.train_loss / best.train_loss - 1 for point, best in zip(path, exact.path))
    result = {
        "benchmark": "probe",
        "path_seconds": round(min(ours), 3),
        "sklearn_seconds": round(min(theirs), 3),
        "ratio": round(min(theirs) / min(ours), 1),
        "loss_above_lowest": float(f"{excess:.1e}"),
    }
    promises = {
        "`linear_probe`, 7 strengths, against seven scikit-learn fits, times faster": [result["ratio"], ">=", 3],
        "its loss above the lowest, relative": [result["loss_above_lowest"], "<=", WITHIN],
    }
    for name, value in result.items():
        print(f"   {name:20s} {value}")
    print(json.dumps({**result, "promises": promises}))


if __name__ == "__main__":
    main()
