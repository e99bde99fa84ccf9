"""Figures of lesson 06: the model of image and question, the prior of each question, and use of the image."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, PURPLE, arrow, blank, box, notebook_figure, pixels

FORMS = {"f·g alone": ("o", GREEN), "h: film": ("s", PURPLE), "h: cross-attention": ("D", BLUE)}


@notebook_figure
def vqa_model(image: Any, question: str, side: int = 8) -> tuple[Figure, str]:
    """Draw how image and question are combined in K, and K is pooled into answers.

    Args:
        image: The image.
        question: The question about it.
        side: Positions in a row.
    """
    figure, axes = pyplot.subplots(figsize=(9.2, 3.3), layout="constrained")
    blank(axes).set(xlim=(0, 12.6), ylim=(-0.35, 4.2))
    seen = pixels(axes.inset_axes((0.2, 2.45, 1.45, 1.45), transform=axes.transData), image)
    for line in np.arange(1, side) * len(image) / side - 0.5:
        seen.axhline(line, color=BLUE, linewidth=0.5)
        seen.axvline(line, color=BLUE, linewidth=0.5)
    axes.text(0.92, 2.3, f"X: {side} × {side} positions", ha="center", va="top", fontsize=9, color=BLUE)
    axes.text(0.92, 0.75, "\n".join(textwrap.wrap(f"“{question}”", 17)), ha="center", va="center", fontsize=9.5)
    axes.text(0.92, 0.12, "Y: words", ha="center", va="top", fontsize=9, color=GREEN)
    box(axes, 3.5, 3.2, 2.0, 0.8, "f: a frozen CNN,\nup to its last map", BLUE)
    box(axes, 3.5, 0.75, 2.0, 0.8, "g: a text encoder,\ntrained", GREEN)
    box(axes, 7.2, 3.2, 2.3, 0.9, "f(X) · g(Y)\nposition by position", PURPLE)
    box(axes, 7.2, 0.75, 2.3, 0.9, "h(X, Y)\nimage and text jointly", PURPLE)
    box(axes, 9.75, 1.98, 1.5, 0.9, "K, pooled\nover positions", PURPLE)
    box(axes, 11.85, 1.98, 1.3, 0.9, "a logit for\neach answer", MUTED)
    for y in (3.2, 0.75):
        arrow(axes, (1.9, y), (2.5, y))
        arrow(axes, (4.5, y), (6.05, y))
        arrow(axes, (8.35, y), (9.25, 1.98 + 0.45 * np.sign(y - 2)))
    arrow(axes, (4.5, 2.95), (6.05, 1.05))
    arrow(axes, (4.5, 1.0), (6.05, 2.9))
    arrow(axes, (10.5, 1.98), (11.2, 1.98))
    alt = (
        "The image X goes through f, a frozen CNN, the question Y through g, a trained text encoder. f(X)·g(Y) and "
        "h(X, Y) are "
        "added to K, which is pooled over the positions and gives a logit for each answer."
    )
    return figure, alt


@notebook_figure
def questions(images: Any, asked: Sequence[Sequence[tuple[str, str]]]) -> tuple[Figure, str]:
    """Draw images with the questions about each of them, and the answers.

    Args:
        images: N images.
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
    alt = (
        "Questions about images, with their answers: "
        + " | ".join("; ".join(f"{question} {answer}" for question, answer in lines) for lines in asked)
        + "."
    )
    return figure, alt


@notebook_figure
def answer_priors(counts: Mapping[str, Mapping[str, int]], most: int = 4) -> tuple[Figure, str]:
    """Draw how frequent each answer is, for each kind of question; the most frequent one is coloured.

    Args:
        counts: Kind -> answer -> count, the most frequent first.
        most: Number of answers with a label.
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
    axes.text(0, -0.62, "the most frequent answer in training: the prior", color=ORANGE, fontsize=9.5)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    alt = (
        "Most frequent answer for each kind of question: "
        + ", ".join(
            f"{kind} {next(iter(by))} {next(iter(by.values())) / sum(by.values()):.0%}"
            for kind, by in counts.items()
            if by
        )
        + "."
    )
    return figure, alt


@notebook_figure
def accuracy_by_kind(scores: Mapping[str, Mapping[str, float]], counts: Mapping[str, int]) -> tuple[Figure, str]:
    """Draw accuracy by kind of question: the prior as a bar, the forms of h as points.

    Args:
        scores: "prior" and the forms of h -> kind -> accuracy.
        counts: Kind -> number of test questions.
    """
    figure, axes = pyplot.subplots(figsize=(8.4, 0.9 + 0.55 * len(counts)), layout="constrained")
    for y, kind in enumerate(counts):
        axes.barh(y, scores["prior"][kind], height=0.62, color=ORANGE, alpha=0.3, label="" if y else "prior: no image")
        for shift, (form, (marker, c)) in zip((-0.17, 0.0, 0.17), FORMS.items()):  # so that none hides another
            here = (scores[form][kind], y + shift)
            axes.plot(*here, marker, color=c, markersize=6.5, label="" if y else form, linestyle="none")
    axes.set_yticks(range(len(counts)), [f"{kind}  ({count})" for kind, count in counts.items()])
    axes.set(xlim=(0, 1), ylim=(len(counts) - 0.5, -0.5), xlabel="accuracy on the test questions")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, fontsize=9)
    alt = "Accuracy by kind of question. " + " ".join(
        f"{kind}: " + ", ".join(f"{form} {by[kind]:.2f}" for form, by in scores.items()) + "." for kind in counts
    )
    return figure, alt


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


@notebook_figure
def logit_terms(
    images: Any, question: str, answers: Sequence[str], tables: Mapping[str, Any], truth: Sequence[str]
) -> tuple[Figure, str]:
    """Draw f·g + h = K of one question about several images.

    Args:
        images: N images.
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
    alt = f"Logits of the terms for “{question}”. " + " ".join(
        f"True answer {truth[i]}: "
        + "; ".join(
            f"{name} " + ", ".join(f"{answer} {value:+.1f}" for answer, value in zip(answers, table[i]))
            for name, table in tables.items()
        )
        + "."
        for i in range(len(images))
    )
    return figure, alt


@notebook_figure
def answers_by_image(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> tuple[Figure, str]:
    """Draw the same question about two images, and the probabilities of several models.

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
    alt = "Probabilities of the true answers. " + " ".join(
        f"{row['question']} "
        + "; ".join(
            f"{model}: "
            + ", ".join(
                f"{true} {row['given'][model][i][list(row['answers']).index(true)]:.0%}"
                for i, true in enumerate(row["true"])
                if true in row["answers"]
            )
            for model in models
        )
        + "."
        for row in rows
    )
    return figure, alt


def _probabilities(axes: Axes, names: Sequence[str], values: Any, true: str, colour: str) -> None:
    axes.barh(range(len(names)), values, height=0.7, color=colour, alpha=0.65)
    axes.set_yticks(range(len(names)), list(names), fontsize=8.5)
    axes.set(xticks=[], xlim=(0, 1.45), ylim=(len(names) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    for y, (name, value) in enumerate(zip(names, values)):
        axes.add_patch(Rectangle((0, y - 0.35), 1, 0.7, fill=False, edgecolor=GRID, linewidth=0.8))
        mark = "  ✓ true" if name == true else ""
        axes.text(1.03, y, f"{value:.0%}{mark}", va="center", fontsize=8.5, color=INK)


@notebook_figure
def biased_training(rows: Sequence[Mapping[str, float]]) -> tuple[Figure, str]:
    """Draw what biased training does: the score on biased questions rises, the use of the image falls.

    Args:
        rows: Each with the "share" of answers that follow the question, and accuracy on "own" test questions, with the
            bias of training, on "even" (balanced) ones, and on balanced ones with "another" image.
    """
    figure, axes = pyplot.subplots(figsize=(8.4, 4.0), layout="constrained")
    share = [row["share"] for row in rows]
    lines = {name: [row[name] for row in rows] for name in ("own", "even", "another")}
    axes.fill_between(share, lines["another"], lines["even"], color=BLUE, alpha=0.13, linewidth=0)
    look = {
        "own": ("biased test", ORANGE, "o", 1, (0, 24)),
        "even": ("balanced test, own images", BLUE, "D", 2, (14, 10)),
        "another": ("balanced test, other images", MUTED, "s", 1, (0, -18)),
    }
    for name, (words, c, marker, at, offset) in look.items():
        axes.plot(share, lines[name], color=c, marker=marker, markersize=7, linewidth=2)
        side = "left" if offset[0] else "center"
        axes.annotate(words, (share[at], lines[name][at]), offset, textcoords="offset points", ha=side, color=c)
    middle = (lines["even"][0] + lines["another"][0]) / 2
    axes.annotate("gain from\nthe image", (share[0] + 0.03, middle), va="center", color=BLUE, fontsize=9.5)
    axes.set_xticks(share, [f"{one:.0%}" for one in share])
    low = min(map(min, lines.values()))
    axes.set(xlim=(share[0] - 0.02, share[-1] + 0.02), ylim=(low - 0.06, 1.04), ylabel="accuracy")
    axes.set_xlabel("share of training pairs with the typical answer of the question")
    axes.grid(axis="y")
    alt = "Accuracy against the share of training answers that follow the question. " + " ".join(
        f"Share {row['share']:.0%}: biased test {row['own']:.2f}, balanced test {row['even']:.2f}, balanced test with "
        f"another "
        f"image {row['another']:.2f}."
        for row in rows
    )
    return figure, alt
