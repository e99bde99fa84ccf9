"""The linear probe against scikit-learn, on every regime of N, D and C that the recipes meet."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tfxfer.errors import UserError
from tfxfer.transfer.feature.probe import STRENGTHS, linear_probe


def problem(n, d, c, seed=0, shift=0.0):
    """Correlated, skewed features of a C-class task with label noise."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, d))
    labels = np.argmax(latent @ rng.normal(size=(d, c)) + rng.gumbel(size=(n, c)) * 2, axis=1)
    mix = rng.normal(size=(d, d)) * np.arange(1, d + 1)[:, None] ** -0.7
    features = (np.exp(0.3 * latent @ mix) + shift).astype(np.float32)
    labels[:c] = np.arange(c)
    return features, labels


def reference(features, labels, l2, standardise, classes):
    """W [D, C] and b [C] by scikit-learn in float64, on raw features."""
    X = features.astype(np.float64)
    scaler = StandardScaler(with_std=standardise).fit(X)
    strength = (2 if classes == 2 else 1) / (len(X) * l2)
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=20_000).fit(scaler.transform(X), labels)
    coef, intercept = model.coef_, model.intercept_
    if classes == 2:  # one logit: half of it for class 1, half against it for class 0
        coef, intercept = np.vstack([-coef, coef]) / 2, np.array([-intercept[0], intercept[0]]) / 2
    scale = scaler.scale_ if standardise else np.ones(X.shape[1])
    W = (coef / scale).T
    return W, intercept - scaler.mean_ @ W


def objective(W, b, features, labels, l2, scale):
    """J of the module docstring, in float64."""
    logits = features.astype(np.float64) @ W + b
    top = logits.max(1, keepdims=True)
    log_total = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
    loss = np.mean(log_total - logits[np.arange(len(labels)), labels])
    return loss + l2 / 2 * np.sum((W * scale[:, None]) ** 2)


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize(
    ("n", "d", "c", "l2", "within"),
    [
        (300, 12, 4, 1e-2, 1e-4),
        (800, 30, 3, 1e-5, 1e-4),
        (200, 8, 2, 1e-3, 1e-4),
        (40, 96, 5, 1e-1, 1e-3),
        (40, 96, 5, 1e-4, 3e-3),  # separable: the loss is flat around its minimum, W is not sharply defined
    ],
)
def test_same_weights_as_scikit_learn(n, d, c, l2, within, standardise):
    features, labels = problem(n, d, c)
    probe = linear_probe(features, labels, strengths=[l2], standardise=standardise, tolerance=1e-11)
    W, b = reference(features, labels, l2, standardise, c)
    assert np.linalg.norm(probe.W - W) <= within * np.linalg.norm(W)
    assert np.linalg.norm(probe.b - b) <= within * np.linalg.norm(b)
    scale = features.std(0, dtype=np.float64) if standardise else np.ones(d)
    ours = objective(probe.W.astype(float), probe.b.astype(float), features, labels, l2, scale)
    theirs = objective(W, b, features, labels, l2, scale)
    assert ours == pytest.approx(theirs, rel=2e-6)
    assert probe.path[0].train_loss == pytest.approx(theirs, rel=2e-6)


def test_default_tolerance_reaches_the_optimum_along_the_path():
    features, labels = problem(400, 64, 6)
    probe = linear_probe(features, labels, validation=(features[:50], labels[:50]))
    assert [p.l2 for p in probe.path] == sorted(STRENGTHS, reverse=True)
    scale = features.std(0, dtype=np.float64)
    for point in probe.path:
        best = objective(*reference(features, labels, point.l2, True, 6), features, labels, point.l2, scale)
        assert point.train_loss == pytest.approx(best, rel=1e-4)


def test_large_offsets_and_constant_columns_are_harmless():
    features, labels = problem(300, 10, 3)
    plain = linear_probe(features, labels, strengths=[1e-2]).predict_proba(features)
    odd = np.concatenate([features + 100, np.full((300, 2), 7.7, np.float32)], axis=1)
    probe = linear_probe(odd, labels, strengths=[1e-2])
    assert np.all(probe.W[-2:] == 0)
    np.testing.assert_allclose(probe.predict_proba(odd), plain, atol=2e-3)


def test_validation_chooses_by_accuracy_then_by_loss():
    features, labels = problem(900, 40, 5)
    train, held_out = slice(0, 120), slice(120, 900)
    probe = linear_probe(features[train], labels[train], validation=(features[held_out], labels[held_out]))
    best = max(probe.path, key=lambda p: (p.validation_accuracy, -p.validation_loss))
    assert probe.l2 == best.l2
    right = probe.predict_proba(features[held_out]).argmax(1) == labels[held_out]
    assert right.mean() == pytest.approx(best.validation_accuracy)
    assert len({p.validation_accuracy for p in probe.path}) > 1


def test_absent_class_is_finite_and_below_one_in_n():
    features, labels = problem(200, 10, 5)
    keep = labels != 2
    probe = linear_probe(features[keep], labels[keep], strengths=[1e-3], num_classes=6)
    P = probe.predict_proba(features)
    assert P.shape == (200, 6)
    assert np.isfinite(P).all()
    np.testing.assert_allclose(P.sum(1), 1, rtol=1e-5)
    assert P[:, [2, 5]].max() < 1 / (keep.sum() + 1)
    assert P[:, [2, 5]].min() > 0
    few = linear_probe(features[keep], np.unique(labels[keep], return_inverse=True)[1], strengths=[1e-3])
    assert (P.argmax(1) == np.array([0, 1, 3, 4])[few.predict_proba(features).argmax(1)]).all()


def test_layer_is_the_probe():
    features, labels = problem(100, 10, 4)
    probe = linear_probe(features, labels, strengths=[1e-2])
    layer = probe.as_layer()
    np.testing.assert_allclose(layer(features).numpy(), probe.predict_proba(features), atol=1e-6)


def test_order_of_rows_and_of_strengths_does_not_matter():
    features, labels = problem(200, 20, 4)
    order = np.random.default_rng(1).permutation(200)
    held_out = (features[:40], labels[:40])
    a = linear_probe(features, labels, validation=held_out, strengths=[1e-3, 1e-1], tolerance=1e-10)
    b = linear_probe(features[order], labels[order], validation=held_out, strengths=[1e-1, 1e-3], tolerance=1e-10)
    assert a.l2 == b.l2
    np.testing.assert_allclose(a.W, b.W, atol=1e-3 * np.abs(a.W).max())


def test_no_warning_on_separable_data():
    labels = np.arange(30) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe = linear_probe(100 * np.eye(3)[labels], labels, strengths=[1e-9])
        P = probe.predict_proba(1e6 * np.eye(3))
    assert np.isfinite(P).all()
    assert P.argmax(1).tolist() == [0, 1, 2]


def nan_row(X, y):
    X[5, 2] = np.nan
    return X, y


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda X, y: (X, np.zeros_like(y)), "two classes"),
        (nan_row, "not finite in 1 of 60 rows, first row 5"),
        (lambda X, y: (X[:0], y[:0]), "nothing to fit"),
        (lambda X, y: (X, y[:-1]), r"got \[60, 4\] and \[59\]"),
        (lambda X, y: (X[:, :, None], y), "need features"),
        (lambda X, y: (X, y + 0.5), "whole numbers"),
        (lambda X, y: (X, np.array(["a"] * 60)), "whole numbers"),
        (lambda X, y: (X, np.where(np.arange(60) == 7, 9, y)), r"row 7 has label 9, outside 0\.\.2"),
        (lambda X, y: (X, np.where(np.arange(60) == 7, -1, y)), "row 7 has label -1"),
    ],
)
def test_unusable_input_is_named(spoil, says):
    features, labels = spoil(*problem(60, 4, 3))
    with pytest.raises(UserError, match=says):
        linear_probe(features, labels, strengths=[1e-2], num_classes=3)


def test_strengths_and_validation_must_make_sense():
    features, labels = problem(60, 4, 3)
    with pytest.raises(UserError, match="positive"):
        linear_probe(features, labels, strengths=[0.0])
    with pytest.raises(UserError, match="validation="):
        linear_probe(features, labels)
    with pytest.raises(UserError, match="4 wide, validation features 3"):
        linear_probe(features, labels, validation=(features[:, :3], labels))
    with pytest.raises(UserError, match="validation: row 0 has label 5"):
        linear_probe(features, labels, validation=(features, labels * 0 + 5))
    probe = linear_probe(features, labels, strengths=[1e-2])
    with pytest.raises(UserError, match=r"\[N, 4\], not \[2, 3\]"):
        probe.predict_proba(features[:2, :3])


def test_a_unit_that_hardly_fires_gets_no_huge_weight():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    features = rng.normal(size=(300, 8)).astype(np.float32)
    features[:, 0] += labels
    features[:, 7] *= 1e-6
    probe = linear_probe(features, labels, strengths=[1e-4])
    assert np.abs(probe.W[7]).max() < 1e3 * np.abs(probe.W[:7]).max()
