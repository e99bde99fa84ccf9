"""The difference of two arms over the steps of training, with its intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from tfxfer.report.figures.style import INK, PALETTE, PAPER, STYLE

ACROSS = 4  # curves side by side


@rc_context(STYLE)
def difference_over_steps(curves: Sequence[Mapping[str, Any]], ylabel: str) -> Figure | None:
    """Draw one curve for each budget, side by side on one scale: the difference against the steps (log scale).

    A filled point is a verdict, an empty one is none: its interval holds 0.

    Args:
        curves: Dicts with "title", "xlabel" and "points": dicts with "x" (steps, or their share of the whole), "name"
            (of the tick), "difference", "low", "high" and "sure", whether the verdict is one.
        ylabel: Name of the difference.

    Returns:
        The figure; None without curves.
    """
    if not curves:
        return None
    across = min(ACROSS, len(curves))
    down = -(-len(curves) // across)
    figure = Figure(figsize=(7.4, 0.4 + 2.6 * down), layout="constrained")
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    every = list(grid.flat)
    for axes, curve in zip(every, curves):
        _curve(axes, curve)
    for axes in every[len(curves) :]:
        axes.set_visible(False)
    figure.supylabel(ylabel, fontsize=10)
    return figure


def _curve(axes: Axes, curve: Mapping[str, Any]) -> None:
    points = curve["points"]
    x, y, low, high = ([point[key] for point in points] for key in ("x", "difference", "low", "high"))
    blue = PALETTE["blue"]
    axes.fill_between(x, low, high, color=blue, alpha=0.16, linewidth=0, gid="interval")
    axes.plot(x, y, color=blue, linewidth=1.8)
    for point in points:
        fill = blue if point["sure"] else PAPER
        axes.plot(point["x"], point["difference"], "o", color=blue, markersize=5.5, markerfacecolor=fill)
    axes.axhline(0, color=INK, linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(x))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([point["name"] for point in points])
    axes.tick_params(axis="x", labelrotation=60 if max(len(point["name"]) for point in points) > 3 else 0)
    axes.set_title(curve["title"], fontsize=10, parse_math=False)
    axes.set_xlabel(curve["xlabel"])
    axes.grid(axis="y")
