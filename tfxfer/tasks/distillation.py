"""What a student learns from: labelled examples, others without labels, and what each of two models reads of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxfer.data.dataset import Dataset
from tfxfer.data.splits import SPLITS
from tfxfer.errors import UserError
from tfxfer.evaluate.trained_rows import TrainedRows

HELD = ("validation", "test")


@dataclass(frozen=True)
class Part:
    """Some rows of one split.

    Attributes:
        dataset: Holds them.
        split: The split.
        rows: Their places in it, int [n].
        labelled: Whether the student may see their labels.
    """

    dataset: Dataset
    split: str
    rows: np.ndarray
    labelled: bool


@dataclass(frozen=True)
class Pool:
    """The examples of a student's training, part by part.

    Attributes:
        parts: Where they stand.
    """

    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return sum(len(part.rows) for part in self.parts)

    @property
    def labelled(self) -> "Pool":
        """The labelled parts."""
        return Pool(tuple(part for part in self.parts if part.labelled))

    def labels(self) -> np.ndarray:
        """Return int [N], −1 where the student may not see it."""
        found = [
            part.dataset.labels(part.split)[part.rows] if part.labelled else np.full(len(part.rows), -1)
            for part in self.parts
        ]
        return np.concatenate(found).astype(np.int64)

    def digests(self, key: str) -> np.ndarray:
        """Return uint64 [N], see `Dataset.digests`."""
        return np.concatenate(
            [part.dataset.digests(part.split, column(part.dataset, key))[part.rows] for part in self.parts]
        )

    def inputs(self, key: str, **reading: Any) -> np.ndarray:
        """Return what a model reads: texts [N], or images uint8 [N, H, W, C]."""
        return np.concatenate([inputs_of(part.dataset, part.split, key, **reading)[part.rows] for part in self.parts])

    def answered(self, of: Callable[[Dataset, str], np.ndarray | None], width: int) -> np.ndarray:
        """Return what teachers say, float32 [N, width]; NaN where they cannot read an example.

        Args:
            of: (data set, split) → [n, width]; None where the teachers' column is not there.
            width: Of an answer.
        """
        rows = []
        for part in self.parts:
            found = of(part.dataset, part.split)
            empty = np.full((len(part.rows), width), np.nan, np.float32)
            rows.append(empty if found is None else found[part.rows])
        return np.concatenate(rows)


def column(dataset: Dataset, key: str) -> str:
    """Return the column that a model of texts or images reads; captions are texts too."""
    return "caption" if key == "text" and "text" not in dataset.keys and "caption" in dataset.keys else key


def has(dataset: Dataset, key: str) -> bool:
    """Return whether a model of texts or images can read a data set."""
    return column(dataset, key) in dataset.keys


def inputs_of(dataset: Dataset, split: str, key: str, **reading: Any) -> np.ndarray:
    """Return the texts [N] or images [N, H, W, C] of a split."""
    if key == "text":
        return np.array(dataset.texts(split, column(dataset, key)), object)
    return dataset.arrays(split, **reading)["image"]


def labelled_rows(
    dataset: Dataset, key: str, per_class: int | None, known: TrainedRows | None, seed: int
) -> np.ndarray:
    """Return the places of the training examples whose labels a student sees, int [n].

    Args:
        dataset: The target.
        key: What the teacher reads of it.
        per_class: So many of each class, drawn with the seed; None: those that the teacher was trained on.
        known: The rows that the teacher was trained on; all, where that is not known or holds none of these.
        seed: Of the draw.
    """
    if per_class:
        drawn = dataset.with_labels(per_class, seed).indices("train")
        return np.flatnonzero(np.isin(dataset.indices("train"), drawn))
    digests = dataset.digests("train", column(dataset, key)) if has(dataset, key) else dataset.digests("train")
    seen = known.find(digests)[0] if known else np.zeros(len(digests), bool)
    return np.flatnonzero(seen) if seen.any() else np.arange(len(digests))


def pool_of(
    dataset: Dataset,
    labelled: np.ndarray,
    keys: Sequence[str],
    others: Dataset | None,
    rest: bool,
    most: int,
    seed: int,
) -> Pool:
    """Return the pool: labelled training examples, and those without labels.

    Args:
        dataset: The target.
        labelled: Places of the labelled training examples.
        keys: What teacher and student read.
        others: A data set of its own without labels; all its splits are used.
        rest: Whether the other training examples are used, without their labels; not those that are also in validation
            or test.
        most: At most so many without labels; 0: all.
        seed: Of the draw of these.
    """
    parts = [Part(dataset, "train", labelled, True)]
    if rest:
        left = np.ones(dataset.sizes["train"], bool)
        left[labelled] = False
        for key in {column(dataset, one) for one in keys if has(dataset, one)}:
            held = np.concatenate([dataset.digests(split, key) for split in HELD])
            left &= ~np.isin(dataset.digests("train", key), held)
        parts.append(Part(dataset, "train", np.flatnonzero(left), False))
    if others is not None:
        parts += [Part(others, split, np.arange(others.sizes[split]), False) for split in SPLITS if others.sizes[split]]
    return Pool(tuple(part for part in _at_most(parts, most, seed) if len(part.rows)))


def _at_most(parts: list[Part], most: int, seed: int) -> list[Part]:
    free = sum(len(part.rows) for part in parts if not part.labelled)
    if not most or free <= most:
        return parts
    rng = np.random.default_rng(seed)
    return [
        part
        if part.labelled
        else Part(
            part.dataset,
            part.split,
            np.sort(rng.permutation(part.rows)[: round(most * len(part.rows) / free)]),
            False,
        )
        for part in parts
    ]


def check_unlabelled(others: Dataset, dataset: Dataset, keys: dict[str, str], spec: str) -> None:
    """Check a data set without labels.

    Args:
        others: The data set.
        dataset: The target, none of whose validation and test examples may be in it.
        keys: "teacher" and "student" → what each reads.
        spec: Its spec.

    Raises:
        UserError: It is of another modality, or holds a validation or test example.
    """
    for who, key in keys.items():
        if not has(others, key):
            raise UserError(f"--unlabelled {spec}: has no {key}s, and the {who} takes {key}s; name another set")
    for key in sorted(set(keys.values())):
        if not has(dataset, key):
            continue
        for split in HELD:
            held = dataset.digests(split, column(dataset, key))
            for name in SPLITS:
                found = np.flatnonzero(np.isin(others.digests(name, column(others, key)), held))
                if len(found):
                    raise UserError(
                        f"--unlabelled {spec}: {len(found):,} of its {name} rows are {split} examples of the target, "
                        f"the first is row {int(found[0]):,} ({_shown(others, name, key, int(found[0]))}). A student "
                        "that learns from them knows its test; remove them"
                    )


def _shown(dataset: Dataset, split: str, key: str, row: int) -> str:
    if key == "image":
        return "an image with the same bytes"
    return f"'{' '.join(dataset.texts(split, column(dataset, key))[row].split()):.60}'"
