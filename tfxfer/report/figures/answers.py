"""Questions about pictures: the picture, what was asked, what was answered, and where the answer came from."""

import base64
import io
import textwrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from tfxfer.report.figures.style import COLOURS, MUTED, STYLE, shortened

COLUMNS, LINE = 4, 26  # cards side by side, characters of a line
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
    figure = Figure(figsize=(2.35 * COLUMNS, 2.45 * rows), layout="constrained")
    grid = figure.subplots(rows, 2 * COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for place, card in enumerate(cards):
        left, right = grid[place // COLUMNS, 2 * (place % COLUMNS) :][:2]
        picture = _pixels(card["png"])
        shown = {"cmap": "gray", "vmin": 0, "vmax": 255} if picture.ndim == 2 else {}
        left.imshow(picture, **shown)
        right.imshow(picture, alpha=0.4, **shown)
        heat = np.asarray(card["heat"], float)
        extent = (-0.5, picture.shape[1] - 0.5, picture.shape[0] - 0.5, -0.5)
        right.imshow(heat / max(heat.max(), 1e-9), cmap="Oranges", alpha=0.55, extent=extent, interpolation="nearest")
        colour = RIGHT if card["right"] else WRONG
        _write(left, 0.0, "\n".join(textwrap.wrap(shortened(card["question"], 3 * LINE), LINE)), None)
        lines = [f"{shortened(name, 20)} {share:.0%}" for name, share in card["given"][:3]]
        mark = "right" if card["right"] else f"wrong: {shortened(card['true'], 18)}"
        _write(left, -0.42, lines[0] + f"  ({mark})", colour)
        _write(left, -0.58, ", ".join(lines[1:]), MUTED)
    return figure


def _write(axes: Any, y: float, text: str, colour: str | None) -> None:
    """Write text below a picture, `y` in heights of it; text from outside is never read as TeX."""
    options = {} if colour is None else {"color": colour}
    axes.text(0, y - 0.04, text, transform=axes.transAxes, va="top", fontsize=7.5, parse_math=False, **options)


def _pixels(encoded: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
