"""K = f·g in closed form: ridge regression from the places of a feature map to the words of captions."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from tfxfer.errors import UserError
from tfxfer.transfer.knowledge.closed_form import ClosedFormCaptioner, smallest_good

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


def by_brute_force(fitted, maps, texts, k):
    """The answer of each image: of its k best texts the one with the greatest mean cosine to the other k − 1."""
    found, rows = [], fitted.g(texts).toarray()
    for row in fitted.scores(maps, texts):
        best = sorted(range(len(texts)), key=lambda i: -row[i])[:k]
        means = [np.mean([rows[i] @ rows[j] for j in best if j != i]) for i in best]
        found.append(texts[best[int(np.argmax(means))]])
    return found


@pytest.mark.parametrize("k", [2, 5])
def test_consensus_is_the_caption_that_is_most_like_the_other_best_ones(k):
    x, captions, _ = maps(30)
    new = maps(12, seed=1)[0]
    texts = [
        f"a {size} dot on the {side} side {more}" for size in "abc" for side in SIDES for more in ("", "now", "too")
    ]
    fitted = ClosedFormCaptioner(0.1, consensus=k).fit(x, captions, candidates=texts)
    found = fitted.predict(new, k=3)
    assert [row[0] for row in found.texts] == by_brute_force(fitted, new, texts, k)
    assert [len(set(row)) for row in found.texts] == [3] * 12
    best = [row[:k] for row in ClosedFormCaptioner(0.1, 1).fit(x, captions, candidates=texts).predict(new, k=k).texts]
    asked = [
        [row[0], "dot on the left side"] for row in best
    ]  # one of the best, which is left out of them, and another
    rows = [fitted.g(row).toarray() for row in best]
    own = [[np.mean(one[1:] @ one[0]), np.mean(one @ fitted.g([asked[0][1]]).toarray()[0])] for one in rows]
    np.testing.assert_allclose(fitted.terms(new, asked), own, atol=1e-6)
    few = fitted.predict(new, texts[:1])
    assert [row[0] for row in few.texts] == [texts[0]] * 12


def test_words_of_the_candidates_count_where_no_training_caption_has_them():
    x, captions, sides = maps(40)
    texts = [f"dot on the {side} side" for side in SIDES]
    strange = [f"{text} of a strange new thing" for text in texts]
    fitted = ClosedFormCaptioner(0.1, 1).fit(x, captions, candidates=[*strange, *texts])
    assert [row[0] for row in fitted.predict(x).texts] == [texts[side] for side in sides]


@pytest.mark.parametrize("lucky", [True, False])
def test_a_consensus_is_chosen_where_validation_is_sure_of_it(lucky):
    x, captions, _ = maps(60)
    held = maps(40, seed=2)[0]
    best = ClosedFormCaptioner(0.1, 1 if lucky else 20).fit(x, captions)
    wanted = [[row[0]] for row in best.predict(held).texts]  # the answers of one k are the truth
    fitted = ClosedFormCaptioner(0.1).fit(x, captions, validation=(held, wanted))
    assert fitted.consensus == best.consensus and fitted.score(held, wanted)["exact_match"] == 1
    assert ClosedFormCaptioner.from_state(fitted.state()).predict(held).texts == fitted.predict(held).texts


def test_a_gain_within_its_standard_error_is_no_reason_for_a_consensus():
    noise = np.tile([-0.4, 0.4], 32)  # its standard error is 0.05
    for gain, size in ((0.04, 1), (0.06, 5)):
        assert smallest_good({1: np.full(64, 0.5), 5: 0.5 + gain + noise, 20: np.full(64, 0.1)}) == size


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
