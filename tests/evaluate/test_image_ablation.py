"""Image ablation: whether scores depend on the images, from scores with and without them."""

import tracemalloc

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.evaluate.image_ablation import image_ablation


def scores(gain, count=200):
    rng = np.random.default_rng(0)
    other = rng.normal(size=count)
    return {"correct": other + gain + 0.3 * rng.normal(size=count), "shuffled": other, "blank": other - 1}


def test_a_model_that_uses_its_images():
    found = image_ablation(scores(0.5), [str(i) for i in range(200)], measure="CIDEr-D")
    assert found["uses_images"] == "yes" and found["sentence"].startswith("The model uses its images: CIDEr-D")
    assert found["low"] < found["gain"] < found["high"] and abs(found["gain"] - 0.5) < 0.1


def test_no_evidence_and_a_constant_answer():
    found = image_ablation(scores(0.0), ["the same"] * 120 + [str(i) for i in range(80)])
    assert found["uses_images"] == "no evidence" and found["low"] < 0 < found["high"]
    assert found["sentence"].startswith("There is no evidence that the model uses its images: score ")
    assert found["identical_share"] == 0.6 and "the same answer to 60% of all images" in found["sentence"]


def test_a_model_that_is_worse_with_its_images():
    """The interval −0.027 to −0.013: the model reacts to its images, and that lowers its accuracy."""
    rng = np.random.default_rng(0)
    own = rng.permutation(np.repeat([1.0, 0.0], [1100, 900]))
    blank = own.copy()
    blank[np.flatnonzero(own == 0)[:43]], blank[np.flatnonzero(own == 1)[:3]] = 1, 0  # 43 gained, 3 lost
    found = image_ablation({"correct": own, "blank": blank}, [str(i) for i in range(2000)], measure="accuracy")
    assert (round(found["gain"], 3), round(found["low"], 3), round(found["high"], 3)) == (-0.02, -0.027, -0.013)
    assert found["uses_images"] == "worse"
    assert found["sentence"] == (
        "The model reacts to its images and does worse with them: accuracy 0.550 with its own image, 0.570 with the "
        "mean image (difference −0.020, 95 % interval −0.027 to −0.013)."
    )


def test_the_interval_is_that_of_a_bootstrap():
    from scipy.stats import bootstrap

    given = scores(0.2)
    difference = given["correct"] - given["shuffled"]
    oracle = bootstrap((difference,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    found = image_ablation(given, ["a"] * 200)
    np.testing.assert_allclose([found["low"], found["high"]], oracle, atol=0.005)


def test_answers_about_one_image_are_drawn_together():
    """The interval is that of a bootstrap of the ratio of two sums, wider than that of single answers."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), rng.integers(1, 9, 40))
    own = (rng.random(40) < 0.6)[groups].astype(float)  # all correct or all wrong for an image
    given = {"correct": own, "blank": np.zeros(len(own))}
    answers = [str(i) for i in range(len(own))]
    found, alone = image_ablation(given, answers, groups=groups), image_ablation(given, answers)
    means = []
    for _ in range(4_000):
        kept = np.concatenate([np.flatnonzero(groups == g) for g in rng.integers(0, 40, 40)])
        means.append(own[kept].mean())
    np.testing.assert_allclose([found["low"], found["high"]], np.quantile(means, [0.025, 0.975]), atol=0.02)
    assert found["gain"] == pytest.approx(alone["gain"])
    assert found["high"] - found["low"] > 1.5 * (alone["high"] - alone["low"])
    with pytest.raises(UserError, match="give the group of each score"):
        image_ablation(given, answers, groups=groups[1:])


def test_it_is_compared_with_the_better_ablation():
    given = scores(0.5)
    given["blank"] = given["correct"] + 1
    found = image_ablation(given, ["a"] * 200)
    assert found["uses_images"] == "worse" and "with the mean image" in found["sentence"]


@pytest.mark.parametrize("given", [{"correct": []}, {"correct": [1.0]}, {"correct": [], "blank": []}])
def test_nothing_to_compare_is_refused(given):
    with pytest.raises(UserError, match="with the images and with an ablation"):
        image_ablation(given, ["a"])


def test_few_examples_are_no_evidence():
    """Five that differ are fewer than a sign test needs."""
    for count, better, worse in ((1, *["no evidence"] * 2), (5, *["no evidence"] * 2), (6, "yes", "worse")):
        ones, zeros, answers = np.ones(count), np.zeros(count), ["a"] * count
        assert image_ablation({"correct": ones, "blank": zeros}, answers)["uses_images"] == better
        assert image_ablation({"correct": zeros, "blank": ones}, answers)["uses_images"] == worse
    pairs = {"correct": np.ones(10), "blank": np.zeros(10)}
    found = image_ablation(pairs, ["a"] * 10, groups=np.arange(10) // 2)  # five images
    assert found["uses_images"] == "no evidence"


def test_drawing_in_blocks_changes_nothing():
    rng = np.random.default_rng(5)
    difference = rng.normal(0.1, 1, 2_000)
    given = {"correct": difference, "blank": np.zeros(2_000)}
    tracemalloc.start()
    found = image_ablation(given, ["a"] * 2_000, seed=7)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100 * 2**20  # 305 MiB at once
    rows = np.random.default_rng(7).integers(0, 2_000, (10_000, 2_000))
    means = [difference[row].sum() / 2_000 for row in rows]
    np.testing.assert_allclose([found["low"], found["high"]], np.quantile(means, [0.025, 0.975]), rtol=1e-12)


def test_lists_of_different_lengths_are_named():
    with pytest.raises(UserError, match="3 scores of 'correct' and 2 of 'blank'"):
        image_ablation({"correct": np.ones(3), "blank": np.ones(2)}, ["a"] * 3)
    with pytest.raises(UserError, match="3 scores of 'correct' and 4 of 'answers'"):
        image_ablation({"correct": np.ones(3), "blank": np.ones(3)}, ["a"] * 4)


@pytest.mark.parametrize("kind", ["correct", "blank"])
def test_a_score_that_is_not_finite_is_named(kind):
    given = {"correct": np.ones(3), "blank": np.zeros(3)}
    given[kind][1] = np.nan
    with pytest.raises(UserError, match=f"score 1 of '{kind}' is nan"):
        image_ablation(given, ["a"] * 3)
