"""K over pairs of pictures and texts: the matrix itself, and which pictures a text finds."""

import base64
import io
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle

from tfxfer.report.figures.style import COLOURS, GRID, INK, MUTED, PAPER, STYLE, name_ticks, shortened

NAME = 34  # characters of a text
RIGHT, SIDE = COLOURS["scratch"], 26  # colour of what is right; points of a picture's side


@rc_context(STYLE)
def heat(k: Any, pictures: Sequence[str], texts: Sequence[str], right: Any = None) -> Figure:
    """Draw K: a row for each picture, a column for each text; the stronger the colour, the better they match.

    Right pairs are framed, and a dot is on the text that each picture finds. Colours are those of a row: from its
    least K to its greatest.

    Args:
        k: float [B, C].
        pictures: B pictures as base64 PNGs.
        texts: C texts.
        right: bool [B, C]; by default picture i belongs to text i.
    """
    table = np.asarray(k, float)
    belongs = np.eye(*table.shape) > 0 if right is None else np.asarray(right, bool)
    rows, columns = table.shape
    figure = Figure(figsize=(2.0 + 0.36 * columns, 2.6 + 0.36 * rows), layout="constrained")
    axes = figure.subplots()
    low, high = table.min(1, keepdims=True), table.max(1, keepdims=True)
    shade = (table - low) / np.maximum(high - low, 1e-12)
    for i, j in np.ndindex(rows, columns):
        cell = Rectangle(
            (j - 0.5, i - 0.5), 1, 1, color=COLOURS["transfer"], alpha=0.03 + 0.9 * shade[i, j], linewidth=0
        )
        axes.add_patch(cell)
        if belongs[i, j]:
            axes.add_patch(Rectangle((j - 0.44, i - 0.44), 0.88, 0.88, fill=False, edgecolor=INK, linewidth=1.4))
    axes.scatter(table.argmax(1), range(rows), s=14, color=PAPER, edgecolor=INK, linewidth=0.8, zorder=3, label="found")
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
    name_ticks(axes, "x", [shortened(text, NAME) for text in texts])
    axes.tick_params(
        axis="x", rotation=90, labelsize=7, length=0, top=True, labeltop=True, bottom=False, labelbottom=False
    )
    axes.set_yticks([])
    for i, one in enumerate(pictures):
        place(axes, one, (0.0, i), (-14, 0), 20, axes.get_yaxis_transform())
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@rc_context(STYLE)
def gallery(queries: Sequence[dict[str, Any]]) -> Figure:
    """Draw what each text finds: its pictures from the best to the worst, right ones framed and ticked.

    Args:
        queries: Dicts with "text", "rank" (place of the first right picture) and "found", a list of dicts with
            "png" (base64) and "right" (bool), best first.
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
                box = Rectangle((j + 0.05, i - 0.46), 0.9, 0.92, fill=False, edgecolor=RIGHT, linewidth=2.2)
                axes.add_patch(box)
                axes.text(j + 0.9, i - 0.26, "✓", color=RIGHT, ha="center", va="center", fontweight="bold", zorder=4)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    return figure


def label(query: dict[str, Any]) -> str:
    """Return a query's text, and where its picture stands when it is not among those shown."""
    text = "\n".join(wrap(shortened(query["text"], 2 * NAME), NAME))
    return text if any(one["right"] for one in query["found"]) else f"{text}\n(right one: place {query['rank']:,})"


def place(axes: Axes, png: str, at: tuple[float, float], offset: tuple[float, float], side: float, within: Any) -> None:
    """Put a base64 PNG on the axes, `side` points high and wide."""
    pixels = decoded(png)
    image = OffsetImage(pixels, zoom=side / max(pixels.shape[:2]), cmap="gray", interpolation="nearest")
    image.image.set_clim(0, 255)
    frame = {"edgecolor": MUTED, "linewidth": 0.5, "facecolor": "none"}
    box = AnnotationBbox(image, at, offset, within, boxcoords="offset points", pad=0, bboxprops=frame)
    axes.add_artist(box)


def decoded(png: str) -> np.ndarray:
    """Return a base64 PNG as uint8 [H, W] or [H, W, 3]."""
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    return np.asarray(picture.convert("L" if picture.mode in ("L", "1") else "RGB"))
