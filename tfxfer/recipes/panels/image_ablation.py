"""Does the captioner look? What it says of its, of another's and of the mean picture; where each word looks; K."""

import numpy as np

from tfxfer.arms.captioning import Gallery, CaptioningArm
from tfxfer.cache import write_json
from tfxfer.evaluate.image_ablation import image_ablation
from tfxfer.runs import Run
from tfxfer.tasks.classification import png

DRAWN, COMPARED = 5, 12  # pictures whose words are shown looking, and pictures in K


def write(writer: CaptioningArm, gallery: Gallery, images: np.ndarray, this: Run) -> None:
    """Ask the final model, print what was found, and keep it in `looking.json` for the report.

    Args:
        writer: The arm under study; its final model is asked.
        gallery: Whose test split is asked about.
        images: The test pictures, uint8 [N, H, W, C].
        this: The run.
    """
    writer.final()
    grids, captions = gallery.grids["test"], gallery.captions["test"]
    other = np.roll(np.arange(len(grids)), max(1, len(grids) // 2))  # each sees a picture of another
    seen = {"pictures": grids, "shuffled": grids[other], "blank": np.zeros_like(grids) + gallery.grids["train"].mean(0)}
    answers, scores = {}, {}
    for name, rows in seen.items():
        answers[name], scores[name] = writer.answer(rows, captions)
    found = {}
    for measure, words in (("cider_d", "CIDEr-D"), ("log_likelihood", "log-likelihood in nats a token")):
        found[measure] = image_ablation(
            {name: each[measure] for name, each in scores.items()}, answers["pictures"], measure=words
        )
        this.say(found[measure]["sentence"])
    told = {"measures": found, "words": _words(writer, gallery, images), "matrix": _matrix(writer, gallery, images)}
    write_json(this.folder / "looking.json", told)


def _words(writer: CaptioningArm, gallery: Gallery, images: np.ndarray) -> list[dict]:
    """Return a few pictures with what was said of them, word by word, and where each word looked."""
    if "prefix" in type(writer.reader.get_layer("memory")).__name__.lower():
        return []  # a prefix is all there is to see; no word looks anywhere
    rows = np.unique(np.linspace(0, len(images) - 1, DRAWN).astype(int))
    grids = gallery.grids["test"][rows]
    told = writer.tell(grids)
    places = writer.places(grids, told)
    found = []
    for row, tokens in zip(rows, told.tokens[np.arange(len(rows)), places]):
        looks = writer.teller.looks(gallery.grids["test"][row], tokens)  # [T - 1, h, w]
        place, each = 0, []
        for pieces, word in zip(writer.words.grouped(tokens), writer.words.words(tokens)):
            each.append({"word": word, "heat": looks[place : place + len(pieces)].mean(0).round(4).tolist()})
            place += len(pieces)
        found.append({"png": png(images[row]), "true": gallery.captions["test"][row][0], "words": each})
    return found


def _matrix(writer: CaptioningArm, gallery: Gallery, images: np.ndarray) -> dict:
    """Return K of some pictures and their captions: log p(caption | picture) in nats a token, [pictures][captions]."""
    rows = np.unique(np.linspace(0, len(images) - 1, COMPARED).astype(int))
    captions = [gallery.captions["test"][i][0] for i in rows]
    numbers, _ = writer.words.encode(captions, writer.config.length)
    pictures = np.repeat(rows, len(rows))
    values = writer.teller.log_likelihood(gallery.grids["test"][pictures], np.tile(numbers, (len(rows), 1)))
    values = values.reshape(len(rows), len(rows))
    return {"png": [png(images[i]) for i in rows], "captions": captions, "values": values.round(3).tolist()}
