"""The teachers of `tfxfer distill`: what can be seen of their folders, and their models once they are open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfxfer.errors import UserError
from tfxfer.models.saved_archive import check_archive
from tfxfer.models.saved_folder import describe_folder
from tfxfer.recipes.merge_parents import CLASSIFIERS, Parent

if TYPE_CHECKING:
    from tfxfer.transfer.distill.teachers import Teacher

CAPTIONER = "Captioner"


def described_teachers(runs: Sequence[str]) -> tuple[Parent, ...]:
    """Return the teachers by their folders, checked as far as can be without TensorFlow.

    Raises:
        UserError: There is none, one is named twice, holds no model, a damaged one or one of another kind, or their
            classes or inputs differ.
    """
    if not runs:
        raise UserError("give the folder of a trained run, the teacher: tfxfer distill RUN --student fresh:text_cnn")
    teachers, seen = tuple(_described(run, place) for place, run in enumerate(runs, 1)), set()
    for teacher in teachers:
        if teacher.folder.resolve() in seen:
            raise UserError(f"{teacher.folder}: is given twice; an ensemble is made of different runs")
        seen.add(teacher.folder.resolve())
    for other in teachers[1:]:
        _check_same(teachers[0], other)
    if is_captioner(teachers) and len(teachers) > 1:
        raise UserError(f"{teachers[1].folder}: captions of several teachers cannot be averaged; give one captioner")
    return teachers


def is_captioner(teachers: Sequence[Parent]) -> bool:
    """Return whether captions are distilled, and not classes."""
    return teachers[0].described["class"] == CAPTIONER


def _described(path: str, place: int) -> Parent:
    folder, described = describe_folder(path)
    if described["class"] not in (*CLASSIFIERS, CAPTIONER):
        raise UserError(f"{folder}: holds a {described['class']}; a teacher is a classifier or a captioner")
    if described["class"] != CAPTIONER:
        folder, described = describe_folder(path, ("input", "class_names"))
    check_archive(folder / "model.keras")
    return Parent(f"teacher {place}", folder, described)


def _check_same(first: Parent, other: Parent) -> None:
    if (first.described["class"] == CAPTIONER) != (other.described["class"] == CAPTIONER):
        raise UserError(
            f"{other.folder}: holds a {other.described['class']}, {first.folder} a {first.described['class']}"
        )
    ours, theirs = first.described.get("class_names", ()), other.described.get("class_names", ())
    if set(ours) != set(theirs):
        odd = sorted({*ours} ^ {*theirs})
        raise UserError(
            f"{other.folder}: has other classes than {first.folder} ({len(theirs)} and {len(ours)}; only one of them "
            f"has {', '.join(map(repr, odd[:3]))}); an ensemble has one task"
        )
    if first.described.get("input") != other.described.get("input"):
        raise UserError(
            f"{other.folder}: takes {other.described.get('input')}s, {first.folder} {first.described.get('input')}s; "
            "an ensemble has one input"
        )


def open_teachers(teachers: Sequence[Parent], class_names: Sequence[str]) -> tuple[Teacher, ...]:
    """Load the teachers.

    Args:
        teachers: Described.
        class_names: The task's C classes, in its order.

    Raises:
        UserError: A file is damaged.
    """
    import numpy as np

    from tfxfer.models import load_model
    from tfxfer.transfer.distill.teachers import Teacher

    found = []
    for one in teachers:
        model = load_model(one.folder / "model.keras")
        model.trainable = False
        place: dict[str, Any] = {name: i for i, name in enumerate(one.described["class_names"])}
        size = one.described.get("image_size")
        order = np.array([place[name] for name in class_names])
        found.append(Teacher(model, order, one.described["input"], tuple(size) if size else None))
    return tuple(found)


def check_classes(teachers: Sequence[Parent], dataset: Any, spec: str) -> tuple[str, ...]:
    """Return the classes of the task, which are those of the teachers.

    Raises:
        UserError: The target has other classes, or none.
    """
    names = teachers[0].described["class_names"]
    if not dataset.class_names:
        raise UserError(f"{spec}: has no labels; name the column with --target-label")
    missing = sorted(set(names) - set(dataset.class_names))
    if missing:
        raise UserError(
            f"{spec}: has no class '{missing[0]}', which the teacher {teachers[0].folder} answers ({len(missing)} of "
            f"its {len(names)} classes are missing); teacher and student answer the same classes"
        )
    return tuple(name for name in dataset.class_names if name in set(names))
