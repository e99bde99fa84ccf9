"""A lesson's source, in jupytext's percent form, and the notebook that is made from it.

A line that begins with `# %%` begins a cell; `# %% [markdown]` a cell of text, whose lines begin with `# `.
Without Jupyter: this reads and writes JSON, so that the check that the two agree runs everywhere.
"""

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
Cell = tuple[str, str]  # "markdown" or "code", and its text


def sources(only: list[str] | None = None) -> list[Path]:
    """Return the lessons' sources in their order, or those whose names begin with one of `only`."""
    files = sorted((HERE / "src").glob("[0-9][0-9]_*.py"))
    chosen = [file for file in files if not only or any(file.name.startswith(name) for name in only)]
    if only and not chosen:
        raise SystemExit(f"no lesson begins with {', '.join(only)}; there are {', '.join(f.stem for f in files)}")
    return chosen


def notebook_of(source: Path) -> Path:
    """Return where the notebook of a source stands."""
    return HERE / f"{source.stem}.ipynb"


def cells(source: Path) -> list[Cell]:
    """Read the cells of a source."""
    found: list[Cell] = []
    for part in re.split(r"^# %%", source.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        if "[markdown]" in head:
            lines = [re.sub(r"^# ?", "", line) for line in body.strip().splitlines()]
            found.append(("markdown", "\n".join(lines)))
        else:
            found.append(("code", body.strip()))
    return found


def notebook_cells(notebook: Path) -> list[Cell]:
    """Read the cells of a notebook, without their outputs."""
    plain = json.loads(notebook.read_text(encoding="utf-8"))
    return [(cell["cell_type"], "".join(cell["source"])) for cell in plain["cells"]]


def empty_notebook(source: Path) -> dict[str, Any]:
    """Return the notebook of a source, without outputs, as nbformat 4.5 writes it."""
    plain = []
    for number, (kind, text) in enumerate(cells(source)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {}}
        cell["source"] = text.splitlines(keepends=True)
        plain.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    about = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return {"cells": plain, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def smoke(source: Path) -> None:
    """Run the code of a lesson as one program, without Jupyter; an error names the lesson's own line."""
    parts = re.split(r"^(?=# %%)", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names: dict[str, Any] = {"__name__": "__main__"}
    line = 0
    for part in parts:
        if not part.startswith("# %% [markdown]"):
            exec(compile("\n" * line + part, str(source), "exec"), names)
        line += part.count("\n")
