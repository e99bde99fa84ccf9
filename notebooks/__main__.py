"""Make, run and check the lessons' notebooks.

python -m notebooks            make each notebook that is older than its source, run it, keep its outputs
python -m notebooks 02 03      these lessons, whether they changed or not
python -m notebooks --check    name the notebooks whose cells differ from their source
python -m notebooks --smoke    run the lessons' code on very little data, without Jupyter
"""

import argparse
import sys
import time
from pathlib import Path

from notebooks.lessons import cells, empty_notebook, notebook_of, smoke, sources


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m notebooks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("lessons", nargs="*", help="numbers of lessons, such as 02 (default: all)")
    parser.add_argument("--check", action="store_true", help="only compare notebooks with their sources")
    parser.add_argument("--smoke", action="store_true", help="run the code on very little data, without Jupyter")
    given = parser.parse_args(argv)
    chosen = sources(given.lessons)
    if given.check:
        return check(chosen)
    for source in chosen:
        started = time.perf_counter()
        if given.smoke:
            smoke(source)
        elif given.lessons or differs(source):
            execute(source)
        else:
            continue
        print(f"{source.stem}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return 0


def differs(source: Path) -> bool:
    """Return whether a source's notebook is missing or has other cells."""
    notebook = notebook_of(source)
    return not notebook.exists() or cells(notebook) != cells(source)


def check(chosen: list[Path]) -> int:
    """Name the notebooks that differ from their sources."""
    different = [source for source in chosen if differs(source)]
    for source in different:
        print(f"{notebook_of(source).name} differs from src/{source.name}: python -m notebooks {source.name[:2]}")
    return int(bool(different))


def execute(source: Path) -> None:
    """Make a notebook, run it with a new kernel, and write it with its outputs."""
    try:
        import nbformat
        from nbclient import NotebookClient
    except ModuleNotFoundError as missing:
        raise SystemExit(f"{missing.name} is missing: python -m pip install 'tfxfer[notebooks]'") from None
    notebook = empty_notebook(source)
    client = NotebookClient(notebook, timeout=1800, kernel_name="python3", record_timing=False)
    client.execute(cwd=str(source.parent.parent))
    notebook.metadata = empty_notebook(source).metadata  # without this machine's Python version
    nbformat.write(notebook, notebook_of(source))


if __name__ == "__main__":
    sys.exit(main())
