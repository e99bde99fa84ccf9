"""Attention of each word of a caption over its image, and the likelihood of captions under images."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.report.figures.images import decoded, draw
from tfxfer.report.figures.style import INK, MUTED, PALETTE, PAPER, STYLE, name_ticks, shortened

COLUMNS = 8  # most words side by side


@rc_context(STYLE)
def word_attention(captions: Sequence[dict[str, Any]]) -> Figure | None:
    """Draw an image a row: the image, then each word of its caption over the attention of that word.

    Args:
        captions: Dicts with "png" (base64), "true" (the reference caption) and "words", each a dict with "word" and
            "heat" [h][w].

    Returns:
        The figure, or None without captions.
    """
    if not captions:
        return None
    columns = 1 + min(COLUMNS, max(len(row["words"]) for row in captions))
    figure = Figure(figsize=(1.15 * columns, 1.6 * len(captions)), layout="constrained")
    grid = figure.subplots(len(captions), columns, squeeze=False)
    for axes, row in zip(grid, captions):
        image = decoded(row["png"])
        for one in axes:
            one.axis("off")
        draw(axes[0], image)
        title = "\n".join(wrap(shortened(row["true"], 36), 18))
        axes[0].set_title(title, fontsize=7, color=MUTED, parse_math=False)
        for one, word in zip(axes[1:], row["words"]):
            draw(one, image, word["heat"])
            one.set_title(shortened(word["word"], 14), fontsize=8, color=INK, parse_math=False)
    return figure


@rc_context(STYLE)
def likelihood_matrix(images: Sequence[str], captions: Sequence[str], values: Any) -> Figure:
    """Draw log p(caption | image) minus its mean over images: a row for each image, a column for each caption.

    The mean is subtracted because a short or frequent caption is likely under every image. The pairs of the data set
    are framed. A dot marks the caption whose likelihood an image raises most.

    Args:
        images: B images as base64 PNGs; image i belongs to caption i.
        captions: B captions.
        values: float [B][B], log p(caption | image), rows are images.
    """
    table = np.asarray(values, float)
    centred = table - table.mean(0, keepdims=True)  # [B, B]
    shade = (centred - centred.min()) / max(float(np.ptp(centred)), 1e-12)
    count = len(table)
    figure = Figure(figsize=(0.52 * count + 2.6, 0.42 * count + 2.4), layout="constrained")
    axes = figure.subplots()
    for i, j in np.ndindex(count, count):
        alpha = 0.03 + 0.9 * float(shade[i, j])
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=PALETTE["blue"], alpha=alpha, linewidth=0))
    for i, png in enumerate(images):
        draw(axes.inset_axes((-1.45, i - 0.42, 0.84, 0.84), transform=axes.transData), decoded(png))
        frame = Rectangle((i - 0.46, i - 0.46), 0.92, 0.92, fill=False, edgecolor=PALETTE["orange"], linewidth=1.8)
        axes.add_patch(frame)
    axes.scatter(centred.argmax(1), range(count), s=26, color=PAPER, edgecolor=INK, linewidth=0.9, zorder=3)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    name_ticks(axes, "x", [shortened(text, 26) for text in captions])
    axes.tick_params(labelsize=7, length=0)
    for label in axes.get_xticklabels():
        label.set(rotation=55, ha="right", rotation_mode="anchor")
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
