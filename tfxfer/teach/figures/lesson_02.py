"""Figures of lesson 02: a phrase on its way through φ, the choice of λ, and the evidence in a phrase."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import (
    AGAINST_FOR,
    BLUE,
    GREEN,
    ORANGE,
    STRENGTH,
    arrow,
    blank,
    box,
    notebook_figure,
    pixels,
)


@notebook_figure
def forward_pass(text: str, drawn: Any, maps: dict[str, Any], features: Any) -> tuple[Figure, str]:
    """Draw text → pixels → activations of layers → features.

    Args:
        text: A phrase.
        drawn: It as pixels [H, W, 1].
        maps: Layer -> activations [h, w, D].
        features: φ(x), [D].
    """
    rows = len(maps) + 3
    figure, axes = pyplot.subplots(rows, 1, figsize=(8.4, 0.95 * rows), layout="constrained")
    layout: Any = figure.get_layout_engine()
    layout.set(hspace=0.12)
    blank(axes[0]).text(0.5, 0.4, f"x = “{text}”", ha="center", va="center", fontsize=15, parse_math=False)
    pixels(axes[1], drawn)
    _beside(axes[1], "the phrase as an image", f"{drawn.shape[0]} × {drawn.shape[1]} pixels")
    for place, (layer, answer) in zip(axes[2:], maps.items()):
        strongest = np.asarray(answer).reshape(-1, answer.shape[-1]).std(0).argsort()[::-1][:3]
        strip = np.concatenate([_scaled(answer[..., c]) for c in strongest], axis=1)
        pixels(place, strip, cmap=STRENGTH, aspect="auto")
        for cut in (1, 2):
            place.axvline(cut * answer.shape[1] - 0.5, color="white", linewidth=4)
        h, w, depth = answer.shape
        _beside(place, f"activations of {layer}", f"3 of {depth} maps of {h} × {w}")
    last = axes[-1]
    last.bar(range(len(features)), features, color=[BLUE if f > 0 else ORANGE for f in features], width=1.0)
    last.set(xticks=[], yticks=[], xlim=(-0.5, len(features) - 0.5))
    last.spines[:].set_visible(False)
    last.axhline(0, color=GRID, linewidth=0.8)
    _beside(last, "mean, normalised", f"φ(x): {len(features)} numbers")
    alt = (
        f"The phrase “{text}”, its image, the activations of the layers {', '.join(maps)}, and its {len(features)} "
        f"features."
    )
    return figure, alt


def _scaled(values: Any) -> np.ndarray:
    values = np.asarray(values, float)
    return (values - values.min()) / max(float(np.ptp(values)), 1e-9)


def _beside(axes: Any, title: str, words: str) -> None:
    """Label a row, on its left."""
    axes.text(-0.02, 0.56, title, transform=axes.transAxes, ha="right", va="bottom", fontweight="bold", fontsize=9.5)
    axes.text(-0.02, 0.46, words, transform=axes.transAxes, ha="right", va="top", fontsize=8.5, color=MUTED)


@notebook_figure
def l2_path(path: Sequence[Any], chosen: float) -> tuple[Figure, str]:
    """Draw, against λ, the loss on training and held-out phrases, and the accuracy on held-out phrases."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
    x = [point.l2 for point in path]
    left.plot(x, [point.train_loss for point in path], "o-", color=GREEN, label="training, with the penalty")
    left.plot(x, [point.validation_loss for point in path], "s-", color=BLUE, label="held out, without it")
    left.set(ylabel="loss in nats per phrase", ylim=(0, None))
    left.legend(loc="lower right", fontsize=8.5)
    right.plot(x, [point.validation_accuracy for point in path], "s-", color=BLUE)
    right.axvline(chosen, color=INK, linewidth=1, linestyle=":")
    right.text(
        chosen,
        0.02,
        " chosen: highest ",
        ha="left" if chosen < np.sqrt(min(x) * max(x)) else "right",
        transform=right.get_xaxis_transform(),
        fontsize=9,
    )
    right.set(ylabel="accuracy on held-out phrases", ylim=(0, None))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="λ\n← overfits  |  underfits →")
        axes.grid(axis="y")
    alt = (
        f"Two curves over λ from {min(x):.0e} to {max(x):.0e}: the loss on the training phrases rises with λ; the "
        f"accuracy on held-out "
        f"phrases is highest at {chosen:g}."
    )
    return figure, alt


@notebook_figure
def class_evidence(
    texts: Sequence[str], drawn: Any, columns: Any, answers: Sequence[tuple[str, float]], truth: Sequence[str]
) -> tuple[Figure, str]:
    """Draw each phrase over the evidence of its columns for the predicted language.

    Args:
        texts: N phrases.
        drawn: Them as pixels [N, H, W, 1].
        columns: Evidence [N, w] for the predicted class; w divides W.
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
        words = f"{answer}, {sure:.0%}"
        place.text(1.02, 0.56, words, transform=place.transAxes, va="bottom", color=GREEN if right else ORANGE)
        verdict = "correct" if right else f"correct: {true}"
        place.text(1.02, 0.44, verdict, transform=place.transAxes, va="top", fontsize=9, color=MUTED)
    scale = figure.colorbar(
        pyplot.cm.ScalarMappable(norm, AGAINST_FOR), ax=axes, location="bottom", aspect=60, shrink=0.6, pad=0.03
    )
    scale.set_label("← evidence against the predicted class      |      for it →", fontsize=9)
    scale.set_ticks([])
    scale.outline.set_visible(False)
    alt = (
        "Evidence of each image column for the predicted language. Predictions: "
        + "; ".join(f"“{text}” {answer}, {sure:.0%}" for text, (answer, sure) in zip(texts, answers))
        + "."
    )
    return figure, alt


@notebook_figure
def equation(width: int, classes: int) -> tuple[Figure, str]:
    """Draw f(x) = W·φ(x) + b as boxes: what is reused and frozen, what is trained."""
    figure, axes = pyplot.subplots(figsize=(8.2, 2.1), layout="constrained")
    blank(axes).set(xlim=(0, 10), ylim=(0, 2.4))
    box(axes, 0.9, 1.3, 1.5, 0.9, "x\na phrase", MUTED)
    box(axes, 3.1, 1.3, 1.7, 0.9, "drawn as\nan image", MUTED)
    box(axes, 5.6, 1.3, 2.3, 1.2, f"φ\na CNN trained on\ncharacters: {width} features", BLUE)
    box(axes, 8.6, 1.3, 2.1, 1.2, f"W · φ(x) + b\n{width} × {classes} weights\nand {classes} biases", GREEN)
    for start, end in ((1.65, 2.25), (3.95, 4.45), (6.75, 7.55)):
        arrow(axes, (start, 1.3), (end, 1.3))
    axes.text(5.6, 0.42, "reused, frozen", ha="center", color=BLUE, fontsize=9.5)
    axes.text(8.6, 0.42, "trained, on few labels", ha="center", color=GREEN, fontsize=9.5)
    alt = (
        f"A phrase x is drawn as an image. The frozen φ, a CNN trained on characters, gives {width} features. The "
        f"trained head "
        f"W·φ(x) + b has {width} × {classes} weights and {classes} biases."
    )
    return figure, alt
