"""Figures of lesson 03: what each arm consists of, leads with intervals, and how an interval is computed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.evaluate.arms import describe, outcome
from tfxfer.evaluate.verdict import signed
from tfxfer.report.figures.style import GRID, INK, MARKERS, MUTED, PAPER, colour
from tfxfer.teach.figures.paper import BLUE, blank, box, notebook_figure
from tfxfer.teach.figures.paper import accuracies as accuracies

POINTS = 380  # width of the axes of `two_sources` in points
WORD_COLOURS = {"helped": "#007a5e", "hurt": "#a03a56", "no evidence": MUTED}


@notebook_figure
def arms() -> tuple[Figure, str]:
    """Draw what each arm consists of."""
    rows = (
        ("transfer", "architecture  +  trained weights  +  head fitted on the labels"),
        ("random", "architecture  +  random weights  +  head fitted on the labels"),
        ("scratch", "architecture, all weights trained on the labels"),
        ("native", "standard method of the target field: n-grams of letters, no image"),
        ("majority", "the labels only: always the most frequent class"),
    )
    figure, axes = pyplot.subplots(figsize=(8.4, 3.0), layout="constrained")
    blank(axes).set(xlim=(0, 10), ylim=(-0.2, len(rows)))
    for place, (arm, words) in enumerate(reversed(rows)):
        box(axes, 1.0, place + 0.4, 1.5, 0.64, arm, colour(arm), fontweight="bold")
        axes.text(2.0, place + 0.4, words, va="center", fontsize=9.5)
    axes.annotate("", (7.3, 4.45), (7.3, 3.35), arrowprops={"arrowstyle": "<->", "color": BLUE, "lw": 1.6})
    axes.text(7.45, 3.9, "the only difference:\nwhat the weights learned", va="center", color=BLUE, fontsize=9)
    alt = (
        "The arms: "
        + "; ".join(f"{arm}: {words}" for arm, words in rows)
        + ". Transfer and random differ only in what the "
        "weights learned."
    )
    return figure, alt


@notebook_figure
def leads(verdicts: Sequence[Mapping[str, Any]], hidden: Sequence[str] = ()) -> tuple[Figure, str]:
    """Draw transfer's lead over each other arm with its interval; some rows are hidden.

    Args:
        verdicts: Rows of `tfxfer.evaluate.verdicts`, one for each other arm.
        hidden: Arms whose row is hidden.
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
        words = f"{signed(row['difference'])}  {_result(row)}"
        axes.text(1.02, y, words, transform=axes.get_yaxis_transform(), va="center", color=WORD_COLOURS[row["word"]],
                  fontweight="bold")  # fmt: skip
    axes.set_yticks(range(len(verdicts)), [f"over {row['b']}" for row in verdicts])
    axes.axvline(0, color=INK, linewidth=1)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("transfer's lead in accuracy on the test phrases, with its 95 % interval")
    alt = (
        "Lead of transfer over the other arms: "
        + "; ".join(
            f"over {row['b']} not shown"
            if row["b"] in hidden
            else f"over {row['b']} {signed(row['difference'])}, {_result(row)}"
            for row in verdicts
        )
        + "."
    )
    return figure, alt


def _result(row: Mapping[str, Any]) -> str:
    """Return the result of a verdict in words: "helped" and "hurt" for a control only."""
    return outcome(row["word"], row["a"], describe(None, row["b"]))


@notebook_figure
def two_sources(
    leads: Mapping[str, Mapping[str, Any]], scores: Mapping[str, Mapping[str, float]]
) -> tuple[Figure, str]:
    """Draw, for each source, accuracy of its arms on one line, and the verdict against random weights.

    Args:
        leads: Source -> its verdict against random weights.
        scores: Source -> arm -> mean accuracy.
    """
    figure, axes = pyplot.subplots(figsize=(8.2, 1.1 + 1.15 * len(scores)), layout="constrained")
    axes.set_ylim(len(scores) - 0.35, -0.65)
    most = max(score for by_arm in scores.values() for score in by_arm.values())
    for y, (source, by_arm) in enumerate(scores.items()):
        axes.plot([min(by_arm.values()), max(by_arm.values())], [y, y], color=GRID, linewidth=6, zorder=0)
        for arm, score in by_arm.items():
            axes.plot(score, y, marker=MARKERS.get(arm, "o"), markersize=9, color=colour(arm))
        for arm, offset in _offsets(by_arm, POINTS / most).items():
            axes.annotate(arm, (by_arm[arm], y), (0, offset), textcoords="offset points", ha="center", va="center",
                          color=colour(arm), fontsize=9,
                          fontweight="bold" if arm == "transfer" else "normal")  # fmt: skip
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
    alt = "Accuracy of the arms for two sources. " + " ".join(
        f"{source}: "
        + ", ".join(f"{arm} {score:.3f}" for arm, score in by_arm.items())
        + f"; over random {signed(leads[source]['difference'])}, {leads[source]['word']}."
        for source, by_arm in scores.items()
    )
    return figure, alt


def _offsets(scores: Mapping[str, float], scale: float) -> dict[str, int]:
    """Return how many points above or below its marker the name of each arm stands, so that no two overlap.

    Args:
        scores: Arm -> accuracy.
        scale: Points for one unit of accuracy.
    """
    free = {
        16: -np.inf,
        -16: -np.inf,
        29: -np.inf,
        -29: -np.inf,
        42: -np.inf,
    }  # offset -> where its last name ends, in points
    offsets = {}
    for arm, score in sorted(scores.items(), key=lambda one: one[1]):
        half = 3.2 * len(arm) + 3
        offsets[arm] = next((at for at, end in free.items() if score * scale - half > end), 42)
        free[offsets[arm]] = score * scale + half
    return offsets


@notebook_figure
def bootstrap(draws: Any, mean: float, low: float, high: float, by_seed: Sequence[float]) -> tuple[Figure, str]:
    """Draw the differences of resampled test sets, the interval, and the difference of each seed alone."""
    figure, axes = pyplot.subplots(figsize=(8.0, 3.0), layout="constrained")
    axes.hist(draws, bins=60, color=BLUE, alpha=0.35)
    top = axes.get_ylim()[1]
    axes.plot([low, high], [-0.08 * top] * 2, color=BLUE, linewidth=4, solid_capstyle="butt", clip_on=False)
    axes.plot(mean, -0.08 * top, "o", color=BLUE, markersize=8, clip_on=False)
    axes.text(high, -0.08 * top, "  interval of the verdict: examples and seeds", va="center", color=BLUE, fontsize=9)
    for difference in by_seed:
        axes.plot([difference] * 2, [0, 0.62 * top], color=INK, linewidth=1.2)
    axes.text(max(by_seed), 0.64 * top, "  one line for each seed alone", fontsize=9, va="bottom")
    axes.axvline(0, color=INK, linewidth=1, linestyle=":")
    axes.set(yticks=[], xlabel="transfer's lead over random weights, in accuracy", ylim=(-0.16 * top, top))
    axes.spines["left"].set_visible(False)
    alt = (
        f"Histogram of the lead over random weights in resampled test sets. Mean {signed(mean)}, interval "
        f"{signed(low)} to "
        f"{signed(high)}. The seeds alone give {', '.join(signed(one) for one in by_seed)}."
    )
    return figure, alt


@notebook_figure
def false_alarms(values: Any, seeds: int, share: float) -> tuple[Figure, str]:
    """Draw the verdicts on pairs of arms that are both random: intervals without 0 are false alarms.

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
    axes.set(xticks=[], ylabel="difference", title=f"random against random, {seeds} seed{'s' * (seeds > 1)}: "
             f"{share:.0%} false alarms")  # fmt: skip
    axes.grid(axis="y")
    alt = (
        f"Intervals of {len(ordered)} comparisons of random networks with {seeds} seed{'s' * (seeds > 1)} a side. "
        f"{share:.0%} of them "
        "do not contain 0; these are false alarms."
    )
    return figure, alt
