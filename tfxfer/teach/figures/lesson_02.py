"""Figures of lesson 02: a phrase on its way through φ, the choice of λ, the evidence in a phrase, and reading."""

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


@notebook_figure
def order_of_letters(
    texts: Sequence[str], drawn: Any, columns: Any, posteriors: Any, alphabet: str
) -> tuple[Figure, str]:
    """Draw two phrases of the same words: their columns differ, the means of these hardly do, the letters read do.

    Args:
        texts: Two phrases.
        drawn: Them as pixels [2, H, W, 1].
        columns: The columns of their feature maps, averaged over the height, [2, w, D].
        posteriors: A reader's probabilities for each column of 4 pixels, [2, W / 4, A + 1]; the last is blank.
        alphabet: The A letters.
    """
    read = [_placed_letters(np.asarray(each), alphabet) for each in posteriors]
    figure, axes = pyplot.subplots(4, 2, figsize=(8.4, 5.0), layout="constrained", height_ratios=(1.1, 2.0, 1.5, 0.6))
    layout: Any = figure.get_layout_engine()
    layout.set(hspace=0.10, wspace=0.06)
    columns = np.asarray(columns)
    liveliest = columns.reshape(-1, columns.shape[-1]).std(0).argsort()[::-1][:24]
    own = columns[..., np.sort(liveliest)]  # [2, w, 24]
    means, most = own.mean(1), float(own.max())
    width = drawn.shape[2]
    for i, text in enumerate(texts):
        picture, strips, bars, letters = axes[:, i]
        pixels(picture, drawn[i], aspect="auto")
        picture.set_title(f"“{text}”", fontsize=12, parse_math=False)
        pixels(strips, own[i].T, cmap=STRENGTH, aspect="auto", vmin=0, vmax=most)
        bars.bar(range(means.shape[1]), means[i], color=BLUE, width=0.8, label="mean")
        bars.step(np.arange(means.shape[1] + 1) - 0.5, np.append(means[1 - i], means[1 - i][-1]), where="post",
                  color=ORANGE, linewidth=1.2, label="of the other phrase")  # fmt: skip
        bars.set(xticks=[], yticks=[], xlim=(-0.6, means.shape[1] - 0.4), ylim=(0, 1.3 * float(means.max())))
        bars.spines[:].set_visible(False)
        blank(letters).set(xlim=(0, len(posteriors[i])), ylim=(0, 1))
        for letter, place in read[i]:
            letters.text(place + 0.5, 0.5, letter, ha="center", va="center", fontsize=15, color=GREEN, parse_math=False)
    axes[2, 1].legend(loc="upper right", fontsize=8, ncols=2, frameon=False)
    for place, (title, words) in zip(
        axes[:, 0],
        (
            ("pixels", f"{drawn.shape[1]} × {width}"),
            ("columns of the map", f"24 of {columns.shape[2]} channels,\n{columns.shape[1]} columns"),
            ("mean of the columns", "no order is left"),
            ("a letter per column", "the order stays"),
        ),
    ):
        _beside(place, title, words)
    alt = (
        f"The phrases “{texts[0]}” and “{texts[1]}” as pixels, the columns of their feature maps, and the means of the "
        f"columns. The columns have another order, the means are nearly the same. What is read letter by letter: "
        f"{' and '.join('“' + ''.join(letter for letter, _ in each) + '”' for each in read)}."
    )
    return figure, alt


def _placed_letters(posteriors: np.ndarray, alphabet: str) -> list[tuple[str, float]]:
    """Return the letters of posteriors [w, A + 1], and the column in whose middle each stands."""
    there = 1 - posteriors[:, -1]
    found: list[tuple[str, float, float, int]] = []  # letter, sum of probabilities, of columns, last column
    for column in np.flatnonzero(there > 0.25).tolist():
        letter, share = alphabet[posteriors[column, :-1].argmax()], float(there[column])
        if found and found[-1][0] == letter and found[-1][3] == column - 1:
            _, sum_, weighted, _ = found.pop()
            found.append((letter, sum_ + share, weighted + share * column, column))
        else:
            found.append((letter, share, share * column, column))
    return [(letter, weighted / sum_) for letter, sum_, weighted, _ in found]


@notebook_figure
def letters_by_column(drawn: Any, posteriors: Any, alphabet: str, read: str) -> tuple[Figure, str]:
    """Draw a line of text over the probabilities of its letters in each column of 4 pixels.

    Args:
        drawn: The line as pixels [H, W, 1].
        posteriors: Probabilities [w, A + 1], the last is that of blank.
        alphabet: The A letters.
        read: What was read.
    """
    posteriors = np.asarray(posteriors)
    rows = [alphabet.index(letter) for letter in dict.fromkeys(read)]
    shown = np.concatenate([posteriors[:, rows].T, posteriors[:, -1:].T])  # [letters + 1, w]
    figure, (line, table) = pyplot.subplots(
        2, 1, figsize=(8.4, 1.3 + 0.26 * len(shown)), layout="constrained", height_ratios=(32 / 9, len(shown))
    )
    pixels(line, drawn, aspect="auto")
    image = pixels(table, shown, cmap=STRENGTH, aspect="auto", vmin=0, vmax=1).images[0]
    names = [*("␣" if alphabet[i] == " " else alphabet[i] for i in rows), "blank"]
    table.set_yticks(range(len(names)), names, fontsize=10, parse_math=False)
    table.tick_params(length=0)
    table.set_xlabel(f"read: “{read}”", fontsize=12, color=GREEN, parse_math=False)
    scale = figure.colorbar(image, ax=[line, table], aspect=30, pad=0.01, fraction=0.025)
    scale.set_label("probability", fontsize=9)
    scale.outline.set_visible(False)
    alt = (
        f"A drawn line of text, and for each of its {len(posteriors)} columns the probability of each letter. Each "
        f"letter is likely in one column or two, from left to right; between them is blank. Read is “{read}”."
    )
    return figure, alt
