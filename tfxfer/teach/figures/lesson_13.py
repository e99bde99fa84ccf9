"""Figures of lesson 13: an episode, accuracy by shots, two moons, pseudo-labels, edited copies, choices of labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure

from tfxfer.report.figures.style import GRID, INK, MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, ORANGE, PURPLE, WINE, blank, notebook_figure, percent, pixels
from tfxfer.teach.figures.paper import slider as slider

COLOURS = (BLUE, ORANGE, MUTED, PURPLE)


@notebook_figure
def episode(support: Any, queries: Any, answers: Any) -> tuple[Figure, str]:
    """Draw the shots of an episode, and its queries under the class that is answered.

    Args:
        support: [K, S, H, W, C].
        queries: [K, Q, H, W, C].
        answers: Place of the answered class for each query, int [K, Q].
    """
    ways, asked = queries.shape[:2]
    under: list[list[tuple[int, int]]] = [[] for _ in range(ways)]
    for k in range(ways):
        for q in range(asked):
            under[int(answers[k, q])].append((k, q))
    lines = max(1, *(len(each) for each in under))
    figure, panels = pyplot.subplots(1 + lines, ways, figsize=(1.35 * ways, 1.2 * (1 + lines)), layout="constrained",
                                     squeeze=False)  # fmt: skip
    for k in range(ways):
        pixels(panels[0, k], support[k, 0]).set_title(f"class {k + 1}", fontsize=9.5, color=MUTED)
        panels[0, k].spines[:].set(color=INK, linewidth=1.6)
        for line in range(lines):
            axes = panels[1 + line, k]
            if line >= len(under[k]):
                blank(axes)
                continue
            true, q = under[k][line]
            c = GREEN if true == k else WINE
            pixels(axes, queries[true, q]).spines[:].set(color=c, linewidth=2)
            axes.set_xlabel("right" if true == k else f"is class {true + 1}", fontsize=9, color=c, labelpad=2)
    panels[0, 0].set_ylabel("shot", fontsize=9.5)
    panels[1, 0].set_ylabel("queries", fontsize=9.5)
    right = int((np.asarray(answers) == np.arange(ways)[:, None]).sum())
    return figure, f"An episode of {ways} classes with a shot each, and {ways * asked} queries: {right} are right."


@notebook_figure
def shots_curve(rows: Mapping[str, Mapping[int, tuple[float, float, float]]], chance: float) -> tuple[Figure, str]:
    """Draw accuracy over the number of shots.

    Args:
        rows: Kind of features -> shots -> (mean, low, high).
        chance: The accuracy of a guess.
    """
    figure, axes = pyplot.subplots(figsize=(7.2, 3.1), layout="constrained")
    ends: list[tuple[float, str, str]] = []
    for (name, by_shots), c in zip(rows.items(), COLOURS):
        shots = list(by_shots)
        mean, low, high = np.array(list(by_shots.values())).T
        axes.fill_between(shots, low, high, color=c, alpha=0.18, linewidth=0)
        axes.plot(shots, mean, "o-", color=c, linewidth=2.2, markersize=6)
        ends.append((float(mean[-1]), name, c))
    lowest = 2.0
    for height, name, c in sorted(ends, reverse=True):  # names that do not overlap
        lowest = min(height, lowest - 0.09)
        axes.text(shots[-1] + 0.06, lowest, name, color=c, fontsize=10, va="center", fontweight="bold")
    axes.axhline(chance, color=GRID, linewidth=1.4, zorder=0)
    axes.text(shots[0], chance + 0.015, "chance", color=MUTED, fontsize=9)
    axes.set(xticks=shots, xlim=(shots[0] - 0.1, shots[-1] + 0.5), ylim=(0, 1.02), xlabel="labelled images a class",
             ylabel="queries that are right")  # fmt: skip
    alt = "Share of queries that are right. " + " ".join(
        f"{name}: " + ", ".join(f"{percent(each[0])} with {shots}" for shots, each in by_shots.items()) + "."
        for name, by_shots in rows.items()
    )
    return figure, alt


@notebook_figure
def moons(points: Any, truth: Any, known: Any, guessed: Mapping[str, Any]) -> tuple[Figure, str]:
    """Draw two classes of points, coloured by what each method answers.

    Args:
        points: [N, 2].
        truth: Class 0 or 1 of each, [N].
        known: Rows that have a label.
        guessed: Method -> class of each point, [N].
    """
    figure, panels = pyplot.subplots(1, len(guessed), figsize=(8.4, 2.9), layout="constrained", squeeze=False)
    shares = {}
    for axes, (name, answers) in zip(panels[0], guessed.items()):
        shares[name] = float(np.mean(answers == truth))
        for c, colour in enumerate((BLUE, ORANGE)):
            right, wrong = ((answers == c) & (truth == c)), ((answers == c) & (truth != c))
            axes.scatter(*points[right].T, s=13, color=colour, alpha=0.55, linewidth=0)
            axes.scatter(*points[wrong].T, s=26, color=colour, marker="x", linewidth=1.4)
        labelled = [(BLUE, ORANGE)[int(truth[i])] for i in known]
        axes.scatter(*points[known].T, s=95, c=labelled, edgecolor=INK, linewidth=1.6, zorder=3)
        blank(axes).set_title(f"{name}: {percent(shares[name])} right", fontsize=10.5)
    alt = f"Two classes of points of which {len(known)} have a label. Right: " + ", ".join(
        f"{name} {percent(share)}" for name, share in shares.items()
    )
    return figure, alt + ". Crosses are wrong."


@notebook_figure
def pseudo_labels(counts: Mapping[float, Sequence[int]], unlabelled: int) -> tuple[Figure, str]:
    """Draw how many pseudo-labels each threshold gave, right and wrong.

    Args:
        counts: Threshold -> [right, wrong].
        unlabelled: How many examples have no label.
    """
    figure, axes = pyplot.subplots(figsize=(7.4, 0.9 + 0.45 * len(counts)), layout="constrained")
    for y, (right, wrong) in enumerate(counts.values()):
        axes.barh(y, right, 0.66, color=GREEN, alpha=0.8)
        axes.barh(y, wrong, 0.66, left=right, color=WINE, alpha=0.85)
        axes.text(1.02 * unlabelled, y, f"{right} right, {wrong} wrong", va="center", fontsize=9.5)
    axes.axvline(unlabelled, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.text(unlabelled, -0.75, "without a label", ha="right", fontsize=9, color=MUTED)
    axes.set_yticks(range(len(counts)), [f"threshold {each:g}" for each in counts])
    axes.set(xlim=(0, 1.34 * unlabelled), ylim=(len(counts) - 0.45, -0.95), xlabel="pseudo-labels")
    axes.tick_params(axis="y", length=0)
    alt = f"Pseudo-labels for {unlabelled} examples. " + " ".join(
        f"Threshold {each:g}: {right} right, {wrong} wrong." for each, (right, wrong) in counts.items()
    )
    return figure, alt


@notebook_figure
def edits(rows: Mapping[str, Any]) -> tuple[Figure, str]:
    """Draw images and edited copies, an edit a line.

    Args:
        rows: Name -> images [N, H, W, C].
    """
    count = len(next(iter(rows.values())))
    figure, panels = pyplot.subplots(len(rows), count, figsize=(0.95 * count + 0.8, 0.98 * len(rows)),
                                     layout="constrained", squeeze=False)  # fmt: skip
    for line, (name, images) in zip(panels, rows.items()):
        for axes, image in zip(line, images):
            pixels(axes, image)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10, labelpad=8)
    return figure, f"{count} characters, and the same characters {' and '.join(list(rows)[1:])}."


@notebook_figure
def label_curves(rows: Mapping[str, Any], steps: Sequence[int]) -> tuple[Figure, str]:
    """Draw accuracy over the number of labels for several ways to choose them.

    Args:
        rows: Way -> accuracies [S, K] of S draws.
        steps: Labels, [K].
    """
    figure, axes = pyplot.subplots(figsize=(7.2, 3.1), layout="constrained")
    for (name, lines), c in zip(rows.items(), (MUTED, PURPLE, BLUE)):
        lines = np.asarray(lines)
        axes.plot(steps, lines.T, color=c, alpha=0.28, linewidth=1)
        axes.plot(steps, lines.mean(0), "o-", color=c, linewidth=2.4, markersize=5, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [str(each) for each in steps])
    axes.minorticks_off()
    axes.set(xlabel="labels", ylabel="accuracy")
    axes.legend(loc="upper left", frameon=False, fontsize=9.5)
    alt = f"Accuracy with {steps[-1]} labels: " + ", ".join(
        f"{name} {percent(float(np.mean(np.asarray(lines)[:, -1])))}" for name, lines in rows.items()
    )
    return figure, alt + ". Thin lines are single draws."
