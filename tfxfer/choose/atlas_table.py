"""The table of the atlas, `atlas.csv` beside this file: a row for each measured cell, read and written."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tfxfer.errors import UserError, suggest

FILE = Path(__file__).with_name("atlas.csv")
MAKE = "make it again: python -m benchmarks.atlas"
METHODS = {  # bridge -> the methods over it
    "render": ("probe", "finetune"),
    "tokens": ("probe", "finetune", "structure"),
    "read": ("probe", "ngrams"),
    "none": ("probe", "finetune", "structure"),
}
GAINS = ("over_random", "over_native")
SHARES = ("accuracy", "random", "native", "validation", "validation_random", "validation_native")  # within 0 and 1


@dataclass(frozen=True)
class Pilot:
    """A short training, scored on held-out examples that are not the test split.

    Attributes:
        labels: Labels a class that it learned from.
        transfer: Accuracy of the candidate, within 0 and 1.
        random: Accuracy of its control with random weights.
        native: Accuracy of the native baseline from as many labels.
    """

    labels: int
    transfer: float
    random: float
    native: float

    def gain(self, name: str) -> float:
        """Return its gain, "over_random" or "over_native"."""
        return self.transfer - (self.random if name == "over_random" else self.native)


@dataclass(frozen=True)
class Cell:
    """A row of the atlas.

    Attributes:
        source: The source in words.
        training: What it was trained on.
        takes: "image" or "text": what the source takes.
        bridge: A key of `METHODS`.
        method: "probe": frozen, with a linear head. "finetune": everything trained. "ngrams": a probe beside n-grams of
            the read text. "structure": a model made by a weight map.
        target: The target in words.
        gives: "image" or "text": what the target's examples are.
        letters: Whether they are texts in letters that the reader knows.
        classes: C.
        train: Training examples that there are.
        test: Test examples that were scored.
        labels: Labels a class that were used.
        seeds: Trainings of this arm.
        parameters: Trained parameters.
        seconds: Processor time of one training of this arm and its answers, in seconds.
        memory_mib: Greatest memory of the run, in MiB.
        accuracy: Mean accuracy on the test split.
        random: The same of the control with random weights.
        native: The same of the native baseline.
        over_random: accuracy − random, with the 95 % interval of the verdict.
        over_native: accuracy − native, with the 95 % interval of the verdict.
        validation: Mean over three seeds of the best validation accuracy, as a pilot has it; also of both others.
        cross_validated_probe: Score of the source's features, and of random weights; None where φ is trained or reads.
    """

    source: str
    training: str
    takes: str
    bridge: str
    method: str
    target: str
    gives: str
    letters: bool
    classes: int
    train: int
    test: int
    labels: int
    seeds: int
    parameters: int
    seconds: float
    memory_mib: float
    accuracy: float
    random: float
    native: float
    over_random: float
    over_random_low: float
    over_random_high: float
    over_native: float
    over_native_low: float
    over_native_high: float
    validation: float
    validation_random: float
    validation_native: float
    cross_validated_probe: float | None
    cross_validated_probe_random: float | None
    logme: float | None
    logme_random: float | None
    h_score_shrunk: float | None
    h_score_shrunk_random: float | None
    knn_probe: float | None
    knn_probe_random: float | None

    @property
    def run(self) -> tuple[str, ...]:
        """What cells of one run share: all but the number of labels."""
        return (self.source, self.bridge, self.method, self.target)

    @property
    def pilot(self) -> "Pilot":
        """This cell as a pilot of cells with more labels: its accuracies on the validation split."""
        return Pilot(self.labels, self.validation, self.validation_random, self.validation_native)


def check_pair(bridge: str, method: str) -> None:
    """Raise `UserError` where there is no such bridge, or no such method over it."""
    if bridge not in METHODS:
        raise UserError(f"there is no bridge '{bridge}'; {suggest(bridge, METHODS)}")
    if method not in METHODS[bridge]:
        raise UserError(f"bridge {bridge} has no method '{method}'; {suggest(method, METHODS[bridge])}")


def load(path: str | Path | None = None) -> tuple[Cell, ...]:
    """Return the cells of the atlas.

    Args:
        path: A table of the same form; by default the one that comes with tfxfer.

    Raises:
        UserError: The file is not there, has other columns, or a row that cannot be; file and row are named.
    """
    file = Path(path) if path else FILE
    try:
        lines = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as a table of the atlas ({error}); {MAKE}") from error
    names = [item.name for item in fields(Cell)]
    if not lines or lines[0] != names:
        wrong = [name for name in names if name not in (lines[0] if lines else [])] or ["another order"]
        raise UserError(f"{file}: is no table of the atlas; its first row lacks {wrong[0]}. {MAKE}")
    return tuple(_cell(line, f"{file}: row {number}") for number, line in enumerate(lines[1:], 2))


def save(cells: Iterable[Cell], path: str | Path = FILE) -> None:
    """Write cells as a table that `load` reads."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([item.name for item in fields(Cell)])
        for cell in cells:
            table.writerow([_written(getattr(cell, item.name)) for item in fields(Cell)])


def _cell(line: Sequence[str], place: str) -> Cell:
    if len(line) != len(fields(Cell)):
        raise UserError(f"{place}: {len(line)} values, and there are {len(fields(Cell))} columns; {MAKE}")
    values: dict[str, Any] = {}
    for item, text in zip(fields(Cell), line):
        try:
            values[item.name] = _read(item.type, text)
        except ValueError as error:
            raise UserError(f"{place}: {item.name} is '{text}', which is no {_word(item.type)}; {MAKE}") from error
    cell = Cell(**values)
    try:
        check_pair(cell.bridge, cell.method)
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    outside = next((name for name in SHARES if not 0 <= values[name] <= 1), None)
    if outside:
        raise UserError(f"{place}: {outside} is {values[outside]:g}; an accuracy is within 0 and 1")
    return cell


def _read(kind: Any, text: str) -> Any:
    if kind is bool:
        if text not in ("yes", "no"):
            raise ValueError(text)
        return text == "yes"
    if kind == float | None:
        return None if text == "" else _finite(text)
    return _finite(text) if kind is float else kind(text)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _word(kind: Any) -> str:
    return {bool: "yes or no", int: "whole number"}.get(kind, "number")
