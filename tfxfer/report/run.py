"""Files of a run folder beside its comparison: configuration, training log, saved model; and commands for them."""

import json
import math
import platform
import re
import shlex
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tfxfer.errors import DamagedFile
from tfxfer.own_files import read_own_json

PACKAGES = ("tfxfer", "tensorflow", "keras", "keras-nlp", "numpy", "scikit-learn", "matplotlib")
LINES = ("epoch", "arm", "budget", "seed", "learning_rate")
CURVES = ("loss", "val_loss", "accuracy", "val_accuracy")


def configuration(folder: Path) -> tuple[str | None, str | None]:
    """Return the text of `config.yaml`, if any, and the recipe by that file or by the folder's name."""
    import yaml

    named = re.fullmatch(r"([a-z_]+)-\d{8}-\d{6}(-\d+)?", folder.resolve().name)
    recipe = named[1] if named else None
    path = folder / "config.yaml"
    if not path.is_file():
        return None, recipe
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        settings = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text, recipe  # shown unchanged; a replay reports the error
    given = settings.get("recipe") if isinstance(settings, dict) else None
    return text, str(given) if given else recipe


def training_log(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the epochs in `metrics.jsonl` with their finite metrics, and the number of lines that cannot be read.

    A killed run may leave an incomplete line, which is counted. Lines without an epoch are ignored.
    """
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return [], 0
    epochs, unreadable = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            unreadable += 1
            continue
        if not isinstance(row, dict) or not _is_number(row.get("epoch")):
            continue
        curves = {name: row[name] for name in CURVES if _is_number(row.get(name))}
        if curves:
            kept = {name: row[name] for name in LINES if name in row}
            phase = row.get("phase") or row.get("arm") or "training"
            epochs.append({"phase": str(phase), **kept, **curves})
    return epochs, unreadable


def replay(folder: Path, recipe: str | None = None) -> str:
    """Return the command that runs the same experiment again, with a path relative to the folder of `runs`."""
    name = f" {shlex.quote(recipe)}" if recipe else ""
    path = Path(shown_path(folder)) / "config.yaml"
    return f"python -m tfxfer.train{name} --config {shlex.quote(path.as_posix())}"


def shown_path(folder: Path) -> str:
    """Return the folder with its parent only, so that no home folder is published."""
    return (Path(folder.resolve().parent.name) / folder.resolve().name).as_posix()


def usage(folder: Path) -> dict[str, Any] | None:
    """Return the commands and the Python lines that use the saved model; None when the folder has none.

    Returns:
        "commands", one for each kind of input that `model.json` names, and "python", lines of code.
    """
    path = folder / "model.json"
    if not path.is_file():
        return None
    try:
        model = read_own_json(path, "", {"input": str})
    except DamagedFile:
        return None
    also = model.get("also")
    inputs = [model["input"], *(also if isinstance(also, dict) else ())]
    run, question = shown_path(folder), ' --question "What is it?"' if model.get("task") == "vqa" else ""
    options = {"text": '--text "some text"', "image": "--image photo.png"}
    first = '["some text"]' if inputs[0] == "text" else '["photo.png"]'
    given = f'{first}, ["What is it?"]' if question else first
    return {
        "commands": [
            f"python -m tfxfer.predict {shlex.quote(run)} {options[name]}{question}"
            for name in inputs
            if name in options
        ],
        "python": f"import tfxfer\n\nmodel = tfxfer.from_run({json.dumps(run)})\nmodel.predict({given})",
    }


def versions() -> list[tuple[str, str]]:
    """Return (name, version) of Python and of the installed packages that affect results."""
    found = [("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
