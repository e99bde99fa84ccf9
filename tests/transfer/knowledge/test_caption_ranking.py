"""h + λ f·g: f·g of whole captions by ridge regression, and its weight λ."""

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.transfer.knowledge.caption_ranking import RidgeCaptionScorer, choose_weight, rerank

COLOURS = ["red", "green", "blue"]


def pictures(count, seed=0):
    """Pictures whose features say their colour, with captions in two wordings."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 3, count)
    features = np.eye(3)[colour] * 4 + rng.normal(size=(count, 3)) * 0.3
    captions = [[f"a {COLOURS[c]} square", f"{COLOURS[c]} thing"] for c in colour]
    return features, captions, colour


def test_it_finds_the_caption_of_unseen_pictures():
    features, captions, _ = pictures(60)
    fitted = RidgeCaptionScorer().fit(features, captions)
    new, _, colour = pictures(40, seed=1)
    terms = fitted.terms(new, [[f"{word} square" for word in COLOURS]] * 40)
    assert terms.shape == (40, 3) and np.abs(terms).max() <= 1 + 1e-9
    np.testing.assert_array_equal(terms.argmax(1), colour)


def test_g_is_the_ridge_regression_of_the_definition():
    """Against the normal equations of the words' weights."""
    features, captions, _ = pictures(30)
    fitted = RidgeCaptionScorer(strength=0.5).fit(features, captions)
    grams = fitted.words.transform([text for each in captions for text in each]).toarray()
    wanted = fitted.f(features)[np.repeat(np.arange(30), 2)]
    weights = np.linalg.solve(grams.T @ grams + 0.5 * np.eye(grams.shape[1]), grams.T @ wanted)
    asked = ["a blue square", "green"]
    predicted = fitted.words.transform(asked).toarray() @ weights
    np.testing.assert_allclose(fitted.g(asked), predicted / np.linalg.norm(predicted, axis=1, keepdims=True), atol=1e-8)


def test_it_is_kept_as_arrays_and_says_the_same(tmp_path):
    features, captions, _ = pictures(30)
    fitted = RidgeCaptionScorer().fit(features, captions)
    np.savez(tmp_path / "f.npz", **fitted.state())
    with np.load(tmp_path / "f.npz") as kept:
        again = RidgeCaptionScorer.from_state(kept)
    asked = [["a red square", "green thing", "violet"]] * 30
    np.testing.assert_array_equal(again.terms(features, asked), fitted.terms(features, asked))


def test_a_caption_of_unknown_words_says_nothing():
    features, captions, _ = pictures(20)
    terms = RidgeCaptionScorer().fit(features, captions).terms(features[:1], [["🦊 красный", "", "red"]])
    assert terms[0, :2].tolist() == [0, 0] and terms[0, 2] != 0


def test_features_that_never_vary_do_no_harm():
    features, captions, colour = pictures(30)
    fitted = RidgeCaptionScorer().fit(np.concatenate([features, np.ones((30, 2))], 1), captions)
    terms = fitted.terms(np.concatenate([features, np.ones((30, 2))], 1), [COLOURS] * 30)
    assert np.isfinite(terms).all()
    np.testing.assert_array_equal(terms.argmax(1), colour)


def test_the_weight_is_what_validation_finds_best():
    rng = np.random.default_rng(0)
    h, fg = rng.normal(size=(200, 4)), rng.normal(size=(200, 4))
    assert choose_weight(h, fg, worth=h) == 0.0
    assert choose_weight(h, fg, worth=fg) == 10.0
    mixed = choose_weight(h, fg, worth=h + fg)
    assert mixed == 1.0
    np.testing.assert_array_equal(rerank(h, fg, mixed), (h + fg).argmax(1))
    np.testing.assert_array_equal(rerank(h, fg, 0.0), h.argmax(1))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UserError, match=r"\[images, candidates\]"):
        rerank(np.zeros((2, 3)), np.zeros((2, 4)), 1.0)
    for features, captions in ((np.zeros((0, 3)), []), (np.zeros((1, 3)), [[" "]])):
        with pytest.raises(UserError, match="no images with captions"):
            RidgeCaptionScorer().fit(features, captions)
