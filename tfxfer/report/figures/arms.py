"""Scores of the arms by budget, and differences between transfer and the other arms."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from tfxfer.evaluate import summary, verdicts
from tfxfer.evaluate.arms import describe, outcome
from tfxfer.evaluate.comparison import POOLED, budget_words, measure_name
from tfxfer.evaluate.verdict import signed
from tfxfer.records import Comparison
from tfxfer.report.figures.style import INK, PAPER, STYLE, colour, marker, name_ticks
from tfxfer.report.words import budget_name


@rc_context(STYLE)
def label_efficiency(comparison: Comparison) -> Figure:
    """Draw the score against the budget (log scale), a line and an interval band for each arm.

    The bands are the intervals of `evaluate.summary`. A budget of all examples is drawn at the right, as "all".
    """
    figure = Figure(figsize=(7.4, 4.4), layout="constrained")
    draw_efficiency(figure.subplots(), comparison)
    return figure


def draw_efficiency(axes: Axes, comparison: Comparison) -> None:
    """Draw the lines of `label_efficiency` on given axes."""
    places = _budget_places(comparison.budgets)
    ends: list[tuple[float, str]] = []
    singles: dict[float, list[tuple[float, str]]] = {}  # x -> arms with this budget only
    table = [row for row in summary(comparison) if row["score"] is not None]
    for arm in comparison.arms:
        rows = [row for row in table if row["arm"] == arm]
        if not rows:
            continue
        x = [places[r["budget"]] for r in rows]
        y, low, high = ([r[key] for r in rows] for key in ("score", "low", "high"))
        style: dict[str, Any] = {"color": colour(arm, comparison.arms), "marker": marker(arm, comparison.arms)}
        if len(rows) == 1:
            axes.errorbar(x, y, [[y[0] - low[0]], [high[0] - y[0]]], capsize=3, **style)
            singles.setdefault(x[0], []).append((y[0], arm))
        else:
            ends.append((y[-1], arm))
            axes.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0, gid=f"band-{arm}")
            axes.plot(x, y, linewidth=2.4 if arm == "transfer" else 1.6, markersize=5, **style)
    axes.set_xscale("log")
    axes.set_xlim(min(places.values()) / 1.15, max(places.values()) * 1.75)
    axes.xaxis.set_major_locator(FixedLocator(list(places.values())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([budget_name(n) for n in places])
    if all(row["score"] >= 0 for row in table):
        axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.set(xlabel=f"{comparison.unit} (log scale)", ylabel=_on_test(comparison))
    last = max(places.values())
    direct_labels(axes, last * 1.07, ends + singles.pop(last, []), comparison.arms)  # one call, so that none overlap
    for x_single, scores in singles.items():
        direct_labels(axes, x_single * 1.07, scores, comparison.arms)


@rc_context(STYLE)
def accuracies(comparison: Comparison) -> Figure:
    """Draw the score of each arm with its interval, for experiments with a single budget."""
    rows = [r for r in summary(comparison) if r["score"] is not None]
    figure = Figure(figsize=(7.4, 0.9 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        error = [[row["score"] - row["low"]], [row["high"] - row["score"]]]
        arms = comparison.arms
        style: dict[str, Any] = {"color": colour(row["arm"], arms), "marker": marker(row["arm"], arms)}
        axes.errorbar(row["score"], place, xerr=error, capsize=3, **style)
    name_ticks(axes, "y", [f"{r['arm']}, {budget_words([r['budget']], comparison.unit)}" for r in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if all(row["score"] >= 0 for row in rows):
        axes.set_xlim(left=0)
    axes.grid(axis="x")
    axes.set_xlabel(_on_test(comparison))
    return figure


@rc_context(STYLE)
def differences(comparison: Comparison, rows: Sequence[Mapping[str, Any]] | None = None) -> Figure:
    """Draw the interval of transfer minus each other arm at each budget: right of 0, transfer is better.

    Args:
        comparison: The records.
        rows: Rows of `evaluate.verdicts`; computed when not given.
    """
    rows = verdicts(comparison) if rows is None else rows
    others = list(dict.fromkeys(row["b"] for row in rows))
    figure = Figure(figsize=(7.4, 1.0 + 0.235 * (len(rows) + 1.4 * len(others))), layout="constrained")
    axes = figure.subplots()
    names: dict[float, str] = {}
    y = 0.0
    for other in others:
        names[y] = f"over {other}"
        for row in (r for r in rows if r["b"] == other):
            y += 1
            pooled = row["budget"] == POOLED
            names[y] = "all budgets" if pooled else budget_name(row["budget"])
            _forest_row(axes, y, row, comparison)
        y += 1.6
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(list(names), list(names.values()), parse_math=False)
    for label in axes.get_yticklabels():
        if label.get_text().startswith("over "):
            label.set(color=colour(label.get_text().removeprefix("over "), comparison.arms), fontweight="bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(y - 0.8, -0.8)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda value, _: signed(value)[:-1] if value else "0")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(
        f"← other arm better  |  difference in {measure_name(comparison.measures[0])}  |  transfer better →"
    )
    axes.set_ylabel(comparison.unit)
    return figure


def _on_test(comparison: Comparison) -> str:
    return f"{measure_name(comparison.measures[0])} on the test split"


def _budget_places(budgets: Sequence[int | None]) -> dict[int | None, float]:
    largest = max((n for n in budgets if n is not None), default=1)
    return {n: float(n if n is not None else largest * 3) for n in budgets}


def direct_labels(axes: Axes, x: float, ends: list[tuple[float, str]], arms: Sequence[str]) -> None:
    """Write each arm's name beside the end of its line, moved where labels would overlap or leave the axes."""
    gap, top = 0.055 * float(np.ptp(axes.get_ylim())), float(axes.get_ylim()[1])
    places: list[float] = []
    for y, _ in sorted(ends):
        places.append(max(y, places[-1] + gap) if places else y)
    for i in reversed(range(len(places))):  # down again from the upper end
        top = min(top, places[i])
        places[i], top = top, top - gap
    for (_, arm), placed in zip(sorted(ends), places):
        axes.text(x, placed, arm, color=colour(arm, arms), va="center", parse_math=False,
                  fontweight="bold" if arm == "transfer" else "normal")  # fmt: skip


def _forest_row(axes: Axes, y: float, row: Mapping[str, Any], comparison: Comparison) -> None:
    pooled, sure = row["budget"] == POOLED, row["word"] != "no evidence"
    c = colour(row["b"], comparison.arms)
    result = outcome(row["word"], row["a"], describe(comparison.about, row["b"]))
    axes.plot([row["low"], row["high"]], [y, y], color=c, linewidth=3 if pooled else 1.8)
    axes.plot(row["difference"], y, marker="D" if pooled else "o", markersize=7 if pooled else 5.5, color=c,
              markerfacecolor=c if sure else PAPER)  # fmt: skip
    axes.text(1.02, y, f"{signed(row['difference'])}  {result}", transform=axes.get_yaxis_transform(),
              va="center", fontsize=9, fontweight="bold" if pooled else "normal")  # fmt: skip
