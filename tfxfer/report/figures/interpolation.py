"""The loss on the line between two models, with its barrier."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfxfer.report.figures.style import INK, MUTED, PALETTE, STYLE


@rc_context(STYLE)
def interpolation(lines: Sequence[Mapping[str, Any]], ylabel: str) -> Figure | None:
    """Draw the loss along one or several lines between two models, side by side on one scale.

    The dashed line joins the losses of both ends; what rises above it is the barrier (Frankle et al. 2020).

    Args:
        lines: Dicts with "first" and "second" (names of the models), "barrier" and "points": dicts with "share" (of
            the second, 0..1) and "loss".
        ylabel: Name of the loss.

    Returns:
        The figure; None without lines.
    """
    if not lines:
        return None
    figure = Figure(figsize=(7.4, 3.0), layout="constrained")
    every = figure.subplots(1, len(lines), sharey=True, squeeze=False)[0]
    for axes, line in zip(every, lines):
        _line(axes, line)
    every[0].set_ylabel(ylabel)
    return figure


def _line(axes: Axes, line: Mapping[str, Any]) -> None:
    x, y = ([point[key] for point in line["points"]] for key in ("share", "loss"))
    straight = [y[0] + share * (y[-1] - y[0]) for share in x]
    axes.plot(x, y, "o-", color=PALETTE["blue"], linewidth=1.8, markersize=4.5)
    axes.plot(x, straight, color=MUTED, linestyle="--", linewidth=1)
    if line["barrier"] > 0:
        top = max(range(len(y)), key=lambda place: y[place] - straight[place])
        axes.vlines(x[top], straight[top], y[top], color=INK, linewidth=1)
    axes.set_title(f"barrier {line['barrier']:.3f}", fontsize=10)
    axes.set_xticks([0, 0.5, 1])
    axes.set_xticklabels([line["first"], "half", line["second"]], parse_math=False)
    axes.grid(axis="y")
