"""`Dictionary`: two languages that meet in the space of images, against the formula and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

import tfxfer
from tfxfer.errors import UserError
from tfxfer.transfer.knowledge import Dictionary

pytestmark = pytest.mark.tensorflow
DE = ["roter Ball", "blauer Ball", "roter Hut", "blauer Hut", "grüner Ball", "grüner Hut"]
FR = ["balle rouge", "balle bleue", "chapeau rouge", "chapeau bleu", "balle verte", "chapeau vert"]
IMAGES = np.array(  # red, blue, green, ball, hat
    [[1, 0, 0, 1, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 1, 0], [0, 0, 1, 0, 1]]
)


@pytest.fixture(scope="module")
def fitted():
    """German from four images, French from the others and two of these: no two words are ever shown together."""
    german, french = [0, 1, 2, 4], [1, 2, 3, 5]
    texts = {"de": [DE[i] for i in german], "fr": [FR[i] for i in french]}
    return Dictionary(("de", "fr"), 0.1).fit(texts, {"de": IMAGES[german], "fr": IMAGES[french]})


def test_names_of_one_thing_are_nearest(fitted):
    found = fitted.predict(["roter Ball", "blauer Hut"], "de", "fr", candidates=FR, k=2)
    assert [row[0] for row in found.texts] == ["balle rouge", "chapeau bleu"]
    assert found.scores.shape == (2, 2) and (np.diff(found.scores) <= 0).all() and found.scores.max() <= 1 + 1e-6
    assert fitted.predict(["roter Hut"], "de", "fr").texts == [["chapeau rouge"]]  # among those that it learned


def test_g_is_ridge_regression_from_ngrams_to_features(fitted):
    rows = fitted.rows(fitted.known["de"], "de").toarray()
    oracle = Ridge(alpha=0.1, fit_intercept=False).fit(rows, normalize(IMAGES[[0, 1, 2, 4]]))
    asked = ["ein roter Hut", "blauer Ball"]
    expected = normalize(oracle.predict(fitted.rows(asked, "de").toarray()))
    np.testing.assert_allclose(fitted.encode(asked, "de"), expected, atol=1e-5)


def test_scores_are_cosines_and_score_is_recall_in_both_directions(fitted):
    table = fitted.scores(DE, "de", FR, "fr")
    np.testing.assert_allclose(table, fitted.encode(DE, "de") @ fitted.encode(FR, "fr").T, atol=1e-6)
    right = np.arange(len(DE))
    assert fitted.score({"de": DE, "fr": FR}) == {
        "de_to_fr_recall_at_1": (table.argmax(1) == right).mean(),
        "fr_to_de_recall_at_1": (table.argmax(0) == right).mean(),
    }


def test_a_saved_dictionary_answers_the_same(fitted, tmp_path):
    fitted.save(tmp_path)
    again = tfxfer.from_run(tmp_path)
    np.testing.assert_array_equal(again.encode(DE, "de"), fitted.encode(DE, "de"))
    assert again.predict(DE, "de", "fr").texts == fitted.predict(DE, "de", "fr").texts


def test_case_and_unknown_letters_do_no_harm(fitted):
    np.testing.assert_array_equal(fitted.encode(["ROTER BALL"], "de"), fitted.encode(["roter ball"], "de"))
    assert np.isfinite(fitted.encode(["", "日本"], "de")).all()


@pytest.mark.parametrize(
    ("texts", "features", "message"),
    [
        ({"de": [], "fr": FR}, {"de": IMAGES, "fr": IMAGES}, "language 'de' has no texts"),
        ({"de": DE}, {"de": IMAGES}, "language 'fr' has no texts"),
        ({"de": DE, "fr": FR[:5]}, {"de": IMAGES, "fr": IMAGES}, "'fr': 5 texts and 6 images are no pairs"),
        ({"de": DE, "fr": FR}, {"de": IMAGES * np.nan, "fr": IMAGES}, "'de': the features .* not finite"),
    ],
)
def test_what_cannot_be_learned_is_refused(texts, features, message):
    with pytest.raises(UserError, match=message):
        Dictionary(("de", "fr")).fit(texts, features)


def test_languages_that_it_does_not_have_are_named(fitted):
    with pytest.raises(UserError, match="languages de: a dictionary needs two"):
        Dictionary(("de", "de"))
    with pytest.raises(UserError, match="language 'es': this dictionary has de, fr"):
        fitted.encode(["uno"], "es")
    with pytest.raises(UserError, match="no candidate"):
        fitted.predict(["Ball"], "de", "fr", candidates=[])
