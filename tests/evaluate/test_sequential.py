"""`--seeds auto`: wrong in at most 5 % of true nulls, stops early where there is a difference, runs nothing twice."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.verdict import null_pairs, null_scores, simulated
from tfxfer.config import SEED_LOOKS
from tfxfer.evaluate import verdict, verdicts
from tfxfer.evaluate.remarks import remarks
from tfxfer.evaluate.sequential import LEVEL, until_decided
from tfxfer.experiment import Arm, Experiment, Outcome, compare, with_verdicts

REAL = (0.017, 0.138, 0.516)  # seed, example, interaction of transfer − random at 20 labels (benchmarks/verdict.md)


def share_of_wrong(pairs, level):
    """Return how often some look at two equal arms [20, N] says that they differ."""
    wrong = [
        any(verdict(a[:n], b[: min(n, len(b))], level=level, draws=500).word != "no evidence" for n in SEED_LOOKS)
        for a, b in pairs
    ]
    return np.mean(wrong)


def test_looking_five_times_keeps_the_error_of_real_nulls():
    pairs = null_pairs(null_scores()[20], 20, 200, np.random.default_rng(0))
    pairs = [(a[:, ::4], b[:, ::4]) for a, b in pairs]  # a quarter of the test examples, for time
    assert share_of_wrong(pairs, LEVEL) <= 0.05 < share_of_wrong(pairs, 0.95)


@pytest.mark.slow
def test_looking_five_times_keeps_the_error_of_a_thousand_simulated_nulls():
    trials = simulated(20, 0.0, REAL, 1000, np.random.default_rng(1), examples=600)
    assert share_of_wrong([(d, np.zeros((1, 600))) for d in trials], LEVEL) <= 0.05


def run_auto(tmp_path, gain, margin=None):
    """Run until decided; return the comparison, how often each seed of an arm was trained, and what was said."""
    labels, runs, said = np.random.default_rng(0).integers(0, 3, 300), Counter(), []

    def arm(name, share):
        def run(budget, seed):
            runs[name, seed] += 1
            rng = np.random.default_rng([len(name), seed])
            given = np.where(rng.random(300) < share, labels, (labels + 1) % 3)
            return Outcome(np.eye(3, dtype=np.float32)[given], trainable=3)

        return Arm(name, run)

    def run(seeds):
        arms = (arm("transfer", 0.5 + gain), arm("random", 0.5))
        return compare(Experiment("a → b", ("x", "y", "z"), labels, arms, (5,), tuple(range(seeds))), kept=tmp_path)

    return with_verdicts(until_decided(run, margin, said.append)), runs, said


def test_a_difference_is_found_early_and_the_saved_seeds_are_said(tmp_path):
    comparison, runs, said = run_auto(tmp_path, 0.3)
    looks = comparison.about["looks"]
    assert looks["word"] == "helped" and looks["seeds"] < 20 and set(runs.values()) == {1}
    assert len(runs) == 2 * looks["seeds"] and said[-1] == f"--seeds auto: {looks['seeds']} seeds, helped at 99 %"
    (primary,) = verdicts(comparison)
    assert primary["level"] == LEVEL and comparison.verdicts[0] == primary
    assert f"decided after {looks['seeds']} seeds, {20 - looks['seeds']} of 20 saved" in remarks(comparison)[0]


def test_equal_arms_use_every_seed_unless_a_margin_shows_that_they_are(tmp_path):
    comparison, runs, _ = run_auto(tmp_path, 0.0)
    assert comparison.about["looks"] == {"seeds": 20, "most": 20, "word": None, "level": LEVEL}
    assert "undecided after 20 seeds, 0 of 20 saved" in remarks(comparison)[0] and len(runs) == 40
    again, runs, _ = run_auto(tmp_path, 0.0, margin=0.2)
    assert again.about["looks"]["word"] == "equivalent" and not runs  # all records are at hand
