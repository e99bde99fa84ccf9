"""Figures that compare runs: scores by budget, differences of pairs, and quality against cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, NullLocator

from tfxfer.evaluate.verdict import signed
from tfxfer.report.figures.arms import direct_labels
from tfxfer.report.figures.style import GRID, INK, PAPER, STYLE, colour, marker, name_ticks

MOST = 26  # points or rows that a figure can show


@rc_context(STYLE)
def score_curves(curves: Sequence[Mapping[str, Any]], xlabel: str, ylabel: str) -> Figure | None:
    """Draw the score against the budget (log scale), a line and an interval band for each system.

    Args:
        curves: Dicts with "name" and "points": dicts with "x", "name" (of the tick), "score", "low" and "high".
        xlabel: What a budget counts.
        ylabel: Name of the score.

    Returns:
        The figure; None where no curve has two points.
    """
    if max((len(curve["points"]) for curve in curves), default=0) < 2:
        return None
    figure = Figure(figsize=(7.4, 4.2), layout="constrained")
    axes, names, ends = figure.subplots(), [curve["name"] for curve in curves], []
    ticks: dict[float, str] = {}
    for curve in curves:
        x, y, low, high = ([p[key] for p in curve["points"]] for key in ("x", "score", "low", "high"))
        own: dict[str, Any] = {"color": colour(curve["name"], names), "marker": marker(curve["name"], names)}
        axes.fill_between(x, low, high, color=own["color"], alpha=0.14, linewidth=0, gid=f"band-{curve['name']}")
        axes.plot(x, y, linewidth=1.8, markersize=5, **own)
        ends.append((x[-1], y[-1], curve["name"]))
        ticks |= {p["x"]: p["name"] for p in curve["points"]}
    _log_budgets(axes, ticks)
    axes.grid(axis="y")
    axes.set(xlabel=f"{xlabel} (log scale)", ylabel=ylabel)
    for last in {x for x, _, _ in ends}:
        direct_labels(axes, last * 1.07, [(y, name) for x, y, name in ends if x == last], names)
    return figure


def _log_budgets(axes: Axes, ticks: Mapping[float, str]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(ticks) / 1.15, max(ticks) * 1.4)
    axes.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([ticks[x] for x in sorted(ticks)])


@rc_context(STYLE)
def pair_differences(rows: Sequence[Mapping[str, Any]], xlabel: str, margin: float | None = None) -> Figure | None:
    """Draw the interval of the difference of each pair; a hollow marker is no evidence, a grey band the margin.

    Args:
        rows: Dicts with "name", "difference", "low", "high", "sure" and "outcome".
        xlabel: Name of the difference.
        margin: Half the width of the band around 0.

    Returns:
        The figure; None without rows.
    """
    if not rows:
        return None
    shown = rows[:MOST]
    figure = Figure(figsize=(7.4, 1.0 + 0.34 * len(shown)), layout="constrained")
    axes, blue = figure.subplots(), colour("transfer")
    if margin is not None:
        axes.axvspan(-margin, margin, color=GRID, alpha=0.6, linewidth=0, gid="margin")
    for y, row in enumerate(shown):
        axes.plot([row["low"], row["high"]], [y, y], color=blue, linewidth=2)
        fill = blue if row["sure"] else PAPER
        axes.plot(row["difference"], y, "o", color=blue, markersize=6, markerfacecolor=fill)
        axes.text(1.02, y, f"{signed(row['difference'])}  {row['outcome']}", va="center", fontsize=9, parse_math=False,
                  transform=axes.get_yaxis_transform())  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    name_ticks(axes, "y", [row["name"] for row in shown])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda value, _: signed(value)[:-1] if value else "0")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(xlabel)
    return figure


@rc_context(STYLE)
def quality_by_cost(panels: Sequence[Mapping[str, Any]], ylabel: str) -> Figure | None:
    """Draw quality against each cost (log scale), side by side; the line joins the systems that no other beats.

    Args:
        panels: Dicts with "xlabel" and "points": dicts with "name", "x" (above 0), "score", "low", "high" and "best".
        ylabel: Name of the score.

    Returns:
        The figure; None without points.
    """
    drawn = [panel for panel in panels if panel["points"]]
    if not drawn:
        return None
    figure = Figure(figsize=(7.4, 3.2), layout="constrained")
    grid = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    names = sorted({point["name"] for panel in drawn for point in panel["points"]})
    for axes, panel in zip(grid, drawn):
        _cost_panel(axes, panel, names)
    grid[0].set_ylabel(ylabel)
    return figure


def _cost_panel(axes: Axes, panel: Mapping[str, Any], names: Sequence[str]) -> None:
    points = sorted(panel["points"], key=lambda point: (point["x"], point["score"]))
    front = [point for point in points if point["best"]]
    axes.step([p["x"] for p in front], [p["score"] for p in front], where="post", color=INK, linewidth=1, gid="front")
    for point in points:
        c = colour(point["name"], names)
        error = [[point["score"] - point["low"]], [point["high"] - point["score"]]]
        axes.errorbar(point["x"], point["score"], error, color=c, linewidth=1, capsize=2)
        fill = c if point["best"] else PAPER
        axes.plot(point["x"], point["score"], marker(point["name"], names), color=c, markersize=7, markerfacecolor=fill)
        axes.annotate(point["name"], (point["x"], point["score"]), (6, 5), textcoords="offset points", color=c,
                      fontweight="bold", parse_math=False)  # fmt: skip
    low, high = points[0]["x"], points[-1]["x"]
    axes.set_xscale("log")
    axes.set_xlim(min(p["x"] for p in points) / 2, max(p["x"] for p in points) * 2)
    if high / low < 10:  # no power of ten between them would be marked
        axes.xaxis.set_major_locator(FixedLocator(sorted({low, high}) if high / low > 1.5 else [low]))
    else:
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.3g}" if value < 1e4 else f"{value:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(panel["xlabel"])
    axes.grid()
