"""Figures of lesson 00: three kinds of transfer, four bridges, and intervals with their verdicts."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from tfxfer.evaluate import Verdict
from tfxfer.evaluate.verdict import signed
from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, PURPLE, WINE, arrow, blank, box, notebook_figure

TRANSFERS = (
    ("feature", "f(x) = W·φ(x) + b", "reuse the features of a network,\ntrain a linear head", BLUE),
    ("knowledge", "K = f(X)·g(Y) + h(X, Y)", "align two networks on\nwhich X belongs to which Y", PURPLE),
    ("structure", "M = T(S)", "build a network from\nthe tensors of another", GREEN),
)


@notebook_figure
def overview() -> tuple[Figure, str]:
    """Draw vision, language, and the three kinds of transfer between them."""
    figure, axes = pyplot.subplots(figsize=(8.6, 4.5), layout="constrained")
    blank(axes).set(xlim=(0, 10), ylim=(0, 5.4))
    box(axes, 1.0, 2.7, 1.6, 4.2, "", MUTED)
    box(axes, 9.0, 2.7, 1.6, 4.2, "", MUTED)
    for x, title, words in ((1.0, "vision", "images\nCNN, ViT"), (9.0, "language", "texts\nBERT, GPT-2")):
        axes.text(x, 4.35, title, ha="center", fontsize=13, fontweight="bold")
        axes.text(x, 3.95, words, ha="center", va="top", fontsize=9.5, color=MUTED)
    _letter(axes, 0.62, 1.05)
    for i, word in enumerate(("LATIN SMALL", "LETTER E", "WITH ACUTE")):
        axes.text(9.0, 2.0 - 0.42 * i, word, ha="center", fontsize=8.5, family="monospace")
    for y, (name, equation, words, c) in zip((4.35, 2.7, 1.05), TRANSFERS):
        box(axes, 5.0, y, 4.0, 1.25, "", c)
        axes.text(5.0, y + 0.30, equation, ha="center", va="center", fontsize=13, color=c, fontweight="bold")
        axes.text(5.0, y - 0.26, words, ha="center", va="center", fontsize=9, linespacing=1.25)
        axes.text(2.88, y + 0.70, f"{name} transfer", fontsize=9.5, color=c, va="bottom")
        for start, end in (((1.85, y), (2.95, y)), ((7.05, y), (8.15, y))):
            arrow(axes, start, end, c, arrowstyle="<|-|>")
    alt = (
        "Vision on the left, language on the right. Three arrows between them, in both directions: feature transfer, "
        "f(x) = W·φ(x) + b; knowledge transfer, K = f(X)·g(Y) + h(X, Y); structure transfer, M = T(S)."
    )
    return figure, alt


def _letter(axes: Axes, x: float, y: float) -> None:
    """Draw an é of large pixels."""
    rows = ("....#..", "...#...", ".......", "..###..", ".#...#.", ".#####.", ".#.....", "..###..")
    for i, row in enumerate(rows):
        for j, ink in enumerate(row):
            if ink == "#":
                axes.add_patch(Rectangle((x + 0.11 * j, y + 0.13 * (7 - i)), 0.11, 0.13, color=INK, linewidth=0))


@notebook_figure
def bridges() -> tuple[Figure, str]:
    """Draw the four bridges between texts and images."""
    rows: Sequence[tuple[str, str, Callable[[Axes], None]]] = (
        ("render", "draw the text;\nno pairs needed", _render),
        ("tokens", "pieces become tokens;\nno pairs needed", _tokens),
        ("align", "two encoders are aligned;\npairs needed", _align),
        ("anchors", "similarity to known pairs;\nfew pairs, no training", _anchors),
    )
    figure, panels = pyplot.subplots(1, 4, figsize=(8.8, 2.7), layout="constrained")
    for axes, (name, words, draw), c in zip(panels, rows, (BLUE, GREEN, PURPLE, WINE)):
        blank(axes).set(xlim=(0, 4), ylim=(0, 4))
        axes.set_title(name, color=c, fontweight="bold", fontsize=11)
        axes.set_xlabel(words, fontsize=9)
        draw(axes)
    alt = (
        "Four bridges. Render: a text is drawn as an image, no pairs needed. Tokens: image patches become tokens of "
        "a text "
        "model, no pairs needed. Align: an image and a text encoder are trained on pairs. Anchors: an image and a text "
        "are described by their similarity to a few known pairs, without training."
    )
    return figure, alt


def _render(axes: Axes) -> None:
    axes.text(2, 3.5, "“Österreich”", ha="center", va="center", fontsize=10)
    arrow(axes, (2, 3.2), (2, 2.5), BLUE)
    axes.add_patch(Rectangle((0.2, 1.5), 3.6, 0.95, facecolor="white", edgecolor=MUTED))
    axes.text(2, 1.95, "Österreich", ha="center", va="center", fontsize=12)
    arrow(axes, (2, 1.45), (2, 0.9), BLUE)
    box(axes, 2, 0.5, 2.4, 0.7, "an image CNN", BLUE, fontsize=9)


def _tokens(axes: Axes) -> None:
    shades = (0.9, 0.35, 0.75, 0.15, 0.55)
    for i, shade in enumerate(shades):
        axes.add_patch(Rectangle((0.25 + 0.72 * i, 2.9), 0.6, 0.75, facecolor=str(shade), edgecolor=MUTED))
        arrow(axes, (0.55 + 0.72 * i, 2.85), (0.55 + 0.72 * i, 2.15), GREEN, mutation_scale=8)
        axes.add_patch(Rectangle((0.35 + 0.72 * i, 1.5), 0.4, 0.6, facecolor=GREEN, alpha=0.15 + 0.5 * shade, lw=0))
    arrow(axes, (2, 1.45), (2, 0.9), GREEN)
    box(axes, 2, 0.5, 2.4, 0.7, "a BERT's blocks", GREEN, fontsize=9)


def _align(axes: Axes) -> None:
    box(axes, 0.9, 3.4, 1.5, 0.7, "images", PURPLE, fontsize=9)
    box(axes, 3.1, 3.4, 1.5, 0.7, "texts", PURPLE, fontsize=9)
    pairs = ((0.9, 1.6, 1.5, 1.9), (1.2, 0.6, 1.7, 0.35), (2.9, 1.9, 2.4, 1.5), (3.1, 0.5, 2.7, 0.85))
    arrow(axes, (0.9, 3.0), (1.1, 2.2), PURPLE)
    arrow(axes, (3.1, 3.0), (2.9, 2.2), PURPLE)
    axes.add_patch(Rectangle((0.4, 0.1), 3.2, 2.1, facecolor=PURPLE, alpha=0.06, linewidth=0))
    for x, y, u, v in pairs:
        axes.plot([x, u], [y, v], color=GRID, linewidth=2, zorder=1)
        axes.plot(x, y, "s", color=PURPLE, markersize=6)
        axes.plot(u, v, "o", color=PURPLE, markersize=6, markerfacecolor="white")


def _anchors(axes: Axes) -> None:
    heights = (0.9, 0.15, 0.5, 0.05, 0.3)
    for row, (name, noise) in enumerate((("an image", 0.0), ("its text", 0.06))):
        y = 2.3 - 1.9 * row
        axes.text(0.1, y + 1.15, name, fontsize=9)
        for i, height in enumerate(heights):
            axes.add_patch(Rectangle((0.3 + 0.7 * i, y), 0.5, max(0.04, height + noise * (-1) ** i), color=WINE,
                                     alpha=0.55, linewidth=0))  # fmt: skip
    axes.text(2, 0.05, "similarity to 5 anchors", fontsize=8, ha="center", color=MUTED)


@notebook_figure
def verdict_words(verdicts: Mapping[str, Verdict]) -> tuple[Figure, str]:
    """Draw intervals with the words of their verdicts.

    Args:
        verdicts: Name -> verdict.
    """
    figure, axes = pyplot.subplots(figsize=(7.6, 0.9 + 0.55 * len(verdicts)), layout="constrained")
    colours = {"helped": GREEN, "hurt": WINE, "no evidence": MUTED}
    for y, one in enumerate(verdicts.values()):
        c = colours[one.word]
        axes.plot([one.low, one.high], [y, y], color=c, linewidth=3.5, solid_capstyle="butt")
        axes.plot(
            one.difference, y, "o", color=c, markersize=9, markerfacecolor=c if one.word != "no evidence" else "white"
        )
        axes.text(1.02, y, f"{signed(one.difference)}  {one.word}", transform=axes.get_yaxis_transform(), va="center",
                  color=c, fontweight="bold")  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(verdicts)), list(verdicts))
    axes.set_ylim(len(verdicts) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_xlabel("← the other arm is better   |   difference in accuracy   |   transfer is better →")
    alt = (
        "Intervals of the difference between two arms: "
        + "; ".join(f"{name}: {signed(one.difference)}, {one.word}" for name, one in verdicts.items())
        + "."
    )
    return figure, alt


@notebook_figure
def matrix(K: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str]) -> tuple[Figure, str]:
    """Draw K as a matrix: rows are images, columns texts; the best text of each row is circled."""
    table = np.asarray(K)
    figure, axes = pyplot.subplots(figsize=(4.6, 3.2), layout="constrained")
    for i, row in enumerate(table):
        for j, value in enumerate(row):
            axes.add_patch(
                Rectangle((j - 0.5, i - 0.5), 1, 1, color=PURPLE, alpha=float(np.clip(value, 0.03, 1)) * 0.7, lw=0)
            )
            axes.text(j, i, f"{value:.1f}", ha="center", va="center")
        axes.add_patch(Circle((int(row.argmax()), i), 0.36, facecolor="none", edgecolor=ORANGE, linewidth=2))
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5), aspect="equal")
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_yticks(range(len(rows)), list(rows))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    alt = "The matrix K. " + " ".join(
        f"{row}: best text {columns[int(line.argmax())]}, {line.max():.1f}." for row, line in zip(rows, table)
    )
    return figure, alt
