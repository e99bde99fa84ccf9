"""`tfxfer predict RUN --text "…"` or `--image FILE`, also `python -m tfxfer.predict`: a saved model's predictions.

A classifier gives its top classes, a captioner its best captions, a language model the likelihood of a text. How a kind
of model is shown is a row of the recipes (`tfxfer.recipes.predictors`).
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfxfer import cli
from tfxfer.errors import UserError, suggest
from tfxfer.models.saved_folder import describe_folder
from tfxfer.recipes import predictors_by_class
from tfxfer.recipes.predictors import Predictor, check_request
from tfxfer.terminal import console, json_text, printable

MOST_BEAMS = 1000


def parser() -> cli.CommandParser:
    """Return the parser of this command."""
    made = cli.CommandParser(cli.program("predict"), "Predict with a saved run's model.")
    made.add_argument("run", help="the run's folder, e.g. runs/feature-20261123-090000")
    made.add_argument("--text", nargs="+", default=[], help="one or more texts")
    made.add_argument("--image", nargs="+", default=[], help="one or more image files")
    made.add_argument("--question", nargs="+", default=[], help="one or more questions about each image")
    made.add_argument("--top", type=int, default=3, help="how many answers to show (default: 3)")
    made.add_argument("--num-beams", type=int, help="captions: hypotheses of beam search (default: the run's)")
    made.add_argument("--max-length", type=int, help="captions: longest in tokens (default: 50, where there is room)")
    made.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    return made


def work(argv: Sequence[str]) -> None:
    """Predict for each input, and print the answers."""
    request = parser().parse_args(argv)
    folder, described = describe_folder(request.run)
    known = predictors_by_class()
    if described["class"] not in known:
        raise UserError(f"{request.run}: there is no model class '{described['class']}'; {suggest('', known)}")
    predictor = known[described["class"]]
    if predictor.takes is None:
        describe_folder(request.run, ("input",))
    check(request, predictor, described)
    cli.start_tensorflow()
    from tfxfer.saved import from_run

    rows = predictor.rows(from_run(folder), described | {"folder": folder}, request)
    if request.json:
        for row in rows:
            print(json_text(row))
    else:
        show(rows, predictor)


def check(request: Namespace, predictor: Predictor, described: dict[str, Any]) -> None:
    """Raise `UserError` for a request that this model cannot answer."""
    if predictor.pairs:
        check_pairs(request)
    elif bool(request.text) == bool(request.image):
        raise UserError('give either --text "…" or --image FILE')
    check_request(request, predictor, described)
    if request.top < 1:
        raise UserError(f"--top {request.top}: must be above 0")
    if request.num_beams is not None and not 1 <= request.num_beams <= MOST_BEAMS:
        raise UserError(f"--num-beams {request.num_beams}: must be above 0 and at most {MOST_BEAMS}")
    if request.max_length is not None and request.max_length < 3:
        raise UserError(
            f"--max-length {request.max_length}: leaves no room for a word between begin and end; give 3 or more"
        )
    empty = next((text for text in request.question if not text.strip()), None)
    if empty is not None:
        raise UserError(f"--question {empty!r}: is empty; write what is asked about the image")
    for name, text in [("text", text) for text in request.text] + [("question", text) for text in request.question]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"--{name} {text!a}: these bytes are not UTF-8; set the terminal to UTF-8") from error
    for file in request.image:
        if not Path(file).is_file():
            raise UserError(f"{file}: there is no such image")


def check_pairs(request: Namespace) -> None:
    """Raise `UserError` where texts and images are given, and their numbers differ, or where neither is."""
    if not request.text and not request.image:
        raise UserError('this model takes pairs; give --image FILE and --text "…", or one of them')
    if request.text and request.image and len(request.text) != len(request.image):
        raise UserError(
            f"{len(request.image)} images and {len(request.text)} texts; give one text for each image, in order"
        )


def show(rows: list[dict[str, Any]], predictor: Predictor) -> None:
    """Print the answers as a table."""
    from rich.table import Table
    from rich.text import Text

    columns = ("input", *((predictor.column,) if predictor.column else ()), predictor.number)
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        for place, (name, value) in enumerate(row["top"]):
            bar = f" {'█' * round(20 * value)}" if predictor.number == "probability" else ""
            cells = ("" if place else row["input"], *((name,) if predictor.column else ()))
            words = [Text(printable(cell)) for cell in cells]
            table.add_row(*words, f"{value:.3f}{bar}")
        if "note" in row:
            table.add_row(Text(printable(f"({row['note']})")))
    console(highlight=False).print(table)


if __name__ == "__main__":
    sys.exit(cli.main(work))
