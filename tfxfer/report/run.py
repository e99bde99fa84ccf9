"""What a run folder holds beside its comparison: configuration, training log, and how to replay it."""

import json
import math
import platform
import re
import shlex
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
    except yaml.YAMLError:
        return text, recipe  # shown as it is; whoever replays it is told what is wrong with it
    given = settings.get("recipe") if isinstance(settings, dict) else None
    return text, str(given) if given else recipe


def training_log(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the epochs in `metrics.jsonl` with their finite figures, and how many lines could not be read.

    A killed run may leave half a line, and other events may be logged beside epochs: the former are counted,
    the latter left aside.
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
        except json.JSONDecodeError:
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


def ledger(folder: Path) -> dict[str, Any] | None:
    """Return a run's weight map as `ledger.json` tells it: entries, totals, proof, flows, titles; None without one."""
    path = folder / "ledger.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def looking(folder: Path) -> dict[str, Any] | None:
    """Return what `looking.json` says on whether the model looks: measures, words, matrix; None without one."""
    path = folder / "looking.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def pairs(folder: Path) -> dict[str, Any] | None:
    """Return what `pairs.json` says on pictures and texts that find one another: K, a gallery; None without one."""
    path = folder / "pairs.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def answers(folder: Path) -> dict[str, Any] | None:
    """Return what `answers.json` says on questions about pictures: figures, diagnostics, cards; None without one."""
    path = folder / "answers.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def replay(folder: Path, recipe: str | None = None) -> str:
    """Return the command that runs the same experiment again, by a path that holds no home folder."""
    name = f" {shlex.quote(recipe)}" if recipe and recipe != "feature" else ""
    path = Path(folder.resolve().parent.name) / folder.resolve().name / "config.yaml"
    return f"python -m tfxfer.train{name} --config {shlex.quote(path.as_posix())}"


def versions() -> list[tuple[str, str]]:
    """Return (name, version) of Python and of the installed packages that shape a result."""
    found = [("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
