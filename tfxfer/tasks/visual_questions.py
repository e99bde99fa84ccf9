"""Images and the questions about them, split by image: what all arms of visual question answering share."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

import tfxfer
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.dataset import Dataset
from tfxfer.data.images import readable_errors
from tfxfer.data.loaders import ANSWERS
from tfxfer.data.questions import questions_about
from tfxfer.errors import UserError
from tfxfer.evaluate.vqa import answer_kind, question_type, same_answer, scores_by_image, vqa
from tfxfer.evaluate.vqa_accuracy import LEAST_PEOPLE, vqa_accuracy
from tfxfer.experiment import Outcome
from tfxfer.runs import Run
from tfxfer.tasks.derangement import deranged
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.overlap import check_overlap
from tfxfer.transfer.knowledge.question_batches import truncated_and_unknown

FORMS = "give glyphs, vqa:PATH, or csv:PATH or jsonl:PATH with an image, a question and an answer a row"
MEASURE = "question_accuracy"
AGREEMENT = "vqa_accuracy"  # where people gave several answers to each question
FACTS = ("caption", "script", "case", "diacritic", "numeric", "braille_dots")


class Row(NamedTuple):
    """A question: its image (a row number of the split), what it asks for, its words, its answer, and all answers."""

    image: int
    kind: str
    text: str
    answer: str
    people: tuple[str, ...] = ()


@dataclass(frozen=True)
class Questions:
    """Q questions about P images.

    Attributes:
        images: uint8 [P, H, W, C].
        image_index: int [Q], which image each question is about.
        texts: The questions [Q].
        answers: Their answers [Q], without case.
        kinds: What each asks for [Q]; of a table, the kind of the true answer, which no model may see.
        asked: Whether `kinds` are those of the questions, known without their answers.
        people: All answers that people gave [Q], where each question has enough of them; else empty.
    """

    images: np.ndarray
    image_index: np.ndarray
    texts: list[str]
    answers: list[str]
    kinds: list[str]
    asked: bool = False
    people: tuple[tuple[str, ...], ...] = ()

    @property
    def types(self) -> list[str]:
        """The type of each question [Q], known without its answer: its kind, or else its first two words."""
        return self.kinds if self.asked else [question_type(text) for text in self.texts]

    def by_image(self) -> tuple[str, ...]:
        """Return a text for each of the P images: its number, its questions and their answers."""
        rows = [[str(image)] for image in range(len(self.images))]
        for image, text, answer in zip(self.image_index, self.texts, self.answers):
            rows[image] += [text, answer]
        return tuple(map("\n".join, rows))

    def drawn(self, images: int | None, seed: int) -> "Questions":
        """Return some of the images with all their questions; a smaller draw is part of a greater one."""
        kept = np.random.default_rng(seed).permutation(len(self.images))[:images]
        place = np.full(len(self.images), -1)
        place[kept] = np.arange(len(kept))
        rows = np.flatnonzero(place[self.image_index] >= 0)
        texts, answers, kinds = ([values[i] for i in rows] for values in (self.texts, self.answers, self.kinds))
        return Questions(self.images[kept], place[self.image_index[rows]], texts, answers, kinds, self.asked)

    def about_each(self) -> list[str]:
        """Return the questions and answers about each of the P images, as one text."""
        found: list[list[str]] = [[] for _ in self.images]
        for image, text, answer in zip(self.image_index, self.texts, self.answers):
            found[image] += [text, answer]
        return [" ".join(words) for words in found]

    def with_copies(self, copies: Sequence[np.ndarray]) -> "Questions":
        """Return the same with edited copies of all images after them, about which the same is asked.

        Args:
            copies: K arrays uint8 [P, H, W, C].
        """
        more = 1 + len(copies)
        index = np.concatenate([self.image_index + len(self.images) * copy for copy in range(more)])
        texts, answers, kinds = (list(values) * more for values in (self.texts, self.answers, self.kinds))
        return Questions(np.concatenate([self.images, *copies]), index, texts, answers, kinds, self.asked)

    def shuffled(self, seed: int) -> "Questions":
        """Return the questions, with their answers, about other images."""
        return replace(self, image_index=deranged(len(self.images), seed + 1)[self.image_index])

    @property
    def first(self) -> np.ndarray:
        """The first question of each image, int [P]."""
        return np.unique(self.image_index, return_index=True)[1]

    def examples(self) -> Iterator[dict[str, Any]]:
        """Yield images for people, evenly spaced, with their first question and its answer."""
        for row in evenly_spaced(len(self.images)):
            question = self.first[row]
            words = {"text": self.texts[question], "true": self.answers[question]}
            yield {"index": int(row), "png": png(self.images[row]), **words}


def load_target(target: TargetConfig, config: RunConfig, run: Run) -> Dataset:
    """Load the target.

    Raises:
        UserError: It has no images, or neither questions nor facts to ask about, or its splits share images.
    """
    with run.phase("data"):
        columns = target.columns("image", "question", "answer")
        where = {"data_dir": config.data_dir, "download": config.download}
        dataset = tfxfer.load(target.spec, **where, **target.reading(), **columns)
    if "image" not in dataset.keys or not ({"question", "answer"} <= set(dataset.keys) or made_here(dataset)):
        raise UserError(f"--target {target.spec}: has no questions about images; {FORMS}")
    check_overlap(dataset, target, config, run)
    return dataset


def made_here(dataset: Dataset) -> bool:
    """Return whether the questions are to be made of facts, as those about characters are."""
    return set(FACTS) <= set(dataset.keys)


def load_questions(
    dataset: Dataset, target: TargetConfig, shape: tuple[int, int, int], most: int, run: Run
) -> dict[str, Questions]:
    """Return split → questions, each split cut to the target's number of images.

    Args:
        dataset: The target.
        target: Its limits.
        shape: (H, W, C) of the images as the encoder takes them.
        most: The greatest budget; twice as many training images are loaded, to draw from.
        run: The run.

    Raises:
        UserError: A question or answer is empty, or there are fewer training images than the greatest budget.
    """
    limits = {"train": 2 * most, "validation": target.max_validation, "test": target.max_test}
    found = {}
    made = made_here(dataset)
    for split, limit in limits.items():
        rows = about_characters(dataset, split) if made else from_columns(dataset, split)
        if not rows:
            raise UserError(f"{target.spec}: its split '{split}' holds no question")
        found[split] = replace(few(dataset, split, rows, limit, shape), asked=made)
    if len(found["train"].images) < most:
        raise UserError(
            f"--images {most}: {target.spec} has {len(found['train'].images)} training images with questions; ask for "
            "fewer"
        )
    sizes = ", ".join(f"{len(q.texts):,} about {len(q.images):,} {split} images" for split, q in found.items())
    run.say(f"target: {target.spec}, questions: {sizes}")
    for note in dataset.notes:
        run.say(f"target: {note}")
    return found


def about_characters(dataset: Dataset, split: str) -> list[Row]:
    """Return questions about characters, each character in one face, drawn at random."""
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
    """Return the questions of a table or TFDS set; rows with the same image file share it."""
    texts, answers = dataset.texts(split, "question"), dataset.texts(split, "answer")
    for name, values in (("question", texts), ("answer", answers)):
        empty = next((i for i, value in enumerate(values) if not value.strip()), None)
        if empty is not None:
            row = dataset.indices(split)[empty]
            raise UserError(f"{dataset.name} example {row}: the {name} is empty; fill it in or leave the example out")
    images = first_with_same_image(dataset, split)
    people: list[tuple[str, ...]] = [()] * len(texts)
    if ANSWERS in dataset.keys:
        people = [tuple(json.loads(each)) for each in dataset.texts(split, ANSWERS)]
    return [
        Row(int(image), answer_kind(answer), " ".join(text.split()), same_answer(answer), each)
        for image, text, answer, each in zip(images, texts, answers, people)
    ]


def first_with_same_image(dataset: Dataset, split: str) -> np.ndarray:
    """Return int [N]: the first row that has the same image as each row, by its file or else by its pixels."""
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


def few(dataset: Dataset, split: str, rows: Sequence[Row], limit: int, shape: tuple[int, int, int]) -> Questions:
    """Return the questions about at most `limit` images (0: all), drawn at random; only these are decoded."""
    kept = images_kept(rows, limit)
    place = {int(image): i for i, image in enumerate(kept)}
    chosen = sorted((row for row in rows if row.image in place), key=lambda row: row.image)
    only = replace(dataset, splits={split: dataset.splits[split].take(kept)}, _in_memory={})
    enough = all(len(row.people) >= LEAST_PEOPLE for row in chosen)
    return Questions(
        only.arrays(split, shape[:2], shape[2])["image"],
        np.array([place[row.image] for row in chosen], np.int32),
        [row.text for row in chosen],
        [row.answer for row in chosen],
        [row.kind for row in chosen],
        people=tuple(row.people for row in chosen) if enough else (),
    )


def images_kept(rows: Sequence[Row], limit: int) -> np.ndarray:
    """Return the images of `few`, ascending: row numbers of the split, int [P]."""
    images = np.unique([row.image for row in rows])
    return np.sort(np.random.default_rng(0).permutation(images)[: limit or None])


def answer_names(train: Questions, most: int) -> tuple[str, ...]:
    """Return the answers that are classes, in the order of the alphabet: the most frequent of training.

    Raises:
        UserError: There is only one.
    """
    counts = Counter(train.answers)
    names = sorted(sorted(counts), key=lambda name: -counts[name])[: most or None]
    if len(names) < 2:
        raise UserError(f"every answer is '{names[0]}'; with one answer there is nothing to learn from an image")
    return tuple(sorted(names))


def count_unseen(found: dict[str, Questions], names: Sequence[str], drawn: Questions, run: Run) -> dict[str, Any]:
    """Print which answers are no class, or are not learned; return how many test questions have such an answer.

    Args:
        found: The questions of all splits; those of training are the pool that is drawn from.
        names: The classes: answers of the pool.
        drawn: The training questions of the greatest budget, which are fewer.
        run: The run.

    Returns:
        "unseen", the number of test questions whose answer `drawn` never shows, and "unseen_answers", a few of them.
    """
    counts: dict[str, Any] = {}
    shows = set(names) & set(drawn.answers)
    for split, known, what in (
        ("train", set(names), "have an answer beyond --max-answers, and are not learned from"),
        ("validation", set(names), "have an answer that is no class, and count as wrong"),
        ("test", shows, "have an answer that training never has, and count as wrong"),
    ):
        unseen = Counter(one for one in found[split].answers if one not in known)
        if unseen:
            count, total = unseen.total(), len(found[split].answers)
            shown = ", ".join(f"'{one}'" for one, _ in unseen.most_common(5)) + (" …" if len(unseen) > 5 else "")
            run.say(f"target: {count:,} of {total:,} {split} questions ({count / total:.1%}) {what}: {shown}")
        if split == "test":
            counts = {"unseen": unseen.total(), "unseen_answers": [one for one, _ in unseen.most_common(5)]}
    return counts


def count_truncated(tokenizer: Any, questions: dict[str, Questions], run: Run) -> dict[str, int]:
    """Print how many questions are truncated or have no known word; return both counts of the test split."""
    counts = {}
    for split, each in questions.items():
        cut, unknown = truncated_and_unknown(tokenizer, each.texts)
        if cut.any():
            run.say(
                f"target: {cut.sum():,} of {len(cut):,} {split} questions are longer than --max-length "
                f"{tokenizer.length} tokens; the rest is not read"
            )
        if unknown.any():
            run.say(f"target: {unknown.sum():,} of {len(cut):,} {split} questions hold no word the model knows")
        counts = {"cut": int(cut.sum()), "strange": int(unknown.sum())}
    return counts


def outcome(
    answers: list[str], questions: dict[str, Questions], settings: dict[str, Any], trainable: int = 0
) -> Outcome:
    """Return answers to the test questions as scores by image, which the verdict draws from."""
    test, train = questions["test"], questions["train"]
    correct = np.array(answers) == np.array(test.answers)
    found = vqa(answers, test.answers, questions=test.texts, kinds=test.kinds, training=(train.texts, train.answers))
    shown = [answers[i] for i in test.first]
    scores = {MEASURE: scores_by_image(correct, test.image_index)}
    if test.people:
        scores[AGREEMENT] = scores_by_image(vqa_accuracy(answers, test.people), test.image_index)
    return Outcome(None, settings | {"by_kind": found["by_kind"]}, trainable, scores=scores, answers=shown)
