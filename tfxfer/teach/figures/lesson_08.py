"""Figures of lesson 08: from a folder and a table to a shared model, and the input of the network."""

from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure

from tfxfer.report.figures.style import MUTED
from tfxfer.teach.figures.paper import BLUE, GREEN, PURPLE, arrow, blank, box, notebook_figure, pixels


@notebook_figure
def workflow() -> tuple[Figure, str]:
    """Draw the steps from a folder and a table to the folder of a run."""
    figure, axes = pyplot.subplots(figsize=(8.8, 2.9), layout="constrained")
    blank(axes).set(xlim=(0, 10), ylim=(0, 3.3))
    box(axes, 1.1, 2.5, 1.9, 0.85, "folder:digits\nimages by class", BLUE)
    box(axes, 1.1, 0.9, 1.9, 0.85, "csv:sentences.csv\ntext, label", GREEN)
    box(axes, 4.1, 1.7, 1.9, 1.3, "python -m\ntfxfer.train", MUTED, fontweight="bold")
    axes.text(2.62, 2.52, "--source", fontsize=8.5, color=BLUE, ha="center")
    axes.text(2.62, 0.78, "--target", fontsize=8.5, color=GREEN, ha="center")
    arrow(axes, (2.1, 2.4), (3.1, 2.0), BLUE)
    arrow(axes, (2.1, 1.0), (3.1, 1.4), GREEN)
    files = ("report.html   table and verdict", "model.keras   takes raw text", "config.yaml   repeats the run")
    box(axes, 6.9, 1.7, 2.7, 1.9, "", PURPLE)
    axes.text(5.65, 1.62, "\n".join([*files, "log, metrics, answers"]), fontsize=8.5, va="center", linespacing=1.7)
    axes.text(6.9, 2.78, "folder of the run", ha="center", fontsize=9.5, color=PURPLE)
    arrow(axes, (5.1, 1.7), (5.5, 1.7))
    for y, word in ((2.5, "predict"), (1.7, "evaluate"), (0.9, "share")):
        arrow(axes, (8.3, 1.7 + 0.35 * (y - 1.7)), (8.85, y), PURPLE)
        axes.text(8.95, y, word, va="center", fontsize=10)
    alt = (
        "A folder of images is the source and a CSV file of sentences is the target of python -m tfxfer.train. It "
        "writes a run "
        "folder with report.html, model.keras and config.yaml, for predict, evaluate and sharing."
    )
    return figure, alt


@notebook_figure
def source_and_target(digits: Any, sentences: Any) -> tuple[Figure, str]:
    """Draw images of the source data, and four sentences as the source receives them.

    Args:
        digits: Images [10, 32, 32, 1].
        sentences: Drawn sentences [4, H, W, 1].
    """
    figure = pyplot.figure(figsize=(8.8, 3.2), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.75))
    left, right = parts
    left.suptitle("training data of the source", fontsize=9.5, color=BLUE)
    right.suptitle("sentences as the source receives them", fontsize=9.5, color=GREEN)
    for axes, image in zip(np.ravel(left.subplots(2, 5)), digits):
        pixels(axes, image)
    for axes, image in zip(np.ravel(right.subplots(2, 2)), sentences):
        pixels(axes, image)
    alt = (
        f"{len(digits)} images of digits, on which the source is trained, and {len(sentences)} sentences drawn as "
        f"images."
    )
    return figure, alt
