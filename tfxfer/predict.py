"""`python -m tfxfer.predict RUN --text "…"` or `--image FILE`: what a saved run answers, with probabilities.

A classifier answers with its top classes, a captioner with its best captions, a language model with how likely a text
is.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfxfer import cli
from tfxfer.errors import UserError
from tfxfer.runs import open_run

LONGEST = 50  # tokens of a caption where the model has room for them


def parser() -> ArgumentParser:
    """Return the parser of this command."""
    made = ArgumentParser("python -m tfxfer.predict", description="Ask a saved run about new texts or pictures.")
    made.add_argument("run", help="the run's folder, e.g. runs/feature-20261123-090000")
    made.add_argument("--text", nargs="+", default=[], help="one or more texts")
    made.add_argument("--image", nargs="+", default=[], help="one or more picture files")
    made.add_argument("--question", nargs="+", default=[], help="one or more questions about each picture")
    made.add_argument("--top", type=int, default=3, help="how many answers to show (default: 3)")
    made.add_argument("--num-beams", type=int, help="captions: hypotheses of beam search (default: the run's)")
    made.add_argument("--max-length", type=int, help="captions: longest in tokens (default: 50, where there is room)")
    made.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    return made


def work(argv: Sequence[str]) -> None:
    """Answer each input with its most probable classes."""
    asked = parser().parse_args(argv)
    about = that_takes(asked, open_run(asked.run))
    check(asked, about)
    cli.start_tensorflow()
    from tfxfer.models import load_model

    model = load_model(about["model"])
    inputs = asked.text or asked.image
    if about["task"] == "captions":
        rows = told(model, inputs, about, asked)
    elif about["task"] == "vqa":
        rows = to_questions(model, inputs, about, asked)
    elif about["task"] == "language":
        rows = likelihoods(model, inputs, about)
    else:
        rows = answers(model, inputs, about, asked.top)
    if asked.json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    else:
        show(rows)


def that_takes(asked: Namespace, about: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of the model that takes what is given: a retrieval run holds one for texts also."""
    other = about.get("also", {}).get("text" if asked.text else "image")
    return about | other | {"model": about["model"].with_name(other["model"])} if other else about


def check(asked: Namespace, about: dict[str, Any]) -> None:
    """Raise `UserError` for a question this model cannot be asked."""
    given = "text" if asked.text else "image"
    if bool(asked.text) == bool(asked.image):
        raise UserError('give either --text "…" or --image FILE')
    if given != about["input"]:
        raise UserError(f"{asked.run}: this model takes {about['input']}, not {given}; use --{about['input']}")
    if asked.top < 1:
        raise UserError(f"--top {asked.top}: must be above 0")
    for flag, value in (("num-beams", asked.num_beams), ("max-length", asked.max_length)):
        if value is not None and about["task"] != "captions":
            raise UserError(f"--{flag}: {asked.run} writes no captions and searches nothing; leave it out")
    if asked.num_beams is not None and asked.num_beams < 1:
        raise UserError(f"--num-beams {asked.num_beams}: must be above 0")
    if about["task"] == "captions" and asked.max_length is not None and asked.max_length < 3:
        raise UserError(
            f"--max-length {asked.max_length}: leaves no room for a word between begin and end; give 3 or more"
        )
    if (about["task"] == "vqa") != bool(asked.question):
        needs = "answers questions; ask one with" if about["task"] == "vqa" else "takes no question; leave out"
        raise UserError(f"{asked.run}: this model {needs} --question")
    empty = next((text for text in asked.question if not text.strip()), None)
    if empty is not None:
        raise UserError(f"--question {empty!r}: is empty; write what is asked about the picture")
    for name, text in [("text", text) for text in asked.text] + [("question", text) for text in asked.question]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"--{name} {text!a}: these bytes are not UTF-8; set the terminal to UTF-8") from error
    for file in asked.image:
        if not Path(file).is_file():
            raise UserError(f"{file}: there is no such picture")


def answers(model: Any, inputs: Sequence[str], about: dict[str, Any], top: int) -> list[dict[str, Any]]:
    """Return for each input its `top` classes with probabilities, most probable first."""
    import numpy as np
    import tensorflow as tf

    if about["input"] == "text":
        batch = tf.constant(list(inputs))
    else:
        from tfxfer.data.pictures import read

        batch = tf.stack([read(file, about["image_size"], about["channels"]) for file in inputs])
    return ranked(inputs, np.asarray(model(batch, training=False)), about, top)


def ranked(inputs: Sequence[str], probabilities: Any, about: dict[str, Any], top: int) -> list[dict[str, Any]]:
    """Return for each input its `top` classes with probabilities, of rows [N, C], most probable first."""
    rows = []
    for given, row in zip(inputs, probabilities):
        best = (-row).argsort(kind="stable")[:top]
        rows.append({"input": given, "top": [[about["class_names"][i], round(float(row[i]), 4)] for i in best]})
    return rows


def to_questions(model: Any, inputs: Sequence[str], about: dict[str, Any], asked: Namespace) -> list[dict[str, Any]]:
    """Return the `top` answers to every question about every picture; "note" says what of a question is not read."""
    import numpy as np
    import tensorflow as tf

    from tfxfer.data.pictures import read
    from tfxfer.transfer.knowledge.question_batches import truncated_and_unknown

    pictures = tf.stack([read(file, about["image_size"], about["channels"]) for file in inputs])
    tokens = next(layer for layer in model.layers if hasattr(layer, "vocabulary"))
    cut, strange = truncated_and_unknown(tokens, asked.question)
    notes = [
        "the model knows no word of this question" if unknown
        else f"only the first {tokens.length} tokens of this question are read" if long else ""
        for long, unknown in zip(cut, strange)
    ]  # fmt: skip
    each = [(i, question) for i in range(len(inputs)) for question in asked.question]
    given = {"image": tf.gather(pictures, [i for i, _ in each]), "question": tf.constant([q for _, q in each])}
    names = [f"{inputs[i]}: {question}" for i, question in each]
    rows = ranked(names, np.asarray(model(given, training=False)), about, asked.top)
    return [row | ({"note": note} if note else {}) for row, note in zip(rows, notes * len(inputs))]


def told(model: Any, inputs: Sequence[str], about: dict[str, Any], asked: Namespace) -> list[dict[str, Any]]:
    """Return for each picture its best captions with their log-probabilities a token, ranked as the run ranks them."""
    import numpy as np
    import tensorflow as tf

    from tfxfer.data.pictures import read
    from tfxfer.models.decoder import room_of
    from tfxfer.models.tokenizer import WordPieceTokenizer
    from tfxfer.transfer.knowledge.caption_decoding import CaptionGenerator

    pictures = tf.stack([read(file, about["image_size"], about["channels"]) for file in inputs])
    grids = np.asarray(model.get_layer("encoder")(pictures))
    teller = CaptionGenerator(model, WordPieceTokenizer(about["pieces"], about["lowercase"]))
    beams = asked.num_beams or about["num_beams"]
    longest = asked.max_length or min(LONGEST, room_of(teller.decoder))
    found = teller.tell(
        grids,
        num_beams=beams,
        max_length=longest,
        num_return=beams,
        length_penalty=about["length_penalty"],
    )
    worth = found.scores + _pictures_say(about["model"].with_name("ranking.npz"), grids, found.texts)
    rows = []
    for given, texts, scores, order in zip(
        inputs, found.texts, found.scores, np.argsort(-worth, axis=1, kind="stable")
    ):
        rows.append({"input": given, "captions": [[texts[i], round(float(scores[i]), 3)] for i in order[: asked.top]]})
    return rows


def _pictures_say(file: Path, grids: Any, texts: list[list[str]]) -> Any:
    """Return λ f·g of each picture and its captions, [N, R], as the run keeps it; 0 where it ranks by h alone."""
    import numpy as np

    from tfxfer.transfer.knowledge.caption_ranking import RidgeCaptionScorer

    if not file.is_file():
        return 0.0
    with np.load(file) as kept:
        return float(kept["weight"]) * RidgeCaptionScorer.from_state(kept).terms(grids.mean((1, 2)), texts)


def likelihoods(model: Any, inputs: Sequence[str], about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return for each text the mean log-probability of its tokens, in nats a token, its end among them."""
    import numpy as np

    from tfxfer.models.tokenizer import WordPieceTokenizer
    from tfxfer.transfer.knowledge.caption_decoding import CaptionGenerator

    teller = CaptionGenerator(model, WordPieceTokenizer(about["pieces"], about["lowercase"]))
    numbers, _ = teller.words.encode(inputs, about["length"])
    blank = np.zeros((len(inputs), 1, 1, 1), np.float32)
    found = teller.log_likelihood(blank, numbers)
    return [{"input": text, "nats_a_token": round(float(value), 3)} for text, value in zip(inputs, found)]


def show(rows: list[dict[str, Any]]) -> None:
    """Print the answers as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if rows and "nats_a_token" in rows[0]:
        table = Table("input", "nats a token", box=None, pad_edge=False)
        for row in rows:
            table.add_row(Text(row["input"]), f"{row['nats_a_token']:.3f}")
        Console(highlight=False).print(table)
        return
    captions = bool(rows) and "captions" in rows[0]
    table = Table(
        "input", *(("caption", "nats a token") if captions else ("class", "probability")), box=None, pad_edge=False
    )
    for row in rows:
        for place, (name, value) in enumerate(row["captions" if captions else "top"]):
            bar = "" if captions else "█" * round(20 * value)
            table.add_row(Text("" if place else row["input"]), Text(name), f"{value:.3f} {bar}")
        if "note" in row:
            table.add_row(Text(f"({row['note']})"), "", "")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    sys.exit(cli.main(work))
