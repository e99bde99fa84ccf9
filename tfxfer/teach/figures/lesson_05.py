"""Figures of lesson 05: attention masks, beam search step by step, and captions with their references."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, blank, notebook_figure, pixels


@notebook_figure
def attention_masks(words: Sequence[str]) -> tuple[Figure, str]:
    """Draw which words each word attends to, in an encoder and in a decoder."""
    figure, panels = pyplot.subplots(1, 2, figsize=(7.6, 3.4), layout="constrained")
    count = len(words)
    both = (("encoder: a BERT", np.ones((count, count)), BLUE),
            ("decoder: with a causal mask", np.tri(count), GREEN))  # fmt: skip
    for axes, (title, seen, c) in zip(panels, both):
        for i in range(count):
            for j in range(count):
                face = c if seen[i, j] else "white"
                axes.add_patch(Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, facecolor=face, alpha=0.6, edgecolor=GRID))
        axes.set(xlim=(-0.6, count - 0.4), ylim=(count - 0.4, -0.6), aspect="equal")
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(count), words, rotation=35, ha="right", fontsize=8.5)
        axes.set_yticks(range(count), words, fontsize=8.5)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    panels[0].set_ylabel("this word …", fontsize=9)
    figure.supxlabel("… attends to this one", fontsize=9)
    alt = (
        f"Attention masks for {count} words. In the encoder every word attends to every word. In the decoder a word "
        f"attends to "
        "itself and to the words before it."
    )
    return figure, alt


@notebook_figure
def beam_tree(levels: Sequence[Sequence[tuple[str, str, float, bool]]], title: str) -> tuple[Figure, str]:
    """Draw a beam search as a tree: what was tried at each step, and what was kept.

    Args:
        levels: For each step the hypotheses (text, text of the one it continues, probability, kept).
        title: Title of the figure.
    """
    most = max(map(len, levels))
    figure, axes = pyplot.subplots(figsize=(8.6, 0.9 + 0.34 * most), layout="constrained")
    blank(axes).set(xlim=(-0.35, len(levels) - 0.15), ylim=(-0.7, most + 0.1))
    axes.set_title(title, fontsize=10.5, loc="left")
    places = {"": (0.0, (most - 1) / 2)}
    axes.text(*places[""], "begin", ha="center", va="center", fontsize=9, color=MUTED)
    for depth, level in enumerate(levels, start=1):
        ordered = sorted(level, key=lambda one: -one[2])
        for rank, (text, parent, probability, kept) in enumerate(ordered):
            y = (most - 1) / 2 + (len(ordered) - 1) / 2 - rank
            x, (px, py) = depth * 0.92, places[parent]
            c = GREEN if kept else MUTED
            start = px + (0.1 if not parent else 0.3)
            axes.plot([start, x - 0.3], [py, y], color=c if kept else GRID, linewidth=2 if kept else 1, zorder=0)
            axes.text(x - 0.28, y, text.split()[-1], va="center", fontsize=9.5, color=INK if kept else MUTED,
                      fontweight="bold" if kept else "normal")  # fmt: skip
            axes.text(x + 0.26, y, f"{probability:.3f}", va="center", ha="right", fontsize=8.5, color=c)
            places[text] = (x, y)
    axes.text(-0.3, -0.6, "bold, green: kept      grey: dropped      numbers: probability so far",
              fontsize=8.5, color=MUTED)  # fmt: skip
    alt = f"{title}. " + " ".join(
        f"Step {depth}: "
        + ", ".join(f"{text} {p:.3f}{' kept' * kept}" for text, _, p, kept in sorted(level, key=lambda one: -one[2]))
        + "."
        for depth, level in enumerate(levels, start=1)
    )
    return figure, alt


@notebook_figure
def captions(
    images: Any,
    generated: Sequence[str],
    others: Sequence[str],
    truth: Sequence[str],
    arms: tuple[str, str] = ("captioner", "blind captioner"),
) -> tuple[Figure, str]:
    """Draw images with the reference and the captions of two arms."""
    figure, panels = pyplot.subplots(2, len(images) // 2, figsize=(8.8, 4.9), layout="constrained")
    for axes, image, *lines in zip(panels.flat, images, truth, generated, others):
        pixels(axes, image)
        for y, (text, c) in zip((-0.06, -0.34, -0.62), zip(lines, (MUTED, BLUE, ORANGE))):
            words = "\n".join(textwrap.wrap(text, 23, max_lines=2, placeholder=" …"))
            axes.text(0.5, y, words, transform=axes.transAxes, ha="center", va="top", fontsize=7.6, color=c)
        axes.set_xlabel("\n\n\n\n\n", fontsize=8)
    figure.suptitle(f"grey: reference      blue: {arms[0]}      orange: {arms[1]}", fontsize=9.5)
    alt = "Images with their captions. " + " ".join(
        f"Reference: {true}; {arms[0]}: {text}; {arms[1]}: {guess}."
        for true, text, guess in zip(truth, generated, others)
    )
    return figure, alt
