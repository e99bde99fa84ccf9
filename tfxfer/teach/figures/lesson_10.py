"""Figures of lesson 10: scores beside random weights, the atlas, predictions with intervals, and regret."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure

from tfxfer.evaluate.verdict import signed
from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import AGAINST_FOR, BLUE, GREEN, ORANGE, PURPLE, notebook_figure

LOUD = 0.2  # gain at which a colour of the heat map is full


@notebook_figure
def score_ranges(rows: Mapping[str, tuple[float, Sequence[float]]]) -> tuple[Figure, str]:
    """Draw scores of a source beside those of random weights, in units of the random draws' range.

    Args:
        rows: Score -> (value of the source, values of random weights); higher is better.
    """
    figure, axes = pyplot.subplots(figsize=(8.0, 0.9 + 0.36 * len(rows)), layout="constrained")
    shown = []
    for y, (value, random) in enumerate(rows.values()):
        low, high = min(random), max(random)
        unit = max(high - low, 1e-9)
        place = float(np.clip((value - high) / unit, -6, 14))
        ahead = value > high
        shown.append(ahead)
        axes.plot([-1, 0], [y, y], color=GRID, linewidth=8, solid_capstyle="butt")
        axes.plot(place, y, "o", markersize=9, color=BLUE if ahead else ORANGE)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(-7, 15))
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_xlabel("ranges of random weights that the source is ahead of the best of them (grey: that range)")
    axes.tick_params(axis="y", length=0)
    axes.spines[["left"]].set_visible(False)
    named = ", ".join(name for name, one in zip(rows, shown) if one) or "none"
    return figure, f"Scores of a source beside those of random weights. Ahead of all draws of random weights: {named}."


@notebook_figure
def gains(
    cells: Mapping[str, Mapping[str, float]], title: str, order: Sequence[str] | None = None
) -> tuple[Figure, str]:
    """Draw gains as a heat map: a row for each way, a column for each target.

    Args:
        cells: Way -> target -> gain; a pair that was not measured is left white.
        title: Title of the figure.
        order: Targets in the order of the columns.
    """
    ways, targets = list(cells), list(order or dict.fromkeys(t for row in cells.values() for t in row))
    table = np.array([[row.get(target, np.nan) for target in targets] for row in cells.values()])
    figure, axes = pyplot.subplots(figsize=(9.2, 1.7 + 0.31 * len(ways)), layout="constrained")
    axes.imshow(np.ma.masked_invalid(table), cmap=AGAINST_FOR, vmin=-LOUD, vmax=LOUD, aspect="auto")
    for i, j in zip(*np.nonzero(~np.isnan(table))):
        loud = abs(table[i, j]) > 0.75 * LOUD
        axes.text(j, i, f"{100 * table[i, j]:+.0f}".replace("-", "−"), ha="center", va="center", fontsize=8,
                  color="white" if loud else INK)  # fmt: skip
    axes.set_xticks(range(len(targets)), targets, rotation=35, ha="right", fontsize=8.5)
    axes.set_yticks(range(len(ways)), ways, fontsize=8.5)
    axes.set_title(title, loc="left", fontsize=10.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    known = table[~np.isnan(table)]
    alt = (
        f"{title}. {len(known)} cells: {int((known > 0).sum())} above 0, {int((known < 0).sum())} below, from "
        f"{signed(float(known.min()))} to {signed(float(known.max()))}."
    )
    return figure, alt


@notebook_figure
def scores_and_gains(rows: Mapping[str, tuple[Sequence[float], Sequence[float]]], units: str) -> tuple[Figure, str]:
    """Draw what a score says beside what was gained, a panel for each score.

    Args:
        rows: Score -> (score of the source minus that of random weights, measured gain), for each cell.
        units: What is gained.
    """
    figure, panels = pyplot.subplots(1, len(rows), figsize=(9.2, 2.7), sharey=True, layout="constrained")
    said = []
    for axes, (name, (scores, found)) in zip(np.atleast_1d(panels), rows.items()):
        axes.scatter(scores, found, s=20, color=BLUE, alpha=0.65, linewidth=0)
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.ticklabel_format(axis="x", style="plain")
        axes.tick_params(axis="x", labelsize=7.5)
        axes.locator_params(axis="x", nbins=3)
        said.append(f"{name}, {len(found)} cells")
    np.atleast_1d(panels)[0].set_ylabel(units, fontsize=9)
    figure.supxlabel("score of the source (or its size)", fontsize=9)
    return figure, f"What scores say beside {units}: " + "; ".join(said) + "."


@notebook_figure
def predicted(rows: Sequence[tuple[float, float, float, float]], level: float) -> tuple[Figure, str]:
    """Draw predicted gains with their intervals beside measured ones.

    Args:
        rows: (predicted, low, high, measured) of each cell.
        level: Of the intervals.
    """
    figure, axes = pyplot.subplots(figsize=(7.4, 4.2), layout="constrained")
    held = 0
    for mean, low, high, measured in sorted(rows):
        inside = low <= measured <= high
        held += inside
        axes.plot([mean, mean], [low, high], color=GRID, linewidth=3, zorder=0)
        axes.plot(mean, measured, "o", markersize=5, color=BLUE if inside else ORANGE, alpha=0.85)
    ends = [min(row[0] for row in rows), max(row[0] for row in rows)]
    axes.plot(ends, ends, color=MUTED, linewidth=1)
    axes.set(xlabel="predicted gain over the native baseline", ylabel="measured gain")
    share = held / len(rows)
    axes.set_title(f"{share:.0%} of {len(rows)} outcomes lie in their {level:.0%} interval", loc="left", fontsize=10.5)
    alt = f"Predicted and measured gains of {len(rows)} cells; {share:.0%} of them lie in their {level:.0%} interval."
    return figure, alt


@notebook_figure
def regret_bars(means: Mapping[str, float]) -> tuple[Figure, str]:
    """Draw the mean regret of each way to choose.

    Args:
        means: Way -> mean regret.
    """
    ordered = dict(sorted(means.items(), key=lambda row: row[1]))
    figure, axes = pyplot.subplots(figsize=(8.0, 0.7 + 0.4 * len(ordered)), layout="constrained")
    for y, (name, value) in enumerate(ordered.items()):
        c = PURPLE if name.startswith("prediction") else GREEN if "native" in name else MUTED
        axes.barh(y, value, height=0.66, color=c, alpha=0.8)
        axes.text(value, y, f" {value:.3f}", va="center", fontsize=9.5, color=c)
    axes.set_yticks(range(len(ordered)), list(ordered))
    axes.set(xlim=(0, 1.25 * max(*ordered.values(), 1e-6)), ylim=(len(ordered) - 0.4, -0.6), xticks=[])
    axes.set_xlabel("accuracy lost against the best choice, mean over targets and label counts")
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure, "Mean regret: " + ", ".join(f"{name} {value:.3f}" for name, value in ordered.items()) + "."
