"""Where transfer helped: gains by class and length, the share of negative transfer, and their panel."""

from dataclasses import replace

import fake
import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.evaluate.transfer_gain import by_length, negative_transfer_rate, parts, relative_gain
from tfxfer.recipes.panels.transfer_gain import transfer_gain_panel


def right(shares, count=60, seeds=3, seed=0):
    """Correct answers bool [S, C·count], each class with its share."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.random((seeds, count)) < share for share in shares], 1)


def test_a_mean_gain_can_hide_a_class_that_is_hurt():
    names = [name for name in ("cat", "dog", "few") for _ in range(60 if name != "few" else 4)]
    a = np.concatenate([right((0.95, 0.2)), np.ones((3, 4), bool)], 1)
    b = np.concatenate([right((0.3, 0.7), seed=1), np.zeros((3, 4), bool)], 1)
    found = {part.name: part for part in parts(a, b, {"class": names})}
    assert [found[name].verdict.word for name in ("cat", "dog")] == ["helped", "hurt"]
    assert found["few"].verdict is None and found["few"].gain == 1  # four examples are too few for a word
    assert found["cat"].gain == pytest.approx(a[:, :60].mean() - b[:, :60].mean())
    assert negative_transfer_rate(list(found.values())) == 1 / 3


def test_of_many_parts_without_a_difference_none_is_called_helped():
    names = [f"class {i}" for i in range(60) for _ in range(20)]
    chance = [0.5] * 60
    words = [part.verdict.word for part in parts(right(chance, 20), right(chance, 20, seed=5), {"class": names})]
    assert set(words) == {"no evidence"}


def test_relative_gain_is_the_share_of_errors_that_are_removed():
    assert relative_gain(0.9, 0.8) == pytest.approx(0.5) and relative_gain(0.7, 0.8) == pytest.approx(-0.5)
    assert relative_gain(1.0, 1.0) is None  # nothing to remove


def test_texts_of_one_length_are_one_part_and_a_slice_of_another_length_is_refused():
    assert set(by_length(["abc"] * 7)) == {"shortest third"}
    assert by_length(["a" * n for n in range(1, 7)])[::5] == ["shortest third", "longest third"]
    with pytest.raises(UserError, match="length: 2 examples, but there are scores for 3"):
        parts(np.ones((1, 3)), np.ones((1, 3)), {"length": ["a", "b"]})


def test_the_panel_names_classes_and_lengths():
    comparison = fake.make(examples=200)
    panel = transfer_gain_panel(comparison, ["word " * (1 + i % 9) for i in range(200)])
    by_class, lengths = panel.tables
    assert {row[0] for row in by_class["rows"]} == set(comparison.class_names)
    assert sum(row[1] for row in by_class["rows"]) == 200 == sum(row[1] for row in lengths["rows"])
    assert "Relative gain" in panel.points[0] and "Negative transfer: in" in panel.points[1]
    assert len(transfer_gain_panel(comparison).tables) == 1  # images have no length
    drawn = ["cut at the edge" if i % 4 == 0 else "whole" for i in range(200)]
    *_, by_edge = transfer_gain_panel(comparison, drawn=drawn).tables
    assert {row[0]: row[1] for row in by_edge["rows"]} == {"cut at the edge": 50, "whole": 150}
    assert len(transfer_gain_panel(comparison, drawn=["whole"] * 200).tables) == 1
    assert transfer_gain_panel(replace(comparison, class_names=())) is None
