"""Figures of lesson 01: characters with their names and facts, look-alikes, and a leak."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot
from matplotlib.figure import Figure

from tfxfer.report.figures.style import MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, WINE, blank, notebook_figure, pixels


@notebook_figure
def gallery(images: Any, captions: Sequence[str], facts: Sequence[str]) -> tuple[Figure, str]:
    """Draw characters over their official names and a fact about each."""
    figure, panels = pyplot.subplots(2, len(images) // 2, figsize=(8.8, 4.6), layout="constrained")
    for axes, image, caption, fact in zip(panels.flat, images, captions, facts):
        pixels(axes, image)
        name = "\n".join([*textwrap.wrap(caption, 23)[:2], ""][:2])
        axes.set_title("\n".join(textwrap.wrap(fact.replace("_", " "), 20)), fontsize=8.5, color=BLUE)
        axes.set_xlabel(name, fontsize=6.8, family="monospace")
    alt = (
        "Images of characters with a fact about each: "
        + "; ".join(f"{caption.lower()}, {fact.replace('_', ' ')}" for caption, fact in zip(captions, facts))
        + "."
    )
    return figure, alt


@notebook_figure
def typefaces(rows: Mapping[str, Any]) -> tuple[Figure, str]:
    """Draw each character in several typefaces, a row each: character -> images."""
    widest = max(map(len, rows.values()))
    figure, panels = pyplot.subplots(len(rows), widest, figsize=(8.8, 0.78 * len(rows)), layout="constrained")
    for line, (name, images) in zip(panels, rows.items()):
        for axes in line:
            blank(axes)
        for axes, image in zip(line, images):
            pixels(axes, image)
        line[0].text(-0.25, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=13)
    alt = (
        "Characters, each in several typefaces: "
        + ", ".join(f"{name} in {len(images)}" for name, images in rows.items())
        + "."
    )
    return figure, alt


@notebook_figure
def lookalikes(images: Any, captions: Sequence[str]) -> tuple[Figure, str]:
    """Draw characters whose images are equal, pixel by pixel."""
    figure, panels = pyplot.subplots(1, len(images), figsize=(8.8, 1.9), layout="constrained")
    for axes, image, caption in zip(panels, images, captions):
        pixels(axes, image)
        axes.set_xlabel("\n".join(textwrap.wrap(caption, 15)[:3]), fontsize=7.5, family="monospace")
    alt = "Images that are equal pixel by pixel: " + ", ".join(caption.lower() for caption in captions) + "."
    return figure, alt


@notebook_figure
def leak(
    queries: Any, leaky: Any, honest: Any, shares: Mapping[str, float], predictions: Sequence[tuple[str, str]]
) -> tuple[Figure, str]:
    """Draw test images with the most similar training image, in a split with a leak and in one without.

    Args:
        queries: N test images.
        leaky: The most similar training image of each, when images are split at random.
        honest: The same, when characters are held out.
        shares: Split -> accuracy.
        predictions: For each image (script predicted with the leak, without it).
    """
    figure = pyplot.figure(figsize=(8.8, 3.3), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(2.6, 1))
    left, right = parts
    panels = left.subplots(3, len(queries))
    titles = ("test image", "most similar,\nsplit at random", "most similar,\ncharacters held out")
    for line, images, title, c in zip(panels, (queries, leaky, honest), titles, (MUTED, ORANGE, GREEN)):
        for i, (axes, image) in enumerate(zip(line, images)):
            pixels(axes, image)
            if c != MUTED:
                axes.set_xlabel("\n".join(textwrap.wrap(predictions[i][int(c == GREEN)], 12)), fontsize=7.5)
        line[0].text(-0.2, 0.5, title, transform=line[0].transAxes, ha="right", va="center", fontsize=9, color=c)
    axes = right.subplots()
    bars = axes.bar(list(shares), list(shares.values()), color=[ORANGE, GREEN, MUTED][: len(shares)], width=0.65)
    axes.bar_label(bars, [f"{share:.0%}" for share in shares.values()], fontsize=10)
    axes.set(ylim=(0, 1), yticks=[], title="correct scripts")
    axes.tick_params(axis="x", length=0, labelsize=8.5)
    axes.spines["left"].set_visible(False)
    alt = (
        "Test images with the most similar training image, with and without a leak between the splits. Share of "
        "correct "
        "scripts: " + ", ".join(f"{' '.join(split.split())} {share:.0%}" for split, share in shares.items()) + "."
    )
    return figure, alt


@notebook_figure
def lengths(by_language: Mapping[str, Sequence[int]]) -> tuple[Figure, str]:
    """Draw the lengths of the phrases of each language."""
    figure, axes = pyplot.subplots(figsize=(7.6, 3.2), layout="constrained")
    names = sorted(by_language, key=lambda name: sum(by_language[name]) / len(by_language[name]))
    parts = axes.violinplot([by_language[name] for name in names], orientation="horizontal", widths=0.9, showmeans=True)
    for body in parts["bodies"]:  # type: ignore[attr-defined]
        body.set(facecolor=BLUE, alpha=0.3)
    for line in ("cmeans", "cbars", "cmins", "cmaxes"):
        parts[line].set(color=WINE if line == "cmeans" else MUTED, linewidth=1)
    axes.set_yticks(range(1, len(names) + 1), names)
    axes.set(xlabel="characters in a phrase (red: the mean)", xlim=(0, None))
    alt = (
        "Mean number of characters in a phrase: "
        + ", ".join(f"{name} {sum(by_language[name]) / len(by_language[name]):.0f}" for name in reversed(names))
        + "."
    )
    return figure, alt
