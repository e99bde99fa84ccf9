"""The Sankey diagram of a weight map: heights are parameters, and every link is visible."""

import numpy as np
import pytest
from fake import FLOWS as MAP
from matplotlib.patches import PathPatch, Rectangle

from tfxfer.report.figures import sankey
from tfxfer.report.figures.sankey import KINDS

FLOWS, UNREAD = MAP["flows"], MAP["unread"]


def heights(figure, kind=Rectangle):
    return [patch.get_height() for patch in figure.axes[0].patches if isinstance(patch, kind)]


def test_bars_are_as_high_as_their_parameters():
    bars = heights(sankey(FLOWS, UNREAD))
    _, block, words, positions, first, second, head = bars
    assert first / second == pytest.approx(2) and block == pytest.approx(first + second)
    assert words / first == pytest.approx(6000 / 8000)
    assert 0 < head < positions  # thin, but visible
    assert len([p for p in sankey(FLOWS, UNREAD).axes[0].patches if isinstance(p, PathPatch)]) == len(FLOWS + UNREAD)


def test_many_layers_and_huge_differences_stay_in_the_figure():
    flows = [[f"layer_{i}", f"layer_{i}", "copy", 10 ** (i % 8)] for i in range(24)]
    figure = sankey(flows)
    for patch in figure.axes[0].patches:
        box = patch.get_path().get_extents(patch.get_patch_transform())
        assert box.ymin >= -0.01 and box.ymax <= 1.1


def test_every_operation_has_a_colour():
    from tfxfer.transfer.structure import OPERATIONS

    assert set().union(*KINDS.values()) == set(OPERATIONS)


def test_flows_count_every_parameter():
    from tfxfer.transfer.structure import plan
    from tfxfer.transfer.structure.weight_map.ledger import flows

    arrays = {"a/kernel": np.ones((2, 3), np.float32), "b/bias": np.ones(7, np.float32)}
    import keras

    target = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="c")])
    found = flows(plan(arrays, target, [(None, "**/c/*", "fresh"), (None, "**/a/bias", "zero")]))
    assert sum(size for *_, size in found["flows"]) == target.count_params()
    assert found["unread"] == [["b", 7]] and [None, "c", "fresh", 8] in found["flows"]
