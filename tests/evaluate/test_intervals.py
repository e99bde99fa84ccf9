"""The intervals beside the figures of one set of predictions."""

import numpy as np
import pytest

from tfxfer.evaluate import classification
from tfxfer.evaluate.intervals import classification_intervals, wilson


def scored(true, probabilities):
    scores = classification(true, probabilities, ["a", "b", "c"])
    return scores, *classification_intervals(scores, true, probabilities)


def test_every_figure_has_an_interval_that_holds_it():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 40)
    probabilities = rng.dirichlet([1, 1, 0.1], 40)
    scores, whole, by_class = scored(true, probabilities)
    figures = {name: value for name, value in scores.items() if isinstance(value, float)}
    assert set(whole) == set(figures)
    for name, value in figures.items():
        low, high = whole[name]
        assert 0 <= low <= value <= high and low < high, name
    for row, own in zip(scores["per_class"], by_class, strict=True):
        for name, pair in own.items():
            count = row["support"] if name == "recall" else row["predicted"]
            assert (pair is None) == (count == 0) or name == "f1"
            assert pair is None or pair[0] <= row[name] <= pair[1], name
    assert by_class[2]["recall"] is None  # of no example


def test_ten_right_answers_of_ten_do_not_prove_that_all_are_right():
    true = np.arange(10) % 2
    _, whole, by_class = scored(true, np.eye(3)[true])
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "micro_precision"):
        assert whole[name] == pytest.approx((0.722, 1.0), abs=1e-3), name
    assert by_class[0]["recall"] == by_class[0]["precision"] == wilson(5, 5)


def test_four_times_the_examples_halve_an_interval():
    true = np.random.default_rng(1).integers(0, 3, 200)
    probabilities = np.random.default_rng(2).dirichlet([1, 1, 1], 200) * 0.8 + np.eye(3)[true] * 0.2
    few, many = (scored(np.tile(true, n), np.tile(probabilities, (n, 1)))[1] for n in (1, 4))
    for name in ("accuracy", "macro_f1", "balanced_accuracy", "log_loss"):
        (low, high), (below, above) = few[name], many[name]
        assert (above - below) / (high - low) == pytest.approx(0.5, abs=0.08), name
