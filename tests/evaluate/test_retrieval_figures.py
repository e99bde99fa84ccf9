import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_loss, top_k_accuracy_score

from tfxfer.errors import UserError
from tfxfer.evaluate.retrieval import by_query, figures, ranks, retrieval

module = importlib.import_module("tfxfer.evaluate.retrieval")  # the package has a function of this name
DIRECTIONS = ("image_to_text", "text_to_image")


def test_a_case_by_hand():
    K = [
        [0.9, 0.2, 0.1],  # image 0: text 0 is correct, position 1
        [0.8, 0.3, 0.7],  # image 1: text 1 is correct, position 3
    ]
    found = retrieval(K, image_ids=["cat", "dog"], text_ids=["cat", "dog", "dog"])
    assert found["image_to_text"]["ranks"].tolist() == [1, 2]  # text 2 is correct for image 1 too
    assert found["text_to_image"]["ranks"].tolist() == [1, 1, 1]
    assert found["image_to_text"]["recall_at_1"] == 0.5
    assert found["image_to_text"]["median_rank"] == 1.5
    assert found["image_to_text"]["reciprocal_rank"] == 0.75


def brute_force(scores, right):
    """The worst position of the first correct candidate over the orders that ties allow, by sorting."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], right[i]))  # incorrect ones first among ties
    return 1 + next(position for position, i in enumerate(order) if right[i])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ranks_are_those_of_sorting(data):
    classes = data.draw(st.integers(1, 4))
    images = list(range(classes)) + data.draw(st.lists(st.integers(0, classes - 1), max_size=4))
    texts = list(range(classes)) + data.draw(st.lists(st.integers(0, classes - 1), max_size=4))
    values = data.draw(
        st.lists(st.integers(-2, 2), min_size=len(images) * len(texts), max_size=len(images) * len(texts))
    )
    K = np.reshape(values, (len(images), len(texts))).astype(float)  # few values: many ties
    found = retrieval(K, images, texts)
    for row, image in enumerate(images):
        assert found["image_to_text"]["ranks"][row] == brute_force(K[row], [text == image for text in texts])
    for column, text in enumerate(texts):
        assert found["text_to_image"]["ranks"][column] == brute_force(K[:, column], [i == text for i in images])


def test_without_ties_it_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    K = rng.normal(size=(60, 60)) + 2 * np.eye(60)
    found = retrieval(K)
    for direction, scores in zip(DIRECTIONS, (K, K.T)):
        for k in (1, 5, 10):
            expected = top_k_accuracy_score(np.arange(60), scores, k=k)
            assert found[direction][f"recall_at_{k}"] == pytest.approx(expected)
        # with one correct candidate, the ranking loss is the share of incorrect ones before it
        losses = [label_ranking_loss(np.eye(60)[[i]], scores[[i]]) for i in range(60)]
        np.testing.assert_allclose((found[direction]["ranks"] - 1) / 59, losses)


def test_a_constant_matrix_has_the_worst_ranks():
    found = retrieval(np.ones((20, 20)))
    for direction in DIRECTIONS:
        assert found[direction]["ranks"].tolist() == [20] * 20
        assert found[direction]["recall_at_10"] == 0


def test_neither_the_order_nor_a_monotonic_function_matters():
    rng = np.random.default_rng(1)
    K, ids = rng.normal(size=(30, 30)), np.repeat(np.arange(10), 3)
    order = rng.permutation(30)
    one, other = retrieval(K, ids, ids), retrieval(np.exp(3 * K)[order], ids[order], ids)
    np.testing.assert_array_equal(one["image_to_text"]["ranks"][order], other["image_to_text"]["ranks"])
    np.testing.assert_array_equal(one["text_to_image"]["ranks"], other["text_to_image"]["ranks"])


def test_blocks_change_nothing(monkeypatch):
    K = np.random.default_rng(2).integers(0, 9, (50, 40)).astype(np.float32)
    queries, answers = np.arange(50) % 40, np.arange(40)
    whole = ranks(K, queries, answers)
    monkeypatch.setattr(module, "BLOCK", 100)
    np.testing.assert_array_equal(ranks(K, queries, answers), whole)


def test_the_metrics_are_means_of_the_scores_by_query():
    found = np.array([1, 3, 7, 30])
    for name, values in by_query(found).items():
        assert values.shape == (4,) and values.min() >= 0 and values.max() <= 1
        assert figures(found)[name] == values.mean()
    assert [figures(found)[f"recall_at_{k}"] for k in (1, 5, 10)] == [0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)),), "2 images and 3 texts; give image_ids and text_ids"),
        ((np.ones((2, 2)), [0, 1]), "both images and texts"),
        ((np.ones((2, 2)), [0, 1], [0, 1, 2]), r"2 image ids and 2 text ids, not \[2\] and \[3\]"),
        ((np.ones((2, 2)), [0, 7], [0, 0]), r"image 1 \(id 7\) has no correct candidate among the 2"),
        ((np.ones((2, 2)), [0, 0], [0, 5]), r"text 1 \(id 5\) has no correct candidate"),
        (([[0.0, np.nan], [0, 0]],), "K is nan at image 0, text 1"),
        ((np.ones(3),), "must be a matrix"),
        ((np.ones((0, 3)),), "at least one of each"),
    ],
)
def test_what_cannot_be_ranked_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        retrieval(*arguments)
