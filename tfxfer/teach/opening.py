"""The first cell of a lesson: a check that Python and the packages are those that the lesson needs.

The bounds are those of the installed tfxfer (its setup.cfg). In a notebook, two errors are explained in plain words: a
name that an earlier cell defines, and a package that an extra of tfxfer installs.
"""

import importlib
import logging
import os
import re
import sys
import tempfile
import warnings
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tfxfer.cache import data_dir
from tfxfer.errors import UserError
from tfxfer.version import __version__

SHOWN = ("tensorflow", "keras", "numpy", "matplotlib")


class LessonError(UserError):
    """An error that a learner can correct; a notebook shows its message without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def smoke() -> bool:
    """Return whether lessons are to do as little work as they can, by the same code (`TFXFER_SMOKE=1`)."""
    return os.environ.get("TFXFER_SMOKE", "") not in ("", "0")


def size(full: int, small: int) -> int:
    """Return how much work a lesson does: `full`, or `small` when `smoke()`.

    >>> size(2000, 64) in (2000, 64)
    True
    """
    return small if smoke() else full


def start(lesson: str, tensorflow: bool = True) -> None:
    """Check Python and packages, silence the log of TensorFlow, and explain common errors in plain words.

    Args:
        lesson: Number of the lesson, such as "02".
        tensorflow: Import TensorFlow now, without its messages about GPUs.

    Raises:
        LessonError: Python or a package is outside the bounds; the message says which and what to type.
    """
    wrong = problems()
    if wrong:
        raise LessonError(f"Lesson {lesson} cannot start here:\n" + "\n".join(f"  - {line}" for line in wrong))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN)
    print(f"Lesson {lesson} · tfxfer {__version__} · Python {_python()} · {versions}")
    _writable_data()
    if smoke():
        print("TFXFER_SMOKE is set: the same code on very little data. The results mean nothing.")
    _plain_errors()
    if tensorflow:
        _import_quietly("tensorflow")
        warnings.filterwarnings("ignore", "IProgress not found")  # from tqdm; no lesson shows a progress bar
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # retracing is expected in a lesson


def problems(python: str | None = None, installed: dict[str, str | None] | None = None) -> list[str]:
    """Return what is wrong with Python and the packages, each with the command that corrects it.

    Args:
        python: A Python version; the running one by default.
        installed: Package -> version, None for missing; the installed ones by default.
    """
    python = python or _python()
    try:
        about = metadata.metadata("tfxfer")
        needs = [Requirement(line) for line in metadata.requires("tfxfer") or []]
    except metadata.PackageNotFoundError:
        return [
            "tfxfer is not installed in this Python. In the project's folder: python -m pip install -e '.[notebooks]'"
        ]
    found = []
    wanted = SpecifierSet(about["Requires-Python"])
    if not wanted.contains(python, prereleases=True):
        remedy = "make setup PYTHON=python3.12 (Windows: py -3.12 -m venv .venv)"
        found.append(f"Python {python}: tfxfer {__version__} needs {wanted}. Try: {remedy}")
    for need in needs:
        if need.marker and "extra" in str(need.marker):
            continue
        version = _version(need.name) if installed is None else installed.get(need.name, "any")
        if version is None:
            found.append(f"{need.name} is missing. Type: python -m pip install '{need}'")
        elif version != "any" and not need.specifier.contains(version, prereleases=True):
            found.append(f"{need.name} {version}: needed is {need.specifier}. Type: python -m pip install '{need}'")
    return found


def explained(error: BaseException, names: dict[str, Any]) -> str | None:
    """Return an explanation of an error that comes from cells run out of order or from a missing package.

    Args:
        error: What a cell raised.
        names: Variables of the notebook.
    """
    if isinstance(error, NameError) and not isinstance(error, UnboundLocalError) and error.name:
        from difflib import get_close_matches

        near = get_close_matches(error.name, [n for n in names if not n.startswith("_")], n=1, cutoff=0.8)
        typed = f" Or did you mean `{near[0]}`?" if near else ""
        return (
            f"`{error.name}` is not defined yet: an earlier cell defines it. "
            f"Run the cells from the top down to this one (JupyterLab: Run ▸ Run All Above Selected Cell).{typed}"
        )
    if isinstance(error, ModuleNotFoundError) and error.name:
        extra = extra_with(error.name)
        if extra:
            return (
                f"The package `{error.name}` is optional and not installed. Install it with: "
                f"python -m pip install 'tfxfer[{extra}]'. The cells that do not need it still run."
            )
    return None


def extra_with(module: str) -> str | None:
    """Return the extra of tfxfer that installs a package, or None."""
    try:
        lines = metadata.requires("tfxfer") or []
    except metadata.PackageNotFoundError:
        return None
    for need in map(Requirement, lines):
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", str(need.marker or ""))
        if extra and need.name.replace("-", "_").casefold() == module.partition(".")[0].casefold():
            return extra.group(1)
    return None


def _plain_errors() -> None:
    """In a notebook, show the explanations of `explained`; elsewhere do nothing."""
    if "IPython" not in sys.modules:
        return
    shell = sys.modules["IPython"].get_ipython()
    if shell is None:
        return

    def show(shell: Any, kind: type, error: BaseException, trace: Any, tb_offset: int | None = None) -> None:
        words = explained(error, shell.user_ns)
        shown = LessonError(words) if words else error
        shell.set_custom_exc((), None)  # showing the error would call this function again
        try:
            shell.showtraceback((type(shown), shown, trace), tb_offset=tb_offset)
        finally:
            shell.set_custom_exc((NameError, ModuleNotFoundError), show)

    shell.set_custom_exc((NameError, ModuleNotFoundError), show)


def _import_quietly(package: str) -> None:
    """Import a package whose C++ parts write to standard error; show what they wrote only when it fails."""
    sys.stderr.flush()
    usual = os.dup(2)
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 2)
        try:
            importlib.import_module(package)
        except BaseException:
            output.seek(0)
            os.write(usual, output.read())
            raise
        finally:
            os.dup2(usual, 2)
            os.close(usual)


def _writable_data() -> None:
    """Use a temporary folder when the folder for prepared data cannot be written, and print that."""
    folder = data_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        os.environ["TFXFER_DATA"] = tempfile.mkdtemp(prefix="tfxfer-")
        print(f"{folder} cannot be written ({error.strerror}). This lesson keeps its data in a temporary folder.")


def _python() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
