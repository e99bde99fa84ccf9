"""A weight map as a Sankey diagram: source layers left, target layers right, links as wide as their parameters."""

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path

from tfxfer.report.figures.style import INK, MUTED, PALETTE, STYLE, shortened

LEFT, RIGHT, BAR = 0.33, 0.67, 0.012  # position of the columns, width of a bar
THIN = 0.006  # least height of a link in a figure of height 1, so that a bias is visible
GAP = 0.048  # between two layers, room for a label
LINE = 0.36  # inches of the figure for each layer

KINDS = {  # name of a colour in the legend -> its operations
    "copied unchanged": ("copy", "tie", "cast"),
    "moved or reshaped": ("transpose", "reshape", "slice", "select", "concatenate", "tile"),
    "widened or narrowed": ("gather_outputs", "gather_inputs", "low_rank", "channels", "inflate", "deflate"),
    "interpolated": ("interpolate", "resize_patches"),
    "combined from several": ("average", "mix", "delta"),
    "not from the source": ("fresh", "zero", "constant", "identity", "norm_scale", "keep"),
}
COLOURS = (*(PALETTE[name] for name in ("blue", "green", "purple", "orange", "rose")), "#c77700")


@rc_context(STYLE)
def sankey(flows: Sequence[Sequence[Any]], unread: Sequence[Sequence[Any]] = (), titles: Any = None) -> Figure:
    """Draw the parameters that flow from each source layer to each target layer.

    Args:
        flows: Rows (source layer or None, target layer, operation, parameters).
        unread: Rows (source layer, parameters) of the tensors that no tensor of the target is made from.
        titles: Names of the source and the target.
    """
    left = _sizes([(source, size) for source, _, _, size in flows if source is not None] + [tuple(u) for u in unread])
    right = _sizes([(target, size) for _, target, _, size in flows])
    figure = Figure(figsize=(7.4, 1.0 + LINE * max(len(left), len(right), 4)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(1.02, -0.06))
    axes.axis("off")
    scale = min(_scale(left), _scale(right))  # one scale, so that widths compare between the sides
    left_top, right_top = _tops(left, scale), _tops(right, scale)
    _bars(axes, left, left_top, scale, LEFT - BAR, "right")
    _bars(axes, right, right_top, scale, RIGHT, "left")
    for source, target, operation, size in flows:
        height, colour = max(size * scale, THIN), _colour(operation)
        y = right_top[target]
        right_top[target] += height
        if source is None:
            _link(axes, (RIGHT - 0.09, y, 0.25 * height), (RIGHT, y, height), colour, 0.35)
            continue
        _link(axes, (LEFT, left_top[source], height), (RIGHT, y, height), colour, 0.45)
        left_top[source] += height
    for source, size in unread:
        height = max(size * scale, THIN)
        _link(axes, (LEFT, left_top[source], height), (LEFT + 0.07, left_top[source], 0.0), MUTED, 0.25)
        left_top[source] += height
    _legend(axes, titles or {}, {operation for _, _, operation, _ in flows}, bool(unread))
    return figure


def _sizes(rows: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
    """Return layer -> the sizes of its links, layers in their order."""
    found: dict[str, list[int]] = {}
    for layer, size in rows:
        found.setdefault(layer, []).append(size)
    return found


def _scale(layers: dict[str, list[int]]) -> float:
    """Return the height of a parameter such that a column fits, thin links counted with their least height."""
    room = 1.0 - _gap(layers) * max(0, len(layers) - 1)
    sizes = [size for each in layers.values() for size in each]
    scale = room / max(1, sum(sizes))
    thin_height = min(THIN, 0.5 * room / max(1, len(sizes)))
    for _ in range(20):  # thin links are drawn larger than their share, so the others are drawn smaller
        thin = [size for size in sizes if size * scale < thin_height]
        scale = (room - thin_height * len(thin)) / max(1, sum(sizes) - sum(thin))
    return scale


def _gap(layers: dict[str, list[int]]) -> float:
    """Return the space between two layers, at most half the height in total."""
    return min(GAP, 0.5 / max(1, len(layers) - 1))


def _tops(layers: dict[str, list[int]], scale: float) -> dict[str, float]:
    top, found = 0.0, {}
    for layer, sizes in layers.items():
        found[layer] = top
        top += sum(max(size * scale, THIN) for size in sizes) + _gap(layers)
    return found


def _bars(axes: Axes, layers: dict[str, list[int]], tops: dict[str, float], scale: float, x: float, side: str) -> None:
    for layer, sizes in layers.items():
        height = sum(max(size * scale, THIN) for size in sizes)
        axes.add_patch(Rectangle((x, tops[layer]), BAR, height, color=INK, linewidth=0))
        place = x - 0.01 if side == "right" else x + BAR + 0.01
        label = f"{shortened(layer, 30)}  {sum(sizes):,}"
        axes.text(place, tops[layer] + height / 2, label, ha=side, va="center", fontsize=8.5, parse_math=False)


def _link(
    axes: Axes, start: tuple[float, float, float], end: tuple[float, float, float], colour: str, alpha: float
) -> None:
    """Draw a link between two positions (x, top, height)."""
    (x0, y0, h0), (x1, y1, h1) = start, end
    y0, y1 = (y0 + (h1 - h0) / 2, y1) if h0 < h1 else (y0, y1 + (h0 - h1) / 2)  # a narrow end is centred
    middle = (x0 + x1) / 2
    path = [(x0, y0), (middle, y0), (middle, y1), (x1, y1), (x1, y1 + h1)]
    path += [(middle, y1 + h1), (middle, y0 + h0), (x0, y0 + h0), (x0, y0)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    axes.add_patch(PathPatch(Path(path, codes), facecolor=colour, alpha=alpha, linewidth=0))


def _colour(operation: str) -> str:
    kinds = list(KINDS.values())
    return COLOURS[next((i for i, names in enumerate(kinds) if operation in names), len(kinds) - 1)]


def _legend(axes: Axes, titles: Any, operations: set[str], unread: bool) -> None:
    source = ", ".join(str(name) for label, name in titles.items() if label != "target")
    for x, side, text in ((LEFT, "right", source), (RIGHT, "left", str(titles.get("target", "")))):
        axes.text(x, -0.03, shortened(text, 40), ha=side, va="bottom", fontweight="bold", parse_math=False)
    shown = {name: colour for (name, ops), colour in zip(KINDS.items(), COLOURS) if operations & set(ops)}
    handles = [Patch(color=colour, alpha=0.6, label=name) for name, colour in shown.items()]
    if unread:
        handles.append(Patch(color=MUTED, alpha=0.25, label="not used"))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, fontsize=8.5)
