"""The figure in README.md: the default experiment, and its results beside those of the controls.

python -m benchmarks.picture RUN        RUN: a folder of `python -m tfxfer.train`; writes docs/picture.png
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import tfxfer
from tfxfer.records import Comparison
from tfxfer.report.figures.arms import draw_efficiency
from tfxfer.report.figures.style import INK, MUTED, STYLE
from tfxfer.teach.figures.paper import BLUE, GREEN, arrow, blank, box, pixels
from tfxfer.transfer.bridges.render import RenderText

FILE = Path(__file__).parent.parent / "docs" / "picture.png"
SHOWN = 6  # characters of the source
PHRASES = 2


def main(run: str) -> None:
    """Draw the experiment on the left and the run's results on the right."""
    comparison = Comparison.load(Path(run))
    with rc_context(STYLE):
        figure = Figure(figsize=(11.2, 4.2), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(6, 5.2))
        _experiment(left)
        axes = right.subplots()
        draw_efficiency(axes, comparison)
        axes.set_title("results beside the controls", loc="left", fontsize=10.5, color=MUTED)
        figure.savefig(FILE, dpi=130)
    print(f"{FILE} ({FILE.stat().st_size / 1024:.0f} KiB)")


def _experiment(figure) -> None:
    axes = blank(figure.subplots())
    axes.set(xlim=(0, 10), ylim=(0, 6.2))
    for y, title in ((5.9, "the source's task: images"), (2.75, "the target's task: rendered text")):
        axes.text(0.1, y, title, fontsize=10.5, color=MUTED, va="center")
    glyphs = tfxfer.load("glyphs/by_face")
    rows = np.linspace(0, glyphs.sizes["test"] - 1, 20 * SHOWN).astype(int)
    inked = sorted(_images(glyphs, rows), key=lambda image: float(image.mean()))[
        :SHOWN
    ]  # those with most ink: no dots or accents
    for place, image in enumerate(inked):
        pixels(_inset(axes, 0.1 + 1.25 * (place % 3), 4.35 - 1.15 * (place // 3), 1.1, 1.1), image)
    phrases = tfxfer.load("languages/latin").texts("test")[::150][:PHRASES]
    for place, image in enumerate(RenderText(32, 224, font_size=24)(np.array(phrases, object))):
        pixels(_inset(axes, 0.1, 1.55 - 0.85 * place, 3.6, 0.7), image)
    box(axes, 5.15, 4.3, 1.7, 1.6, "CNN\nlearns", MUTED)
    box(axes, 5.15, 1.35, 1.7, 1.6, "the same\nCNN φ,\nfrozen", BLUE)
    box(axes, 8.35, 4.3, 2.5, 1.0, "which character?\n(6,500)", MUTED)
    box(axes, 8.35, 1.35, 2.5, 1.6, "f(x) = W·φ(x) + b\nwhich language?\n(10)", GREEN)
    for y in (4.3, 1.35):
        arrow(axes, (3.85, y), (4.25, y), INK)
        arrow(axes, (6.05, y), (7.05, y), INK)
    arrow(axes, (5.15, 3.4), (5.15, 2.25), BLUE)
    axes.text(5.35, 2.83, "the weights", fontsize=9.5, color=BLUE, va="center")


def _images(dataset, rows: np.ndarray) -> list[np.ndarray]:
    wanted = set(rows.tolist())
    images = (example["image"] for batch in dataset.test.batch(256).as_numpy_iterator() for example in _each(batch))
    return [image for row, image in enumerate(images) if row in wanted]


def _each(batch: dict) -> list[dict]:
    return [{"image": image} for image in batch["image"]]


def _inset(axes: Axes, x: float, y: float, width: float, height: float) -> Axes:
    return axes.inset_axes((x, y, width, height), transform=axes.transData)


if __name__ == "__main__":
    main(*sys.argv[1:])
