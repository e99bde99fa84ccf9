"""K = f·g in closed form: ridge regression from the places of a feature map to the words of captions."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from tfxfer.errors import UserError
from tfxfer.transfer.knowledge.closed_form import ClosedFormCaptioner

SIDES = ["left", "right"]


def maps(count, seed=0):
    """Maps [N, 2, 2, 3] whose bright column is left or right: their means over the places are alike."""
    rng = np.random.default_rng(seed)
    found, sides = rng.normal(0, 0.1, (count, 2, 2, 3)), rng.integers(0, 2, count)
    found[np.arange(count), :, sides] += 1
    return found, [[f"a dot number {i}", f"dot on the {SIDES[side]} side"] for i, side in enumerate(sides)], sides


def test_it_finds_what_only_the_places_tell():
    x, captions, _ = maps(60)
    new, _, sides = maps(40, seed=1)
    asked = [f"the {side} side" for side in SIDES]
    places = ClosedFormCaptioner(0.1).fit(x, captions)
    assert [row[0] for row in places.predict(new, asked).texts] == [asked[side] for side in sides]
    mean = ClosedFormCaptioner(0.1).fit(x.mean((1, 2)), captions)
    right = [row[0] == asked[side] for row, side in zip(mean.predict(new.mean((1, 2)), asked).texts, sides)]
    assert np.mean(right) < 0.8


@pytest.mark.parametrize("count", [12, 40])  # fewer and more images than numbers in a map
def test_it_is_scikit_learns_ridge_on_dense_rows(count):
    x, captions, _ = maps(count)
    fitted = ClosedFormCaptioner(0.3).fit(x, captions)
    centred = x - x.mean(0)
    rows = (centred / np.sqrt(np.square(centred).mean((0, 1, 2)))).reshape(count, -1)
    wanted = np.stack([normalize(fitted.g(each).toarray().mean(0)[None])[0] for each in captions])
    ridge = Ridge(alpha=0.3 * np.square(rows).sum(1).mean()).fit(rows, wanted)
    k = normalize(ridge.predict(rows)) @ fitted.g(fitted.candidates).toarray().T
    np.testing.assert_allclose(fitted.scores(x), k, atol=1e-5)
    np.testing.assert_allclose(fitted.terms(x, [fitted.candidates] * count), k, atol=1e-5)
    best = fitted.predict(x, k=3)
    np.testing.assert_allclose(best.scores, -np.sort(-k, 1)[:, :3], atol=1e-5)


def test_validation_chooses_the_strength_and_arrays_keep_all_of_it(tmp_path):
    x, captions, _ = maps(60)
    held = maps(30, seed=2)[:2]
    fitted = ClosedFormCaptioner().fit(x, captions, validation=held, strengths=(1e-3, 0.1, 1e6))
    assert fitted.strength in (1e-3, 0.1)  # the strongest predicts the mean caption for every image
    answers = [row[0] for row in fitted.predict(held[0]).texts]
    right = np.mean([text in own for text, own in zip(answers, held[1])])
    assert right > 0.5 and fitted.score(*held)["exact_match"] == pytest.approx(right)
    np.savez(tmp_path / "f.npz", **fitted.state())
    with np.load(tmp_path / "f.npz") as kept:
        again = ClosedFormCaptioner.from_state(kept)
    assert again.candidates == fitted.candidates
    np.testing.assert_array_equal(again.scores(held[0]), fitted.scores(held[0]))


def test_maps_that_never_vary_and_unknown_words_do_no_harm():
    x, captions, _ = maps(10)
    fitted = ClosedFormCaptioner(0.1).fit(np.ones_like(x), captions)
    assert np.isfinite(fitted.scores(x, ["🦊 красный", "", "dot"])).all()
    assert fitted.scores(x, ["🦊 красный", ""]).tolist() == [[0, 0]] * 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda x, y: (x[:3], y), "3 images and captions for 10 are no pairs"),
        (lambda x, y: (x[:0], []), "no images with captions"),
        (lambda x, y: (x, [*y[:4], [], *y[5:]]), "image 4 has no caption"),
        (lambda x, y: (x * np.nan, y), "not finite"),
    ],
)
def test_what_cannot_be_fitted_is_named(given, message):
    x, captions, _ = maps(10)
    with pytest.raises(UserError, match=message):
        ClosedFormCaptioner(0.1).fit(*given(x, captions))
    with pytest.raises(UserError, match="has no strength"):
        ClosedFormCaptioner().fit(x, captions)
    with pytest.raises(UserError, match="no candidate"):
        ClosedFormCaptioner(0.1).fit(x, captions).predict(x, [])
