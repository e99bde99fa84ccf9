"""What the figures of the lessons share: colours, boxes, arrows, and images without axes."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np
from matplotlib import pyplot, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tfxfer.report.figures.style import INK, MUTED, STYLE
from tfxfer.teach.showing import show_figure, show_slider

BLUE, GREEN, PURPLE, ORANGE, WINE = "#0067b1", "#007a5e", "#7a2186", "#b84a08", "#a03a56"
WORDS = 9.5  # font size in points
AGAINST_FOR = LinearSegmentedColormap.from_list("against_for", [ORANGE, "#ffffff", BLUE])
STRENGTH = LinearSegmentedColormap.from_list("strength", ["#ffffff", BLUE])


def notebook_figure(draw: Callable[..., tuple[Figure, str]]) -> Callable[..., None]:
    """Draw in the project's style and show the figure once, with its alt text.

    `draw` returns the figure and a text that says what the figure shows, for readers who cannot see it.
    """

    @wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> None:
        with rc_context({**STYLE, "figure.dpi": 100}):
            figure, alt = draw(*args, **kwargs)
            show_figure(figure, alt)
            pyplot.close("all")

    return drawn


def slider(label: str, draw: Callable[..., None], calls: Mapping[str, Sequence[Any]], start: int = 0) -> None:
    """Show a notebook figure for each of several values, with a slider between them.

    Args:
        label: What the slider changes.
        draw: A function with `notebook_figure`.
        calls: Value -> arguments of `draw`.
        start: Which value is shown first.
    """
    with rc_context({**STYLE, "figure.dpi": 100}):
        frames = [(value, *draw.__wrapped__(*arguments)) for value, arguments in calls.items()]  # type: ignore[attr-defined]
        show_slider(label, frames, start)
        pyplot.close("all")


def blank(axes: Axes) -> Axes:
    """Return axes without frame and ticks."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def pixels(axes: Axes, image: Any, **options: Any) -> Axes:
    """Show an image [H, W] or [H, W, 1 or 3] pixel by pixel, with a thin frame."""
    array = np.asarray(image)
    array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    axes.imshow(array, **{"cmap": "gray", "interpolation": "nearest", "aspect": "equal"} | options)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set(color="#d3d9e0", linewidth=0.8)
    return axes


def box(axes: Axes, x: float, y: float, width: float, height: float, words: str, colour: str, **text: Any) -> None:
    """Draw a rounded, tinted box with its centre at (x, y) and text in it."""
    corner = (x - width / 2, y - height / 2)
    style = "round,pad=0,rounding_size=" + str(0.12 * min(width, height) + 0.05)
    patch = FancyBboxPatch(corner, width, height, boxstyle=style, linewidth=1.2, edgecolor=colour, facecolor="white")
    axes.add_patch(patch)
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, linewidth=0, facecolor=colour, alpha=0.10))
    look: dict[str, Any] = {"fontsize": WORDS, "color": INK, "linespacing": 1.35}
    axes.text(x, y, words, ha="center", va="center", **look | text)


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = MUTED, **options: Any
) -> None:
    """Draw an arrow between two points."""
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 12, "linewidth": 1.4, "shrinkA": 2, "shrinkB": 2}
    axes.add_patch(FancyArrowPatch(start, end, color=colour, **style | options))


@notebook_figure
def accuracies(rows: Mapping[str, Mapping[str, float]]) -> tuple[Figure, str]:
    """Draw the share of correct answers, a group of bars for each question: question -> arm -> share."""
    figure, axes = pyplot.subplots(figsize=(8.0, 0.6 + 0.36 * sum(len(r) + 1 for r in rows.values())),
                                   layout="constrained")  # fmt: skip
    y, ticks = 0.0, {}
    for question, arms in rows.items():
        axes.text(0, y - 0.1, question, fontsize=9.5, fontweight="bold", va="center")
        for (arm, share), c in zip(arms.items(), (PURPLE, ORANGE, MUTED)):
            y += 0.9
            axes.barh(y, share, height=0.7, color=c, alpha=0.75)
            axes.text(share + 0.01, y, percent(share), va="center", fontsize=9.5, color=c)
            ticks[y] = arm
        y += 1.2
    axes.set_yticks(list(ticks), list(ticks.values()))
    most = max(share for arms in rows.values() for share in arms.values())
    axes.set(xlim=(0, min(1.0, 2 * most)), xticks=[], ylim=(y - 0.3, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    alt = "Share of correct answers. " + " ".join(
        f"{question} " + ", ".join(f"{arm} {percent(share)}" for arm, share in arms.items()) + "."
        for question, arms in rows.items()
    )
    return figure, alt


def percent(share: float) -> str:
    """Return a share in percent, with a decimal below 10 %.

    >>> percent(0.25), percent(0.031)
    ('25%', '3.1%')
    """
    return f"{share:.0%}" if share >= 0.1 or not share else f"{share:.1%}"
