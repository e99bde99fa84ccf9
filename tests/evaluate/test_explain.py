"""Where a gain came from: a part that matters is found, those that do not have intervals over 0."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tfxfer.evaluate.explain import Explanation, explained
from tfxfer.experiment import Arm, Experiment, Outcome, arm_without, compare
from tfxfer.recipes.panels.explain import explain_panel

LABELS = np.random.default_rng(0).integers(0, 3, 600)
NAMES = {arm_without(name): (name, "weights") for name in ("early", "late", "broken")}


def right(share, own=0):
    """An arm that answers the same share of the examples correctly with each seed; a tenth differ by arm and seed."""

    def run(budget, seed):
        hard = np.random.default_rng(1).random(600)
        luck = np.random.default_rng(10 * seed + own).normal(0, 0.05, 600)
        given = np.where(hard + luck < share, LABELS, (LABELS + 1) % 3)
        return Outcome(np.eye(3, dtype=np.float32)[given], {"l2": 1.0}, 7)

    return run


def fails(budget, seed):
    raise ValueError("no such layer")


def planted(transfer=0.8, random=0.4):
    """Only the early part carries the gain; the late one may be drawn anew without a loss; one cannot be fitted."""
    how = {"early": right(0.4, 3), "late": right(transfer, 4), "broken": fails}
    arms = [Arm("transfer", right(transfer, 1)), Arm("random", right(random, 2))]
    arms += [Arm(arm_without(name), run) for name, run in how.items()]
    return compare(Experiment("a → b", ("x", "y", "z"), LABELS, tuple(arms), (20,), (0, 1, 2, 3)))


def test_the_part_that_carries_the_gain_is_found_and_the_other_is_not():
    comparison = planted()
    found = explained(comparison, NAMES, 20)
    early, late = found.parts
    brute = [comparison.correct(arm, 20).mean() for arm in ("transfer", "without early", "random")]
    assert found.needed == ["early"] and late.word == "no evidence" and late.verdict.low < 0 < late.verdict.high
    assert early.verdict.difference == pytest.approx(brute[0] - brute[1])
    assert early.share == pytest.approx((brute[0] - brute[1]) / (brute[0] - brute[2]))
    assert "ValueError: no such layer" in found.failed["broken"]
    assert Explanation.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert "early" in str(found) and "of the gain" in str(found)


def test_without_a_whole_gain_no_part_has_a_share():
    found = explained(planted(transfer=0.4), NAMES, 20)
    assert [part.share for part in found.parts] == [None, None] and not found.needed
    assert "No gain is shown" in explain_panel(found).points[0]


def test_the_panel_says_that_parts_do_not_sum_and_names_what_could_not_be_fitted():
    panel = explain_panel(explained(planted(), NAMES, 20))
    assert "do not sum" in panel.notes[0] and panel.points[1] == "Needed: early."
    assert any("broken could not be fitted" in point for point in panel.points)
    assert [row["name"] for row in panel.figures[0]["arguments"]["rows"]] == ["transfer over random", "early", "late"]


def test_a_group_of_classes_needs_several_trained_sources_to_be_called_needed():
    comparison, classes = planted(), {"without early": ("script Latin", "classes")}
    (once,) = explained(comparison, classes, 20).parts
    (several,) = explained(replace(comparison, source_seeds=2), classes, 20).parts
    assert once.verdict.low > 0 and once.word == "no evidence" and several.word == "needed"
