"""Agreement and strengths against other packages, closed forms and brute force."""

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.rate.agreement import LEVELS, alpha_interval, bradley_terry, cohen_kappa, krippendorff_alpha


def incomplete(seed, raters=3, units=14):
    rng = np.random.default_rng(seed)
    table = rng.integers(1, 6, (1, units)) + rng.integers(-1, 2, (raters, units))
    return np.where(rng.random(table.shape) < 0.3, np.nan, np.clip(table, 1, 5))


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_is_that_of_the_oracle(level):
    import krippendorff

    for seed in range(10):
        table = incomplete(seed)
        expected = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
        assert krippendorff_alpha(table, level) == pytest.approx(expected, abs=1e-12)


def test_alpha_in_the_cases_that_have_none():
    assert krippendorff_alpha(np.full((2, 4), 3.0)) is None  # no variation
    assert krippendorff_alpha([[1.0, np.nan], [np.nan, 2.0]]) is None  # nothing rated twice
    assert krippendorff_alpha(np.full((2, 3), np.nan)) is None
    assert krippendorff_alpha([[1, 2, 5], [1, 2, 5]]) == 1
    with pytest.raises(UserError, match="no level 'ratio'"):
        krippendorff_alpha([[1, 2], [2, 1]], "ratio")


def test_the_interval_of_alpha_holds_it_and_narrows_with_more_units():
    few, many = (alpha_interval(incomplete(1, units=n), "ordinal", np.arange(n)) for n in (20, 320))
    assert few[0] < krippendorff_alpha(incomplete(1, units=20)) < few[1]
    assert many[1] - many[0] < (few[1] - few[0]) / 2


def test_kappa_by_hand():
    a = [1, 1, 1, 0, 0, 0, 1, 0, np.nan]
    b = [1, 1, 0, 0, 0, 1, 1, 0, 1]
    observed, chance = 6 / 8, 0.5 * 0.5 + 0.5 * 0.5
    assert cohen_kappa(a, b) == pytest.approx((observed - chance) / (1 - chance))
    # quadratic weights: 1 − Σ w·o / Σ w·e
    one, other = np.array([1, 2, 3, 5]), np.array([1, 3, 3, 4])
    expected = ((one[:, None] - other) ** 2).mean()
    assert cohen_kappa(one, other, "quadratic") == pytest.approx(1 - ((one - other) ** 2).mean() / expected)
    assert cohen_kappa([3, 3], [3, 3]) is None


def test_strengths_of_two_systems_have_a_closed_form():
    found = bradley_terry([[0, 30], [10, 0]])
    assert found[0] - found[1] == pytest.approx(np.log(3))
    assert bradley_terry([[0, 3], [0, 0]], prior=1)[0] == pytest.approx(np.log(7) / 2)  # 3.5 to 0.5


def test_strengths_of_three_systems_maximise_the_likelihood():
    from scipy.optimize import minimize

    wins = np.array([[0, 7, 4], [3, 0, 6.5], [2, 3.5, 0]])

    def loss(free):
        s = np.append(free, 0)
        return sum(wins[i, j] * np.log1p(np.exp(s[j] - s[i])) for i in range(3) for j in range(3))

    best = np.append(minimize(loss, np.zeros(2), tol=1e-12).x, 0)
    assert bradley_terry(wins) == pytest.approx(best - best.mean(), abs=1e-5)


def test_strengths_without_bounds_are_refused():
    with pytest.raises(UserError, match="never preferred"):
        bradley_terry([[0, 3, 1], [0, 0, 2], [0, 1, 0]])
