"""Metrics of visual question answering, against cases counted by hand and scikit-learn."""

import importlib

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.evaluate import vqa
from tfxfer.evaluate.verdict import interval
from tfxfer.evaluate.vqa import majority_by_question, scores_by_image

module = importlib.import_module("tfxfer.evaluate.vqa")
QUESTIONS = ["is it red?", "is it red?", "what color is it?", "what color is it?", "how many?"]
TRUTHS = ["yes", "no", "red", "Teal", "3"]


def test_a_case_counted_by_hand():
    found = vqa(["yes", "yes", "RED", "red", "4"], TRUTHS, questions=QUESTIONS, known=["yes", "no", "red", "3"])
    assert found["accuracy"] == 2 / 5 and found["questions"] == 5
    assert found["by_kind"] == {
        "yes/no": {"accuracy": 0.5, "questions": 2},
        "other": {"accuracy": 0.5, "questions": 2},
        "number": {"accuracy": 0.0, "questions": 1},
    }
    assert found["by_type"]["what color"] == {"accuracy": 0.5, "questions": 2}
    assert found["unseen"] == 1  # teal is not in the training split: counted, and an error in the accuracy above
    assert found["identical_share"] == 2 / 5
    assert found["balanced_accuracy"] == pytest.approx(2 / 5)  # of five true answers two are recalled


def test_it_agrees_with_scikit_learn_and_the_order_does_not_matter():
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    truths, answers = (rng.choice(["a", "b", "c"], 200, p=[0.6, 0.3, 0.1]) for _ in range(2))
    order = rng.permutation(200)
    found = vqa(answers.tolist(), truths.tolist())
    assert found["accuracy"] == np.mean(answers == truths)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truths, answers))
    assert vqa(answers[order].tolist(), truths[order].tolist()) == found


def test_the_question_only_prior():
    training = (["is it red?"] * 3 + ["what color is it?"], ["no", "no", "yes", "red"])
    assert majority_by_question(*training, ["Is it red?", "what color is it?", "почему? 🙂"]) == ["no", "red", "no"]
    found = vqa(TRUTHS, TRUTHS, questions=QUESTIONS, training=training)
    assert found["accuracy"] == 1 and found["prior_accuracy"] == 2 / 5
    assert found["by_kind"]["yes/no"]["prior"] == 0.5


def test_scores_by_image_have_the_accuracy_as_their_mean():
    rng = np.random.default_rng(1)
    image = np.concatenate([np.arange(20), rng.integers(0, 20, 100)])
    correct = rng.random(120) < 0.4
    scores = scores_by_image(correct, image)
    assert scores.shape == (20,) and scores.mean() == pytest.approx(correct.mean())
    with pytest.raises(UserError, match="no image without questions"):
        scores_by_image([True, False], [0, 2])


def ratio_interval(correct, image, draws=4000):
    """Draw images with all their questions, divide correct ones by questions: the bootstrap of a ratio."""
    rng, images = np.random.default_rng(0), image.max() + 1
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=draws)  # [draws, P]
    ratios = (drawn @ np.bincount(image, weights=correct)) / (drawn @ np.bincount(image))
    return np.quantile(ratios, [0.025, 0.975])


@pytest.mark.parametrize("skill", [0.3, 0.9])
def test_the_interval_by_image_is_that_of_a_ratio(skill):
    rng = np.random.default_rng(2)
    image = np.concatenate([np.arange(300), rng.integers(0, 60, 900)])  # a fifth of them have most of the questions
    correct = (rng.random(1200) < skill).astype(float)
    _, low, high = interval(scores_by_image(correct, image))
    np.testing.assert_allclose([low, high], ratio_interval(correct, image), atol=0.004)


def test_all_answers_right_about_300_images():
    image = np.concatenate([np.arange(300), np.zeros(900, int)])
    _, low, high = interval(scores_by_image(np.ones(1200), image))
    assert (low, high) == (pytest.approx(0.025 ** (1 / 300)), 1.0)  # Clopper and Pearson, of images


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([], []), "nothing to score"),
        ((["a"], ["a", "b"]), "1 answers and 2 truths"),
        ((["a", "b"], ["a", " "]), "row 1: the true answer is empty"),
    ],
)
def test_what_cannot_be_scored_is_named(given, message):
    with pytest.raises(UserError, match=message):
        vqa(*given)


def test_a_prior_needs_training():
    with pytest.raises(UserError, match="0 training questions"):
        majority_by_question([], [], ["why?"])
