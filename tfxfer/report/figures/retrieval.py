"""Image–text retrieval: the similarity matrix K, and the images retrieved for each text."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle

from tfxfer.report.figures.images import decoded
from tfxfer.report.figures.style import CORRECT, GRID, INK, MUTED, PALETTE, PAPER, STYLE, name_ticks, shortened

NAME = 34  # characters of a text on a line
SIDE = 26  # points of an image's side


@rc_context(STYLE)
def similarity_matrix(k: Any, images: Sequence[str], texts: Sequence[str], correct: Any = None) -> Figure:
    """Draw K: a row for each image, a column for each text; a stronger colour is a greater similarity.

    Correct pairs are framed. A dot marks the text with the greatest K of each row. The colours of a row extend from
    its least K to its greatest.

    Args:
        k: float [B, C].
        images: B images as base64 PNGs.
        texts: C texts.
        correct: bool [B, C]; by default image i belongs to text i.
    """
    table = np.asarray(k, float)
    belongs = np.eye(*table.shape) > 0 if correct is None else np.asarray(correct, bool)
    rows, columns = table.shape
    figure = Figure(figsize=(2.0 + 0.36 * columns, 2.6 + 0.36 * rows), layout="constrained")
    axes = figure.subplots()
    low, high = table.min(1, keepdims=True), table.max(1, keepdims=True)
    shade = (table - low) / np.maximum(high - low, 1e-12)
    for i, j in np.ndindex(rows, columns):
        cell = Rectangle((j - 0.5, i - 0.5), 1, 1, color=PALETTE["blue"], alpha=0.03 + 0.9 * shade[i, j], linewidth=0)
        axes.add_patch(cell)
        if belongs[i, j]:
            axes.add_patch(Rectangle((j - 0.44, i - 0.44), 0.88, 0.88, fill=False, edgecolor=INK, linewidth=1.4))
    axes.scatter(table.argmax(1), range(rows), s=14, color=PAPER, edgecolor=INK, linewidth=0.8, zorder=3)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
    name_ticks(axes, "x", [shortened(text, NAME) for text in texts])
    axes.tick_params(
        axis="x", rotation=90, labelsize=7, length=0, top=True, labeltop=True, bottom=False, labelbottom=False
    )
    axes.set_yticks([])
    for i, one in enumerate(images):
        place(axes, one, (0.0, i), (-14, 0), 20, axes.get_yaxis_transform())
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@rc_context(STYLE)
def retrieved_images(queries: Sequence[dict[str, Any]]) -> Figure:
    """Draw the images retrieved for each text, best first; correct ones are framed and ticked.

    Args:
        queries: Dicts with "text", "rank" (of the first correct image) and "found", a list of dicts with "png" (base64)
            and "right" (bool), best first.
    """
    most = max((len(query["found"]) for query in queries), default=1)
    figure = Figure(figsize=(3.4 + 0.62 * most, 0.5 + 0.66 * len(queries)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, most), ylim=(len(queries) - 0.5, -0.5))
    axes.set_xticks(np.arange(most) + 0.5, labels=[str(i + 1) for i in range(most)])
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(queries)), labels=[label(query) for query in queries], parse_math=False, fontsize=8)
    axes.tick_params(length=0)
    for i, query in enumerate(queries):
        for j, one in enumerate(query["found"]):
            place(axes, one["png"], (j + 0.5, i), (0, 0), SIDE, axes.transData)
            if one["right"]:
                box = Rectangle((j + 0.05, i - 0.46), 0.9, 0.92, fill=False, edgecolor=CORRECT, linewidth=2.2)
                axes.add_patch(box)
                axes.text(j + 0.9, i - 0.26, "✓", color=CORRECT, ha="center", va="center", fontweight="bold", zorder=4)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    return figure


def label(query: dict[str, Any]) -> str:
    """Return the text of a query, and the rank of its image when that is not shown."""
    text = "\n".join(wrap(shortened(query["text"], 2 * NAME), NAME))
    return text if any(one["right"] for one in query["found"]) else f"{text}\n(correct image: rank {query['rank']:,})"


def place(axes: Axes, png: str, at: tuple[float, float], offset: tuple[float, float], side: float, within: Any) -> None:
    """Put a base64 PNG on the axes, `side` points high and wide."""
    pixels = decoded(png)
    image = OffsetImage(pixels, zoom=side / max(pixels.shape[:2]), cmap="gray", interpolation="nearest")
    image.image.set_clim(0, 255)
    frame = {"edgecolor": MUTED, "linewidth": 0.5, "facecolor": "none"}
    box = AnnotationBbox(image, at, offset, within, boxcoords="offset points", pad=0, bboxprops=frame)
    axes.add_artist(box)
