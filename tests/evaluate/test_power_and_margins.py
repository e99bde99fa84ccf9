"""The minimal detectable effect, before and after a run, and two one-sided tests within a margin."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from benchmarks.verdict import simulated
from tfxfer.errors import UserError
from tfxfer.evaluate import verdict
from tfxfer.evaluate.equivalence import equivalence, margin_sentence
from tfxfer.evaluate.power import detectable, power, power_sentence, with_seeds
from tfxfer.evaluate.remarks import remarks
from tfxfer.evaluate.verdict import Components
from tfxfer.experiment import Arm, Experiment, Outcome, compare
from tfxfer.records import Comparison, Record

REAL = (0.017, 0.138, 0.516)  # seed, example, interaction of transfer − random at 20 labels (benchmarks/verdict.md)


def true_components(seeds, sds, examples):
    seed, example, interaction = sds
    error = np.sqrt((seed**2 + interaction**2 / examples) / seeds)
    plain = np.sqrt(example**2 / examples + interaction**2 / (seeds * examples))
    return Components(((float(error), seeds - 1),), float(example / np.sqrt(examples)), float(plain))


def test_without_seeds_it_is_the_textbook_formula():
    factor = scipy.stats.norm.ppf(0.975) + scipy.stats.norm.ppf(0.8)
    assert detectable(Components((), 0.02, 0.02)) == pytest.approx(0.02 * factor, rel=1e-3)


@pytest.mark.parametrize("seeds", [3, 10])
def test_with_seeds_alone_it_is_the_noncentral_t(seeds):
    found = detectable(Components(((0.02, seeds - 1),), 0.0, 0.0))
    edge = scipy.stats.t.ppf(0.975, seeds - 1)
    beyond = (
        1 - scipy.stats.nct.cdf(edge, seeds - 1, found / 0.02) + scipy.stats.nct.cdf(-edge, seeds - 1, found / 0.02)
    )
    assert beyond == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("seeds", "difference", "found"), [(3, 0.06, 0.648), (5, 0.03, 0.545), (10, 0.03, 0.916)])
def test_power_is_that_of_the_committed_simulation(seeds, difference, found):
    assert power(difference, true_components(seeds, REAL, 1211)) == pytest.approx(found, abs=0.04)


@pytest.mark.parametrize(("seeds", "sds"), [(3, (0.02, 0.3, 0.3)), (10, REAL)])
def test_a_true_difference_of_that_size_is_found_in_80_percent(seeds, sds):
    size = detectable(true_components(seeds, sds, 300))
    trials = simulated(seeds, size, sds, 400, np.random.default_rng(5), examples=300)
    words = [verdict(d, np.zeros((1, 300)), draws=500, seed=k).word for k, d in enumerate(trials)]
    assert 0.74 <= np.mean([word == "helped" for word in words]) <= 0.86  # 80 % ± 3 standard errors


def test_more_seeds_make_it_smaller_by_their_own_formula():
    few, many = (true_components(seeds, REAL, 1211) for seeds in (3, 10))
    made = with_seeds(few, 10)
    assert (made.seeds[0][0], made.narrowest) == pytest.approx((many.seeds[0][0], many.narrowest))
    assert detectable(made) == pytest.approx(detectable(many))


# === Margins ===


@pytest.mark.parametrize(
    ("gain", "margin", "word"),
    [(0.0, 0.05, "equivalent"), (0.0, 0.001, "not shown"), (0.1, 0.05, "non-inferior"), (-0.1, 0.05, "not shown")],
)
def test_the_words_within_a_margin(gain, margin, word):
    rng = np.random.default_rng(0)
    base = rng.normal(0, 1, 400)
    a, b = (base + shift + rng.normal(0, 0.1, (5, 400)) for shift in (gain, 0.0))
    found = equivalence(a, b, margin)
    assert found.word == word
    assert (found.low, found.high) == pytest.approx((lambda v: (v.low, v.high))(verdict(a, b, level=0.9)))
    assert equivalence(a[:1], b[:1], margin).word == "not shown"  # one seed shows nothing


def test_a_difference_of_the_margin_is_called_equivalent_in_at_most_5_percent():
    trials = simulated(5, 0.05, (0.01, 0.2, 0.2), 400, np.random.default_rng(1), examples=200)
    words = [equivalence(d, np.zeros((1, 200)), 0.05, draws=500, seed=k).word for k, d in enumerate(trials)]
    assert np.mean([word == "equivalent" for word in words]) <= 0.08  # 5 % + 3 standard errors


def test_where_no_example_differs_the_margin_must_still_be_wide_enough():
    """Of 100 examples without a difference, up to 3 % may have one."""
    right = np.ones((3, 100))
    assert equivalence(right, right, 0.01).word == "not shown"
    found = equivalence(right, right, 0.05)
    assert found.word == "equivalent" and found.high == pytest.approx(1 - 0.05 ** (1 / 100))
    graded = np.full((3, 100), 2.5)
    assert equivalence(graded, graded, 1.0).too_few
    with pytest.raises(UserError, match="a margin is a number above 0"):
        equivalence(right, right, float("nan"))


# === What a run says ===


def test_a_run_says_its_margin_its_power_and_what_remains_after_holm():
    rng = np.random.default_rng(3)
    rows = [
        Record(arm, 5, s, scores={"recall_at_1": (rng.random(300) < share).astype(float)})
        for arm, share in (("transfer", 0.6), ("random", 0.4), ("blind", 0.45), ("native", 0.6))
        for s in range(10)
    ]
    made = Comparison("t", (), np.zeros(300, np.int32), tuple(rows), measures=("recall_at_1",), about={"margin": 0.1})
    margin, found, several = remarks(made)
    assert margin == margin_sentence(made) and "transfer is equivalent to the native baseline (" in margin
    assert "non-inferior to random weights (" in margin and found == power_sentence(made)
    assert found.startswith("Power: a run like this finds a true difference of 0.0") and "in 80 % of cases" in found
    assert several.startswith("Adjusted for 2 secondary comparisons (Holm)")
    assert len(remarks(replace(made, about={}, records=tuple(r for r in rows if r.seed == 0)))) == 0


@pytest.mark.tensorflow
def test_before_a_run_earlier_seeds_say_what_it_will_find(tmp_path):
    from tfxfer.recipes.runner import expectation_sentence

    labels = np.random.default_rng(0).integers(0, 3, 300)

    def arm(name, share):
        def run(budget, seed):
            rng = np.random.default_rng([len(name), budget, seed])
            given = np.where(rng.random(300) < share, labels, (labels + 1) % 3)
            return Outcome(np.eye(3, dtype=np.float32)[given], trainable=3)

        return Arm(name, run)

    def experiment(seeds):
        arms = (arm("transfer", 0.6), arm("random", 0.5))
        return Experiment("a → b", ("x", "y", "z"), labels, arms, (5, 20), tuple(range(seeds)))

    assert expectation_sentence(experiment(10), [tmp_path]) is None
    compare(experiment(3), kept=tmp_path)
    assert expectation_sentence(experiment(3), [tmp_path]) is None  # nothing is run again
    said = expectation_sentence(experiment(10), [tmp_path])
    assert said.startswith("power: with 10 seeds, transfer against random will find a true difference of 0.0")
    assert said.endswith("by 3 earlier seeds of this experiment")
