"""Figures of lesson 07: a copied unit, logits before and after, learning curves, and occlusion maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, STRENGTH, arrow, blank, notebook_figure, pixels


@notebook_figure
def net2wider(W1: Any, W2: Any, g: Sequence[int]) -> tuple[Figure, str]:
    """Draw a small network and its wider version: x [2] → hidden → y [1].

    Args:
        W1: Weights [2, old] into the hidden units.
        W2: Weights [old] out of them.
        g: For each new unit, the old one it copies.
    """
    W1, W2 = np.asarray(W1), np.asarray(W2)
    copies = np.bincount(g, minlength=len(W2))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.4, 3.1), layout="constrained")
    _net(left, W1, W2, [str(j + 1) for j in range(len(W2))], [MUTED] * len(W2), "before")
    colours = [GREEN if copies[j] > 1 else MUTED for j in g]
    names = [f"{j + 1}" if copies[j] == 1 else f"{j + 1}{'ab'[list(g[:i]).count(j)]}" for i, j in enumerate(g)]
    _net(
        right,
        W1[:, list(g)],
        (W2 / copies)[list(g)],
        names,
        colours,
        "after: unit 2 is copied, its outgoing weight halved",
    )
    alt = (
        f"A network with {len(W2)} hidden units, and the same function with {len(g)}: each copy of a unit keeps its "
        f"incoming "
        "weights, and its outgoing weight is divided by the number of copies."
    )
    return figure, alt


PLAIN = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # a background for text that stands on lines


def _net(axes: Axes, W1: np.ndarray, W2: np.ndarray, names: Sequence[str], colours: Sequence[str], title: str) -> None:
    blank(axes).set(xlim=(-0.4, 4.6), ylim=(-0.6, 3.6))
    axes.set_title(title, fontsize=10.5, loc="left")
    hidden = np.linspace(3.0, 0.0, len(names))
    inputs = (2.4, 0.6)
    for y, name in zip(inputs, ("x₁", "x₂")):
        _unit(axes, 0, y, name, INK)
    _unit(axes, 4, 1.5, "y", INK)
    for j, (y, name, c) in enumerate(zip(hidden, names, colours)):
        _unit(axes, 2, y, name, c)
        arrow(axes, (2.28, y), (3.72, 1.5), c)
        axes.text(2.85, y + (1.5 - y) * 0.38 + 0.16, f"{W2[j]:g}".replace("-", "−"), color=c, fontsize=10, ha="center",
                  fontweight="bold" if c == GREEN else "normal")  # fmt: skip
        for i, x in enumerate(inputs):
            arrow(axes, (0.28, x), (1.72, y), c, linewidth=1.0)
            axes.text(1.25, x + (y - x) * 0.66 + 0.13, f"{W1[i, j]:g}".replace("-", "−"), color=c, fontsize=8.5,
                      ha="center", va="center", bbox=PLAIN)  # fmt: skip


def _unit(axes: Axes, x: float, y: float, name: str, colour: str) -> None:
    axes.add_patch(Circle((x, y), 0.27, facecolor="white", edgecolor=colour, linewidth=1.6, zorder=3))
    axes.text(x, y, name, ha="center", va="center", color=colour, zorder=4)


@notebook_figure
def logits_before_after(source: Any, others: Mapping[str, Any]) -> tuple[Figure, str]:
    """Draw the logits of models against the logits of the source, a panel each: the diagonal means no change.

    Args:
        source: Logits of the source [N, C].
        others: Title -> logits [N, C].
    """
    figure, panels = pyplot.subplots(1, len(others), figsize=(8.0, 3.9), layout="constrained", sharey=True)
    x = np.asarray(source).ravel()
    ends = (x.min(), x.max())
    for axes, (title, values) in zip(np.atleast_1d(panels), others.items()):
        y = np.asarray(values).ravel()
        kept = bool(np.abs(y - x).max() < 1e-3 * np.abs(x).max())
        axes.plot(ends, ends, color=GRID, linewidth=4, zorder=0)
        axes.plot(x, y, ".", markersize=3, alpha=0.35, color=GREEN if kept else ORANGE, markeredgewidth=0)
        axes.set_title(title, fontsize=10.5)
        axes.set_xlabel("logit of the source")
        worst = f"largest difference {np.abs(y - x).max():.1g}"
        axes.text(0.04, 0.95, worst, transform=axes.transAxes, va="top", fontsize=9, color=MUTED)
    np.atleast_1d(panels)[0].set_ylabel("logit of the wider network")
    alt = "Logits of wider networks against those of the source. " + " ".join(
        f"{title}: largest difference {np.abs(np.asarray(values) - np.asarray(source)).max():.1g}."
        for title, values in others.items()
    )
    return figure, alt


@notebook_figure
def learning_curves(curves: Mapping[str, Sequence[float]], start: float, part: int) -> tuple[Figure, str]:
    """Draw accuracy over further training, measured before it and after each `part` images."""
    figure, axes = pyplot.subplots(figsize=(7.6, 3.2), layout="constrained")
    colours = dict(zip(curves, (GREEN, BLUE, ORANGE, MUTED)))
    for name, values in curves.items():
        axes.plot(range(len(values)), values, "o-", color=colours[name], linewidth=2, markersize=4)
    axes.plot([0, len(next(iter(curves.values()))) - 1], [start] * 2, color=INK, linewidth=1, linestyle=":")
    ends = {name: (values[-1], colours[name]) for name, values in curves.items()} | {"the source before": (start, INK)}
    rising = sorted(ends.items(), key=lambda one: one[1][0])
    places = [rising[0][1][0]]
    for _, (y, _) in rising[1:]:
        places.append(max(y, places[-1] + 0.045))  # one above the other, as close to their lines as they fit
    lift = float(np.mean(places)) - float(np.mean([y for _, (y, _) in rising]))
    for at, (name, (_, c)) in zip(places, rising):
        axes.text(len(next(iter(curves.values()))) - 0.85, at - lift, name, color=c, va="center", fontsize=9.5)
    longest = max(map(len, curves.values()))
    axes.set(xlabel="further images", ylabel="accuracy on held-out characters")
    axes.set_ylim(min(min(values) for values in curves.values()) - 0.05, 1.0)
    axes.set(xlim=(-0.2, longest + 1.4), xticks=range(longest))
    axes.set_xticklabels([f"{part * i:,}" for i in range(longest)])
    axes.grid(axis="y")
    alt = f"Accuracy over {part * (longest - 1):,} further images. " + " ".join(
        f"{name}: from {values[0]:.1%} to {values[-1]:.1%}." for name, values in curves.items()
    )
    return figure, alt


@notebook_figure
def occlusion_maps(images: Any, heats: Any, words: Sequence[str], patch: int) -> tuple[Figure, str]:
    """Draw letters with an occlusion map: how far the true class falls when a patch is erased.

    Args:
        images: N images uint8 [N, H, W, 1].
        heats: Fall of the probability of the true class [N, H / patch, W / patch].
        words: What each is.
        patch: Side of a patch in pixels.
    """
    figure, panels = pyplot.subplots(1, len(images), figsize=(8.6, 2.3), layout="constrained", squeeze=False)
    for axes, image, heat, word in zip(panels[0], images, heats, words):
        spread = np.kron(np.maximum(heat, 0) / max(float(np.max(heat)), 1e-9), np.ones((patch, patch)))
        ink = 1 - np.asarray(image)[..., 0] / 255.0
        shown = STRENGTH(spread)[..., :3] * (1 - ink[..., None]) + 0.1 * ink[..., None]
        pixels(axes, shown)
        for cut in range(patch, image.shape[0], patch):
            axes.axhline(cut - 0.5, color=GRID, linewidth=0.7)
            axes.axvline(cut - 0.5, color=GRID, linewidth=0.7)
        axes.set_title(word, fontsize=9)
        axes.set_xlabel(f"−{100 * np.max(heat):.0f} points", fontsize=8.5)
    figure.supxlabel(
        "blue: erasing this patch lowers the probability of the true class most, and by how much",
        fontsize=9,
        color=BLUE,
    )
    alt = (
        "Letters with the patches that matter most: "
        + ", ".join(f"{word} −{100 * np.max(heat):.0f} points" for word, heat in zip(words, heats))
        + " of probability for the true class when the patch is erased."
    )
    return figure, alt


@notebook_figure
def vision_from_text(image: Any, patches: int) -> tuple[Figure, str]:
    """Draw how words and image patches become tokens for the same blocks."""
    figure, axes = pyplot.subplots(figsize=(8.4, 2.9), layout="constrained")
    blank(axes).set(xlim=(0, 10), ylim=(0, 3.4))
    words = ("latin", "small", "letter", "e", "with", "acute")
    for i, word in enumerate(words):
        axes.text(0.55 + 0.72 * i, 2.75, word, fontsize=9, ha="center", va="center",
                  bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": MUTED})  # fmt: skip
    axes.text(0.2, 3.2, "training input of the blocks", fontsize=9.5, color=MUTED)
    axes.text(0.2, 1.85, "input now", fontsize=9.5, color=MUTED)
    side = image.shape[0] // patches
    for i in range(6):
        row, column = divmod(i + patches, patches)
        piece = image[row * side : (row + 1) * side, column * side : (column + 1) * side, 0]
        place = axes.inset_axes((0.22 + 0.72 * i, 0.75, 0.62, 0.85), transform=axes.transData)
        pixels(place, piece, vmin=0, vmax=255)
    axes.text(4.65, 1.15, "…", fontsize=14, va="center")
    for k in range(2):
        corner = (5.9 + 1.45 * k, 0.95)
        axes.add_patch(FancyBboxPatch(corner, 1.05, 1.8, boxstyle="round,pad=0.05", facecolor=BLUE, alpha=0.14))
        axes.text(corner[0] + 0.52, 1.85, f"block {k + 1}\nattention\nfeed-forward", ha="center", va="center",
                  fontsize=8.5, color=BLUE)  # fmt: skip
    arrow(axes, (4.75, 2.75), (5.8, 2.3))
    arrow(axes, (5.0, 1.15), (5.8, 1.5), GREEN)
    axes.text(4.95, 0.62, "new projection", fontsize=9, color=GREEN)
    arrow(axes, (7.05, 1.85), (7.25, 1.85))
    arrow(axes, (8.55, 1.85), (9.0, 1.85))
    axes.text(9.05, 1.85, "new\nhead", fontsize=9, color=GREEN, va="center")
    axes.text(6.65, 3.0, "copied; only the norms are trained", fontsize=9.5, color=BLUE, ha="center")
    alt = (
        "Two transformer blocks that were trained on the words of character names. Now image patches enter them "
        "through a new "
        "projection, and a new head reads their output. Only the norms of the blocks are trained."
    )
    return figure, alt
