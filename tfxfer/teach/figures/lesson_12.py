"""Figures of lesson 12: parts of information, pairs, heads, a missing side, shares, and who helped whom."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.evaluate.complementarity import Decomposition
from tfxfer.evaluate.verdict import Verdict, signed
from tfxfer.report.figures.style import INK, MUTED
from tfxfer.teach.figures.paper import AGAINST_FOR, BLUE, GREEN, ORANGE, PURPLE, blank, notebook_figure, percent, pixels
from tfxfer.teach.figures.paper import slider as slider

PARTS = (("shared", MUTED), ("only the first", BLUE), ("only the second", ORANGE), ("synergy", GREEN))
NAMES = {"image_only": "image only", "text_only": "text only", "low_rank": "low rank",
         "cross_attention": "cross-attention"}  # fmt: skip


@notebook_figure
def parts(title: str, found: Decomposition) -> tuple[Figure, str]:
    """Draw the four parts of what two sides tell, in bits.

    Args:
        title: What the figure is about.
        found: The parts.
    """
    bits = (found.shared, found.first, found.second, found.synergy)
    figure, axes = pyplot.subplots(figsize=(7.2, 2.1), layout="constrained")
    for y, ((_, c), value) in enumerate(zip(PARTS, bits)):
        axes.barh(y, value, 0.66, color=c, alpha=0.85)
        axes.text(max(value, 0) + 0.015 * max(1.0, *bits), y, f"{value:.2f}", va="center", fontsize=10, color=c)
    axes.set_yticks(range(len(PARTS)), [name for name, _ in PARTS])
    axes.set(xlim=(0, 1.15 * max(max(bits), 0.4)), ylim=(len(PARTS) - 0.45, -0.55), xlabel="bits")
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, loc="left", fontsize=10.5)
    alt = f"{title}: " + ", ".join(f"{name} {value:.2f} bits" for (name, _), value in zip(PARTS, bits))
    return figure, alt + "."


@notebook_figure
def pairs(images: Any, texts: Sequence[str], names: Sequence[str]) -> tuple[Figure, str]:
    """Draw images above their texts and classes.

    Args:
        images: [N, H, W, C].
        texts: [N].
        names: Names of their classes, [N].
    """
    figure, panels = pyplot.subplots(1, len(texts), figsize=(1.55 * len(texts), 2.2), layout="constrained",
                                     squeeze=False)  # fmt: skip
    for axes, image, text, name in zip(panels[0], images, texts, names):
        pixels(axes, image).set_title(name.replace(" ", "\n"), fontsize=9.5, color=BLUE)
        axes.set_xlabel(textwrap.fill(text.lower(), 15, max_lines=3), fontsize=9, linespacing=1.2)
    return figure, "Pairs: " + "; ".join(f"{name}, “{text.lower()}”" for text, name in zip(texts, names)) + "."


@notebook_figure
def heads(rows: Mapping[str, float]) -> tuple[Figure, str]:
    """Draw the accuracy of each head and control.

    Args:
        rows: Name -> accuracy.
    """
    figure, axes = pyplot.subplots(figsize=(7.4, 0.7 + 0.36 * len(rows)), layout="constrained")
    for y, (name, share) in enumerate(rows.items()):
        c = MUTED if name in ("image_only", "text_only") else ORANGE if name == "shuffled partner" else PURPLE
        axes.barh(y, share, 0.68, color=c, alpha=0.8)
        axes.text(share + 0.008, y, percent(share), va="center", fontsize=9.5, color=c)
    axes.set_yticks(range(len(rows)), [NAMES.get(name, name) for name in rows])
    axes.set(xlim=(0, min(1.05, 1.2 * max(rows.values()) + 0.05)), ylim=(len(rows) - 0.45, -0.55), xlabel="accuracy")
    axes.tick_params(axis="y", length=0)
    alt = "Accuracy: " + ", ".join(f"{NAMES.get(name, name)} {percent(share)}" for name, share in rows.items())
    return figure, alt + "."


@notebook_figure
def missing(rates: Sequence[float], curves: Mapping[tuple[str, str], Sequence[float]]) -> tuple[Figure, str]:
    """Draw accuracy over the share of examples that lack a side.

    Args:
        rates: Shares, [K].
        curves: (side that is missing, name of the head) -> accuracy, [K].
    """
    sides = list(dict.fromkeys(side for side, _ in curves))
    figure, panels = pyplot.subplots(1, len(sides), figsize=(8.4, 3.0), sharey=True, layout="constrained")
    for axes, side in zip(np.atleast_1d(panels), sides):
        rows = {name: line for (of, name), line in curves.items() if of == side}
        for (name, line), c in zip(rows.items(), (PURPLE, BLUE, ORANGE, GREEN)):
            axes.plot(rates, line, "o-", color=c, linewidth=2.2, markersize=4.5, label=NAMES.get(name, name))
        axes.set_xticks(list(rates), [f"{rate:.0%}" for rate in rates])
        axes.set(xlabel=f"examples without {side}", ylim=(0, 1))
    first = np.atleast_1d(panels)[0]
    first.set_ylabel("accuracy")
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    alt = "Accuracy when a side is missing for all examples. " + " ".join(
        f"{NAMES.get(name, name)} without {side}: {percent(float(line[-1]))}." for (side, name), line in curves.items()
    )
    return figure, alt


@notebook_figure
def shares(
    images: Any, texts: Sequence[str], answers: Sequence[str], of_image: Sequence[float], of_text: Sequence[float]
) -> tuple[Figure, str]:
    """Draw what the image and the text of some pairs gave to the answer.

    Args:
        images: [N, H, W, C].
        texts: [N].
        answers: Class that is answered, [N].
        of_image: The image's share, in nats, [N].
        of_text: The text's share, [N].
    """
    count = len(texts)
    figure, panels = pyplot.subplots(count, 2, figsize=(8.2, 0.72 * count + 0.5), layout="constrained",
                                     width_ratios=[1, 7], squeeze=False)  # fmt: skip
    low, high = min(0.0, *of_image, *of_text), max(*of_image, *of_text)
    room = 0.06 * (high - low)
    for (shown, axes), image, text, answer, one, two in zip(panels, images, texts, answers, of_image, of_text):
        pixels(shown, image)
        for y, value, c in ((0.75, one, BLUE), (0.15, two, ORANGE)):
            axes.barh(y, value, 0.42, color=c, alpha=0.85)
        blank(axes).axvline(0, color=INK, linewidth=1)
        axes.set(xlim=(low - room, high + 6 * room), ylim=(-0.2, 1.75))
        words = textwrap.shorten(text.lower(), 48, placeholder="…")
        axes.text(0.15 * room, 1.32, f"“{words}” → {answer}", fontsize=9, va="center")
    figure.supxlabel("share of the log-probability of the answer: image in blue, text in orange", fontsize=9.5)
    alt = "Shares of image and text in nats. " + " ".join(
        f"“{text.lower()}” is answered {answer}: image {signed(one)}, text {signed(two)}."
        for text, answer, one, two in zip(texts, answers, of_image, of_text)
    )
    return figure, alt


@notebook_figure
def who_helped_whom(
    tasks: Sequence[str], matrix: Mapping[tuple[str, str], Verdict], alone: Mapping[str, float]
) -> tuple[Figure, str]:
    """Draw what learning with another task did to each task.

    Args:
        tasks: Names.
        matrix: (helper, judged task) -> verdict against the judged task alone.
        alone: Task -> its accuracy alone.
    """
    reach = max(0.02, *(abs(each.difference) for each in matrix.values()))
    figure, axes = pyplot.subplots(figsize=(6.6, 0.9 + 0.72 * len(tasks)), layout="constrained")
    for y, helper in enumerate(tasks):
        for x, judged in enumerate(tasks):
            colour: Any = "#eef1f4"
            words = f"alone\n{percent(alone[judged])}"
            if helper != judged:
                found = matrix[helper, judged]
                colour = AGAINST_FOR(0.5 + 0.32 * found.difference / reach)
                words = f"{signed(found.difference)}\n{found.word}"
            axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour, linewidth=0))
            axes.text(x, y, words, ha="center", va="center", fontsize=9.5, color=INK, linespacing=1.3)
    axes.set(xlim=(-0.5, len(tasks) - 0.5), ylim=(len(tasks) - 0.5, -0.5))
    axes.set_xticks(range(len(tasks)), tasks)
    axes.set_yticks(range(len(tasks)), [f"with {task}" for task in tasks])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    alt = "What learning with another task did. " + " ".join(
        f"{judged} with {helper}: {signed(each.difference)}, {each.word}." for (helper, judged), each in matrix.items()
    )
    return figure, alt
