"""Pictures of lesson 03: what a control takes away, who profits from what, and how an interval is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.evaluate.verdict import signed
from tfxfer.report.figures.style import GRID, INK, MARKERS, MUTED, PAPER, colour
from tfxfer.teach.figures.paper import BLUE, blank, box, picture

WORD_COLOURS = {"helped": "#007a5e", "hurt": "#a03a56", "no evidence": MUTED}


@picture
def levels() -> Figure:
    """Draw what each arm has that the one below it lacks."""
    rows = (
        ("transfer", "the shape of the network  +  weights that learned something  +  a head fitted on labels"),
        ("random", "the shape of the network  +  weights out of a dice cup  +  a head fitted on labels"),
        ("scratch", "the shape of the network, all of its weights trained on the few labels"),
        ("native", "the plain method of the target's own field: letters counted, no picture"),
        ("majority", "nothing but the labels: always the most frequent class"),
    )
    figure, axes = pyplot.subplots(figsize=(8.4, 3.0), layout="constrained")
    blank(axes).set(xlim=(0, 10), ylim=(-0.2, len(rows)))
    for place, (arm, words) in enumerate(reversed(rows)):
        box(axes, 1.0, place + 0.4, 1.5, 0.64, arm, colour(arm), fontweight="bold")
        axes.text(2.0, place + 0.4, words, va="center", fontsize=9.5)
    axes.annotate("", (9.75, 4.3), (9.75, 3.5), arrowprops={"arrowstyle": "<->", "color": BLUE, "lw": 1.6})
    axes.text(9.6, 3.9, "only this step is\nthe knowledge", ha="right", va="center", color=BLUE, fontsize=9)
    return figure


@picture
def ladder(verdicts: Sequence[Mapping[str, Any]], hidden: Sequence[str] = ()) -> Figure:
    """Draw transfer's lead over each other arm with its interval; some rows behind a curtain.

    Args:
        verdicts: Rows of `tfxfer.evaluate.verdicts`, one for each other arm.
        hidden: Arms whose row is covered.
    """
    figure, axes = pyplot.subplots(figsize=(8.0, 0.9 + 0.52 * len(verdicts)), layout="constrained")
    ends = [end for row in verdicts for end in (row["low"], row["high"], 0.0)]
    margin = 0.06 * (max(ends) - min(ends))
    axes.set(xlim=(min(ends) - margin, max(ends) + margin), ylim=(len(verdicts) - 0.4, -0.6))
    for y, row in enumerate(verdicts):
        if row["b"] in hidden:
            low, high = axes.get_xlim()
            axes.add_patch(Rectangle((low, y - 0.38), high - low, 0.76, facecolor=GRID, hatch="///", edgecolor="white"))
            axes.text((low + high) / 2, y, "not shown", ha="center", va="center", bbox={"color": "white"}, fontsize=9.5)
            continue
        c = colour(row["b"])
        axes.plot([row["low"], row["high"]], [y, y], color=c, linewidth=3)
        face = PAPER if row["word"] == "no evidence" else c
        marker = MARKERS.get(row["b"], "o")
        axes.plot(row["difference"], y, marker=marker, markersize=8, color=c, markerfacecolor=face)
        words = f"{signed(row['difference'])}  {row['word']}"
        axes.text(1.02, y, words, transform=axes.get_yaxis_transform(), va="center", color=WORD_COLOURS[row["word"]],
                  fontweight="bold")  # fmt: skip
    axes.set_yticks(range(len(verdicts)), [f"over {row['b']}" for row in verdicts])
    axes.axvline(0, color=INK, linewidth=1)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("transfer's lead in accuracy on the test phrases, with its 95 % interval")
    return figure


@picture
def two_sources(leads: Mapping[str, Mapping[str, Any]], scores: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw, for each source, accuracy of its arms on one line, and the verdict against random weights.

    Args:
        leads: Source -> its verdict against random weights.
        scores: Source -> arm -> mean accuracy.
    """
    figure, axes = pyplot.subplots(figsize=(8.2, 1.1 + 1.0 * len(scores)), layout="constrained")
    axes.set_ylim(len(scores) - 0.4, -0.62)
    for y, (source, by_arm) in enumerate(scores.items()):
        axes.plot([min(by_arm.values()), max(by_arm.values())], [y, y], color=GRID, linewidth=6, zorder=0)
        for arm, score in by_arm.items():
            axes.plot(score, y, marker=MARKERS.get(arm, "o"), markersize=9, color=colour(arm))
            up = arm in ("transfer", "native", "majority")
            weight = "bold" if arm == "transfer" else "normal"
            axes.annotate(arm, (score, y), (0, 11 if up else -19), textcoords="offset points", ha="center",
                          color=colour(arm), fontsize=9, fontweight=weight)  # fmt: skip
        row = leads[source]
        words = f"{signed(row['difference'])} over random\n{row['word']}"
        axes.text(1.02, y, words, transform=axes.get_yaxis_transform(), va="center", color=WORD_COLOURS[row["word"]],
                  fontweight="bold")  # fmt: skip
    axes.set_yticks(range(len(scores)), list(scores))
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("accuracy on the test phrases")
    axes.set_xlim(left=0)
    axes.grid(axis="x")
    return figure


@picture
def bootstrap(draws: Any, mean: float, low: float, high: float, by_seed: Sequence[float]) -> Figure:
    """Draw the differences of many redrawn test sets, the interval, and what each seed alone would have said."""
    figure, axes = pyplot.subplots(figsize=(8.0, 3.0), layout="constrained")
    axes.hist(draws, bins=60, color=BLUE, alpha=0.35)
    top = axes.get_ylim()[1]
    axes.plot([low, high], [-0.08 * top] * 2, color=BLUE, linewidth=4, solid_capstyle="butt", clip_on=False)
    axes.plot(mean, -0.08 * top, "o", color=BLUE, markersize=8, clip_on=False)
    axes.text(high, -0.08 * top, "  the verdict's interval: examples and seeds", va="center", color=BLUE, fontsize=9)
    for difference in by_seed:
        axes.plot([difference] * 2, [0, 0.62 * top], color=INK, linewidth=1.2)
    axes.text(max(by_seed), 0.64 * top, "  one line for each seed alone", fontsize=9, va="bottom")
    axes.axvline(0, color=INK, linewidth=1, linestyle=":")
    axes.set(yticks=[], xlabel="transfer's lead over random weights, in accuracy", ylim=(-0.16 * top, top))
    axes.spines["left"].set_visible(False)
    return figure


@picture
def luck(values: Any, seeds: int, share: float) -> Figure:
    """Draw the verdicts on pairs of arms that are both random: intervals that miss 0 are false alarms.

    Args:
        values: Rows (difference, low, high), one for each pair.
        seeds: Number of seeds in each.
        share: Share of false alarms.
    """
    figure, axes = pyplot.subplots(figsize=(8.0, 2.6), layout="constrained")
    ordered = np.asarray(values)[np.argsort([row[0] for row in values])]
    for x, (middle, low, high) in enumerate(ordered):
        wrong = low > 0 or high < 0
        c = WORD_COLOURS["hurt"] if wrong else MUTED
        axes.plot([x, x], [low, high], color=c, linewidth=3 if wrong else 1.4)
        axes.plot(x, middle, "o", color=c, markersize=3.5)
    axes.axhline(0, color=INK, linewidth=1)
    axes.set(xticks=[], ylabel="difference", title=f"dice against dice, {seeds} seed{'s' * (seeds > 1)}: "
             f"{share:.0%} false alarms")  # fmt: skip
    axes.grid(axis="y")
    return figure
