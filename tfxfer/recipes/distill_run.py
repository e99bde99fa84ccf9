"""One distillation of a classifier from its folders to its own: data, teachers, arms, the saved student, costs."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import tfxfer
from tfxfer.data.dataset import Dataset
from tfxfer.errors import TfxferError, UserError
from tfxfer.evaluate.split_rows import SplitRows
from tfxfer.evaluate.trained_rows import TrainedRows
from tfxfer.experiment import compare
from tfxfer.models.saved import load_model
from tfxfer.models.student_spec import TAKES, parse_student
from tfxfer.recipes.distill_teachers import check_classes, open_teachers
from tfxfer.recipes.distilling import ALONE, STUDENT, TEACHER, Distillation, Distilled, concluded, hypothesis_sentence
from tfxfer.recipes.merge_parents import Parent, check_test_rows
from tfxfer.recipes.runner import records_folder
from tfxfer.records import Record
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task, load_target
from tfxfer.tasks.distillation import Pool, check_unlabelled, column, has, labelled_rows, pool_of
from tfxfer.transfer.classifier import Classifier
from tfxfer.transfer.graph import fingerprint

REPEATS = 5  # timed calls, of which the median counts
NOT_ESTIMATED = "hypothesis: not estimated, for the teacher cannot read the validation split"


def distill(asked: Any, config: Any, described: Sequence[Parent], run: Run) -> Distilled:
    """Run a distillation of classifiers.

    Args:
        asked: A `DistillConfig`.
        config: The same as a `FeatureConfig`, for what loads data.
        described: The teachers.
        run: The run, in whose folder the student is saved.

    Raises:
        UserError: Teacher, student and data do not go together.
    """
    dataset = load_target(asked.target, config, run)
    task = student_task(asked, described, dataset)
    others = load_others(asked, described, task, run)
    check_seen(described, task, run)
    pool = _pool(asked, described, task, others, run)
    teachers = open_teachers(described, task.class_names)
    both = Distillation(teachers, task, pool, asked, run)
    made = both.fresh(asked.seed)  # refuses what cannot be made, before a teacher answers
    copied = f", of its BERT {made.weight_map.coverage:.0%} from the teacher" if made.weight_map else ""
    run.say(f"student: {asked.student}, {made.model.count_params():,} parameters{copied}")
    if not both.reads:
        run.say(f"teacher: {asked.target.spec} has no {teachers[0].key}s, so the teacher itself is not scored")
    found = _compared(both, described, asked, run)
    _save(both, described, run)
    return replace(found, costs=tuple(costs_of(both, described, run)))


def student_task(asked: Any, described: Sequence[Parent], dataset: Dataset) -> Task:
    """Return the target as the student sees it.

    Raises:
        UserError: It has other classes than the teacher answers, or nothing that the student reads.
    """
    names = check_classes(described, dataset, asked.target.spec)
    dataset = dataset if tuple(dataset.class_names) == names else dataset.with_classes(names)
    first = described[0].described
    kind = parse_student(asked.student)
    wanted = TAKES.get(kind, "text" if kind == "layers" else first["input"])
    key = wanted if has(dataset, wanted) else "text" if kind == "fresh:cnn" else None
    if key is None or not has(dataset, key):
        raise UserError(
            f"{asked.target.spec}: has no {wanted}s, and --student {asked.student} reads {wanted}s; name the column "
            f"with --target-{wanted}, or give another student"
        )
    limits = {"validation": asked.target.max_validation or None, "test": asked.target.max_test or None}
    return Task(dataset.with_at_most(**limits, seed=0), key, _reading(asked, first, dataset) if key == "image" else {})


def _reading(asked: Any, first: Any, dataset: Dataset) -> dict[str, Any]:
    size, channels = first.get("image_size"), first.get("channels")
    stored = dataset.image_shape
    side = asked.target.image_size
    found = (side, side) if side else tuple(size) if size else stored[:2] if stored else (64, 64)
    return {"image_size": found, "channels": channels or (stored[2] if stored else 3)}


def load_others(asked: Any, described: Sequence[Parent], task: Task, run: Run) -> Dataset | None:
    """Load and check the data set of `--unlabelled`; None where it names none."""
    teacher = described[0].described["input"]
    if asked.unlabelled in ("train", "none"):
        if not has(task.dataset, teacher):
            raise UserError(
                f"{asked.target.spec}: has no {teacher}s, which the teacher reads; give pairs of texts and images with "
                "--unlabelled, or a target that has both"
            )
        return None
    columns = {name: getattr(asked.target, name) for name in ("text", "image") if getattr(asked.target, name)}
    with run.phase("data"):
        kind = asked.unlabelled.partition(":")[0]
        given = columns if kind in ("csv", "jsonl") else {}
        others = tfxfer.load(asked.unlabelled, data_dir=asked.data_dir, download=asked.download, **given)
    check_unlabelled(others, task.dataset, {"teacher": teacher, "student": task.key}, asked.unlabelled)
    return others


def check_seen(described: Sequence[Parent], task: Task, run: Run) -> None:
    """Refuse test rows that a teacher has seen, or say that this cannot be told."""
    key = column(task.dataset, described[0].described["input"])
    if key in task.dataset.keys:
        for sentence in check_test_rows(described, replace(task, key=key)):
            run.caution(sentence)


def _pool(asked: Any, described: Sequence[Parent], task: Task, others: Dataset | None, run: Run) -> Pool:
    teacher = described[0].described["input"]
    known = TrainedRows.load(described[0].folder)
    labelled = labelled_rows(task.dataset, teacher, asked.labels_per_class, known, asked.seed)
    keys, rest = (teacher, task.key), asked.unlabelled == "train"
    pool = pool_of(task.dataset, labelled, keys, others, rest, asked.max_unlabelled, asked.seed)
    free = len(pool) - len(labelled)
    sizes = ", ".join(f"{task.sizes[split]:,} {split}" for split in ("validation", "test"))
    run.say(f"target: {asked.target.spec}, {len(task.class_names)} classes, {sizes}")
    run.say(
        f"student learns from {len(labelled):,} labelled and {free:,} unlabelled examples; the teacher reads "
        f"{teacher}s, the student {task.key}s"
    )
    return pool


def _compared(both: Distillation, described: Sequence[Parent], asked: Any, run: Run) -> Distilled:
    """Run the arms; print the hypothesis when the students alone are trained."""
    experiment = both.experiment(title_of(asked, described))
    prints = [fingerprint(teacher.model) for teacher in both.teachers]
    data = [part.dataset.fingerprint for part in both.pool.parts]
    kept = records_folder(replace(asked, runs=()), both.task.fingerprint, *prints, *data, str(len(both.pool)))
    records: list[Record] = []

    def on_record(record: Record, done: int, total: int) -> None:
        records.append(record)
        score = f"{record.metrics['accuracy']:.3f}" if record.metrics else f"failed: {record.error}"
        run.say(f"{record.arm}, seed {record.seed}: {score} ({done} of {total})")
        run.metric(
            "arm", arm=record.arm, seed=record.seed, status=record.status, seconds=record.seconds, **record.metrics
        )
        if len([one for one in records if one.arm == ALONE]) == asked.seeds and record.arm == ALONE:
            hypothesis = both.hypothesis(records)
            run.say(hypothesis_sentence(hypothesis) if hypothesis else NOT_ESTIMATED)

    with run.phase("arms"):
        comparison = compare(experiment, on_record=on_record, kept=kept)
    failed = [record for record in records if record.status == "failed" and record.arm in (ALONE, STUDENT)]
    if failed:
        raise TfxferError(f"{failed[0].arm}, seed {failed[0].seed}: {failed[0].error}")
    return concluded(comparison, both.hypothesis(records), asked.margin)


def title_of(asked: Any, described: Sequence[Parent]) -> str:
    """Return one line for people."""
    teachers = f"{len(described)} teachers" if len(described) > 1 else described[0].folder.name
    return f"{teachers} → {asked.student} on {asked.target.spec}"


def _save(both: Distillation, described: Sequence[Parent], run: Run) -> None:
    """Save the student of the first seed, and which rows it and its teachers have seen."""
    SplitRows.of(both.task.dataset).save(run.folder)
    known = [found for one in described if (found := TrainedRows.load(one.folder))]
    own = both.pool.digests(both.task.key), both.task.dataset.digests("validation", both.task.key)
    TrainedRows(
        np.concatenate([own[0], *(one.train for one in known)]),
        np.concatenate([own[1], *(one.validation for one in known)]),
    ).save(run.folder)
    both.task.classifier(both.trained[STUDENT].student()).save(run.folder)


def costs_of(both: Distillation, described: Sequence[Parent], run: Run) -> list[dict[str, Any]]:
    """Return parameters, bytes and milliseconds of the teachers together and of the student."""
    student = Classifier(load_model(run.folder / "model.keras"), both.task.class_names)  # as it will be opened
    rows = []
    if both.reads:
        teachers = [teacher.model for teacher in both.teachers]
        files = [one.folder / "model.keras" for one in described]
        inputs = _examples(both, both.teachers[0].key, both.teachers[0])
        rows.append(_cost(TEACHER, [Classifier(model, both.task.class_names).predict for model in teachers],
                          inputs, sum(model.count_params() for model in teachers),
                          sum(file.stat().st_size for file in files)))  # fmt: skip
    size = (run.folder / "model.keras").stat().st_size
    inputs = both.held.inputs["test"]
    rows.append(_cost(STUDENT, [student.predict], inputs, student.model.count_params(), size))
    return rows


def _examples(both: Distillation, key: str, teacher: Any) -> np.ndarray:
    from tfxfer.tasks.distillation import inputs_of

    if key == both.task.key:
        return both.held.inputs["test"]
    shape = teacher.model.inputs[0].shape
    reading = {} if key == "text" else {"image_size": teacher.image_size, "channels": shape[3]}
    return inputs_of(both.task.dataset, "test", key, **reading)


def _cost(name: str, predict: Sequence[Any], inputs: np.ndarray, parameters: int, size: int) -> dict[str, Any]:
    row = {"model": name, "parameters": parameters, "bytes": size}
    return row | {f"ms_{count}": 1000 * _seconds(predict, inputs[:count]) for count in (1, 32)}


def _seconds(predict: Sequence[Any], inputs: np.ndarray) -> float:
    """Return the median seconds of a call of all models on these inputs."""
    spent = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        for one in predict:
            one(inputs)
        spent.append(time.perf_counter() - started)
    return statistics.median(spent[1:])  # the first call compiles
