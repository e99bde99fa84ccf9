"""Visual question answering: image, question, answers with probabilities, and the image regions of the answer."""

import textwrap
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfxfer.report.figures.images import decoded, draw
from tfxfer.report.figures.style import CORRECT, INK, MUTED, STYLE, WRONG, shortened

COLUMNS, LINE = 3, 34  # cards side by side, characters of a line


@rc_context(STYLE)
def answers(cards: list[dict[str, Any]]) -> Figure | None:
    """Draw a card for each question: the image, the regions that contribute to the answer, and the texts below.

    Args:
        cards: Dicts with "png" (base64), "heat" [h][w] (at least 0), "question", "true", "given" (answers with their
            probabilities, the most probable first) and "right" (bool).

    Returns:
        The figure, or None without cards.
    """
    if not cards:
        return None
    rows = -(-len(cards) // COLUMNS)
    figure = Figure(figsize=(2.5 * COLUMNS, 2.1 * rows))
    grid = figure.add_gridspec(
        2 * rows, 2 * COLUMNS, height_ratios=[1, 0.62] * rows, hspace=0.04, wspace=0.06,
        left=0.005, right=0.995, top=0.995, bottom=0.005,
    )  # fmt: skip
    for i, card in enumerate(cards):
        row, column = 2 * (i // COLUMNS), 2 * (i % COLUMNS)
        left, right = (figure.add_subplot(grid[row, column + side]) for side in (0, 1))
        texts = figure.add_subplot(grid[row + 1, column : column + 2])
        texts.axis("off")
        image = decoded(card["png"])
        draw(left, image)
        draw(right, image, card["heat"])
        _write(texts, card)
    return figure


def _write(axes: Axes, card: dict[str, Any]) -> None:
    """Write the question, the answer and the next most probable ones."""
    lines = [f"{shortened(name, 18)} {share:.0%}" for name, share in card["given"][:3]]
    mark = "correct" if card["right"] else f"wrong: {shortened(card['true'], 18)}"
    question = "\n".join(textwrap.wrap(shortened(card["question"], 2 * LINE), LINE))
    for y, text, colour in (
        (0.98, question, INK),
        (0.46, f"{lines[0]}  ({mark})", CORRECT if card["right"] else WRONG),
        (0.22, shortened(", ".join(lines[1:]), 38), MUTED),
    ):
        axes.text(0.02, y, text, va="top", fontsize=7.5, color=colour, parse_math=False)
