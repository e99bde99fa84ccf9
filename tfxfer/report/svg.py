"""Figures as inline SVG of an HTML page: selectable text, the colours of the page, no requests."""

import io
import re
import warnings
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tfxfer.errors import UserError, suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
DESCRIPTIONS = {
    "label_efficiency": "Line chart: score of each arm against the budget. The numbers are in the table above.",
    "accuracies": "Dot chart: score of each arm with its interval. The numbers are in the table above.",
    "differences": "Interval chart: score of transfer minus that of each other arm at each budget. "
    "The numbers are in the table below.",
    "confusion": "Confusion matrix: number of predictions of each class for each true class. The most frequent "
    "confusions are listed in the text.",
    "reliability": "Reliability diagram: accuracy against confidence, for transfer and random.",
    "training": "Training curves: loss and accuracy by epoch for each phase of training.",
}


def figure_svg(name: str, *arguments: Any) -> Markup | None:
    """Return a figure of `tfxfer.report.figures` as safe SVG, or None when there is nothing to draw."""
    from tfxfer.report import figures

    figure = getattr(figures, name)(*arguments)
    return None if figure is None else Markup(inline(figure, name, DESCRIPTIONS[name]))


def panel_svg(figure: Mapping[str, Any], prefix: str) -> Markup | None:
    """Return a figure of a `Panel` as safe SVG, or None when there is nothing to draw.

    Args:
        figure: A dict of `Panel.figures`.
        prefix: A word unique on the page.

    Raises:
        UserError: The figure is unknown, or its arguments do not fit.
    """
    from tfxfer.report import figures

    name = figure["name"]
    if name not in figures.__all__:
        raise UserError(f"panels.json: there is no figure '{name}'; {suggest(name, figures.__all__)}")
    try:
        drawn = getattr(figures, name)(**figure["arguments"])
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"panels.json: the arguments of the figure '{name}' do not fit ({error})") from error
    return None if drawn is None else Markup(inline(drawn, prefix, figure["description"]))


def inline(figure: "Figure", name: str, description: str) -> str:
    """Return an `<svg>` element for a page.

    Colours become CSS variables, so that dark mode applies to the figure. Text stays text, so that it can be
    searched and has the fonts of the page. Ids get the prefix `name`, so that they are unique on the page.

    Args:
        figure: The figure.
        name: A word unique on the page.
        description: What the figure shows, for readers who cannot see it.
    """
    from matplotlib import rc_context

    from tfxfer.report.figures.style import GRID, INK, MUTED, PALETTE, PAPER

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        # matplotlib measures text with its own font; the browser draws it, with whatever font has the glyph
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # without the XML and document type lines
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    for variable, colour in {"ink": INK, "muted": MUTED, "grid": GRID, "paper": PAPER, **PALETTE}.items():
        text = text.replace(colour, f"var(--{variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
