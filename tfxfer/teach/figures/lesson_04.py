"""Figures of lesson 04: K before and after training, the embeddings of both modalities, and accuracies."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.report.figures.style import GRID, MUTED
from tfxfer.teach.figures.paper import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    STRENGTH,
    arrow,
    blank,
    box,
    notebook_figure,
    percent,
    pixels,
)
from tfxfer.teach.figures.paper import accuracies as accuracies


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
def emoji_names(images: Any, names: Mapping[str, Sequence[str]]) -> tuple[Figure, str]:
    """Draw some emoji, each with its name in several languages.

    Args:
        images: N images [H, W, 3].
        names: Language -> N names.
    """
    figure, panels = pyplot.subplots(1, len(images), figsize=(8.8, 2.5), layout="constrained")
    for number, (axes, image) in enumerate(zip(panels, images)):
        blank(pixels(axes, image))
        words = [f"{code}  {texts[number]}" for code, texts in names.items()]
        axes.text(0.5, -0.08, "\n".join(textwrap.shorten(one, 24, placeholder=" …") for one in words),
                  transform=axes.transAxes, ha="center", va="top", fontsize=7.6, color=MUTED)  # fmt: skip
        axes.set_xlabel("\n" * len(words), fontsize=7.6)
    alt = "Emoji with their names. " + " ".join(
        ", ".join(f"{code}: {texts[number]}" for code, texts in names.items()) + "." for number in range(len(images))
    )
    return figure, alt


@notebook_figure
def languages_matrix(tables: Mapping[str, Any], codes: Sequence[str]) -> tuple[Figure, str]:
    """Draw the share of names that are translated correctly, from each language into each other.

    Args:
        tables: Title -> shares [L, L]; the diagonal is not drawn. Each table has a colour scale of its own.
        codes: L languages.
    """
    figure, panels = pyplot.subplots(1, len(tables), figsize=(8.8, 4.6), layout="constrained")
    means = {}
    for axes, (title, table) in zip(panels, tables.items()):
        off = np.where(np.eye(len(codes), dtype=bool), np.nan, np.asarray(table, float))
        means[title] = float(np.nanmean(off))
        axes.imshow(off, cmap=STRENGTH, vmin=0, vmax=np.nanmax(off))
        for (row, column), share in np.ndenumerate(off):
            if row != column:
                dark = share > 0.6 * np.nanmax(off)
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7.2,
                          color="white" if dark else MUTED)  # fmt: skip
        axes.set_xticks(range(len(codes)), codes, fontsize=8)
        axes.set_yticks(range(len(codes)), codes, fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(title=f"{title}: {percent(means[title])} on average", ylabel="from", xlabel="to")
    alt = (
        "The share of names translated correctly from each language (rows) into each other (columns), in percent. "
        + ("; ".join(f"{title}: {percent(mean)} on average" for title, mean in means.items()) + ".")
    )
    return figure, alt
