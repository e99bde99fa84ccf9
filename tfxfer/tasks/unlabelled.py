"""Examples without labels: the rest of the training split, or another data set of the same kind.

An example that is also in validation or test is never among them. Another data set with such an example is refused; of
the training split they are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tfxfer
from tfxfer.data.dataset import Dataset
from tfxfer.data.splits import SPLITS
from tfxfer.errors import UserError
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task
from tfxfer.tasks.overlap import compared

HELD = ("validation", "test")


@dataclass(frozen=True)
class Unlabelled:
    """A pool of examples, read as the task's are.

    Attributes:
        parts: Data sets and the split of each that holds the examples.
        hidden: Their true classes int [U], in the task's order, −1 where unknown. No arm learns from them, other than
            from those that it asks for (active choice).
        own: Whether they are of the task's training split.
    """

    parts: tuple[tuple[Dataset, str], ...]
    hidden: np.ndarray
    own: bool

    def __len__(self) -> int:
        return len(self.hidden)

    def texts(self) -> list[str]:
        """Return the texts, in the order of `hidden`."""
        return [text for dataset, split in self.parts for text in dataset.texts(split)]

    def images(self, **reading: Any) -> np.ndarray:
        """Return the images uint8 [U, H, W, C]; `reading` as for `Dataset.arrays`."""
        return np.concatenate([dataset.arrays(split, **reading)["image"] for dataset, split in self.parts])

    def without(self, labelled: Dataset) -> np.ndarray:
        """Return the places of the examples that are no training example of a data set, int [≤ U]."""
        if not self.own:
            return np.arange(len(self))
        return np.flatnonzero(~np.isin(self.parts[0][0].indices("train"), labelled.indices("train")))


@dataclass(frozen=True)
class Pools:
    """What the arms for little data read beside labels.

    Attributes:
        unlabelled: What self-training learns from.
        choice: Training examples of which the active arms ask for labels.
    """

    unlabelled: Unlabelled
    choice: Unlabelled


def pools_of(task: Task, config: Any, given: Dataset | None, run: Run) -> Pools:
    """Return the pools of a task; `given` is the data set of `--unlabelled`, or None."""
    own = training_pool(task, config.little.max_unlabelled, run)
    spec, most = config.little.unlabelled, config.little.max_unlabelled
    return Pools(own if given is None else given_pool(given, task, spec, most, run), own)


def training_pool(task: Task, most: int, run: Run) -> Unlabelled:
    """Return the task's training examples as a pool, without those that are also in validation or test.

    Args:
        task: The task.
        most: At most this many, drawn once for all arms and seeds; 0: all.
        run: Says what is left out.
    """
    dataset = task.dataset
    held = np.concatenate([dataset.digests(split, task.key) for split in HELD])
    seen = np.isin(dataset.digests("train", task.key), held)
    if seen.any():
        run.say(f"unlabelled: {seen.sum():,} training examples are also in validation or test and are left out")
        dataset = dataset.with_rows("train", np.flatnonzero(~seen))
    dataset = dataset.with_at_most(train=most or None)
    return Unlabelled(((dataset, "train"),), dataset.labels("train"), own=True)


def load_unlabelled(spec: str, config: Any, held: Sequence[Dataset]) -> Dataset:
    """Load the data set of `--unlabelled`, all splits of which are used.

    Args:
        spec: The data set.
        config: Its target's columns name those of this set too, where it has them.
        held: The target, and what `--shift` answers: none of their validation and test examples may be in it.

    Raises:
        UserError: It has not what the target's examples are, or holds a validation or test example.
    """
    target = config.target
    columns = {name: getattr(target, name) for name in ("text", "image") if getattr(target, name)}
    columns = {} if spec.startswith("text:") else columns  # a file with one text a line has no columns
    dataset = tfxfer.load(spec, data_dir=config.data_dir, download=config.download, **columns)
    key = compared(held[0], target)
    if key not in dataset.keys:
        raise UserError(f"--unlabelled {spec}: has no {key}s, and the target is one of {key}s; name another set")
    for other in held:
        for split in HELD:
            _refuse_overlap(dataset, other, split, key, spec)
    return dataset


def _refuse_overlap(dataset: Dataset, other: Dataset, split: str, key: str, spec: str) -> None:
    known = other.digests(split, key)
    found = [(name, int(row)) for name in SPLITS for row in np.flatnonzero(np.isin(dataset.digests(name, key), known))]
    if not found:
        return
    name, row = found[0]
    shown = f"'{' '.join(dataset.texts(name, key)[row].split()):.60}'" if key != "image" else f"row {row:,} of {name}"
    raise UserError(
        f"--unlabelled {spec}: {len(found):,} of its examples are {split} examples of the target, the first {shown}. "
        "A model that learns from them knows its test; remove them"
    )


def given_pool(dataset: Dataset, task: Task, spec: str, most: int, run: Run) -> Unlabelled:
    """Return a data set as a pool for a task; its labels are counted where its classes are the task's.

    Raises:
        UserError: It has not what the task's model takes.
    """
    if task.key not in dataset.keys:
        raise UserError(f"--unlabelled {spec}: has no {task.key}s, and the model takes {task.key}s; name another set")
    if task.key == "image" and not task.reading["image_size"] and dataset.image_shape != task.dataset.image_shape:
        raise UserError(f"--unlabelled {spec}: its images are not of the target's size; give --image-size N")
    whole = sum(dataset.sizes.values())
    if most and whole > most:
        dataset = dataset.with_at_most(**{name: round(size * most / whole) for name, size in dataset.sizes.items()})
    parts = tuple((dataset, name) for name in SPLITS if dataset.sizes[name])
    places = np.array([*(_place(name, task.class_names) for name in dataset.class_names), -1], np.int64)
    labels = [dataset.labels(s) if dataset.class_names else np.full(d.sizes[s], -1) for d, s in parts]
    pool = Unlabelled(parts, places[np.concatenate(labels)], own=False)
    known = f", {int((pool.hidden >= 0).sum()):,} of a known class" if dataset.class_names else ""
    run.say(f"unlabelled: {spec}, {len(pool):,} examples{known}; their labels are counted, not learned from")
    return pool


def _place(name: str, class_names: Sequence[str]) -> int:
    return class_names.index(name) if name in class_names else -1
