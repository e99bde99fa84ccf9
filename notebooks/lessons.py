"""A lesson's source, in jupytext's percent form, and the notebook that is made from it.

A line that begins with `# %%` begins a cell; `# %% [markdown]` a cell of text, whose lines begin with `# `. In
a cell of text, `{{ header }}` and `{{ navigation }}` stand for the results of `tfxfer.teach.header` and
`tfxfer.teach.navigation`.
"""

import os
import re
import runpy
from pathlib import Path

import jupytext
from nbformat import NotebookNode

from tfxfer.teach import header, navigation

HERE = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
Cell = tuple[str, str]  # "markdown" or "code", and its text
PARTS = {"header": header, "navigation": navigation}


def sources(only: list[str] | None = None) -> list[Path]:
    """Return the lessons' sources in their order, or those whose names begin with one of `only`."""
    files = sorted((HERE / "src").glob("[0-9][0-9]_*.py"))
    chosen = [file for file in files if not only or any(file.name.startswith(name) for name in only)]
    if only and not chosen:
        raise SystemExit(f"no lesson begins with {', '.join(only)}; there are {', '.join(f.stem for f in files)}")
    return chosen


def notebook_of(source: Path) -> Path:
    """Return the path of the notebook of a source."""
    return HERE / f"{source.stem}.ipynb"


def cells(lesson: Path) -> list[Cell]:
    """Read the cells of a source or of a notebook, without outputs."""
    return [(cell.cell_type, cell.source) for cell in read(lesson).cells]


def read(lesson: Path) -> NotebookNode:
    """Read a source or a notebook; a source gets its header and navigation."""
    notebook = jupytext.read(lesson)
    if lesson.suffix == ".py":
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = filled(cell.source, lesson.stem[:2])
    return notebook


def filled(text: str, number: str) -> str:
    """Return the text of a cell with `{{ header }}` and `{{ navigation }}` of a lesson put in.

    >>> filled("# A title", "02")
    '# A title'
    """
    return re.sub(r"\{\{ (header|navigation) \}\}", lambda name: PARTS[name[1]](number).markdown, text)


def empty_notebook(source: Path) -> NotebookNode:
    """Return the notebook of a source, without outputs; the same source gives the same bytes."""
    notebook = read(source)
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"  # jupytext draws them at random
    return notebook


def smoke(source: Path) -> None:
    """Run the code of a lesson as one program, on very little data, without Jupyter."""
    os.environ["TFXFER_SMOKE"] = "1"
    os.environ.setdefault("MPLBACKEND", "Agg")
    runpy.run_path(str(source), run_name="__main__")
