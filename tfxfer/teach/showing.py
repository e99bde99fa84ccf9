"""What a lesson shows: the source of the library, and sentences whose numbers come from the cells above."""

import ast
import base64
import hashlib
import inspect
import io
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tfxfer.teach.formatting import narrow
from tfxfer.teach.markdown import tidy

PACKAGE = Path(__file__).parent.parent
SHARPNESS = 1.5  # pixels of a figure for each pixel at which it is shown, for screens of high resolution


@dataclass(frozen=True)
class Shown:
    """Markdown for a notebook; plain text elsewhere."""

    markdown: str

    def __repr__(self) -> str:
        return self.markdown

    def _repr_markdown_(self) -> str:
        return self.markdown


def show(*things: Callable | type, docstring: bool = False) -> Shown:
    """Show the source of functions or classes of tfxfer as it is installed, with file and line.

    Code is formatted to 88 columns where `ruff` is installed (extra `test`).

    Args:
        things: What to show, one after the other.
        docstring: Show docstrings in full; otherwise their first line stands for them.
    """
    return Shown("\n\n".join(_one(thing, docstring) for thing in things))


def show_signature(function: Callable) -> Shown:
    """Show what a function takes and returns: its signature and docstring, without its body."""
    source = textwrap.dedent(inspect.getsource(function))
    node = ast.parse(source).body[0]
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        raise TypeError(f"{function!r} is not a function")
    end = node.body[0].end_lineno if ast.get_docstring(node) else node.body[0].lineno - 1
    head = "\n".join(source.splitlines()[:end])
    head = re.sub(r"\n\n +Examples?:\n.*?(?=\n +\"\"\"$)", "", head, flags=re.DOTALL)
    return Shown(f"`{function.__module__}`:\n\n```python\n{narrow(head + chr(10) + '    ...')}\n```")


def say(text: str) -> None:
    """Show Markdown, such as an f-string whose numbers were computed above; print it outside a notebook.

    Lines may be indented together, as in code. Lines of a paragraph are joined, and a number at the start of a line is
    text (see `tfxfer.teach.markdown.tidy`). A list or quote begins after an empty line.
    """
    content = textwrap.dedent(text).strip()
    if not display({"text/markdown": tidy(content), "text/plain": content}):
        print(content)


def show_figure(figure: Any, alt: str) -> None:
    """Show a figure in a notebook, as an image with an alt text on a white background; nothing outside a notebook.

    JupyterLab takes the alt text from the HTML, nbconvert from the metadata of the PNG.

    Args:
        figure: A matplotlib figure.
        alt: What the figure shows, in a sentence or two.
    """
    alt = " ".join(alt.split())
    if not in_notebook():
        return
    data, size = _png(figure)
    page = f'<img alt="{escape(alt)}" width="{size["width"]}" src="data:image/png;base64,{data}">'
    display({"image/png": data, "text/html": page, "text/plain": alt}, {"image/png": {"alt": alt, **size}})


SLIDER = """<div id="{id}"><label>{label}: <b>{value}</b><br>
<input type="range" min="0" max="{last}" step="1" value="{start}" style="width:320px;max-width:90%"></label><br>
<img alt="{alt}" width="{width}" src="data:image/png;base64,{data}"></div>
<script>(function () {{
  const frames = {frames}, box = document.getElementById("{id}"), input = box.querySelector("input");
  input.addEventListener("input", function () {{
    const [value, alt, data] = frames[input.value], image = box.querySelector("img");
    box.querySelector("b").textContent = value;
    input.setAttribute("aria-valuetext", value);
    image.alt = alt;
    image.src = "data:image/png;base64," + data;
  }});
}})();</script>"""


def show_slider(label: str, frames: Sequence[tuple[str, Any, str]], start: int = 0) -> None:
    """Show figures one at a time, with a slider between them; nothing outside a notebook.

    A notebook that is only read, on a page without scripts, shows the figure of `start`.

    Args:
        label: What the slider changes.
        frames: (value of the slider, matplotlib figure, alt text).
        start: Which of them is shown first.
    """
    if not in_notebook():
        return
    drawn = [(value, " ".join(alt.split()), *_png(figure)) for value, figure, alt in frames]
    value, alt, data, size = drawn[start]
    shown = json.dumps([row[:3] for row in drawn], ensure_ascii=False).replace("</", "<\\/")
    page = SLIDER.format(
        id="slider-" + hashlib.sha256(shown.encode()).hexdigest()[:12], label=escape(label), value=escape(value),
        last=len(drawn) - 1, start=start, alt=escape(alt), width=size["width"], data=data, frames=shown,
    )  # fmt: skip
    display({"image/png": data, "text/html": page, "text/plain": alt}, {"image/png": {"alt": alt, **size}})


def _png(figure: Any) -> tuple[str, dict[str, int]]:
    """Return a figure as PNG with at most 256 colours, in base 64, and the size at which it is shown."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100 * SHARPNESS, bbox_inches="tight", facecolor="white")
    image = Image.open(drawn).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return base64.b64encode(small.getvalue()).decode("ascii"), {
        "width": round(image.width / SHARPNESS),
        "height": round(image.height / SHARPNESS),
    }


def in_notebook() -> bool:
    """Return whether this runs in IPython."""
    return "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None


def display(data: Mapping[str, str], metadata: Mapping[str, Any] | None = None) -> bool:
    """Show one output in several formats in a notebook; return whether this is a notebook.

    Args:
        data: MIME type -> content.
        metadata: MIME type -> metadata of that content.
    """
    if not in_notebook():
        return False
    sys.modules["IPython.display"].display(dict(data), metadata=dict(metadata or {}), raw=True)
    return True


def _one(thing: Any, docstring: bool) -> str:
    lines, first = inspect.getsourcelines(thing)
    source = textwrap.dedent("".join(lines)).rstrip()
    place = Path(inspect.getsourcefile(thing) or "")
    named = place.relative_to(PACKAGE.parent).as_posix() if place.is_relative_to(PACKAGE) else place.name
    return f"`{named}`, from line {first}:\n\n```python\n{narrow(source if docstring else _shortened(source))}\n```"


def _shortened(source: str) -> str:
    """Return source with docstrings cut to their first line."""
    lines = source.splitlines()
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    for node in sorted(nodes, key=lambda node: -node.lineno):
        text = node.body[0]
        if ast.get_docstring(node) and text.end_lineno and text.end_lineno > text.lineno:
            opening = lines[text.lineno - 1]
            quotes = re.findall(r'"""|\'\'\'', opening)[0]
            lines[text.lineno - 1 : text.end_lineno] = [f"{opening.rstrip()}{quotes}"]
    return "\n".join(lines)
