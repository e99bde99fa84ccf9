"""Training examples beside their edited copies."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from tfxfer.report.figures.images import decoded, draw
from tfxfer.report.figures.style import INK, MUTED, STYLE, shortened

WIDE = 2.5  # width by height from which images stand below one another
MOST = 6  # examples


@rc_context(STYLE)
def augmented_images(examples: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Draw each example, then its copies: in a row, or wide images such as lines of text in a column.

    Args:
        examples: Dicts with "name", "images" (base64 PNGs, the original first) and "under" (a text for each).

    Returns:
        The figure; None without examples.
    """
    shown = list(examples)[:MOST]
    if not shown:
        return None
    pixels = [[decoded(png) for png in each["images"]] for each in shown]
    height, width = pixels[0][0].shape[:2]
    wide, most = width / height > WIDE, max(map(len, pixels))
    columns = 2 if wide else most
    rows = most * -(-len(shown) // 2) if wide else len(shown)
    each = 3.6 * height / width + 0.16 if wide else 7.4 / most * height / width + 0.3
    figure = Figure(figsize=(7.4, max(1.0, rows * each)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for i, (example, images) in enumerate(zip(shown, pixels)):
        for j, image in enumerate(images):
            axes = grid[(i // 2) * most + j, i % 2] if wide else grid[i, j]
            draw(axes, image)
            said = example["name"] if not j else example["under"][j]
            if said:
                axes.set_title(shortened(said, 40 if wide else 20), fontsize=9, pad=3, loc="left" if wide else "center",
                               parse_math=False, color=MUTED if j else INK)  # fmt: skip
    return figure
