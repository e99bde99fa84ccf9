"""The picture of a weight map: widths are parameters, nothing vanishes, and the report shows it with its ledger."""

import json

import fake
import numpy as np
import pytest
from matplotlib.patches import PathPatch, Rectangle
from reading import Page

from tfxfer import report
from tfxfer.report.figures import ribbons
from tfxfer.report.figures.ribbons import KINDS

FLOWS = [
    ["embedding", "positions", "interpolate", 400],
    ["block_0", "block_0", "copy", 8000],
    ["block_0", "block_1", "copy", 4000],
    [None, "head", "fresh", 10],
]
UNREAD = [["words", 6000]]


def heights(figure, kind=Rectangle):
    return [patch.get_height() for patch in figure.axes[0].patches if isinstance(patch, kind)]


def test_bars_are_as_high_as_their_parameters():
    bars = heights(ribbons(FLOWS, UNREAD))
    _, block, words, positions, first, second, head = bars
    assert first / second == pytest.approx(2) and block == pytest.approx(first + second)
    assert words / first == pytest.approx(6000 / 8000)
    assert 0 < head < positions  # thin, and still to be seen
    assert len([p for p in ribbons(FLOWS, UNREAD).axes[0].patches if isinstance(p, PathPatch)]) == len(FLOWS + UNREAD)


def test_many_layers_and_huge_differences_stay_on_the_page():
    flows = [[f"layer_{i}", f"layer_{i}", "copy", 10 ** (i % 8)] for i in range(24)]
    figure = ribbons(flows)
    for patch in figure.axes[0].patches:
        box = patch.get_path().get_extents(patch.get_patch_transform())
        assert box.ymin >= -0.01 and box.ymax <= 1.1


def test_every_operation_has_a_colour():
    from tfxfer.transfer.structure import OPERATIONS

    assert set().union(*KINDS.values()) == set(OPERATIONS)


def test_the_report_shows_the_ledger_and_its_picture(comparison, tmp_path):
    comparison.save(tmp_path)
    fake.write_side_files(tmp_path)
    entry = {"target": "block_*/kernel", "shape": [3, 4], "operation": "copy", "sources": ["source:<b>x</b>"]}
    entry |= {"parameters": 12, "share": 0.5, "tensors": 2, "why": "same path"}
    told = {"entries": [entry], "totals": ["moved: 12 parameters"], "proof": "It computes the same."}
    told |= {"flows": {"flows": FLOWS, "unread": UNREAD}, "titles": {"source": "bert", "target": "vision"}}
    (tmp_path / "ledger.json").write_text(json.dumps(told))
    page = Page(report.write(tmp_path).read_text(encoding="utf-8"))
    for text in ("What came from where", "It computes the same.", "block_*/kernel ×2", "3×4", "<b>x</b>", "50.0"):
        assert text in page.text, text
    assert "moved: 12 parameters" in page.text and page.open == []


def test_a_run_without_a_weight_map_has_no_such_section(page):
    assert "What came from where" not in page.text


def test_flows_count_every_parameter():
    from tfxfer.transfer.structure import plan
    from tfxfer.transfer.structure.weight_map.ledger import flows

    arrays = {"a/kernel": np.ones((2, 3), np.float32), "b/bias": np.ones(7, np.float32)}
    import keras

    target = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="c")])
    told = flows(plan(arrays, target, [(None, "**/c/*", "fresh"), (None, "**/a/bias", "zero")]))
    assert sum(size for *_, size in told["flows"]) == target.count_params()
    assert told["unread"] == [["b", 7]] and [None, "c", "fresh", 8] in told["flows"]
