"""A matplotlib figure as SVG that lives inside an HTML page: real text, the page's colours, no requests."""

import io
import re
import warnings
from html import escape

from matplotlib import rc_context
from matplotlib.figure import Figure

from tfxfer.report.figures.style import COLOURS, GRID, INK, MUTED, PAPER

NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"} | {
    colour: f"--{arm}" for arm, colour in COLOURS.items()
}


def inline(figure: Figure, name: str, description: str) -> str:
    """Return an `<svg>` element for a page.

    Colours become CSS variables, so that the page's dark mode reaches the figure; text stays text, so that
    it can be searched and takes the page's fonts; ids get the prefix `name`, so that figures do not clash.

    Args:
        figure: The figure.
        name: A word unique on the page.
        description: What the figure shows, for readers who cannot see it.
    """
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
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
