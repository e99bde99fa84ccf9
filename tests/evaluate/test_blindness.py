"""Whether a model looks, from scores with and without its picture."""

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.evaluate.blindness import blindness


def scores(gain, count=200):
    rng = np.random.default_rng(0)
    other = rng.normal(size=count)
    return {"pictures": other + gain + 0.3 * rng.normal(size=count), "shuffled": other, "blank": other - 1}


def test_a_model_that_looks_is_told_from_one_that_does_not():
    looks = blindness(scores(0.5), [str(i) for i in range(200)], measure="CIDEr-D")
    assert looks["looks"] and looks["sentence"].startswith("The model looks: CIDEr-D")
    assert looks["low"] < looks["gain"] < looks["high"] and abs(looks["gain"] - 0.5) < 0.1
    blind = blindness(scores(0.0), ["the same"] * 120 + [str(i) for i in range(80)])
    assert not blind["looks"] and "does not look" in blind["sentence"]
    assert blind["identical_share"] == 0.6 and "the same answer to 60% of all pictures" in blind["sentence"]


def test_the_interval_is_a_bootstraps():
    from scipy.stats import bootstrap

    given = scores(0.2)
    difference = given["pictures"] - given["shuffled"]
    oracle = bootstrap((difference,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    found = blindness(given, ["a"] * 200)
    np.testing.assert_allclose([found["low"], found["high"]], oracle, atol=0.005)


def test_it_is_compared_with_the_better_of_the_others():
    given = scores(0.5)
    given["blank"] = given["pictures"] + 1
    found = blindness(given, ["a"] * 200)
    assert not found["looks"] and "with a blank picture" in found["sentence"]


@pytest.mark.parametrize("given", [{"pictures": []}, {"pictures": [1.0]}, {"pictures": [], "blank": []}])
def test_nothing_to_compare_is_refused(given):
    with pytest.raises(UserError, match="with pictures and without"):
        blindness(given, ["a"])
