"""`python -m tfxfer.evaluate RUN --data SPEC`: score a saved run on new data."""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from tfxfer import cli
from tfxfer.errors import UserError, suggest
from tfxfer.runs import open_run


def parser() -> ArgumentParser:
    """Return the parser of this command."""
    made = ArgumentParser("python -m tfxfer.evaluate", description="Score a saved run on new data.")
    made.add_argument("run", help="the run's folder, e.g. runs/feature-20261123-090000")
    made.add_argument("--data", required=True, metavar="SPEC", help="csv:PATH, jsonl:PATH, folder:PATH, tfds:NAME, …")
    made.add_argument("--split", default="test", help="train, validation, test (default) or all")
    made.add_argument("--text", help="text column")
    made.add_argument("--image", help="picture column")
    made.add_argument("--label", help="label column")
    made.add_argument("--data-dir", help="prepared data and caches")
    made.add_argument("--download", action="store_true", help="allow downloads")
    made.add_argument("--json", action="store_true", help="all figures as JSON")
    return made


def work(argv: Sequence[str]) -> None:
    """Score the run and print the figures."""
    from tfxfer.data import spec

    asked = parser().parse_args(argv)
    about = open_run(asked.run)
    if about["task"] not in ("classification", "retrieval"):
        raise UserError(
            f"{asked.run}: this command scores classes, and this run's task is {about['task']}; train again with "
            f"--target {asked.data}, or ask the model with tfxfer.predict"
        )
    columns = {"text": asked.text, "image": asked.image, "label": asked.label}
    spec.check(asked.data, data_dir=asked.data_dir, download=asked.download, **columns)
    splits = ("train", "validation", "test")
    if asked.split not in (*splits, "all"):
        raise UserError(f"--split {asked.split}: {suggest(asked.split, (*splits, 'all'))}")
    cli.start_tensorflow()
    scores = score(asked, about, columns, splits if asked.split == "all" else (asked.split,))
    if asked.json:
        print(json.dumps(scores, ensure_ascii=False, indent=1))
    else:
        show(scores, asked)


def score(
    asked: Namespace, about: dict[str, Any], columns: dict[str, str | None], splits: tuple[str, ...]
) -> dict[str, Any]:
    """Return `tfxfer.evaluate.classification` of the run's model on the data."""
    import numpy as np

    import tfxfer
    from tfxfer.evaluate import classification
    from tfxfer.models import load_model

    data = tfxfer.load(asked.data, data_dir=asked.data_dir, download=asked.download, **columns)
    if not data.class_names:
        raise UserError(f"{asked.data}: there are no labels to score against; name the column with --label")
    place = _places(data.class_names, about["class_names"], asked)
    model, key = load_model(about["model"]), about["input"]
    reading = {"image_size": about["image_size"], "channels": about["channels"]} if key == "image" else {}
    found = []
    for split in splits:
        if data.sizes.get(split):
            batches = data.batches(split, 128, keys=(key,), **reading).map(lambda row: row[key])
            found.append((place[data.labels(split)], model.predict(batches, verbose=0)))
    if not found:
        raise UserError(f"{asked.data}: the split '{asked.split}' is empty")
    labels, probabilities = (np.concatenate(part) for part in zip(*found))
    return classification(labels, probabilities, about["class_names"])


def _places(names: Sequence[str], known: Sequence[str], asked: Namespace) -> Any:
    """Return int [C of the data]: which of the run's classes each class of the data is."""
    import numpy as np

    for name in names:
        if name not in known:
            raise UserError(
                f"{asked.data}: the label '{name}' is none of the classes this run knows; {suggest(name, known)}"
            )
    return np.array([list(known).index(name) for name in names])


def show(scores: dict[str, Any], asked: Namespace) -> None:
    """Print the figures as tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(f"{asked.run} on {asked.data}, {asked.split}: {scores['examples']:,} examples", markup=False)
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
