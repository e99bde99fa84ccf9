import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import tfxfer.report
from tfxfer import evaluate
from tfxfer.records import Comparison, Record
from tfxfer.report import figures, svg
from tfxfer.report.figures.style import ARM_COLOURS, GRID, INK, MUTED, PALETTE, PAPER, colour, marker


def test_the_bands_are_the_intervals_of_the_table(comparison):
    axes = figures.label_efficiency(comparison).axes[0]
    bands = {band.get_gid().removeprefix("band-"): band for band in axes.collections if band.get_gid()}
    assert set(bands) == set(comparison.arms)
    for arm, band in bands.items():
        corners = {(round(x), round(y, 12)) for x, y in band.get_paths()[0].vertices}
        rows = [r for r in evaluate.summary(comparison) if r["arm"] == arm]
        for row in rows:
            assert (row["budget"], round(row["low"], 12)) in corners
            assert (row["budget"], round(row["high"], 12)) in corners


def test_the_lines_are_the_means(comparison):
    axes = figures.label_efficiency(comparison).axes[0]
    drawn = [tuple(np.round(line.get_ydata(), 12)) for line in axes.lines]
    for arm in comparison.arms:
        means = tuple(round(float(comparison.correct(arm, n).mean()), 12) for n in comparison.budgets)
        assert means in drawn
    assert axes.get_xscale() == "log"
    assert {text.get_text() for text in axes.texts} == set(comparison.arms)


def test_direct_labels_do_not_overlap(comparison):
    axes = figures.label_efficiency(comparison).axes[0]
    heights = sorted(text.get_position()[1] for text in axes.texts)
    assert min(np.diff(heights)) >= 0.05 * axes.get_ylim()[1] - 1e-9


def test_the_names_of_many_arms_stay_within_the_axes():
    p = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    records = [Record(f"arm {i}", n, 0, probabilities=p) for i in range(15) for n in (5, 20)]
    axes = figures.label_efficiency(Comparison("t", ("a", "b"), np.array([0, 1, 0, 1]), tuple(records))).axes[0]
    heights = sorted(text.get_position()[1] for text in axes.texts)
    assert len(heights) == 15 and heights[-1] <= axes.get_ylim()[1]
    assert min(np.diff(heights)) >= 0.05 * axes.get_ylim()[1]


def test_the_forest_shows_every_interval(comparison):
    axes = figures.differences(comparison).axes[0]
    bars = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2 and line.get_xdata()[0]]
    rows = evaluate.verdicts(comparison)
    assert [tuple(bar) for bar in bars] == [(r["low"], r["high"]) for r in rows]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == PAPER and line.get_marker() != "None"]
    assert len(hollow) == sum(r["word"] == "no evidence" for r in rows)


def test_arms_at_a_single_budget_and_all_labels():
    p = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    records = [Record("transfer", n, 0, probabilities=p) for n in (5, None)]
    records.append(Record("scratch", 5, 0, probabilities=p))
    axes = figures.label_efficiency(Comparison("t", ("a", "b"), np.array([0, 1, 0, 1]), tuple(records))).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "all"]
    assert {text.get_text() for text in axes.texts} == {"transfer", "scratch"}


def test_confusion_counts_and_the_limit_of_classes():
    counts = [[5, 2], [0, 7]]
    texts = [t.get_text() for t in figures.confusion(counts, ["a$b", "c$d"]).axes[0].texts]
    assert texts == ["5", "2", "7"]  # an empty cell stays empty
    many = np.random.default_rng(0).integers(0, 9, (40, 40))
    assert len(figures.confusion(many, [str(i) for i in range(40)]).axes[0].get_xticklabels()) == 24


def test_reliability_points_are_those_of_calibration(comparison):
    axes = figures.reliability(comparison, ["transfer"], 400).axes[0]
    rows = comparison.select("transfer", 400)
    error, points = evaluate.calibration(np.tile(comparison.labels, 3), np.concatenate([r.probabilities for r in rows]))
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [p["accuracy"] for p in points])
    assert f"{error:.3f}" in axes.get_legend().get_texts()[1].get_text()


def test_training_curves_by_phase_and_none_without_rows():
    rows = [{"phase": "source", "epoch": e, "loss": 1 / (e + 1), "accuracy": e / 4} for e in range(4)]
    rows += [{"phase": "scratch", "epoch": e, "seed": s, "val_loss": 1.0} for e in range(2) for s in range(3)]
    figure = figures.training(rows)
    assert [a.get_title(loc="left") for a in figure.axes] == [
        "source: loss",
        "source: accuracy",
        "scratch: loss",
        "scratch: accuracy",
    ]
    assert len(figure.axes[2].lines) == 3
    assert figures.training([]) is None


def test_every_figure_is_free_of_pyplot_and_becomes_svg(comparison):
    made = [
        figures.label_efficiency(comparison),
        figures.accuracies(comparison),
        figures.differences(comparison),
        figures.confusion([[1, 2], [3, 4]], ["a", "b"]),
        figures.reliability(comparison, ["transfer"], 400),
    ]
    for figure in made:
        assert type(figure) is Figure
        assert figure.canvas.manager is None  # pyplot would have set one
        text = svg.inline(figure, "x", 'a "figure"')
        assert text.startswith('<svg role="img" aria-label="a &quot;figure&quot;"')
        assert "<metadata" not in text
        assert "var(--ink)" in text
        assert INK not in text


def test_further_arms_have_colours_and_markers_of_their_own():
    arms = ["transfer", "random", "native", "random_image_encoder", "question_only", "shuffled", "a new arm"]
    assert len({colour(arm, arms) for arm in arms}) == len({marker(arm, arms) for arm in arms}) == len(arms)
    assert all(colour(arm, arms) == PALETTE[name] for arm, name in ARM_COLOURS.items() if arm in arms)
    assert colour("a new arm") == MUTED and marker("a new arm") == "o"


def test_the_result_against_a_baseline_is_not_called_hurt(comparison):
    texts = [text.get_text() for text in figures.differences(comparison).axes[0].texts]
    assert any(text.endswith("native is better") for text in texts) and any(text.endswith("helped") for text in texts)
    assert not any("hurt" in text for text in texts)


def test_the_style_sheet_has_the_colours_of_the_figures():
    css = (Path(tfxfer.report.__file__).parent / "report.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    names = {"ink": INK, "muted": MUTED, "grid": GRID, "paper": PAPER, **PALETTE}
    for name, code in names.items():
        assert f"--{name}: {code};" in light
        assert f"--{name}: #" in dark


def luminance(code):
    channels = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", [0, 1])
def test_text_and_arms_are_legible_in_light_and_dark(mode):
    css = (Path(tfxfer.report.__file__).parent / "report.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([a-z_]+): (#[0-9a-f]{6});", re.findall(r":root \{(.*?)\}", css, re.S)[mode]))
    for name in ("ink", "muted", "good", "bad", "accent", *PALETTE):
        for ground in ("paper", "card"):
            a, b = sorted((luminance(colours[name]), luminance(colours[ground])))
            assert (b + 0.05) / (a + 0.05) >= 4.5, (name, ground)  # WCAG 2 AA for text
