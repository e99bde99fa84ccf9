"""`tfxfer evaluate RUN --data SPEC`, also `python -m tfxfer.evaluate`: score a saved run on new data."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfxfer import cli
from tfxfer.errors import UserError, suggest
from tfxfer.models.saved_folder import describe_folder


def parser() -> cli.CommandParser:
    """Return the parser of this command."""
    made = cli.CommandParser(cli.program("evaluate"), "Score a saved run on new data.")
    made.add_argument("run", help="the run's folder, e.g. runs/feature-20261123-090000")
    made.add_argument("--data", required=True, metavar="SPEC", help="csv:PATH, jsonl:PATH, folder:PATH, tfds:NAME, …")
    made.add_argument("--split", default="test", help="train, validation, test (default) or all")
    made.add_argument("--text", help="text column")
    made.add_argument("--image", help="image column")
    made.add_argument("--label", help="label column")
    made.add_argument("--data-dir", help="prepared data and caches")
    made.add_argument("--download", action="store_true", help="allow downloads")
    made.add_argument("--json", action="store_true", help="all figures as JSON")
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
        print(json.dumps(scores, ensure_ascii=False, indent=1))
    else:
        show(scores, request)


def score(
    request: Namespace, folder: Path, described: dict[str, Any], columns: dict[str, str | None], splits: tuple[str, ...]
) -> dict[str, Any]:
    """Return `tfxfer.evaluate.classification` of the run's model on the data."""
    import numpy as np

    import tfxfer
    from tfxfer.evaluate import classification
    from tfxfer.models import load_model

    data = tfxfer.load(request.data, data_dir=request.data_dir, download=request.download, **columns)
    if not data.class_names:
        raise UserError(f"{request.data}: there are no labels to score against; name the column with --label")
    place = _places(data.class_names, described["class_names"], request)
    model, key = load_model(folder / "model.keras"), described["input"]
    names = ("image_size", "channels")
    reading = {name: described[name] for name in names} if key == "image" else {}
    found = []
    for split in splits:
        if data.sizes.get(split):
            batches = data.batches(split, 128, keys=(key,), **reading).map(lambda row: row[key])
            found.append((place[data.labels(split)], model.predict(batches, verbose=0)))
    if not found:
        raise UserError(f"{request.data}: the split '{request.split}' is empty")
    labels, probabilities = (np.concatenate(part) for part in zip(*found))
    return classification(labels, probabilities, described["class_names"])


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
    """Print the figures as tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(f"{request.run} on {request.data}, {request.split}: {scores['examples']:,} examples", markup=False)
    whole = Table("measure", "value", box=None, pad_edge=False)
    for name, value in scores.items():
        if isinstance(value, float):
            whole.add_row(name.replace("_", " "), f"{value:.3f}")
    console.print(whole)
    each = Table("class", "precision", "recall", "F1", "examples", box=None, pad_edge=False)
    for row in scores["per_class"]:
        figures = (f"{row[k]:.3f}" for k in ("precision", "recall", "f1"))
        each.add_row(Text(row["name"]), *figures, str(row["support"]))
    console.print(each)


if __name__ == "__main__":
    sys.exit(cli.main(work))
