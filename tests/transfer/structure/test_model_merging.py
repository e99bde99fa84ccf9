"""Merges of weights: each against a few lines of NumPy, and what must not change them."""

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.transfer.structure import merging

STATISTICS = ("norm/moving_variance",)


def model(seed):
    rng = np.random.default_rng(seed)
    return {
        "conv/kernel": rng.normal(size=(3, 4, 5)).astype(np.float32),
        "norm/moving_variance": rng.random(5).astype(np.float32),
        "dropout/state": np.array([seed, 7], np.uint32),
        "head/bias": rng.normal(size=5).astype(np.float32),
    }


def trained(weights):
    """The trained weights as one vector."""
    return np.concatenate([weights[path].ravel() for path in ("conv/kernel", "head/bias")]).astype(np.float64)


BASE, MODELS = model(0), [model(1), model(2), model(3)]
VECTORS = [trained(one) - trained(BASE) for one in MODELS]
OVER_BASE = {
    "task": lambda models, scale: merging.task_vectors(BASE, models, scale / len(models), STATISTICS),
    "ties": lambda models, scale: merging.ties(BASE, models, 1.0, scale, STATISTICS),
    "dare": lambda models, scale: merging.dare(BASE, models, 0.0, scale / len(models), 0, STATISTICS),
}


def same(one, other):
    assert list(one) == list(other)
    for path in one:
        assert one[path].dtype == other[path].dtype
        np.testing.assert_allclose(one[path], other[path], rtol=1e-5, atol=1e-6)


def test_a_uniform_soup_is_the_mean_in_any_order():
    soup = merging.uniform_soup(MODELS)
    np.testing.assert_allclose(trained(soup), np.mean([trained(one) for one in MODELS], 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(soup["dropout/state"], MODELS[0]["dropout/state"])  # whole numbers are no average
    turned = merging.uniform_soup(MODELS[::-1])
    same(soup, turned | {"dropout/state": soup["dropout/state"]})
    same(merging.uniform_soup(MODELS[:1]), MODELS[0])


def test_a_greedy_soup_keeps_what_does_not_hurt_validation():
    scores = iter([0.9, 0.5, 0.7, 0.8, 0.9])  # of the three; of 0 with 2, which falls; of 0 with 1, which ties
    soup, kept = merging.greedy_soup(MODELS, lambda weights: next(scores))
    assert kept == (0, 1)
    same(soup, merging.uniform_soup(MODELS[:2]))


def test_task_vectors_are_added_with_their_scale():
    merged = merging.task_vectors(BASE, MODELS, 0.3, STATISTICS)
    np.testing.assert_allclose(trained(merged), trained(BASE) + 0.3 * np.sum(VECTORS, 0), rtol=1e-4, atol=1e-5)


def test_ties_trims_elects_a_sign_and_averages_those_that_agree():
    keep, scale = 0.4, 0.7
    trimmed = np.array(VECTORS)
    for row in trimmed:
        row[np.argsort(np.abs(row))[: row.size - round(keep * row.size)]] = 0
    wanted = trained(BASE)
    for place in range(wanted.size):
        column = trimmed[:, place]
        agree = column[(column * column.sum()) > 0]
        wanted[place] += scale * (agree.mean() if agree.size else 0)
    found = merging.ties(BASE, MODELS, keep, scale, STATISTICS)
    np.testing.assert_allclose(trained(found), wanted, rtol=1e-4, atol=1e-5)


def test_dare_drops_a_share_and_keeps_the_sum_in_expectation():
    one = MODELS[:1]
    found = [trained(merging.dare(BASE, one, 0.75, 1.0, seed, STATISTICS)) - trained(BASE) for seed in range(400)]
    dropped = np.isclose(found, 0, atol=1e-6)
    assert abs(dropped.mean() - 0.75) < 0.01
    np.testing.assert_allclose(np.where(dropped, 0, found), np.where(dropped, 0, 4 * VECTORS[0]), rtol=1e-3, atol=1e-4)
    assert np.abs(np.mean(found, 0) - VECTORS[0]).max() < 6 * np.abs(VECTORS[0]).max() * np.sqrt(3 / 400)
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("how", OVER_BASE)
def test_nothing_of_the_models_is_the_base_and_all_of_equal_ones_is_the_model(how):
    same(OVER_BASE[how](MODELS, 0.0), BASE)
    for models in (MODELS[:1], [MODELS[0]] * 3):
        state = {"dropout/state": BASE["dropout/state"]}
        same(OVER_BASE[how](models, 1.0), MODELS[0] | state)
    far = OVER_BASE[how](MODELS, 5.0)["norm/moving_variance"]  # goes to the mean, and not past it
    np.testing.assert_allclose(far, np.mean([one["norm/moving_variance"] for one in MODELS], 0), rtol=1e-5)


def test_a_line_has_both_models_as_its_ends_and_a_barrier_above_their_mean():
    one, other = MODELS[:2]
    same(merging.interpolate(one, other, 0.0), one)
    same(merging.interpolate(one, other, 1.0), other | {"dropout/state": one["dropout/state"]})
    same(merging.interpolate(one, other, 0.5), merging.uniform_soup([one, other]))
    assert merging.loss_barrier([0.4, 1.0, 0.2]) == pytest.approx(0.7)
    assert merging.loss_barrier([1.0, 0.6, 0.2]) == pytest.approx(0)  # a worse end is no barrier


def test_models_of_one_start_are_alike_and_others_are_not():
    rng, first = np.random.default_rng(5), {"a": np.zeros(9), "w": np.random.default_rng(4).normal(size=(40, 40))}
    moved = {"a": rng.normal(size=9), "w": first["w"] + 0.5 * rng.normal(size=(40, 40))}
    other = {"a": np.zeros(9), "w": rng.normal(size=(40, 40))}
    assert merging.weight_similarity(first, moved) > 0.8 > 0.2 > abs(merging.weight_similarity(first, other))
    probabilities = rng.random((2, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(merging.ensemble(probabilities), probabilities.mean(0), rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: merging.interpolate(BASE, MODELS[0], 1.5), "α = 1.5 is a share"),
        (lambda: merging.ties(BASE, MODELS, -0.1), "k = -0.1 is a share"),
        (lambda: merging.dare(BASE, MODELS, 1.0, 1.0, 0), "p = 1 drops every entry"),
        (lambda: merging.uniform_soup([]), "there is no model to merge"),
        (lambda: merging.uniform_soup([BASE, {"x": np.zeros(2)}]), "model 2 has other weights than model 1"),
        (lambda: merging.uniform_soup([{"x": np.zeros(2)}, {"x": np.zeros(3)}]), r"x: shape \[3\] in model 2"),
    ],
)
def test_what_cannot_be_merged_is_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        wrong()
