"""Colours, markers and text settings that all figures share.

The colours can be distinguished by colour-blind readers; arms also differ by marker and carry their names. Class names
and captions are data, so none is parsed as TeX (`parse_math=False`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes

INK, MUTED, GRID, PAPER = "#1b1f24", "#59636e", "#d3d9e0", "#fefefe"
PALETTE = {  # CSS variable of report.css -> colour in light mode
    "blue": "#0067b1",
    "orange": "#b84a08",
    "green": "#007a5e",
    "purple": "#7a2186",
    "olive": "#4f4200",
    "grey": "#626b77",
    "rose": "#a03a56",
    "indigo": "#4f5fb0",
}
ARM_COLOURS = {  # arms that most recipes share
    "transfer": "blue",
    "random": "orange",
    "scratch": "green",
    "finetune": "purple",
    "native": "olive",
    "majority": "grey",
}
OTHERS = ("rose", "indigo", "purple", "green", "olive", "grey")  # of further arms, as far as they are free
CORRECT, WRONG = PALETTE["green"], PALETTE["orange"]
MARKERS = {"transfer": "o", "random": "s", "scratch": "^", "finetune": "D", "native": "P", "majority": "X"}
OTHER_MARKERS = ("v", "<", ">", "p", "h", "d")
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


def colour_name(arm: str, arms: Iterable[str] = ()) -> str:
    """Return the CSS variable of an arm's colour.

    Args:
        arm: Name of the arm.
        arms: All arms of the comparison. Arms that are not standard have colours in this order; without it they are
            "muted".

    >>> colour_name("random"), colour_name("blind"), colour_name("blind", ["transfer", "blind"])
    ('orange', 'muted', 'rose')
    """
    if arm in ARM_COLOURS:
        return ARM_COLOURS[arm]
    place, names = _further(arm, arms)
    taken = {ARM_COLOURS[name] for name in names if name in ARM_COLOURS}
    free = [name for name in OTHERS if name not in taken]
    return "muted" if place is None else free[place % len(free)]


def colour(arm: str, arms: Iterable[str] = ()) -> str:
    """Return the colour of an arm as a hexadecimal code; see `colour_name`."""
    return PALETTE.get(colour_name(arm, arms), MUTED)


def marker(arm: str, arms: Iterable[str] = ()) -> str:
    """Return the marker of an arm; the arguments are those of `colour_name`.

    >>> marker("random"), marker("blind"), marker("blind", ["transfer", "blind"])
    ('s', 'o', 'v')
    """
    place, _ = _further(arm, arms)
    return MARKERS.get(arm, "o" if place is None else OTHER_MARKERS[place % len(OTHER_MARKERS)])


def shortened(text: str, length: int) -> str:
    """Return text on one line, truncated to `length` characters with an ellipsis."""
    flat = " ".join(str(text).split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def name_ticks(axes: Axes, which: str, names: Sequence[str]) -> None:
    """Set names as tick labels at 0, 1, … of the "x" or "y" axis."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(range(len(names)), labels=list(names), parse_math=False)


def _further(arm: str, arms: Iterable[str]) -> tuple[int | None, list[str]]:
    """Return the position of an arm among those that are not standard, if any, and all arms."""
    names = list(arms)
    others = [name for name in names if name not in ARM_COLOURS]
    return (others.index(arm) if arm in others else None), names
