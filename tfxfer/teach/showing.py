"""What a lesson shows: the source of the real thing, and sentences whose numbers come from the cells above."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent


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

    Args:
        things: What to show, one after the other.
        docstring: Show docstrings in full; otherwise their first line stands for them.
    """
    return Shown("\n\n".join(_one(thing, docstring) for thing in things))


def say(text: str) -> None:
    """Show Markdown, such as an f-string whose numbers were computed above; print it outside a notebook.

    Lines may be indented together, as in code.
    """
    shown = Shown(textwrap.dedent(text).strip())
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        sys.modules["IPython.display"].display(shown)
    else:
        print(shown)


def _one(thing: Any, docstring: bool) -> str:
    lines, first = inspect.getsourcelines(thing)
    source = textwrap.dedent("".join(lines)).rstrip()
    place = Path(inspect.getsourcefile(thing) or "")
    named = place.relative_to(PACKAGE.parent).as_posix() if place.is_relative_to(PACKAGE) else place.name
    return f"`{named}`, from line {first}:\n\n```python\n{source if docstring else _shortened(source)}\n```"


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
