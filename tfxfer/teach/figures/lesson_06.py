"""Pictures of lesson 06: where a picture and a question meet, what questions give away, and who looks."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, PURPLE, arrow, blank, box, picture, pixels

FORMS = {"f·g alone": ("o", GREEN), "h: film": ("s", PURPLE), "h: cross-attention": ("D", BLUE)}


@picture
def meeting(image: Any, question: str, places: int = 8) -> Figure:
    """Draw how a picture's places and a question's words come together in K, and K in answers.

    Args:
        image: The picture.
        question: What is asked about it.
        places: Places from side to side.
    """
    figure, axes = pyplot.subplots(figsize=(9.2, 3.3), layout="constrained")
    blank(axes).set(xlim=(0, 12.6), ylim=(-0.35, 4.2))
    seen = pixels(axes.inset_axes((0.2, 2.45, 1.45, 1.45), transform=axes.transData), image)
    for line in np.arange(1, places) * len(image) / places - 0.5:
        seen.axhline(line, color=BLUE, linewidth=0.5)
        seen.axvline(line, color=BLUE, linewidth=0.5)
    axes.text(0.92, 2.3, f"X: {places} × {places} places", ha="center", va="top", fontsize=9, color=BLUE)
    axes.text(0.92, 0.75, "\n".join(textwrap.wrap(f"“{question}”", 17)), ha="center", va="center", fontsize=9.5)
    axes.text(0.92, 0.12, "Y: words", ha="center", va="top", fontsize=9, color=GREEN)
    box(axes, 3.5, 3.2, 2.0, 0.8, "f: a locked CNN,\nup to its last map", BLUE)
    box(axes, 3.5, 0.75, 2.0, 0.8, "g: a text encoder\nthat learns", GREEN)
    box(axes, 7.2, 3.2, 2.3, 0.9, "f(X) · g(Y)\neach place for itself", PURPLE)
    box(axes, 7.2, 0.75, 2.3, 0.9, "h(X, Y)\nboth looked at together", PURPLE)
    box(axes, 9.75, 1.98, 1.5, 0.9, "K, pooled\nover places", PURPLE)
    box(axes, 11.85, 1.98, 1.3, 0.9, "a number for\neach answer", MUTED)
    for y in (3.2, 0.75):
        arrow(axes, (1.9, y), (2.5, y))
        arrow(axes, (4.5, y), (6.05, y))
        arrow(axes, (8.35, y), (9.25, 1.98 + 0.45 * np.sign(y - 2)))
    arrow(axes, (4.5, 2.95), (6.05, 1.05))
    arrow(axes, (4.5, 1.0), (6.05, 2.9))
    arrow(axes, (10.5, 1.98), (11.2, 1.98))
    return figure


@picture
def questions(images: Any, asked: Sequence[Sequence[tuple[str, str]]]) -> Figure:
    """Draw pictures with the questions about each of them, and the answers.

    Args:
        images: N pictures.
        asked: (question, answer) of each, in N lists.
    """
    figure, (above, below) = pyplot.subplots(2, len(images), figsize=(9.2, 3.8), layout="constrained",
                                             height_ratios=(1, 0.95))  # fmt: skip
    for axes, words, image, lines in zip(above, below, images, asked):
        pixels(axes, image)
        blank(words).set(xlim=(0, 1), ylim=(0, 1))
        y = 1.0
        for question, answer in lines:
            wrapped = textwrap.wrap(question, 24)
            words.text(0, y, "\n".join(wrapped), va="top", fontsize=8.5, color=MUTED)
            y -= 0.105 * len(wrapped)
            words.text(0, y, answer, va="top", fontsize=9.5, fontweight="bold")
            y -= 0.2
    return figure


@picture
def given_away(counts: Mapping[str, Mapping[str, int]], most: int = 4) -> Figure:
    """Draw how often each answer is the right one, for each kind of question; the commonest is coloured.

    Args:
        counts: What is asked for -> answer -> how often, the commonest first.
        most: Answers that get their name.
    """
    figure, axes = pyplot.subplots(figsize=(8.8, 0.8 + 0.55 * len(counts)), layout="constrained")
    for y, answers in enumerate(counts.values()):
        total, left = sum(answers.values()), 0.0
        for place, (name, count) in enumerate(answers.items()):
            share = count / total
            face = ORANGE if not place else GRID
            axes.barh(y, share, left=left, height=0.66, color=face, alpha=0.75, edgecolor="white", linewidth=0.8)
            if place < most and share > 0.011 * len(name):
                axes.text(left + share / 2, y, name, ha="center", va="center", fontsize=8.5, color=INK)
            left += share
    axes.set_yticks(range(len(counts)), [f"{kind}  ({sum(by.values()):,})" for kind, by in counts.items()])
    axes.set(xlim=(0, 1), xticks=[], ylim=(len(counts) - 0.5, -0.9))
    axes.text(0, -0.62, "the commonest answer in training: what is said without a look", color=ORANGE, fontsize=9.5)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure


@picture
def by_kind(scores: Mapping[str, Mapping[str, float]], counts: Mapping[str, int]) -> Figure:
    """Draw accuracy by kind of question: the prior as a bar, the forms of h as points.

    Args:
        scores: "prior" and the forms of h -> kind -> accuracy.
        counts: Kind -> number of test questions.
    """
    figure, axes = pyplot.subplots(figsize=(8.4, 0.9 + 0.55 * len(counts)), layout="constrained")
    for y, kind in enumerate(counts):
        axes.barh(y, scores["prior"][kind], height=0.62, color=ORANGE, alpha=0.3, label="" if y else "prior: no look")
        for shift, (form, (marker, c)) in zip((-0.17, 0.0, 0.17), FORMS.items()):  # so that none hides another
            here = (scores[form][kind], y + shift)
            axes.plot(*here, marker, color=c, markersize=6.5, label="" if y else form, linestyle="none")
    axes.set_yticks(range(len(counts)), [f"{kind}  ({count})" for kind, count in counts.items()])
    axes.set(xlim=(0, 1), ylim=(len(counts) - 0.5, -0.5), xlabel="share of test questions that are answered right")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, fontsize=9)
    return figure


def bars(axes: Axes, names: Sequence[str], values: Sequence[float], colour: str, digits: str = "+.1f") -> None:
    """Draw a bar with its number for each name, from the top down."""
    axes.barh(range(len(names)), values, height=0.66, color=colour, alpha=0.7)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(names)), list(names), fontsize=8.5)
    axes.set(xticks=[], ylim=(len(names) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    span = max(map(abs, values))
    for y, value in enumerate(values):
        side = "right" if value < 0 else "left"
        axes.text(value, y, f" {format(value, digits)} ", ha=side, va="center", fontsize=8.5, color=colour)
    axes.set_xlim(min(0, *values) - 0.45 * span, max(0, *values) + 0.45 * span)


@picture
def terms(
    images: Any, question: str, answers: Sequence[str], tables: Mapping[str, Any], truth: Sequence[str]
) -> Figure:
    """Draw f·g + h = K of one question about several pictures.

    Args:
        images: N pictures.
        question: What is asked of all of them.
        answers: The A answers that are drawn.
        tables: "f·g", "h" and "K" -> [N, A].
        truth: The true answers, [N].
    """
    figure, grid = pyplot.subplots(len(images), 4, figsize=(9.2, 0.5 + 1.35 * len(images)), layout="constrained",
                                   width_ratios=(0.55, 1, 1, 1))  # fmt: skip
    for row, (image, axes) in enumerate(zip(images, grid)):
        pixels(axes[0], image).set_xlabel(truth[row], fontsize=9)
        for place, (name, colour, sign) in zip(
            axes[1:], (("f·g", GREEN, ""), ("h", BLUE, "+  "), ("K", PURPLE, "=  "))
        ):
            bars(place, answers, tables[name][row], colour)
            if not row:
                place.set_title(f"{sign}{name}", fontsize=10.5, color=colour)
    figure.suptitle(f"“{question}”", fontsize=10.5)
    return figure


@picture
def swapped(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> Figure:
    """Draw the same question about two pictures, and what several models answer.

    Args:
        rows: Each with "question", "images" (two), "true" (two answers), "answers" (A names) and "given", model ->
            probabilities [2, A].
        models: Titles of the models' columns.
    """
    figure = pyplot.figure(figsize=(9.0, 2.55 * len(rows) + 0.3), layout="constrained")
    for part, row in zip(figure.subfigures(len(rows), 1, squeeze=False).flat, rows):
        grid = part.subplots(2, 1 + len(models), width_ratios=(0.42, *[1] * len(models)))
        part.suptitle(f"“{row['question']}”", fontsize=10.5, x=0.01, ha="left")
        for i, axes in enumerate(grid):
            pixels(axes[0], row["images"][i])
            axes[0].set_ylabel(row["true"][i], fontsize=9, rotation=0, ha="right", va="center", labelpad=6)
            for place, model, c in zip(axes[1:], models, (BLUE, ORANGE)):
                _probabilities(place, row["answers"], row["given"][model][i], row["true"][i], c)
                if not i and row is rows[0]:
                    place.set_title(model, fontsize=10, color=c)
    return figure


def _probabilities(axes: Axes, names: Sequence[str], values: Any, true: str, colour: str) -> None:
    axes.barh(range(len(names)), values, height=0.7, color=colour, alpha=0.65)
    axes.set_yticks(range(len(names)), list(names), fontsize=8.5)
    axes.set(xticks=[], xlim=(0, 1.4), ylim=(len(names) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    for y, (name, value) in enumerate(zip(names, values)):
        axes.add_patch(Rectangle((0, y - 0.35), 1, 0.7, fill=False, edgecolor=GRID, linewidth=0.8))
        mark = "  ✓ true" if name == true else ""
        axes.text(value + 0.015, y, f"{value:.0%}{mark}", va="center", fontsize=8.5, color=INK)


@picture
def lopsided(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Draw what lopsided questions do: the score rises, looking goes.

    Args:
        rows: Each with "share" of answers that follow the question, and accuracy on "own" test questions, made as
            lopsided as those of training, on "even" ones, and on even ones with "another" picture.
    """
    figure, axes = pyplot.subplots(figsize=(8.4, 4.0), layout="constrained")
    share = [row["share"] for row in rows]
    lines = {name: [row[name] for row in rows] for name in ("own", "even", "another")}
    axes.fill_between(share, lines["another"], lines["even"], color=BLUE, alpha=0.13, linewidth=0)
    look = {
        "own": ("test as lopsided as training", ORANGE, "o", 1, (0, 24)),
        "even": ("even test, own pictures", BLUE, "D", 2, (14, 10)),
        "another": ("even test, others' pictures", MUTED, "s", 1, (0, -18)),
    }
    for name, (words, c, marker, at, offset) in look.items():
        axes.plot(share, lines[name], color=c, marker=marker, markersize=7, linewidth=2)
        side = "left" if offset[0] else "center"
        axes.annotate(words, (share[at], lines[name][at]), offset, textcoords="offset points", ha=side, color=c)
    middle = (lines["even"][0] + lines["another"][0]) / 2
    axes.annotate("what looking\nis worth", (share[0] + 0.03, middle), va="center", color=BLUE, fontsize=9.5)
    axes.set_xticks(share, [f"{one:.0%}" for one in share])
    low = min(map(min, lines.values()))
    axes.set(xlim=(share[0] - 0.02, share[-1] + 0.02), ylim=(low - 0.06, 1.04), ylabel="accuracy")
    axes.set_xlabel("share of training pairs in which the answer is the question's favourite")
    axes.grid(axis="y")
    return figure
