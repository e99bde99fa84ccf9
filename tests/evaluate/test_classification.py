import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tfxfer import evaluate
from tfxfer.errors import UserError


def random_case(seed=0, n=300, classes=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    e = np.exp(logits)
    return labels, (e / e.sum(1, keepdims=True)).astype(np.float32)


def test_a_case_worked_by_hand():
    # true 0 0 0 1 1 2, predicted 0 0 1 1 0 2
    result = evaluate.classification([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2], ["a", "b", "c"])
    assert result["confusion"] == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    a, b, c = result["per_class"]
    assert (a["precision"], a["recall"], a["support"], a["predicted"]) == (2 / 3, 2 / 3, 3, 3)
    assert (b["precision"], b["recall"], b["f1"]) == (0.5, 0.5, 0.5)
    assert (c["name"], c["f1"]) == ("c", 1.0)
    assert result["macro_f1"] == pytest.approx((2 / 3 + 0.5 + 1) / 3)
    assert result["micro_precision"] == result["micro_recall"] == pytest.approx(4 / 6)
    assert "log_loss" not in result


def test_agrees_with_scikit_learn_and_is_json():
    labels, probabilities = random_case()
    result = evaluate.classification(labels, probabilities)
    predicted = probabilities.argmax(1)
    assert result["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert result["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert result["micro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="micro"))
    exact = -np.log(probabilities[np.arange(len(labels)), labels].astype(float)).mean()
    assert result["log_loss"] == pytest.approx(exact, rel=1e-5)
    assert json.loads(json.dumps(result)) == result


def test_a_class_absent_from_labels_or_predictions_gives_no_warning():
    probabilities = np.eye(4)[[0, 1, 3, 3]]  # class 3 is predicted only, class 2 is true only
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = evaluate.classification([0, 1, 2, 2], probabilities, ["a", "b", "c", "d"])
        unused = evaluate.classification([0, 1], [0, 1], ["a", "b", "never"])
    assert result["per_class"][3] == {
        "name": "d",
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "support": 0,
        "predicted": 2,
    }
    assert result["balanced_accuracy"] == pytest.approx(2 / 3)  # over a, b, c
    assert result["macro_recall"] == pytest.approx(2 / 4)  # over all four, which occur
    assert unused["macro_f1"] == 1.0  # a class nobody used does not count


def test_calibration_error_by_hand():
    # two bins are hit: 0.9 (two examples, one right) and 0.6 (two examples, both right)
    probabilities = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]
    error, points = evaluate.calibration([0, 1, 0, 0], probabilities)
    assert error == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    assert [p["count"] for p in points] == [2, 2]
    assert [p["accuracy"] for p in points] == [1.0, 0.5]
    assert all(p["low"] < p["confidence"] <= p["high"] for p in points)


def test_calibration_error_against_a_loop_over_bins():
    labels, probabilities = random_case(3, 2000, 4)
    top = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == labels
    expected = 0.0
    for b in range(15):
        inside = [i for i in range(len(labels)) if b / 15 < top[i] <= (b + 1) / 15]
        if inside:
            expected += len(inside) / len(labels) * abs(right[inside].mean() - top[inside].mean())
    assert evaluate.calibration(labels, probabilities)[0] == pytest.approx(expected, abs=1e-9)


def test_certain_answers_fall_into_the_last_bin():
    error, points = evaluate.calibration([0, 1], np.eye(2))
    assert error == 0.0
    assert points[0]["high"] == 1.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40), st.randoms())
def test_order_of_examples_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    names = list("abcd")
    one, two = (
        evaluate.classification([t for t, _ in rows], [p for _, p in rows], names) for rows in (pairs, shuffled)
    )
    assert one == two


def test_class_names_are_accepted():
    result = evaluate.classification(["Türkçe", "suomi"], ["Türkçe", "Türkçe"], ["suomi", "Türkçe"])
    assert result["confusion"] == [[0, 1], [0, 1]]


GOOD = [[0.5, 0.5], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("labels", "predictions", "names", "message"),
    [
        ([], [], None, "nothing to score"),
        ([], np.zeros((0, 3)), None, "nothing to score"),
        ([0, 1], [0], None, "2 labels but 1 predictions"),
        ([0], GOOD, None, "1 labels but 2 predictions"),
        ([0, 2], GOOD, None, "row 1: label 2 is not one of the classes"),
        ([0, -1], GOOD, None, "row 1: label -1"),
        ([0, 0.5], GOOD, None, "row 1: label 0.5"),
        ([0, float("nan")], GOOD, None, "row 1: label nan"),
        (["cat", "dgo"], GOOD, ["cat", "dog"], "row 1: label 'dgo' .* did you mean 'dog'"),
        (["cat", "dog"], ["cat", "dog"], None, "give class_names"),
        ([0, 1], GOOD, ["a", "b", "c"], "2 columns but there are 3 class names"),
        ([0, 1], [[0.5, 0.5], [np.nan, 1]], None, "row 1: the probability of class 0 is nan"),
        ([0, 1], [[0.5, 0.5], [0.7, 0.7]], None, "row 1: probabilities sum to 1.4"),
        ([0, 1], [[3.0, -2.0], [0.5, 0.5]], None, "row 0: .* softmax"),
        ([[0], [1]], GOOD, None, "list of N classes"),
    ],
)
def test_what_cannot_be_scored_is_refused(labels, predictions, names, message):
    with pytest.raises(UserError, match=message):
        evaluate.classification(labels, predictions, names)
