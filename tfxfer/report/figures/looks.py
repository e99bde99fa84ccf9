"""Where each word of a caption looked, and K as a heat map."""

import base64
import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tfxfer.report.figures.style import INK, MUTED, shortened

COLUMNS = 8  # words side by side


def word_looks(rows: list[dict[str, Any]]) -> Figure | None:
    """Draw pictures, one a row: the picture, then each word over the places it looked at.

    Args:
        rows: Dicts with "png" (base64), "true" and "words", each with "word" and "heat" [h][w].
    """
    if not rows:
        return None
    columns = 1 + min(COLUMNS, max(len(row["words"]) for row in rows))
    figure = Figure(figsize=(1.15 * columns, 1.55 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, row in zip(grid, rows):
        picture = _pixels(row["png"])
        for one in axes:
            one.axis("off")
        axes[0].imshow(picture, cmap="gray", vmin=0, vmax=255)
        axes[0].set_title(shortened(row["true"].lower(), 22), fontsize=7, color=MUTED, parse_math=False)
        for one, word in zip(axes[1:], row["words"]):
            one.imshow(picture, cmap="gray", vmin=0, vmax=255, alpha=0.45)
            heat = np.asarray(word["heat"], float)
            extent = (-0.5, picture.shape[1] - 0.5, picture.shape[0] - 0.5, -0.5)
            one.imshow(heat / heat.max(), cmap="Oranges", alpha=0.55, extent=extent, interpolation="bilinear")
            one.set_title(shortened(word["word"], 14), fontsize=8, color=INK, parse_math=False)
    return figure


def matrix(told: dict[str, Any]) -> Figure:
    """Draw K: pictures down, captions across, the darker the likelier; the right pairs are framed.

    Args:
        told: "png" base64 [B], "captions" [C] and "values" [B][C]; picture i belongs to caption i.
    """
    values = np.asarray(told["values"], float)
    count = len(values)
    figure = Figure(figsize=(0.52 * count + 2.6, 0.42 * count + 2.4), layout="constrained")
    axes = figure.subplots()
    shades = values - values.mean(0, keepdims=True)  # a short or common caption is likely whatever is seen
    axes.imshow(shades, cmap="Blues")
    axes.set_xticks(range(count), [shortened(text.lower(), 26) for text in told["captions"]], rotation=55, ha="right")
    axes.tick_params(labelsize=7, length=0)
    axes.set_yticks([])
    for i, encoded in enumerate(told["png"]):
        inset = axes.inset_axes((-1.45, i - 0.42, 0.84, 0.84), transform=axes.transData)
        inset.imshow(_pixels(encoded), cmap="gray", vmin=0, vmax=255)
        inset.axis("off")
        best = int(shades[i].argmax())
        axes.add_patch(_frame(i, i, "#b84a08"))
        axes.text(best, i, "●", ha="center", va="center", fontsize=8, color="white" if shades[i].max() > 0 else INK)
    for label in axes.get_xticklabels():
        label.set_parse_math(False)
    return figure


def _frame(x: int, y: int, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=colour, linewidth=1.8)


def _pixels(encoded: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
