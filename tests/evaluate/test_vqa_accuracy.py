"""The accuracy of the VQA challenges, by hand-computed cases and by its published rules."""

from itertools import combinations

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.evaluate.vqa_accuracy import normalised, vqa_accuracy

TEN = ["2 dogs"] * 3 + ["2"] * 5 + ["a dog", "cat"]


@pytest.mark.parametrize(
    ("answer", "score"), [("two", 1.0), ("Two dogs.", 0.9), ("dog", 0.3), ("the cat", 0.3), ("x", 0)]
)
def test_cases_computed_by_hand(answer, score):
    """Three of ten: seven choices of nine keep all three (1), three keep two (2/3), so 0.9. One of ten: 9/10 · 1/3."""
    assert vqa_accuracy([answer], [TEN])[0] == pytest.approx(score)


@pytest.mark.parametrize("people", [4, 9, 10])
def test_it_is_the_mean_over_all_choices_that_leave_one_person_out(people):
    rng = np.random.default_rng(people)
    for _ in range(20):
        given = rng.choice(["red", "blue", "Green", "a red"], people).tolist()
        by_rule = np.mean([
            min(sum(normalised(one) == "red" for one in kept) / 3, 1) for kept in combinations(given, people - 1)
        ])  # fmt: skip
        assert vqa_accuracy(["red"], [given])[0] == pytest.approx(by_rule)


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("The  Dog", "dog"),
        ("none", "0"),
        ("ten", "10"),
        ("3.50", "3.50"),
        ("U.S.", "us"),
        ("1,000", "1000"),
        ("red/white", "red white"),
        ("red / white", "red white"),
        ("t-shirt", "t shirt"),
        ("12:30", "12:30"),
        ("man's", "man's"),
        ("couldntve", "couldntve"),
        ("couldn'tve", "couldn't've"),
        ("whats", "what's"),
        ("its", "its"),
    ],
)
def test_normalisation_follows_the_published_rules(answer, plain):
    assert normalised(answer) == plain == normalised(plain)


def test_too_few_people_and_unequal_lists_are_named():
    with pytest.raises(UserError, match="row 1: 3 answers of people; .*4 at least"):
        vqa_accuracy(["a", "b"], [TEN, TEN[:3]])
    with pytest.raises(UserError, match="2 answers and 1 questions"):
        vqa_accuracy(["a", "b"], [TEN])
