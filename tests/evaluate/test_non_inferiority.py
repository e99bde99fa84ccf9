"""Non-inferiority within a margin, against enumeration of all resamples."""

from itertools import product

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.evaluate.non_inferiority import most_changed, non_inferiority


def test_the_bound_is_that_of_all_resamples():
    differences = np.array([0.4, -0.3, 0.1, -0.2, 0.3, -0.1])
    old = np.linspace(0.4, 0.6, 6)
    found = non_inferiority(old + differences, old, 0.2)
    means = np.mean(differences[np.array(list(product(range(6), repeat=6)))], axis=1)  # 6⁶ resamples
    assert found.bound == pytest.approx(np.quantile(means, 0.05), abs=0.01) and not found.widened
    assert found.difference == pytest.approx(differences.mean())
    just = -found.bound
    assert non_inferiority(old + differences, old, just + 1e-3).shown
    assert not non_inferiority(old + differences, old, just - 1e-3).shown


def test_rare_changes_are_not_shown_to_be_harmless_by_few_examples():
    same = np.ones(100)
    found = non_inferiority(same, same, 0.01)
    assert not found.shown and found.widened and found.bound == pytest.approx(0.05 ** (1 / 100) - 1, abs=1e-9)
    assert non_inferiority(np.ones(400), np.ones(400), 0.01).shown
    assert most_changed(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))
    scores = np.full(400, 4.0)  # beyond 1, as CIDEr-D: one example can lose all of it
    assert non_inferiority(scores, scores, 0.05).bound == pytest.approx(4 * (0.05 ** (1 / 400) - 1))
    moved = same - np.r_[0.001, np.zeros(99)]
    assert non_inferiority(moved, same, 0.01, changed=moved != same).widened


@pytest.mark.parametrize("margin", [0, -0.1, float("nan")])
def test_a_margin_is_above_zero(margin):
    with pytest.raises(UserError, match="a margin is a number above 0"):
        non_inferiority([1, 0], [1, 0], margin)
