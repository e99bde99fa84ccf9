"""Confusion matrix, reliability diagram and training curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.evaluate import calibration
from tfxfer.records import Comparison
from tfxfer.report.figures.style import GRID, INK, MUTED, PALETTE, PAPER, STYLE, colour, marker, name_ticks, shortened

LINE_KEYS = ("arm", "budget", "seed", "learning_rate")  # keys that separate the curves of a phase
MOST_CLASSES = 24  # a larger confusion matrix is not legible


@rc_context(STYLE)
def confusion(counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix: a row for each true class, shaded by the share of that row.

    Beyond 24 classes only the 24 with the most errors are drawn.

    Args:
        counts: int [C, C], rows true, columns predicted, as `evaluate.classification` counts them.
        class_names: The C names.
    """
    table = np.asarray(counts)
    shown = confusion_classes(table)
    names = [shortened(class_names[c], 18) for c in shown]
    share = table / np.maximum(table.sum(1, keepdims=True), 1)  # [C, C]
    size = 2.2 + 0.4 * len(shown)
    figure = Figure(figsize=(min(size + 1.2, 9.0), min(size, 8.2)), layout="constrained")
    axes = figure.subplots()
    for i, row in enumerate(shown):
        for j, column in enumerate(shown):
            if not table[row, column]:
                continue
            alpha = 0.06 + 0.94 * share[row, column]
            cell = Rectangle((j - 0.5, i - 0.5), 1, 1, color=PALETTE["blue"], alpha=alpha, linewidth=0)
            axes.add_patch(cell)
            dark = share[row, column] > 0.72
            axes.text(j, i, f"{table[row, column]}", ha="center", va="center", fontsize=8,
                      color=PAPER if dark else INK, fontweight="bold" if i == j else "normal")  # fmt: skip
    axes.set(xlim=(-0.5, len(shown) - 0.5), ylim=(len(shown) - 0.5, -0.5), xlabel="predicted", ylabel="true")
    name_ticks(axes, "x", names)
    name_ticks(axes, "y", names)
    axes.tick_params(axis="x", rotation=90 if len(shown) > 6 else 0)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(GRID)
    return figure


@rc_context(STYLE)
def reliability(comparison: Comparison, arms: Sequence[str], budget: int | None) -> Figure:
    """Draw accuracy against confidence in 15 bins, all seeds of an arm together, and the diagonal of calibration."""
    figure = Figure(figsize=(5.6, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="perfectly calibrated")
    for arm in arms:
        found = [r.probabilities for r in comparison.select(arm, budget)]
        rows = [p for p in found if p is not None]
        if not rows:
            continue
        error, points = calibration(np.tile(comparison.labels, len(rows)), np.concatenate(rows))
        x, y = ([p[key] for p in points] for key in ("confidence", "accuracy"))
        area = [8 + 150 * np.sqrt(p["count"] / (len(rows) * len(comparison.labels))) for p in points]
        axes.plot(x, y, color=colour(arm), linewidth=1.4)
        label = f"{arm}: calibration error {error:.3f}"
        axes.scatter(x, y, area, color=colour(arm), marker=marker(arm), alpha=0.75, label=label)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence: probability of the answer", ylabel="accuracy")
    axes.grid()
    legend = axes.legend(loc="upper left", fontsize=9)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([36])
    return figure


@rc_context(STYLE)
def training(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Draw loss and accuracy by epoch, a line of panels for each phase (at most five), or None without rows.

    Args:
        rows: Dicts with `phase` and `epoch`, any of `loss`, `val_loss`, `accuracy`, `val_accuracy`, and
            optionally `arm`, `budget`, `seed` and `learning_rate`; each combination is a line.
    """
    phases = list(dict.fromkeys(str(r["phase"]) for r in rows))[:5]
    if not phases:
        return None
    figure = Figure(figsize=(7.4, 0.5 + 2.1 * len(phases)), layout="constrained")
    grid = figure.subplots(len(phases), 2, squeeze=False)
    for line, phase in zip(grid, phases):
        mine = [r for r in rows if str(r["phase"]) == phase]
        for axes, key in zip(line, ("loss", "accuracy")):
            _curves(axes, mine, key)
            axes.set_title(f"{shortened(phase, 30)}: {key}", fontsize=10, loc="left", parse_math=False)
            axes.set_xlabel("epoch")
            axes.grid(axis="y")
    return figure


def confusion_classes(counts: np.ndarray) -> list[int]:
    """Return the classes of a confusion matrix: all, or the 24 with the most errors, in class order."""
    errors = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    return sorted(np.argsort(-errors, kind="stable")[:MOST_CLASSES].tolist())


def _curves(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    lines: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        lines.setdefault(tuple(str(row.get(name)) for name in LINE_KEYS), []).append(row)
    for name, label, hue, dash in (
        (key, "training", "blue", "-"),
        (f"val_{key}", "validation", "orange", "--"),
    ):
        shown = False
        for line in lines.values():
            points = {row["epoch"]: row[name] for row in line if name in row}  # the last, if a run was resumed
            if points:
                epochs = sorted(points)
                dots = "o" if len(epochs) < 3 else None
                axes.plot(epochs, [points[e] for e in epochs], dash, color=PALETTE[hue], marker=dots,
                          linewidth=1.3, alpha=0.8 if len(lines) < 4 else 0.4, markersize=3,
                          label=None if shown else label)  # fmt: skip
                shown = True
    if axes.lines:
        axes.legend(fontsize=8)
