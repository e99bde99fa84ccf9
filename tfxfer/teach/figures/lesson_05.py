"""Pictures of lesson 05: who sees whom, a beam growing step by step, and captions beside the truth."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, blank, picture, pixels


@picture
def who_sees_whom(words: Sequence[str]) -> Figure:
    """Draw which words each word may look at, in an encoder and in a decoder."""
    figure, panels = pyplot.subplots(1, 2, figsize=(7.6, 3.4), layout="constrained")
    count = len(words)
    both = (("encoder: a BERT as it is", np.ones((count, count)), BLUE),
            ("decoder: the same, with a causal mask", np.tri(count), GREEN))  # fmt: skip
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
    figure.supxlabel("… looks at this one", fontsize=9)
    return figure


@picture
def beam(levels: Sequence[Sequence[tuple[str, str, float, bool]]], title: str) -> Figure:
    """Draw a beam search as a tree: what was tried at each step, and what was kept.

    Args:
        levels: For each step the hypotheses (text, text of the one it continues, probability, kept).
        title: Over the picture.
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
    axes.text(-0.3, -0.6, "bold, green: kept      grey: tried and dropped      numbers: probability so far",
              fontsize=8.5, color=MUTED)  # fmt: skip
    return figure


@picture
def captions(images: Any, told: Sequence[str], blind: Sequence[str], truth: Sequence[str]) -> Figure:
    """Draw pictures with their true name, what the captioner says, and what it says without looking."""
    figure, panels = pyplot.subplots(2, len(images) // 2, figsize=(8.8, 4.9), layout="constrained")
    for axes, image, *lines in zip(panels.flat, images, truth, told, blind):
        pixels(axes, image)
        for y, (text, c) in zip((-0.06, -0.34, -0.62), zip(lines, (MUTED, BLUE, ORANGE))):
            words = "\n".join(textwrap.wrap(text, 23, max_lines=2, placeholder=" …"))
            axes.text(0.5, y, words, transform=axes.transAxes, ha="center", va="top", fontsize=7.6, color=c)
        axes.set_xlabel("\n\n\n\n\n", fontsize=8)
    figure.suptitle("grey: the true name      blue: the captioner      orange: the blind one", fontsize=9.5)
    return figure
