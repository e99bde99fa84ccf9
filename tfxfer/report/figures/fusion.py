"""Fusion of two modalities: accuracy when one is missing or noisy, and the share of each in single answers."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfxfer.report.figures.images import decoded, draw
from tfxfer.report.figures.style import CORRECT, INK, MUTED, PALETTE, STYLE, WRONG, colour, marker, shortened

SIDES = {"image": PALETTE["orange"], "text": PALETTE["blue"]}
LINE = 44  # characters of a line
DASHED = {"image_only": ":", "text_only": "--"}


@rc_context(STYLE)
def robustness(plots: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure | None:
    """Draw accuracy against how much of one side is missing or how noisy it is, a line for each head.

    Args:
        plots: Dicts with "title", "x" (what the axis says), "rates" [R] and "accuracy" (name -> float [R]); up to four.
        names: All names, in the order of their colours.

    Returns:
        The figure; None without plots.
    """
    if not plots:
        return None
    figure = Figure(figsize=(7.4, 5.6), layout="constrained")
    every = figure.subplots(-(-len(plots) // 2), min(2, len(plots)), sharey=True, squeeze=False).ravel()
    for axes, plot in zip(every, plots):
        for name, values in plot["accuracy"].items():
            axes.plot(plot["rates"], values, label=name.replace("_", " "), **_line(name, names))
        axes.set_title(plot["title"], fontsize=10)
        axes.set_xlabel(plot["x"], fontsize=9)
        axes.grid(axis="y")
    every[0].set_ylabel("accuracy")
    handles, labels = every[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    return figure


def _line(name: str, names: Sequence[str]) -> dict[str, Any]:
    """Return how a line is drawn: dashed for one side alone, which is no head, and bold for the head under study."""
    if name in DASHED:
        return {"color": MUTED, "linestyle": DASHED[name], "linewidth": 1.6}
    heads = [other for other in names if other not in DASHED]
    own = {"color": colour(name, heads), "marker": marker(name, heads), "markersize": 4.5}
    return own | {"linewidth": 2.4 if name == "transfer" else 1.3}


@rc_context(STYLE)
def modality_shares(cards: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Draw single answers: the image, its text, the answer, and the share of each side in its log-probability.

    Args:
        cards: Dicts with "png" (base64), "text", "given", "true", and the shares "image_share", "text_share" in nats.

    Returns:
        The figure; None without cards.
    """
    if not cards:
        return None
    figure = Figure(figsize=(7.4, 0.86 * len(cards) + 0.5))
    grid = figure.add_gridspec(len(cards), 3, width_ratios=[0.9, 3.4, 3.1], hspace=0.25, wspace=0.06,
                               left=0.01, right=0.97, top=0.995, bottom=0.45 / (0.86 * len(cards) + 0.5))  # fmt: skip
    both = [card[f"{side}_share"] for card in cards for side in SIDES]
    low, high = min(0.0, *both), max(0.1, *both)
    for row, card in enumerate(cards):
        draw(figure.add_subplot(grid[row, 0]), decoded(card["png"]))
        _words(figure.add_subplot(grid[row, 1]), card)
        _bars(figure.add_subplot(grid[row, 2]), card, (low, high), row == len(cards) - 1)
    return figure


def _words(axes: Axes, card: Mapping[str, Any]) -> None:
    axes.axis("off")
    right = card["given"] == card["true"]
    answer = shortened(card["given"], 26) + ("  (correct)" if right else f"  (true: {shortened(card['true'], 18)})")
    text = "\n".join(textwrap.wrap(shortened(card["text"], 2 * LINE - 4), LINE))
    axes.text(0.01, 0.98, text, va="top", fontsize=8, color=INK, parse_math=False)
    axes.text(0.01, 0.02, answer, va="bottom", fontsize=8, color=CORRECT if right else WRONG, parse_math=False)


def _bars(axes: Axes, card: Mapping[str, Any], limits: tuple[float, float], last: bool) -> None:
    room = 0.16 * (limits[1] - limits[0])
    for y, (side, shade) in zip((1, 0), SIDES.items()):
        value = card[f"{side}_share"]
        axes.barh(y, value, 0.62, color=shade)
        axes.text(limits[0] - 1.9 * room, y, side, va="center", fontsize=8, color=shade)
        at, where = (value, "left") if value >= 0 else (0, "left")
        axes.text(at + 0.1 * room, y, f"{value:+.2f}", va="center", ha=where, fontsize=8, color=MUTED)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set(xlim=(limits[0] - 2 * room, limits[1] + 1.3 * room), ylim=(-0.6, 1.6), yticks=[])
    for spine in ("left", "bottom"):
        axes.spines[spine].set_visible(last and spine == "bottom")
    axes.tick_params(labelbottom=last, bottom=last, labelsize=8)
    if last:
        axes.set_xlabel("share of the answer's log-probability, nats", fontsize=8)
