"""Figures of lesson 09: sizes of heads, features as token ids, and the origin of loaded tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.report.figures.style import MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, STRENGTH, blank, notebook_figure, pixels


@notebook_figure
def head_sizes(sizes: Mapping[str, int], labels: int) -> tuple[Figure, str]:
    """Draw the number of trainable parameters of each head, and the number of labels (log scale)."""
    figure, axes = pyplot.subplots(figsize=(8.0, 0.7 + 0.55 * len(sizes)), layout="constrained")
    colours = [ORANGE, GREEN, BLUE]
    for y, (size, c) in enumerate(zip(sizes.values(), colours)):
        axes.barh(y, size, color=c, alpha=0.75, height=0.62)
        axes.text(size * 1.15, y, f"{size:,}", va="center", color=c, fontweight="bold")
    axes.axvline(labels, color=MUTED, linestyle=":", linewidth=1.4)
    axes.text(labels * 1.1, len(sizes) - 0.42, f"{labels:,} labels", fontsize=9, color=MUTED, va="center")
    axes.set(xscale="log", xlim=(10, max(sizes.values()) * 30), ylim=(len(sizes) - 0.2, -0.6), yticks=range(len(sizes)))
    axes.set_yticklabels(list(sizes))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("trainable parameters (log scale)")
    alt = (
        "Trainable parameters: "
        + ", ".join(f"{name} {size:,}" for name, size in sizes.items())
        + f"; labels: {labels:,}."
    )
    return figure, alt


@notebook_figure
def features_as_token_ids(images: Any, features: Any, ids: Any, difference: float) -> tuple[Figure, str]:
    """Draw two images, their features, and the token ids that a BERT reads.

    Args:
        images: Two images.
        features: Their features [2, T].
        ids: The same converted to whole numbers [2, T].
        difference: Largest difference between the outputs of the BERT.
    """
    figure, panels = pyplot.subplots(2, 4, figsize=(8.8, 2.3), layout="constrained", width_ratios=(1, 4, 4, 1.6))
    titles = ("image", "features φ(x)", "as token ids", "output of the BERT")
    for line, image, row, numbers in zip(panels, images, features, ids):
        pixels(line[0], image)
        pixels(line[1], row[None], cmap=STRENGTH, aspect="auto")
        pixels(line[2], np.zeros((1, len(numbers))), cmap=STRENGTH, vmin=0, vmax=1, aspect="auto")
        for x, number in enumerate(numbers):
            line[2].text(x, 0, f"{number}", ha="center", va="center", fontsize=8, color=ORANGE)
        blank(line[3])
    result = f"{'the same' if difference == 0 else 'nearly the same'}\nfor both\n(difference {difference:.1g})"
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9.5, "color": ORANGE}
    panels[0, 3].text(0.5, -0.1, result, transform=panels[0, 3].transAxes, **style)
    for axes, title in zip(panels[0], titles):
        axes.set_title(title, fontsize=9.5)
    alt = (
        f"Two images with different features. Converted to token ids, all features become "
        f"{', '.join(str(one) for one in sorted({int(n) for n in np.ravel(ids)}))}, and the outputs of the BERT "
        f"differ by {difference:.1g}."
    )
    return figure, alt


@notebook_figure
def loaded_tensors(rows: Mapping[str, Sequence[tuple[str, str]]]) -> tuple[Figure, str]:
    """Draw the origin of each tensor: a row of boxes for each way of loading.

    Args:
        rows: Way -> (tensor, "source", "another layer" or "random") pairs.
    """
    figure, axes = pyplot.subplots(figsize=(8.6, 0.75 + 0.95 * len(rows)), layout="constrained")
    styles: dict[str, dict[str, Any]] = {
        "source": {"facecolor": GREEN, "edgecolor": GREEN, "alpha": 0.85},
        "another layer": {"facecolor": ORANGE, "edgecolor": ORANGE, "alpha": 0.85},
        "random": {"facecolor": "white", "edgecolor": MUTED, "hatch": "///", "alpha": 0.35},
    }
    widest = max(map(len, rows.values()))
    blank(axes).set(xlim=(-0.6, widest - 0.3), ylim=(len(rows) - 0.3, -0.75))
    for y, (way, tensors) in enumerate(rows.items()):
        axes.text(-0.5, y - 0.42, way, fontsize=9.5, fontweight="bold")
        for x, (name, origin) in enumerate(tensors):
            axes.add_patch(Rectangle((x - 0.47, y - 0.28), 0.94, 0.5, **styles[origin]))
            words: dict[str, Any] = {"color": MUTED, "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
            words = words if origin == "random" else {"color": "white"}
            axes.text(x, y - 0.03, name, ha="center", va="center", fontsize=7.5, **words)
    meaning = ("from the right layer", "from another layer", "random, as initialised")
    for x, (style, text) in enumerate(zip(styles.values(), meaning)):
        axes.add_patch(Rectangle((1.75 * x - 0.47, len(rows) - 0.52), 0.16, 0.18, **style))
        axes.text(1.75 * x - 0.24, len(rows) - 0.43, text, fontsize=8.5, color=MUTED, va="center")
    alt = "Origin of each tensor. " + " ".join(
        f"{way}: " + ", ".join(f"{name} from {origin}" for name, origin in tensors) + "."
        for way, tensors in rows.items()
    )
    return figure, alt
