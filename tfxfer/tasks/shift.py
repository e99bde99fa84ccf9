"""`--shift`: a second test set of another domain, whose examples no arm has seen.

    SPEC            the test split of another data set with the same classes, such as emoji/noto beside emoji
    COLUMN=VALUE    one domain of the target itself: its rows are taken out of train, validation and test; several
                    values, with commas between, are one domain

`glyphs/by_face` beside a target of glyphs is the second kind: the face that it holds out for its test split.
"""

from dataclasses import replace

import numpy as np

import tfxfer
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.dataset import Dataset
from tfxfer.data.splits import SPLITS
from tfxfer.errors import UserError, suggest
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task

FEWEST = 20  # test examples of the other domain
MOST = 2000  # of them that are scored, where the target has no limit of its own
FACE = "DejaVuSans-BoldOblique"  # `tfxfer.data.builders.glyphs.TEST_FACES`; importing that would start TensorFlow


def domain_of(shift: str, target: str) -> tuple[str, list[str]] | None:
    """Return the column and the values of a domain of the target; None where `shift` is another data set.

    >>> domain_of("face=DejaVuSans,DejaVuSerif", "glyphs"), domain_of("emoji/noto", "emoji")
    (('face', ['DejaVuSans', 'DejaVuSerif']), None)
    >>> domain_of("glyphs/by_face", "glyphs/by_character")
    ('face', ['DejaVuSans-BoldOblique'])
    """
    if shift == "glyphs/by_face" and target.startswith("glyphs"):
        return "face", [FACE]
    column, equals, values = shift.partition("=")
    return (column, [value.strip() for value in values.split(",")]) if equals and ":" not in column else None


def held_out(shift: str | None, target: TargetConfig, dataset: Dataset) -> tuple[Dataset, Dataset | None]:
    """Return the target without a domain, and the target with test examples of that domain only.

    Args:
        shift: `--shift`.
        target: Names the target.
        dataset: The target.

    Returns:
        The target as it is, and None, where `shift` is another data set or is not given.

    Raises:
        UserError: There is no such column or value, or too few examples on either side.
    """
    domain = domain_of(shift, target.spec) if shift else None
    if domain is None:
        return dataset, None
    column, values = domain
    if column not in dataset.keys or column in ("image", "label"):
        raise UserError(f"--shift {shift}: {target.spec} has no column '{column}'; {suggest(column, dataset.keys)}")
    found = {split: np.array(dataset.texts(split, column)) for split in SPLITS}
    known = {str(value) for rows in found.values() for value in rows}
    unknown = next((value for value in values if value not in known), None)
    if unknown is not None:
        raise UserError(f"--shift {shift}: no example has the {column} '{unknown}'; {suggest(unknown, sorted(known))}")
    inside = {split: np.isin(rows, values) for split, rows in found.items()}
    there = dataset.with_rows("test", np.flatnonzero(inside["test"]))
    _enough(there, f"--shift {shift}")
    for split, rows in inside.items():
        if rows.all():
            raise UserError(f"--shift {shift}: nothing would be left of {split}; name another {column}")
        dataset = dataset.with_rows(split, np.flatnonzero(~rows))
    return dataset, there


def with_shift(task: Task, shift: str | None, domain: Dataset | None, target: TargetConfig, config: RunConfig,
               run: Run) -> Task:  # fmt: skip
    """Return the task with its shifted test set, in the task's classes; the task as it is without `--shift`.

    Args:
        task: The task.
        shift: `--shift`.
        domain: What `held_out` gave.
        target: Its columns name those of another data set too.
        config: Folders and downloads.
        run: Where the size of the set is said.

    Raises:
        UserError: The two have fewer than two classes in common, or too few examples are left.
    """
    if shift is None:
        return task
    dataset = domain
    if dataset is None:
        columns = target.columns("text", "image", "label")
        dataset = tfxfer.load(shift, data_dir=config.data_dir, download=config.download, **columns)
    if task.key not in dataset.keys:
        raise UserError(f"--shift {shift}: has no {task.key}s, and the model takes {task.key}s; name another")
    _same_size(dataset, task, shift)
    dataset, seen = _unseen(_in_classes(dataset, task, shift), task)
    _enough(dataset, f"--shift {shift}")
    dataset = dataset.with_at_most(test=target.max_test or MOST, seed=0)
    left_out = f"; {seen:,} that are also in train or validation are left out" if seen else ""
    run.say(f"shift: {shift}, {dataset.sizes['test']:,} test examples of another domain{left_out}")
    return replace(task, shift=dataset)


def _same_size(dataset: Dataset, task: Task, shift: str) -> None:
    """Refuse images of another size where the task's are taken as they are."""
    if task.key == "image" and not task.reading["image_size"] and dataset.image_shape != task.dataset.image_shape:
        found = "sizes that vary" if not dataset.image_shape else " x ".join(map(str, dataset.image_shape[:2]))
        raise UserError(f"--shift {shift}: has images of {found}, the target of another size; give --image-size N")


def _in_classes(dataset: Dataset, task: Task, shift: str) -> Dataset:
    """Return the test examples of the task's classes, labelled in the task's order."""
    common = [name for name in task.class_names if name in dataset.class_names]
    if len(common) < 2:
        near = f"it has {', '.join(dataset.class_names[:5]) or 'no classes'}"
        raise UserError(f"--shift {shift}: fewer than two classes are also the target's; {near}")
    kept = dataset.with_classes(common)
    place = np.array([task.class_names.index(name) for name in kept.class_names], np.int32)
    test = kept.splits["test"]
    splits = kept.splits | {"test": test.with_column("label", place[test.column("label")])}
    return replace(kept, class_names=task.class_names, splits=splits)


def _unseen(dataset: Dataset, task: Task) -> tuple[Dataset, int]:
    """Return the set without test examples that are in the task's train or validation, and how many those are."""
    known = np.concatenate([task.dataset.digests(split, task.key) for split in ("train", "validation")])
    seen = np.isin(dataset.digests("test", task.key), known)
    return (dataset.with_rows("test", np.flatnonzero(~seen)) if seen.any() else dataset), int(seen.sum())


def _enough(dataset: Dataset, what: str) -> None:
    if dataset.sizes["test"] < FEWEST:
        raise UserError(f"{what}: {dataset.sizes['test']} test examples of that domain; {FEWEST} are needed at least")
