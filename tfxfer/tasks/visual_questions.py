"""Pictures and the questions about them, split by picture: what all arms of visual question answering share."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

import tfxfer
from tfxfer.arms.controls import deranged
from tfxfer.config import VqaConfig
from tfxfer.data.dataset import Dataset
from tfxfer.data.pictures import readable_errors
from tfxfer.data.questions import questions_about
from tfxfer.errors import UserError
from tfxfer.evaluate.vqa import answer_kind, same_answer
from tfxfer.recipes.vqa_checks import FORMS, vqa_columns
from tfxfer.runs import Run

FACTS = ("caption", "script", "case", "diacritic", "numeric", "braille_dots")


class Row(NamedTuple):
    """A question: its picture (a row number of the split), what it asks for, its words and its answer."""

    picture: int
    kind: str
    text: str
    answer: str


@dataclass(frozen=True)
class Questions:
    """Q questions about P pictures.

    Attributes:
        images: uint8 [P, H, W, C].
        picture: int [Q], which picture each question is about.
        texts: The questions [Q].
        answers: Their answers [Q], without case.
        kinds: What each asks for [Q].
    """

    images: np.ndarray
    picture: np.ndarray
    texts: list[str]
    answers: list[str]
    kinds: list[str]

    def drawn(self, pictures: int | None, seed: int) -> "Questions":
        """Return `pictures` of the pictures with all their questions; a smaller draw is part of a greater one."""
        kept = np.random.default_rng(seed).permutation(len(self.images))[:pictures]
        place = np.full(len(self.images), -1)
        place[kept] = np.arange(len(kept))
        rows = np.flatnonzero(place[self.picture] >= 0)
        texts, answers, kinds = ([values[i] for i in rows] for values in (self.texts, self.answers, self.kinds))
        return Questions(self.images[kept], place[self.picture[rows]], texts, answers, kinds)

    def shuffled(self, seed: int) -> "Questions":
        """Return the questions, with their answers, about other pictures."""
        return replace(self, picture=deranged(len(self.images), seed + 1)[self.picture])

    @property
    def first(self) -> np.ndarray:
        """The first question of each picture, int [P]."""
        return np.unique(self.picture, return_index=True)[1]


def load_target(config: VqaConfig, this: Run) -> Dataset:
    """Load the target; raises `UserError` when it has no pictures, or neither questions nor facts to ask about."""
    with this.phase("data"):
        dataset = tfxfer.load(config.target, data_dir=config.data_dir, download=config.download, **vqa_columns(config))
    if "image" not in dataset.keys or not ({"question", "answer"} <= set(dataset.keys) or made_here(dataset)):
        raise UserError(f"--target {config.target}: has no questions about pictures; {FORMS}")
    return dataset


def made_here(dataset: Dataset) -> bool:
    """Return whether the questions are to be made of facts, as those about characters are."""
    return set(FACTS) <= set(dataset.keys)


def load_questions(
    dataset: Dataset, config: VqaConfig, size: tuple[int, int] | None, channels: int, this: Run
) -> dict[str, Questions]:
    """Return split → questions, each split cut to the config's number of pictures.

    Raises:
        UserError: A question or answer is empty, or there are fewer training pictures than a budget asks for.
    """
    limits = {"train": 2 * max(config.pictures), "validation": config.max_validation, "test": config.max_test}
    found = {}
    for split, limit in limits.items():
        rows = about_characters(dataset, split) if made_here(dataset) else from_columns(dataset, split)
        if not rows:
            raise UserError(f"{config.target}: its split '{split}' holds no question")
        found[split] = few(dataset, split, rows, limit, size, channels)
    if len(found["train"].images) < max(config.pictures):
        raise UserError(
            f"--pictures {max(config.pictures)}: {config.target} has {len(found['train'].images)} training pictures "
            "with questions; ask for fewer"
        )
    sizes = ", ".join(f"{len(q.texts):,} about {len(q.images):,} {split} pictures" for split, q in found.items())
    this.say(f"target: {config.target}, questions: {sizes}")
    for note in dataset.notes:
        this.say(f"target: {note}")
    return found


def about_characters(dataset: Dataset, split: str) -> list[Row]:
    """Return questions about characters, each character in one face that is drawn by lot."""
    columns = {name: dataset.splits[split].column(name) for name in FACTS}
    order = np.random.default_rng(0).permutation(len(columns["caption"]))
    one_face = {columns["caption"][i]: i for i in order}
    found = []
    for row in sorted(one_face.values()):
        facts = {
            name: v.decode() if isinstance(v := column[row], bytes) else int(v) for name, column in columns.items()
        }
        found += [Row(int(row), one.kind, one.text, same_answer(one.answer)) for one in questions_about(facts)]
    return found


def from_columns(dataset: Dataset, split: str) -> list[Row]:
    """Return the questions of a table or TFDS set; rows with the same picture file share it."""
    texts, answers = dataset.texts(split, "question"), dataset.texts(split, "answer")
    for name, values in (("question", texts), ("answer", answers)):
        empty = next((i for i, value in enumerate(values) if not value.strip()), None)
        if empty is not None:
            row = dataset.indices(split)[empty]
            raise UserError(f"{dataset.name} example {row}: the {name} is empty; fill it in or leave the example out")
    pictures = first_with_same_picture(dataset, split)
    return [
        Row(int(picture), answer_kind(answer), " ".join(text.split()), same_answer(answer))
        for picture, text, answer in zip(pictures, texts, answers)
    ]


def first_with_same_picture(dataset: Dataset, split: str) -> np.ndarray:
    """Return int [N]: the first row that has the same picture as each row, by its file or else by its pixels."""
    part = dataset.splits[split]
    files = getattr(part, "files", None)
    if files is not None:
        keys = files.paths.numpy()[part.index]
    else:
        size = None if dataset.image_shape else (64, 64)
        with readable_errors(dataset):
            batches = dataset.batches(split, 256, keys=("image",), image_size=size)
            keys = [hashlib.sha256(one.tobytes()).digest() for b in batches for one in b["image"].numpy()]
    _, first, which = np.unique(np.asarray(keys, object), return_index=True, return_inverse=True)
    return first[which]


def few(
    dataset: Dataset, split: str, rows: Sequence[Row], limit: int, size: tuple[int, int] | None, channels: int
) -> Questions:
    """Return the questions about at most `limit` pictures (0: all), drawn by lot; only these are decoded."""
    pictures = np.unique([row.picture for row in rows])
    kept = np.sort(np.random.default_rng(0).permutation(pictures)[: limit or None])
    place = {int(picture): i for i, picture in enumerate(kept)}
    chosen = sorted((row for row in rows if row.picture in place), key=lambda row: row.picture)
    only = replace(dataset, splits={split: dataset.splits[split].take(kept)}, _in_memory={})
    images = only.arrays(split, size, channels)["image"]
    return Questions(
        images,
        np.array([place[row.picture] for row in chosen], np.int32),
        *([getattr(row, name) for row in chosen] for name in ("text", "answer", "kind")),
    )


def answer_names(train: Questions, most: int) -> tuple[str, ...]:
    """Return the answers that are classes, in the order of the alphabet: the commonest of training.

    Raises:
        UserError: There is only one.
    """
    counts = Counter(train.answers)
    names = sorted(sorted(counts), key=lambda name: -counts[name])[: most or None]
    if len(names) < 2:
        raise UserError(f"every answer is '{names[0]}'; with one answer there is nothing to learn from a picture")
    return tuple(sorted(names))


def say_unseen(found: dict[str, Questions], names: Sequence[str], drawn: Questions, this: Run) -> dict[str, Any]:
    """Say which answers are no class, or are not learned; return how many test questions have such an answer.

    Args:
        found: The questions of all splits; those of training are the pool that is drawn from.
        names: The classes: answers of the pool.
        drawn: The training questions of the greatest budget, which are fewer.
        this: The run.

    Returns:
        "unseen", the number of test questions whose answer `drawn` never shows, and "unseen_answers", a few of them.
    """
    told: dict[str, Any] = {}
    shows = set(names) & set(drawn.answers)
    for split, known, what in (
        ("train", set(names), "have an answer beyond --max-answers, and teach nothing"),
        ("validation", set(names), "have an answer that is no class, and count as wrong"),
        ("test", shows, "have an answer that training never shows, and stay in the score"),
    ):
        unseen = Counter(one for one in found[split].answers if one not in known)
        if unseen:
            count, total = unseen.total(), len(found[split].answers)
            shown = ", ".join(f"'{one}'" for one, _ in unseen.most_common(5)) + (" …" if len(unseen) > 5 else "")
            this.say(f"target: {count:,} of {total:,} {split} questions ({count / total:.1%}) {what}: {shown}")
        if split == "test":
            told = {"unseen": unseen.total(), "unseen_answers": [one for one, _ in unseen.most_common(5)]}
    return told
