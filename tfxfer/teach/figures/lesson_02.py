"""Pictures of lesson 02: a phrase on its way through φ, the choice of λ, and the evidence in a phrase."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import AGAINST_FOR, BLUE, GREEN, ORANGE, STRENGTH, arrow, blank, box, picture, pixels


@picture
def journey(text: str, drawn: Any, maps: dict[str, Any], features: Any) -> Figure:
    """Draw text → pixels → what layers answer → features.

    Args:
        text: A phrase.
        drawn: It as pixels [H, W, 1].
        maps: Layer -> answers [h, w, D].
        features: φ(x), [D].
    """
    rows = len(maps) + 3
    figure, axes = pyplot.subplots(rows, 1, figsize=(8.4, 0.95 * rows), layout="constrained")
    layout: Any = figure.get_layout_engine()
    layout.set(hspace=0.12)
    blank(axes[0]).text(0.5, 0.4, f"x = “{text}”", ha="center", va="center", fontsize=15, parse_math=False)
    pixels(axes[1], drawn)
    _beside(axes[1], "the bridge draws it", f"{drawn.shape[0]} × {drawn.shape[1]} pixels")
    for place, (layer, answer) in zip(axes[2:], maps.items()):
        strongest = np.asarray(answer).reshape(-1, answer.shape[-1]).std(0).argsort()[::-1][:3]
        strip = np.concatenate([_scaled(answer[..., c]) for c in strongest], axis=1)
        pixels(place, strip, cmap=STRENGTH, aspect="auto")
        for cut in (1, 2):
            place.axvline(cut * answer.shape[1] - 0.5, color="white", linewidth=4)
        h, w, depth = answer.shape
        _beside(place, f"{layer} answers", f"{depth} maps of {h} × {w}; the 3 liveliest")
    last = axes[-1]
    last.bar(range(len(features)), features, color=[BLUE if f > 0 else ORANGE for f in features], width=1.0)
    last.set(xticks=[], yticks=[], xlim=(-0.5, len(features) - 0.5))
    last.spines[:].set_visible(False)
    last.axhline(0, color=GRID, linewidth=0.8)
    _beside(last, "averaged, normalised", f"φ(x): {len(features)} numbers")
    return figure


def _scaled(values: Any) -> np.ndarray:
    values = np.asarray(values, float)
    return (values - values.min()) / max(float(np.ptp(values)), 1e-9)


def _beside(axes: Any, title: str, words: str) -> None:
    """Write what a row is, on its left."""
    axes.text(-0.02, 0.56, title, transform=axes.transAxes, ha="right", va="bottom", fontweight="bold", fontsize=9.5)
    axes.text(-0.02, 0.46, words, transform=axes.transAxes, ha="right", va="top", fontsize=8.5, color=MUTED)


@picture
def strengths(path: Sequence[Any], chosen: float) -> Figure:
    """Draw, against λ, the loss on training and held-out phrases, and the share of held-out phrases that is right."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
    x = [point.l2 for point in path]
    left.plot(x, [point.train_loss for point in path], "o-", color=GREEN)
    left.plot(x, [point.validation_loss for point in path], "s-", color=BLUE)
    middle = path[len(path) // 2 + 1]
    left.text(
        middle.l2 * 1.6,
        middle.train_loss - 0.1,
        "on the training phrases,\nthe penalty included",
        color=GREEN,
        fontsize=9,
        va="top",
    )
    left.text(
        min(x), path[-1].validation_loss, "   on held-out phrases, without it", color=BLUE, fontsize=9, va="center"
    )
    left.set(ylabel="loss, nats a phrase", ylim=(0, None))
    right.plot(x, [point.validation_accuracy for point in path], "s-", color=BLUE)
    right.axvline(chosen, color=INK, linewidth=1, linestyle=":")
    right.text(chosen, 0.02, " chosen: most are right", transform=right.get_xaxis_transform(), fontsize=9)
    right.set(ylabel="right on held-out phrases", ylim=(0, None))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="λ\n← learns by heart  |  learns nothing →")
        axes.grid(axis="y")
    return figure


@picture
def evidence(
    texts: Sequence[str], drawn: Any, columns: Any, answers: Sequence[tuple[str, float]], truth: Sequence[str]
) -> Figure:
    """Draw each phrase over the evidence that its columns give for the language that was answered.

    Args:
        texts: N phrases.
        drawn: Them as pixels [N, H, W, 1].
        columns: Evidence [N, w] for the answer; w divides W.
        answers: (language, probability) for each.
        truth: The language of each.
    """
    figure, axes = pyplot.subplots(len(texts), 1, figsize=(8.2, 0.92 * len(texts) + 0.7), layout="constrained")
    most = float(np.abs(columns).max())
    norm = Normalize(-most, most)
    for place, image, strip, (answer, sure), true in zip(axes, drawn, columns, answers, truth):
        height, width = image.shape[:2]
        ink = 1 - image[..., 0] / 255.0  # [H, W]
        colours = AGAINST_FOR(norm(np.repeat(strip, width // len(strip))))[None, :, :3]  # [1, W, 3]
        shown = np.repeat(colours, height, 0) * (1 - ink[..., None]) + np.array([0.106, 0.122, 0.141]) * ink[..., None]
        pixels(place, shown)
        right = answer == true
        words = f"{answer}, {sure:.0%} sure"
        place.text(1.02, 0.56, words, transform=place.transAxes, va="bottom", color=GREEN if right else ORANGE)
        verdict = "right" if right else f"it is {true}"
        place.text(1.02, 0.44, verdict, transform=place.transAxes, va="top", fontsize=9, color=MUTED)
    scale = figure.colorbar(
        pyplot.cm.ScalarMappable(norm, AGAINST_FOR), ax=axes, location="bottom", aspect=60, shrink=0.6, pad=0.03
    )
    scale.set_label("← this column speaks against the answer      |      for it →", fontsize=9)
    scale.set_ticks([])
    scale.outline.set_visible(False)
    return figure


@picture
def equation(width: int, classes: int) -> Figure:
    """Draw f(x) = W·φ(x) + b as boxes: what is borrowed and frozen, what is learned."""
    figure, axes = pyplot.subplots(figsize=(8.2, 2.1), layout="constrained")
    blank(axes).set(xlim=(0, 10), ylim=(0, 2.4))
    box(axes, 0.9, 1.3, 1.5, 0.9, "x\na phrase", MUTED)
    box(axes, 3.1, 1.3, 1.7, 0.9, "the bridge\ndraws it", MUTED)
    box(axes, 5.6, 1.3, 2.1, 1.2, f"φ\na CNN that knows\ncharacters: {width} numbers", BLUE)
    box(axes, 8.6, 1.3, 2.1, 1.2, f"W · φ(x) + b\n{width} × {classes} weights\nand {classes} offsets", GREEN)
    for start, end in ((1.65, 2.25), (3.95, 4.55), (6.65, 7.55)):
        arrow(axes, (start, 1.3), (end, 1.3))
    axes.text(5.6, 0.42, "borrowed, frozen", ha="center", color=BLUE, fontsize=9.5)
    axes.text(8.6, 0.42, "learned, from few labels", ha="center", color=GREEN, fontsize=9.5)
    return figure
