"""Colours, markers and text that all figures share.

Colours keep apart for colour-blind readers, and arms also differ by marker and carry their names. Class names
are text from outside, so none is read as TeX (`parse_math=False`).
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

INK, MUTED, GRID, PAPER = "#1b1f24", "#59636e", "#d3d9e0", "#fefefe"
COLOURS = {
    "transfer": "#0067b1",
    "random": "#b84a08",
    "scratch": "#007a5e",
    "finetune": "#7a2186",
    "native": "#4f4200",
    "majority": "#626b77",
    "shuffled": "#a03a56",
    "blind": "#4f5fb0",
    "question_only": "#3d51a8",
    "neighbour": "#4f4200",
    "random_f": "#7a2186",
    "anchors": "#007a5e",
}
MARKERS = {"transfer": "o", "random": "s", "scratch": "^", "finetune": "D", "native": "P", "majority": "X"}
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.facecolor": "none",
}


def colour(arm: str) -> str:
    """Return the colour of an arm; arms without one of their own share a grey."""
    return COLOURS.get(arm, MUTED)


def shortened(text: str, length: int) -> str:
    """Return text on one line, cut at `length` characters with an ellipsis."""
    flat = " ".join(str(text).split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def name_ticks(axes: Axes, which: str, names: Sequence[str]) -> None:
    """Write names as they are at 0, 1, … of the "x" or "y" axis."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(range(len(names)), labels=list(names), parse_math=False)
