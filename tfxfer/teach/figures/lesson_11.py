"""Figures of lesson 11: power, margins, captions to rate, and metrics beside ratings."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.evaluate.verdict import signed
from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, PURPLE, blank, notebook_figure, pixels
from tfxfer.teach.figures.paper import slider as slider

CHOICES = {1: ("A", BLUE), 0: ("=", MUTED), -1: ("B", ORANGE)}
COLOURS = (BLUE, PURPLE, GREEN, ORANGE)


@notebook_figure
def power_curve(
    seeds: int, differences: Sequence[float], power: Sequence[float], smallest: float, measured: float
) -> tuple[Figure, str]:
    """Draw how often a verdict finds each true difference.

    Args:
        seeds: Number of seeds.
        differences: True differences, [K].
        power: The probability that the verdict finds each, [K].
        smallest: The minimal detectable effect.
        measured: The difference that was measured.
    """
    figure, axes = pyplot.subplots(figsize=(7.6, 3.3), layout="constrained")
    axes.plot(differences, power, color=BLUE, linewidth=2.4)
    axes.axhline(0.8, color=GRID, linewidth=1.4, zorder=0)
    axes.axvline(measured, color=MUTED, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.text(measured, 1.07, f"measured {signed(measured)}", ha="center", fontsize=9, color=MUTED)
    if smallest <= differences[-1]:
        axes.plot(smallest, 0.8, "o", color=ORANGE, markersize=8)
        words = f"80 % from {signed(smallest)} on"
    else:
        words = f"80 % only from {signed(smallest)} on, outside this figure"
    axes.text(0.98, 0.06, words, transform=axes.transAxes, ha="right", color=ORANGE, fontsize=10, fontweight="bold")
    axes.set(xlim=(0, differences[-1]), ylim=(0, 1.0), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1.0],
             xlabel="true difference in CIDEr-D", ylabel="share of experiments that find it")  # fmt: skip
    axes.set_title(f"{seeds} seeds", loc="left", fontsize=10.5, pad=16)
    alt = (
        f"With {seeds} seeds: the share of experiments that find a true difference, rising from 0 differences on. A "
        f"share of 80 % is reached at {signed(smallest)}. The measured difference is {signed(measured)}."
    )
    return figure, alt


@notebook_figure
def margin_band(margin: float, difference: float, low: float, high: float, word: str) -> tuple[Figure, str]:
    """Draw an interval of a difference over the band of differences that would not matter.

    Args:
        margin: Half the width of the band.
        difference: The estimate.
        low: Lower end of its 90 % interval.
        high: Upper end.
        word: What is shown within this margin.
    """
    figure, axes = pyplot.subplots(figsize=(7.6, 1.9), layout="constrained")
    reach = 1.25 * max(abs(low), abs(high), 0.2)
    axes.set(xlim=(-reach, reach), ylim=(-1, 1), yticks=[], xlabel="smaller features − all features, in CIDEr-D")
    band = min(margin, reach)
    axes.add_patch(Rectangle((-band, -1), 2 * band, 2, facecolor=GREEN, alpha=0.13, linewidth=0))
    for end in (-margin, margin):
        axes.axvline(end, color=GREEN, linewidth=1.2)
    axes.axvline(0, color=INK, linewidth=1)
    axes.plot([low, high], [0, 0], color=BLUE, linewidth=3.4, solid_capstyle="butt")
    axes.plot(difference, 0, "o", color=BLUE, markersize=8)
    axes.spines[["left"]].set_visible(False)
    axes.set_title(f"margin {margin:g}: {word}", loc="left", fontsize=10.5, fontweight="bold")
    alt = (
        f"The 90 % interval of the difference, {signed(low)} to {signed(high)}, over the band from {signed(-margin)} "
        f"to {signed(margin)}: {word}."
    )
    return figure, alt


@notebook_figure
def to_rate(images: Any, texts: Sequence[tuple[str, str]]) -> tuple[Figure, str]:
    """Draw images with two captions each, A and B.

    Args:
        images: [N, H, W, C].
        texts: (A, B) for each.
    """
    columns = 2
    lines = -(-len(texts) // columns)
    figure, panels = pyplot.subplots(lines, 2 * columns, figsize=(9.2, 1.05 * lines), layout="constrained",
                                     width_ratios=[1, 4.6] * columns, squeeze=False)  # fmt: skip
    for place in range(lines * columns):
        line, column = divmod(place, columns)
        shown, words = panels[line, 2 * column : 2 * column + 2]
        blank(shown), blank(words).set(xlim=(0, 1), ylim=(0, 1))
        if place >= len(texts):
            continue
        pixels(shown, images[place])
        for y, (name, c), text in zip((0.74, 0.24), (CHOICES[1], CHOICES[-1]), texts[place]):
            words.text(0.0, y, name, color=c, fontweight="bold", fontsize=9.5, va="center")
            words.text(0.06, y, textwrap.fill(text, 44, max_lines=2), fontsize=8.5, va="center", linespacing=1.15)
        words.text(-0.02, 0.98, f"{place + 1}", color=MUTED, fontsize=8, ha="right", va="top")
    alt = "Images, each with two captions to choose from: " + "; ".join(
        f"{i}, A {a}, B {b}" for i, (a, b) in enumerate(texts[:4], 1)
    ) + (" and so on." if len(texts) > 4 else ".")  # fmt: skip
    return figure, alt


@notebook_figure
def choices(table: Mapping[str, Sequence[int]]) -> tuple[Figure, str]:
    """Draw what each rater chose for each image.

    Args:
        table: Rater -> 1 for A, −1 for B, 0 for a tie, for each image.
    """
    count = len(next(iter(table.values())))
    figure, axes = pyplot.subplots(figsize=(min(9.2, 2.2 + 0.42 * count), 0.75 + 0.42 * len(table)),
                                   layout="constrained")  # fmt: skip
    for y, given in enumerate(table.values()):
        for x, choice in enumerate(given):
            letter, c = CHOICES[int(choice)]
            axes.add_patch(Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, facecolor=c, alpha=0.22, linewidth=0))
            axes.text(x, y, letter, ha="center", va="center", color=c, fontsize=9.5, fontweight="bold")
    axes.set(xlim=(-0.6, count - 0.4), ylim=(len(table) - 0.45, -0.55))
    axes.set_yticks(range(len(table)), list(table))
    axes.set_xticks(range(count), [str(i + 1) for i in range(count)], fontsize=8)
    axes.set_xlabel("image", fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    alt = "What each rater chose: " + "; ".join(
        f"{rater} {' '.join(CHOICES[int(choice)][0] for choice in given)}" for rater, given in table.items()
    )
    return figure, alt + "."


@notebook_figure
def metrics_fooled(truth: str, scores: Mapping[str, Mapping[str, float]]) -> tuple[Figure, str]:
    """Draw what several metrics give to several captions of one image.

    Args:
        truth: The true caption.
        scores: Caption -> metric -> score as a share of what the true caption gets.
    """
    metrics = list(next(iter(scores.values())))
    figure, axes = pyplot.subplots(figsize=(8.6, 0.9 + 0.62 * len(scores)), layout="constrained")
    for y, by_metric in enumerate(scores.values()):
        for place, (metric, c) in enumerate(zip(metrics, COLOURS)):
            height = 0.72 / len(metrics)
            axes.barh(y - 0.36 + (place + 0.5) * height, by_metric[metric], height * 0.86, color=c, alpha=0.8,
                      label=metric if y == 0 else None)  # fmt: skip
    axes.set_yticks(range(len(scores)), [textwrap.fill(text, 34) for text in scores], fontsize=8.5)
    axes.set(xlim=(0, 1.02), ylim=(len(scores) - 0.5, -0.5), xlabel="score, as a share of what the true caption gets")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    alt = f"Scores of captions where the truth is {truth}. " + " ".join(
        f"{text}: " + ", ".join(f"{metric} {score:.2f}" for metric, score in by_metric.items()) + "."
        for text, by_metric in scores.items()
    )
    return figure, alt


@notebook_figure
def lead_by_choice(leads: Mapping[str, Sequence[float]], chosen: Sequence[int]) -> tuple[Figure, str]:
    """Draw how much each metric prefers A, for images where the rater chose A, none, or B.

    Args:
        leads: Metric -> score of A minus score of B for each image, scaled to at most 1.
        chosen: What the rater chose: 1, 0 or −1.
    """
    figure, panels = pyplot.subplots(1, len(leads), figsize=(8.8, 2.7), sharey=True, layout="constrained")
    rng = np.random.default_rng(0)
    for axes, (metric, lead), c in zip(np.atleast_1d(panels), leads.items(), COLOURS):
        for choice in (-1, 0, 1):
            values = np.asarray(lead)[np.asarray(chosen) == choice]
            axes.scatter(choice + rng.uniform(-0.18, 0.18, len(values)), values, s=22, color=c, alpha=0.7, linewidth=0)
        axes.axhline(0, color=INK, linewidth=1)
        axes.set(xlim=(-1.5, 1.5), ylim=(-1.1, 1.1), title=metric)
        axes.set_xticks([-1, 0, 1], ["B", "tie", "A"])
        axes.spines[["bottom"]].set_visible(False)
        axes.tick_params(axis="x", length=0)
    np.atleast_1d(panels)[0].set_ylabel("the metric prefers\nB   ←        →   A", fontsize=9)
    figure.supxlabel("the rater prefers", fontsize=9)
    alt = "How much each metric prefers caption A, beside what the rater chose. " + " ".join(
        f"{metric}: mean {np.mean(np.asarray(lead)[np.asarray(chosen) == 1] if 1 in chosen else 0):.2f} where the "
        f"rater chose A."
        for metric, lead in leads.items()
    )
    return figure, alt
