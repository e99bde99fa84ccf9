"""Questions about pictures: the picture, what was asked, what was answered, and where the answer came from."""

import base64
import io
import textwrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from tfxfer.report.figures.style import COLOURS, INK, MUTED, STYLE, shortened

COLUMNS, LINE = 4, 34  # cards side by side, characters of a line
RIGHT, WRONG = COLOURS["scratch"], COLOURS["random"]


@rc_context(STYLE)
def answers(cards: list[dict[str, Any]]) -> Figure | None:
    """Draw cards: the picture, the places that the answer came from, and the words below.

    Args:
        cards: Dicts with "png" (base64), "heat" [h][w] (at least 0), "question", "true", "given" (answers with their
            probabilities, the likeliest first) and "right" (bool).
    """
    if not cards:
        return None
    rows = -(-len(cards) // COLUMNS)
    figure = Figure(figsize=(2.5 * COLUMNS, 2.1 * rows))
    grid = figure.add_gridspec(
        2 * rows, 2 * COLUMNS, height_ratios=[1, 0.62] * rows, hspace=0.04, wspace=0.06,
        left=0.005, right=0.995, top=0.995, bottom=0.005,
    )  # fmt: skip
    for place, card in enumerate(cards):
        row, column = 2 * (place // COLUMNS), 2 * (place % COLUMNS)
        left, right = (figure.add_subplot(grid[row, column + side]) for side in (0, 1))
        words = figure.add_subplot(grid[row + 1, column : column + 2])
        for axes in (left, right, words):
            axes.axis("off")
        _draw(left, right, card)
        _tell(words, card)
    return figure


def _draw(left: Any, right: Any, card: dict[str, Any]) -> None:
    """Draw the picture, and again under the places that the answer came from."""
    picture = _pixels(card["png"])
    shown: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255} if picture.ndim == 2 else {}
    left.imshow(picture, **shown)
    right.imshow(picture, alpha=0.4, **shown)
    heat = np.asarray(card["heat"], float)
    extent = (-0.5, picture.shape[1] - 0.5, picture.shape[0] - 0.5, -0.5)
    right.imshow(heat / max(heat.max(), 1e-9), cmap="Oranges", alpha=0.55, extent=extent, interpolation="nearest")


def _tell(axes: Any, card: dict[str, Any]) -> None:
    """Write question, answer and the next likely ones; text from outside is never read as TeX."""
    lines = [f"{shortened(name, 18)} {share:.0%}" for name, share in card["given"][:3]]
    mark = "right" if card["right"] else f"wrong: {shortened(card['true'], 18)}"
    question = "\n".join(textwrap.wrap(shortened(card["question"], 2 * LINE), LINE))
    for y, text, colour in (
        (0.98, question, INK),
        (0.46, f"{lines[0]}  ({mark})", RIGHT if card["right"] else WRONG),
        (0.22, shortened(", ".join(lines[1:]), 38), MUTED),
    ):
        axes.text(0.02, y, text, va="top", fontsize=7.5, color=colour, parse_math=False)


def _pixels(encoded: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
