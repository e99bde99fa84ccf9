"""Runs whose answers can be rated, sessions about them, and raters, without TensorFlow."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from tfxfer.rate.database import Session, create, session_path
from tfxfer.rate.items import USUAL, draw, new_id
from tfxfer.rate.systems import RatedRun, systems_of
from tfxfer.rate.test_set import TestSet
from tfxfer.records import Comparison, Record

COLOURS = {"red": (220, 40, 40), "green": (40, 160, 60), "blue": (40, 70, 220), "yellow": (240, 210, 40)}
SHAPES = ("square", "circle", "triangle", "cross", "star", "ring")
TRUE = [f"a {colour} {shape}" for shape in SHAPES for colour in COLOURS]  # 24 captions
GOOD = {"transfer": 0.8, "random": 0.4, "neighbour": 0.2}  # share of right captions


def comparison(seed=0, true=TRUE, recipe="captioning"):
    """Records of three arms; what they answer is right as often as `GOOD` says."""
    rng = np.random.default_rng(seed)
    records = []
    for arm, share in GOOD.items():
        right = rng.random(len(true)) < share
        wrong = rng.permutation(true)
        answers = [one if ok else f"{other}, or not" for one, ok, other in zip(true, right, wrong)]
        scores = {"cider_d": np.where(right, 5.0, rng.random(len(true))), "exact_match": right.astype(float)}
        metrics = {name: float(values.mean()) for name, values in scores.items()}
        records.append(Record(arm, 50, seed, metrics=metrics, scores=scores, answers=np.array(answers)))
    return Comparison(
        title="shapes → captions",
        class_names=(),
        labels=np.zeros(len(true), np.int32),
        records=tuple(records),
        examples=tuple({"index": i, "true": true[i]} for i in range(0, len(true), 5)),
        measures=("cider_d", "exact_match"),
        unit="pairs",
        recipe=recipe,
    )


def run(folder, seed=0, **changes):
    """The folder of a finished run."""
    folder.mkdir(parents=True, exist_ok=True)
    replace(comparison(seed), **changes).save(folder)
    (folder / "config.yaml").write_text("recipe: captioning\n", "utf-8")
    (folder / "report.html").write_text("", "utf-8")
    return folder


def images(rows):
    return [np.full((24, 32, 3), list(COLOURS.values())[row % 4], np.uint8) for row in rows]


def test_set(true=TRUE):
    digests = np.arange(len(true), dtype=np.uint64)
    return TestSet([[text, f"{text} on white"] for text in true], [], [], digests, images)


test_set.__test__ = False


def session(folder, ask="scales", arms=("transfer", "neighbour"), items=10, checks=2, name=None, test=None):
    """A new session about arms of a run, open."""
    systems = systems_of([RatedRun.load(folder)], arms, None, None)
    found = test or test_set()
    screens, counts = draw(systems, found, items=items, checks=checks, ask=ask, seed=0)
    screens = [replace(item, image=one) for item, one in zip(screens, found.encoded([item.row for item in screens]))]
    options = {"arms": list(arms), "items": items, "ask": ask, "seed": 0}
    scales = [] if ask == "choice" else list(USUAL["captions"])
    about = {"title": "captions, rated", "kind": "captions", "ask": ask, "scales": scales, "counts": counts}
    path = session_path(folder, name)
    create(path, about | {"systems": [one.plain() for one in systems], "options": options}, screens)
    return Session(path)


def rating(session, item, best):
    """A rating that gives 5 to the texts for which `best` holds, and 2 to the others."""
    found = {"key": new_id() * 2, "item": item.id, "shown": [one.id for one in item.candidates], "milliseconds": 4000}
    good = [one.id for one in item.candidates if best(one, item)]
    if session.about["ask"] == "choice":
        return found | {"choice": good[0] if len(good) == 1 else "tie"}
    values = {one.id: 5 if one.id in good else 2 for one in item.candidates}
    return found | {"scores": {key: dict.fromkeys(session.about["scales"], value) for key, value in values.items()}}


def honest(candidate, item):
    return candidate.text in (" ".join(text.split()) for text in item.references)


def rate_all(session, rater, best=honest, count=None):
    """Let a rater rate the first screens, all by default."""
    session.add(rater, [rating(session, item, best) for item in session.items[:count]])


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))
