"""Make, run and check the lessons' notebooks.

python -m notebooks            make each notebook that is older than its source, run it, keep its outputs
python -m notebooks 02 03      these lessons, whether they changed or not
python -m notebooks --check    say which notebooks do not say what their source says
python -m notebooks --smoke    run the lessons' code on very little data, without Jupyter
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from notebooks.lessons import cells, empty_notebook, notebook_cells, notebook_of, smoke, sources


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m notebooks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("lessons", nargs="*", help="numbers of lessons, such as 02 (default: all)")
    parser.add_argument("--check", action="store_true", help="only compare notebooks with their sources")
    parser.add_argument("--smoke", action="store_true", help="run the code on very little data, without Jupyter")
    given = parser.parse_args(argv)
    chosen = sources(given.lessons)
    if given.check:
        return check(chosen)
    if given.smoke:
        return run_smoke(chosen)
    for source in chosen:
        if given.lessons or differs(source):
            execute(source)
    return 0


def differs(source: Path) -> bool:
    """Return whether a source's notebook is missing or has other cells."""
    notebook = notebook_of(source)
    return not notebook.exists() or notebook_cells(notebook) != cells(source)


def check(chosen: list[Path]) -> int:
    """Name the notebooks that differ from their sources."""
    different = [source for source in chosen if differs(source)]
    for source in different:
        print(f"{notebook_of(source).name} differs from src/{source.name}: python -m notebooks {source.name[:2]}")
    return int(bool(different))


def run_smoke(chosen: list[Path]) -> int:
    """Run the lessons' code one after the other, in this process."""
    os.environ["TFXFER_SMOKE"] = "1"
    os.environ.setdefault("MPLBACKEND", "Agg")
    for source in chosen:
        started = time.perf_counter()
        smoke(source)
        print(f"{source.stem}: {time.perf_counter() - started:.1f} s", file=sys.stderr)
    return 0


def execute(source: Path) -> None:
    """Make a notebook, run it with a new kernel, and write it with its outputs."""
    try:
        import nbformat
        from nbclient import NotebookClient
    except ModuleNotFoundError as missing:
        raise SystemExit(f"{missing.name} is missing: python -m pip install 'tfxfer[notebooks]'") from None
    notebook = nbformat.from_dict(empty_notebook(source))
    started = time.perf_counter()
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False)
    client.execute(cwd=str(source.parent.parent))
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
    notebook_of(source).write_text(text + "\n", encoding="utf-8")
    print(f"{notebook_of(source).name}: {time.perf_counter() - started:.0f} s, {len(text) / 2**20:.2f} MiB")


if __name__ == "__main__":
    sys.exit(main())
