"""Several tasks about images: their names, and their examples, about the same images where one data set has them all.

A task is called by its kind, "classify", "caption" or "vqa"; "classify:COLUMN" names the column of its classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import tfxfer
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError
from tfxfer.evaluate.vqa import same_answer
from tfxfer.runs import Run
from tfxfer.tasks.captioned_images import captions_by_image, one_per_caption
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.overlap import check_overlap
from tfxfer.tasks.visual_questions import about_characters, first_with_same_image, from_columns, made_here
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.knowledge.caption_head import words_of
from tfxfer.transfer.knowledge.task_heads import TaskExamples, TaskHead

MEASURES = {"classify": "accuracy", "caption": "token_f1", "vqa": "answers"}  # of a kind -> ending of its measure
NEEDS = {"classify": "label", "caption": "caption", "vqa": "question"}
SPLITS = ("train", "validation", "test")
MOST_WORDS = 5000  # of captions or questions


def kind_of(task: str) -> str:
    """Return the kind of a task.

    >>> kind_of("classify:shape")
    'classify'
    """
    return task.partition(":")[0]


def measure_of(task: str) -> str:
    """Return the name of the measure that a task is judged by, a score of each image.

    >>> measure_of("classify:shape"), measure_of("vqa")
    ('classify:shape_accuracy', 'vqa_answers')
    """
    return f"{task}_{MEASURES[kind_of(task)]}"


@dataclass(frozen=True)
class Tasks:
    """Examples of several tasks in three splits.

    Attributes:
        data: Task → its data set. Tasks with one data set have the same object.
        examples: split → task → its examples. Those of one data set share the array of images.
    """

    data: Mapping[str, Dataset]
    examples: Mapping[str, Mapping[str, TaskExamples]]

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks."""
        return tuple(self.data)

    def drawn(self, images: int | None, seed: int) -> "Tasks":
        """Return the same with some of the training images of each data set, and all that is asked about them."""
        train = {}
        places: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # data sets draw their images once
        for task, each in self.examples["train"].items():
            if id(each.images) not in places:
                kept = np.random.default_rng(seed).permutation(len(each.images))[:images]
                place = np.full(len(each.images), -1)
                place[kept] = np.arange(len(kept))
                places[id(each.images)] = place, each.images[kept]
            place, pixels = places[id(each.images)]
            rows = np.flatnonzero(place[each.image_index] >= 0).tolist()
            train[task] = TaskExamples(
                pixels,
                place[each.image_index[rows]].astype(np.int32),
                [each.answers[i] for i in rows],
                [each.questions[i] for i in rows] if each.questions else [],
            )
        return replace(self, examples=dict(self.examples) | {"train": train})

    def shown_tasks(self) -> list[str]:
        """Return the tasks about the images of the first one: what a report shows of an image."""
        first = self.examples["test"][self.names[0]].images
        return [task for task, each in self.examples["test"].items() if each.images is first]

    def truths(self) -> list[str]:
        """Return what is true of each test image, of all tasks about it: a text each."""
        return beside({task: each.answers for task, each in self.examples["test"].items()}, self)

    def shown(self) -> tuple[dict[str, Any], ...]:
        """Return some test images for people, evenly spaced, with what is true of them."""
        images, texts = self.examples["test"][self.names[0]].images, self.truths()
        return tuple({"index": int(i), "png": png(images[i]), "true": texts[i]} for i in evenly_spaced(len(images)))


def beside(answers: Mapping[str, Sequence[str]], tasks: Tasks) -> list[str]:
    """Return a text for each test image: the first answer of each task about it.

    Args:
        answers: Task → an answer for each of its test examples.
        tasks: The tasks.
    """
    columns = []
    for task in tasks.shown_tasks():
        if task in answers:
            each = tasks.examples["test"][task]
            first = np.unique(each.image_index, return_index=True)[1]
            questions = [f"{text} " for text in each.questions] or [""] * len(each.answers)
            columns.append([questions[i] + answers[task][i] for i in map(int, first)])
    return [" · ".join(row) for row in zip(*columns)]


def load_data(
    specs: Mapping[str, str], target: TargetConfig, config: RunConfig, run: Run
) -> dict[str, tuple[Dataset, Dataset]]:
    """Load the data set of each task, and say what does not fit before anything is trained.

    Args:
        specs: Task → spec of its data set.
        target: Columns, image size and limits.
        config: Folders and downloads.
        run: The run.

    Returns:
        Task → its data set, the same object for tasks with one spec, and the one with its classes as labels.

    Raises:
        UserError: A data set lacks what its task needs, its splits overlap, or images differ in size between data sets.
    """
    loaded: dict[str, Dataset] = {}
    found = {}
    columns = target.columns("image", "caption", "question", "answer")
    with run.phase("data"):
        for task, spec in specs.items():
            where = {"data_dir": config.data_dir, "download": config.download}
            where |= target.reading() if spec == target.spec else {}
            if spec not in loaded:
                loaded[spec] = tfxfer.load(spec, **where, **columns)
                check_overlap(loaded[spec], replace(target, spec=spec), config, run)
            labels = loaded[spec]
            if kind_of(task) == "classify":
                column = label_column(task, labels, target)
                given = columns | ({"label": column} if column else {})
                labels = tfxfer.load(spec, **where, **given)
            found[task] = loaded[spec], labels
    for task, (dataset, labels) in found.items():
        check_has(task, dataset, labels)
    check_sizes({task: dataset for task, (dataset, _) in found.items()}, target)
    return found


def label_column(task: str, dataset: Dataset, target: TargetConfig) -> str | None:
    """Return the column of a task's classes: its own, or `--target-label`, or the script of characters."""
    own = task.partition(":")[2] or target.label
    return own or ("script" if made_here(dataset) else None)


def check_has(task: str, dataset: Dataset, labels: Dataset) -> None:
    """Raise `UserError` where a data set has no images, or not what a task needs."""
    kind = kind_of(task)
    if "image" not in dataset.keys:
        raise UserError(f"{dataset.name}: has no images, and the task {task} is about images; name another data set")
    has = {
        "classify": bool(labels.class_names),
        "caption": "caption" in dataset.keys,
        "vqa": {"question", "answer"} <= set(dataset.keys) or made_here(dataset),
    }
    if not has[kind]:
        raise UserError(
            f"{dataset.name}: has no {NEEDS[kind]}s for the task {task}; name the column with --target-{NEEDS[kind]}, "
            f"another data set with --task-data {task}=SPEC, or leave the task out of --tasks"
        )
    if any(not np.array_equal(dataset.indices(split), labels.indices(split)) for split in SPLITS):
        raise UserError(
            f"{dataset.name}: some rows have no class for the task {task}, so its rows are not those of the other "
            "tasks; fill in that column, or remove these rows"
        )


def check_sizes(data: Mapping[str, Dataset], target: TargetConfig) -> None:
    """Raise `UserError` where tasks have images of different sizes and no size was asked for."""
    if target.image_size:
        return
    sizes = {task: dataset.image_shape and dataset.image_shape[:2] for task, dataset in data.items()}
    if len(set(sizes.values())) > 1:
        said = ", ".join(
            f"{task} {'x'.join(map(str, size)) if size else 'of many sizes'}" for task, size in sizes.items()
        )
        raise UserError(
            f"the tasks have images of different sizes ({said}), and one body takes one size; give --image-size, such "
            "as --image-size 64, to resize all of them"
        )


def load_tasks(
    data: Mapping[str, tuple[Dataset, Dataset]], target: TargetConfig, shape: tuple[int, int, int], most: int, run: Run
) -> Tasks:
    """Return the examples of all tasks, each split cut to the target's number of images of each data set.

    Args:
        data: What `load_data` returned.
        target: Its limits.
        shape: (H, W, C) of the images as the body takes them.
        most: The greatest budget; twice as many training images are loaded, to draw from.
        run: The run.

    Raises:
        UserError: A split has no image that all tasks of a data set are about, or fewer training images than `most`.
    """
    limits = {"train": 2 * most, "validation": target.max_validation, "test": target.max_test}
    examples: dict[str, dict[str, TaskExamples]] = {split: {} for split in SPLITS}
    for dataset in {id(each): each for each, _ in data.values()}.values():
        own = {task: labels for task, (each, labels) in data.items() if each is dataset}
        for split in SPLITS:
            examples[split] |= _examples(dataset, own, split, limits[split], shape, run)
        count = len(examples["train"][next(iter(own))].images)
        if count < most:
            raise UserError(
                f"--images {most}: {dataset.name} has {count} training images for {', '.join(own)}; ask for fewer"
            )
        run.say(f"target: {dataset.name}, " + ", ".join(_counts(examples, split, own) for split in SPLITS))
        for note in dataset.notes:
            run.say(f"target: {note}")
    return Tasks({task: each for task, (each, _) in data.items()}, {s: _ordered(examples[s], data) for s in SPLITS})


def heads_of(tasks: Tasks, max_answers: int, max_length: int, run: Run) -> list[TaskHead]:
    """Return what the heads are for: classes, words and answers of the training examples.

    Args:
        tasks: All examples.
        max_answers: Answers that are classes, the most frequent first; 0 for all.
        max_length: Most tokens of a caption or question; say how many captions are cut.
        run: The run.

    Raises:
        UserError: A task has one class or answer only.
    """
    found = []
    for task, each in tasks.examples["train"].items():
        kind = kind_of(task)
        if kind == "caption":
            split = [words_of(text) for text in each.answers]
            counts = Counter(word for words in split for word in words)
            names = tuple(sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS])
            cut = sum(len(words) >= max_length for words in split)
            if cut:
                run.say(f"target: {cut:,} training captions have {max_length} or more words and are cut; --max-length")
            found.append(TaskHead(task, kind, names, (), max_length))
            continue
        counts = Counter(each.answers)
        most = sorted(sorted(counts), key=lambda name: -counts[name])[
            : (max_answers or None) if kind == "vqa" else None
        ]
        if len(most) < 2:
            raise UserError(f"task {task}: every answer is '{most[0]}'; with one there is nothing to learn")
        words = tuple(learn_vocabulary(each.questions, "words", MOST_WORDS)) if kind == "vqa" else ()
        found.append(TaskHead(task, kind, tuple(sorted(most)), words, max_length if kind == "vqa" else 0))
    return found


def _examples(
    dataset: Dataset, labels: Mapping[str, Dataset], split: str, limit: int, shape: tuple[int, int, int], run: Run
) -> dict[str, TaskExamples]:
    """Return task → examples of a split, about the images that all of its tasks are about."""
    rows = _rows(dataset, labels, split)
    sets = [{image for image, _, _ in each} for each in rows.values()]
    common = np.array(sorted(set.intersection(*sets)), int)
    if not len(common):
        raise UserError(f"{dataset.name}: its split '{split}' has no image that {', '.join(rows)} are all about")
    left = len(set.union(*sets)) - len(common)
    if left and not made_here(dataset):
        run.say(f"target: {left:,} {split} images lack what one of the tasks needs, and are left out")
    kept = np.sort(np.random.default_rng(0).permutation(common)[: limit or None])
    place = {int(image): i for i, image in enumerate(kept)}
    only = replace(dataset, splits={split: dataset.splits[split].take(kept)}, _in_memory={})
    pixels = only.arrays(split, shape[:2], shape[2])["image"]
    found = {}
    for task, each in rows.items():
        chosen = sorted((row for row in each if row[0] in place), key=lambda row: row[0])
        index = np.array([place[image] for image, _, _ in chosen], np.int32)
        questions = [question for _, _, question in chosen] if kind_of(task) == "vqa" else []
        found[task] = TaskExamples(pixels, index, [answer for _, answer, _ in chosen], questions)
    return found


def _rows(dataset: Dataset, labels: Mapping[str, Dataset], split: str) -> dict[str, list[tuple[int, str, str]]]:
    """Return task → (image, answer, question) of each of its examples; an image is its first row in the split."""
    kinds = {kind_of(task) for task in labels}
    asked, first = [], np.arange(dataset.sizes[split])
    if made_here(dataset):
        rows = about_characters(dataset, split) if "vqa" in kinds else []
        images = {row.image for row in rows} if rows else set(one_per_caption(dataset, split, 0)[0].tolist())
        asked = [(row.image, row.answer, row.text) for row in rows]
    else:
        if "vqa" in kinds:
            asked = [(row.image, row.answer, row.text) for row in from_columns(dataset, split)]
        if kinds != {"caption"}:
            first = first_with_same_image(dataset, split)
        images = set(first.tolist())
    found: dict[str, list[tuple[int, str, str]]] = {}
    for task, labelled in labels.items():
        if kind_of(task) == "vqa":
            found[task] = asked
        elif kind_of(task) == "caption":
            pairs = zip(*captions_by_image(dataset, split))
            found[task] = [
                (int(i), text, "") for i, texts in pairs if int(i) in images for text in dict.fromkeys(texts)
            ]
        else:
            names, values = labelled.class_names, labelled.labels(split)
            found[task] = [(i, same_answer(names[values[i]]), "") for i in sorted(images)]
    return found


def _ordered(found: Mapping[str, TaskExamples], data: Mapping[str, Any]) -> dict[str, TaskExamples]:
    """Return the examples in the order of the tasks."""
    return {task: found[task] for task in data}


def _counts(examples: Mapping[str, Mapping[str, TaskExamples]], split: str, tasks: Mapping[str, Any]) -> str:
    """Return how many images and examples a split has, as a text."""
    own = examples[split]
    each = ", ".join(f"{len(own[task].answers):,} of {task}" for task in tasks)
    return f"{len(own[next(iter(tasks))].images):,} {split} images ({each})"
