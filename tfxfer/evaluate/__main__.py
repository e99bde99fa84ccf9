"""`tfxfer evaluate RUN --data SPEC`, also `python -m tfxfer.evaluate`: score a saved run on new data."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfxfer import cli
from tfxfer.errors import UserError, suggest
from tfxfer.models.saved_folder import describe_folder
from tfxfer.terminal import console, json_text, printable


def parser() -> cli.CommandParser:
    """Return the parser of this command."""
    made = cli.CommandParser(cli.program("evaluate"), "Score a saved run on new data.")
    made.add_argument("run", help="the run's folder, e.g. runs/feature-20261123-090000")
    made.add_argument("--data", required=True, metavar="SPEC", help="csv:PATH, jsonl:PATH, folder:PATH, tfds:NAME, …")
    made.add_argument(
        "--split",
        default="all",
        help="train, validation or test, as the data name it; a row that names none is test (default: all rows)",
    )
    made.add_argument(
        "--include-training-rows",
        action="store_true",
        help="score rows too that the run was trained or validated on (same image file, else same text without case)",
    )
    made.add_argument("--text", help="text column")
    made.add_argument("--image", help="image column")
    made.add_argument("--label", help="label column")
    made.add_argument("--data-dir", help="prepared data and caches")
    made.add_argument("--download", action="store_true", help="allow downloads")
    made.add_argument("--json", action="store_true", help="all figures as JSON, with their 95 %% intervals")
    return made


def work(argv: Sequence[str]) -> None:
    """Score the run and print the figures."""
    from tfxfer.data import spec

    request = parser().parse_args(argv)
    folder, described = describe_folder(request.run)
    if "class_names" not in described:
        raise UserError(
            f"{request.run}: this command scores classes, and this run's model is a {described['class']}; use "
            "tfxfer.predict, or the model's own score from Python"
        )
    columns = {"text": request.text, "image": request.image, "label": request.label}
    spec.check(request.data, data_dir=request.data_dir, download=request.download, **columns)
    splits = ("train", "validation", "test")
    if request.split not in (*splits, "all"):
        raise UserError(f"--split {request.split}: {suggest(request.split, (*splits, 'all'))}")
    cli.start_tensorflow()
    scores = score(request, folder, described, columns, splits if request.split == "all" else (request.split,))
    if request.json:
        print(json_text(scores, indent=1))
    else:
        show(scores, request)


def score(
    request: Namespace, folder: Path, described: dict[str, Any], columns: dict[str, str | None], splits: tuple[str, ...]
) -> dict[str, Any]:
    """Return `tfxfer.evaluate.classification` of the run's model on the data, with "rows" and "intervals".

    "rows" has the number of rows "read", and how many of them the run was "trained_on" and "validated_on" (None where
    its folder does not say) and how many are "left_out". "intervals" has (low, high) of each figure, as each entry of
    "per_class" has of its own.
    """
    import numpy as np

    import tfxfer
    from tfxfer.evaluate import classification
    from tfxfer.evaluate.intervals import classification_intervals
    from tfxfer.models import load_model

    data = tfxfer.load(request.data, data_dir=request.data_dir, download=request.download, draw_splits=False, **columns)
    if not data.class_names:
        raise UserError(f"{request.data}: there are no labels to score against; name the column with --label")
    key = described["input"]
    if key not in data.keys:
        raise UserError(
            f"{request.data}: this run's model takes {key}, and there is none; name the column with --{key}"
        )
    place = _places(data.class_names, described["class_names"], request)
    data, rows = _rows_to_score(data, key, folder, splits, request)
    model = load_model(folder / "model.keras")
    names = ("image_size", "channels")
    reading = {name: described[name] for name in names} if key == "image" else {}
    found = []
    for split in splits:
        if data.sizes.get(split):
            batches = data.batches(split, 128, keys=(key,), **reading).map(lambda row: row[key])
            found.append((place[data.labels(split)], model.predict(batches, verbose=0)))
    labels, probabilities = (np.concatenate(part) for part in zip(*found))
    scores = classification(labels, probabilities, described["class_names"])
    intervals, by_class = classification_intervals(scores, labels, probabilities)
    per_class = [each | {"intervals": own} for each, own in zip(scores["per_class"], by_class)]
    return scores | {"per_class": per_class, "intervals": intervals, "rows": rows}


def _rows_to_score(
    data: Any, key: str, folder: Path, splits: tuple[str, ...], request: Namespace
) -> tuple[Any, dict[str, int | None]]:
    """Return the data without the rows that the run was trained on, unless they are asked for, and the counts.

    Raises:
        UserError: No row is left.
    """
    from dataclasses import replace

    import numpy as np

    from tfxfer.evaluate.trained_rows import TrainedRows

    known, left = TrainedRows.load(folder), {}
    rows: dict[str, int | None] = {"read": sum(data.sizes[split] for split in splits), "left_out": 0}
    if not rows["read"]:
        there = ", ".join(f"{count:,} {name}" for name, count in data.sizes.items() if count)
        raise UserError(
            f"{request.data}: names no rows of the split '{request.split}'; there are {there}, those without a split "
            "among test; leave --split out to score all rows"
        )
    if known is None:
        return data, rows | {"trained_on": None, "validated_on": None}
    trained, validated = 0, 0
    for split in splits:
        of_train, of_validation = known.find(data.digests(split, key))
        trained, validated = trained + int(of_train.sum()), validated + int(of_validation.sum())
        left[split] = np.flatnonzero(~(of_train | of_validation))
    rows |= {"trained_on": trained, "validated_on": validated}
    if request.include_training_rows:
        return data, rows
    if not sum(map(len, left.values())):
        raise UserError(
            f"{request.data}: the run was trained or validated on each of its {rows['read']:,} rows; give new data, or "
            "score them all the same with --include-training-rows"
        )
    parts = {split: data.splits[split].take(kept) for split, kept in left.items()}
    return replace(data, splits=data.splits | parts), rows | {"left_out": trained + validated}


def _places(names: Sequence[str], known: Sequence[str], request: Namespace) -> Any:
    """Return int [C of the data]: which of the run's classes each class of the data is."""
    import numpy as np

    for name in names:
        if name not in known:
            raise UserError(
                f"{request.data}: the label '{name}' is none of the classes of this run; {suggest(name, known)}"
            )
    return np.array([list(known).index(name) for name in names])


def show(scores: dict[str, Any], request: Namespace) -> None:
    """Print the figures with their intervals as tables."""
    from rich.table import Table
    from rich.text import Text

    out = console(highlight=False)
    part = "all rows" if request.split == "all" else f"split {request.split}"
    out.print(f"{request.run} on {request.data}, {part}: {scores['examples']:,} examples", markup=False)
    out.print(_about_rows(scores["rows"]), markup=False)
    whole = Table("measure", "value", "95 % interval", box=None, pad_edge=False)
    for name, value in scores.items():
        if isinstance(value, float):
            whole.add_row(name.replace("_", " "), f"{value:.3f}", _span(scores["intervals"][name]))
    out.print(whole)
    each = Table("class", "precision", "recall", "F1", "examples", box=None, pad_edge=False)
    for row in scores["per_class"]:
        figures = (f"{row[k]:.3f} ({_span(row['intervals'][k], 2)})" for k in ("precision", "recall", "f1"))
        each.add_row(Text(printable(row["name"])), *figures, str(row["support"]))
    out.print(each)


def _span(pair: tuple[float, float] | None, digits: int = 3) -> str:
    return "–" if pair is None else f"{pair[0]:.{digits}f}–{pair[1]:.{digits}f}"


def _about_rows(rows: dict[str, int | None]) -> str:
    """Return a sentence on the rows that the run was trained on."""
    if rows["trained_on"] is None:
        return (
            "The folder does not say which rows the model was trained on: an older tfxfer wrote it, or it was saved "
            "from Python. Such rows, if there are any here, are scored too."
        )
    count = f"{rows['trained_on'] + rows['validated_on']:,} of {rows['read']:,} rows"  # type: ignore[operator]
    split = f"(trained on {rows['trained_on']:,}, validated on {rows['validated_on']:,})"
    if rows["trained_on"] == rows["validated_on"] == 0:
        return f"None of the {rows['read']:,} rows is one that the run was trained or validated on."
    if rows["left_out"]:
        return f"{count} are left out, as the run has seen them {split}; --include-training-rows scores them too."
    return f"{count} are scored although the run has seen them {split}."


if __name__ == "__main__":
    sys.exit(cli.main(work))
