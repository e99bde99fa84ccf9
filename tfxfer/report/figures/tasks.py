"""Which task helped which, as a matrix."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.evaluate.verdict import signed
from tfxfer.report.figures.style import GRID, INK, MUTED, PALETTE, STYLE, name_ticks

FULL = 0.1  # a difference of so much has the full colour
NAME = 9  # characters of a task's name on a line
STRONGEST = 0.45  # opacity of the full colour: text in ink stays legible on it, on light and on dark paper


@rc_context(STYLE)
def task_matrix(rows: Sequence[str], columns: Sequence[str], cells: Sequence[dict[str, Any]]) -> Figure | None:
    """Draw a row for what trained beside a task, a column for the task that is judged, or None without a cell.

    Blue is better than the task alone, orange worse, the stronger the greater the difference; grey where there is no
    evidence of one. A frame marks a difference that remains after Holm's adjustment. On the diagonal is the task alone.

    Args:
        rows: What trained beside.
        columns: The tasks that are judged.
        cells: What `tfxfer.evaluate.task_matrix.task_matrix` returns.
    """
    if not cells:
        return None
    figure = Figure(figsize=(0.7 + 0.98 * len(columns), 0.8 + 0.72 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for cell in cells:
        _draw(axes, columns.index(cell["task"]), rows.index(cell["with"]), cell)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    name_ticks(axes, "x", [_lines(name) for name in columns])
    name_ticks(axes, "y", [_lines(f"with {name}") for name in rows])
    axes.tick_params(length=0, labelsize=9, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.set_title("task judged", fontsize=9, color=MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _draw(axes: Axes, x: int, y: int, cell: dict[str, Any]) -> None:
    if "score" in cell:
        frame, alpha = GRID, 0.35
        lines = [f"{cell['score']:.3f}", f"{_short(cell['low'], '.3f')} to {_short(cell['high'], '.3f')}", "alone"]
    else:
        colour = {"helped": PALETTE["blue"], "hurt": PALETTE["orange"]}.get(cell["word"], GRID)
        strength = min(abs(cell["difference"]) / FULL, 1.0)
        frame = colour
        alpha = 0.12 + (STRONGEST - 0.12) * strength if cell["word"] != "no evidence" else 0.12
        lines = [signed(cell["difference"]), f"{_short(cell['low'])} to {_short(cell['high'])}", cell["word"]]
    axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=frame, alpha=alpha, linewidth=0))
    if cell.get("adjusted", "no evidence") != "no evidence":
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fill=False, edgecolor=frame, linewidth=2))
    for text, place, size, weight in zip(lines, (-0.25, 0.03, 0.29), (10, 7.5, 8), ("bold", "normal", "normal")):
        axes.text(x, y + place, text, ha="center", va="center", fontsize=size, fontweight=weight, color=INK)


def _short(number: float, form: str = "+.3f") -> str:
    """Return a number between -1 and 1 without its leading zero, so that an interval fits into a narrow cell."""
    return f"{number:{form}}".replace("0.", ".", 1).replace("-", "−")


def _lines(name: str) -> str:
    """Return a name on several lines, broken at spaces and after a colon."""
    return "\n".join(wrap(name.replace(":", ": "), NAME, break_long_words=False))
