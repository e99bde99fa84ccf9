"""Whether a model looks, from scores with and without its picture."""

import tracemalloc

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.evaluate.image_ablation import image_ablation


def scores(gain, count=200):
    rng = np.random.default_rng(0)
    other = rng.normal(size=count)
    return {"pictures": other + gain + 0.3 * rng.normal(size=count), "shuffled": other, "blank": other - 1}


def test_a_model_that_looks_is_told_from_one_that_does_not():
    looks = image_ablation(scores(0.5), [str(i) for i in range(200)], measure="CIDEr-D")
    assert looks["looks"] and looks["sentence"].startswith("The model looks: CIDEr-D")
    assert looks["low"] < looks["gain"] < looks["high"] and abs(looks["gain"] - 0.5) < 0.1
    blind = image_ablation(scores(0.0), ["the same"] * 120 + [str(i) for i in range(80)])
    assert not blind["looks"] and "does not look" in blind["sentence"]
    assert blind["identical_share"] == 0.6 and "the same answer to 60% of all pictures" in blind["sentence"]


def test_the_interval_is_a_bootstraps():
    from scipy.stats import bootstrap

    given = scores(0.2)
    difference = given["pictures"] - given["shuffled"]
    oracle = bootstrap((difference,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    found = image_ablation(given, ["a"] * 200)
    np.testing.assert_allclose([found["low"], found["high"]], oracle, atol=0.005)


def test_answers_about_one_picture_are_drawn_together():
    """The interval is a plain bootstrap's of the ratio of two sums, wider than that of answers drawn one by one."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), rng.integers(1, 9, 40))
    own = (rng.random(40) < 0.6)[groups].astype(float)  # all right or all wrong about a picture
    given = {"pictures": own, "blank": np.zeros(len(own))}
    answers = [str(i) for i in range(len(own))]
    found, alone = image_ablation(given, answers, groups=groups), image_ablation(given, answers)
    means = []
    for _ in range(4_000):
        kept = np.concatenate([np.flatnonzero(groups == g) for g in rng.integers(0, 40, 40)])
        means.append(own[kept].mean())
    np.testing.assert_allclose([found["low"], found["high"]], np.quantile(means, [0.025, 0.975]), atol=0.02)
    assert found["gain"] == pytest.approx(alone["gain"])
    assert found["high"] - found["low"] > 1.5 * (alone["high"] - alone["low"])
    with pytest.raises(UserError, match="name a group for each score"):
        image_ablation(given, answers, groups=groups[1:])


def test_it_is_compared_with_the_better_of_the_others():
    given = scores(0.5)
    given["blank"] = given["pictures"] + 1
    found = image_ablation(given, ["a"] * 200)
    assert not found["looks"] and "with the mean picture" in found["sentence"]


@pytest.mark.parametrize("given", [{"pictures": []}, {"pictures": [1.0]}, {"pictures": [], "blank": []}])
def test_nothing_to_compare_is_refused(given):
    with pytest.raises(UserError, match="with pictures and without"):
        image_ablation(given, ["a"])


def test_few_examples_show_nothing():
    """Five that differ are fewer than a sign test needs."""
    for count, looks in ((1, False), (5, False), (6, True)):
        given = {"pictures": np.ones(count), "blank": np.zeros(count)}
        assert image_ablation(given, ["a"] * count)["looks"] is looks
    pairs = {"pictures": np.ones(10), "blank": np.zeros(10)}
    assert not image_ablation(pairs, ["a"] * 10, groups=np.arange(10) // 2)["looks"]  # five pictures


def test_many_examples_are_drawn_in_blocks_and_as_if_at_once():
    rng = np.random.default_rng(5)
    difference = rng.normal(0.1, 1, 2_000)
    given = {"pictures": difference, "blank": np.zeros(2_000)}
    tracemalloc.start()
    found = image_ablation(given, ["a"] * 2_000, seed=7)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100 * 2**20  # 305 MiB at once
    rows = np.random.default_rng(7).integers(0, 2_000, (10_000, 2_000))
    means = [difference[row].sum() / 2_000 for row in rows]
    np.testing.assert_allclose([found["low"], found["high"]], np.quantile(means, [0.025, 0.975]), rtol=1e-12)


def test_lists_of_different_lengths_are_named():
    with pytest.raises(UserError, match="3 scores with pictures and 2 of 'blank'"):
        image_ablation({"pictures": np.ones(3), "blank": np.ones(2)}, ["a"] * 3)
    with pytest.raises(UserError, match="3 scores with pictures and 4 of 'answers'"):
        image_ablation({"pictures": np.ones(3), "blank": np.ones(3)}, ["a"] * 4)


@pytest.mark.parametrize("kind", ["pictures", "blank"])
def test_a_score_that_is_no_number_is_named(kind):
    given = {"pictures": np.ones(3), "blank": np.zeros(3)}
    given[kind][1] = np.nan
    with pytest.raises(UserError, match=f"score 1 of '{kind}' is nan"):
        image_ablation(given, ["a"] * 3)
