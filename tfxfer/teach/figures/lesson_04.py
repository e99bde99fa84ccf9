"""Figures of lesson 04: K before and after training, the embeddings of both modalities, and accuracies."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.report.figures.style import GRID, MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, PURPLE, arrow, blank, box, notebook_figure, pixels


@notebook_figure
def dual_encoder() -> tuple[Figure, str]:
    """Draw a frozen image encoder, a trained text encoder, and K of both."""
    figure, axes = pyplot.subplots(figsize=(8.4, 2.7), layout="constrained")
    blank(axes).set(xlim=(0, 10), ylim=(0, 3.2))
    for y, side, tower, words, c in (
        (2.4, "images X", "f: a CNN trained on\ncharacters", "frozen", BLUE),
        (0.8, "texts Y", "g: word embeddings,\na layer, their mean", "trained", GREEN),
    ):
        box(axes, 0.95, y, 1.6, 0.7, side, MUTED)
        box(axes, 3.9, y, 2.5, 0.95, tower, c)
        axes.text(3.9, y - 0.62, words, ha="center", va="top", color=c, fontsize=9)
        arrow(axes, (1.8, y), (2.6, y))
        arrow(axes, (5.2, y), (6.5, 1.6 + 0.25 * (y - 1.6)))
    box(axes, 7.9, 1.6, 2.7, 1.15, "K = f(X) · g(Y)ᵀ / τ\nall pairs at once", PURPLE)
    alt = (
        "Images X enter f, a frozen CNN trained on characters. Texts Y enter g, a trained text encoder. Both give "
        "K = f(X) · g(Y)ᵀ / τ for all pairs."
    )
    return figure, alt


@notebook_figure
def similarity_matrices(tables: Mapping[str, Any], images: Any, captions: Sequence[str]) -> tuple[Figure, str]:
    """Draw K before and after training: images down, texts across; the true pairs are framed.

    Args:
        tables: Title -> K [N, N].
        images: N images.
        captions: N texts.
    """
    count = len(captions)
    figure, axes = pyplot.subplots(1, 1 + len(tables), figsize=(8.8, 4.6), layout="constrained",
                                   width_ratios=(0.45, *[4.0] * len(tables)))  # fmt: skip
    strip = np.concatenate([np.asarray(image)[..., 0] for image in images])
    pixels(axes[0], strip, aspect="auto")
    for place, (title, table) in zip(axes[1:], tables.items()):
        shown = np.exp(table - np.max(table, 1, keepdims=True))
        place.imshow(shown / shown.sum(1, keepdims=True), cmap="Purples", vmin=0, vmax=1, aspect="auto")
        for i in range(count):
            place.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=1.4))
        place.set(yticks=[], title=title)
        names = ["\n".join(textwrap.wrap(caption.lower(), 26, max_lines=2, placeholder=" …")) for caption in captions]
        place.set_xticks(range(count), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
        place.tick_params(length=0)
        place.spines[:].set_color(GRID)
    alt = (
        f"The matrix K of {count} images and their texts as a softmax over each row, with the true pairs framed. "
        + " ".join(
            f"{title}: the largest value is on the diagonal in {int(np.sum(np.argmax(table, 1) == np.arange(count)))} "
            f"rows."
            for title, table in tables.items()
        )
    )
    return figure, alt


@notebook_figure
def embeddings_2d(sides: Mapping[str, tuple[Any, Any]], links: int = 40) -> tuple[Figure, str]:
    """Draw image and text embeddings on two principal components; a line joins each pair.

    Args:
        sides: Title -> (embeddings of images [N, D], embeddings of texts [N, D]).
        links: How many pairs are joined.
    """
    figure, panels = pyplot.subplots(1, len(sides), figsize=(8.6, 4.0), layout="constrained")
    for axes, (title, (images, texts)) in zip(panels, sides.items()):
        both = np.concatenate([images, texts]) - np.concatenate([images, texts]).mean(0)
        plane = np.linalg.svd(both, full_matrices=False)[2][:2].T
        x, y = both[: len(images)] @ plane, both[len(images) :] @ plane
        for a, b in list(zip(x, y))[:links]:
            axes.plot(*np.transpose([a, b]), color=GRID, linewidth=0.9, zorder=0)
        axes.plot(*x.T, "s", markersize=4, color=BLUE, alpha=0.6, label="images, f(X)")
        axes.plot(*y.T, "o", markersize=4, color=GREEN, alpha=0.6, label="texts, g(Y)")
        blank(axes).set_title(title)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    alt = (
        "Embeddings of images and texts on their first two principal components, a panel each: "
        + ", ".join(sides)
        + f". Lines join {links} pairs."
    )
    return figure, alt


@notebook_figure
def accuracies(rows: Mapping[str, Mapping[str, float]]) -> tuple[Figure, str]:
    """Draw the share of correct answers, a group of bars for each question: question -> arm -> share."""
    figure, axes = pyplot.subplots(figsize=(8.0, 0.6 + 0.36 * sum(len(r) + 1 for r in rows.values())),
                                   layout="constrained")  # fmt: skip
    y, ticks = 0.0, {}
    for question, arms in rows.items():
        axes.text(0, y - 0.1, question, fontsize=9.5, fontweight="bold", va="center")
        for (arm, share), c in zip(arms.items(), (PURPLE, ORANGE, MUTED)):
            y += 0.9
            axes.barh(y, share, height=0.7, color=c, alpha=0.75)
            axes.text(share + 0.01, y, f"{share:.0%}", va="center", fontsize=9.5, color=c)
            ticks[y] = arm
        y += 1.2
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set(xlim=(0, 1), xticks=[], ylim=(y - 0.3, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    alt = "Share of correct answers. " + " ".join(
        f"{question} " + ", ".join(f"{arm} {share:.0%}" for arm, share in arms.items()) + "."
        for question, arms in rows.items()
    )
    return figure, alt
