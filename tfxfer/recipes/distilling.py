"""A student beside itself without a teacher, with a random teacher, and beside the teacher; settings by validation.

`tfxfer distill` runs it (docs/distill.md). What a teacher answers is in `tfxfer.transfer.distill`, what a student
learns from in `tfxfer.tasks.distillation`, its training in `tfxfer.arms.distillation`.

One comparison is named before the run: the student with its teacher against the same student alone, with the same
labels and as many steps. The hypothesis that predicts it is printed once the students alone are trained, before any
other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import Any

import keras
import numpy as np

from tfxfer.arms.distillation import Examples, Held, StudentArm
from tfxfer.evaluate.comparison import summary, verdicts
from tfxfer.evaluate.equivalence import equivalence
from tfxfer.evaluate.mutual_information import Hypothesis, complementarity_hypothesis
from tfxfer.evaluate.verdict import signed
from tfxfer.experiment import Arm, Experiment, Outcome
from tfxfer.models.fresh import cheap_to_repeat
from tfxfer.records import Comparison, Record
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task
from tfxfer.tasks.distillation import Pool, has, inputs_of
from tfxfer.transfer.distill import Sizes, Student, student, targets, training_network
from tfxfer.transfer.distill.teachers import Answers, Teacher, answers, attention_places

STUDENT, ALONE, RANDOM, TEACHER = "distilled", "alone", "random_teacher", "teacher"
ARMS: dict[str, Any] = {
    TEACHER: {"text": "The trained model that the student learns from, as it is.", "phrase": "the teacher"},
    ALONE: {
        "text": "The same student, trained on the labels, without a teacher. If this does as well, the teacher taught "
        "nothing.",
        "phrase": "the student alone",
    },
    STUDENT: {
        "text": "The method under study: the student trained with its teacher.",
        "phrase": "the distilled student",
    },
    RANDOM: {
        "text": "The same training, with a teacher whose weights are random. If this does as well as the teacher, soft "
        "targets helped, and not what the teacher knows.",
        "phrase": "the student of a random teacher",
    },
}  # in the order in which they run


@dataclass(frozen=True)
class Distilled:
    """What a distillation found.

    Attributes:
        comparison: Test answers of each arm and seed, with verdicts; the first is the student with its teacher against
            the student alone.
        rows: A row of `summary` for each arm, with "validation".
        hypothesis: Both sides of the hypothesis; None where the teacher cannot read the validation split.
        kept: Accuracy of the student as a share of the teacher's; None without a teacher on the test split.
        equivalence: Student against teacher within the margin; None without one.
        costs: A row for teacher and student: "model", "parameters", "bytes", "ms_1" and "ms_32".
    """

    comparison: Comparison
    rows: tuple[dict[str, Any], ...]
    hypothesis: Hypothesis | None
    kept: float | None
    equivalence: dict[str, Any] | None
    costs: tuple[dict[str, Any], ...] = ()

    @property
    def agreement(self) -> str:
        """Whether the hypothesis was right: "right", "wrong" or "undecided"."""
        if self.hypothesis is None or self.hypothesis.predicts == "undecided":
            return "undecided"
        word = self.comparison.verdicts[0]["word"]
        return "right" if (word == "helped") == (self.hypothesis.predicts == "a gain") else "wrong"


class Distillation:
    """The arms over one task, one pool and one kind of student.

    Args:
        teachers: The teachers.
        task: The target as the student sees it.
        pool: What the student with a teacher learns from; the student alone sees its labelled part.
        asked: The options, a `DistillConfig`.
        run: Where trainings are logged.
    """

    def __init__(self, teachers: Sequence[Teacher], task: Task, pool: Pool, asked: Any, run: Run) -> None:
        self.teachers, self.task, self.pool, self.asked, self.run = tuple(teachers), task, pool, asked, run
        self.reads = has(task.dataset, teachers[0].key)  # whether the teacher can read the target's own splits
        self.steps = asked.training.steps_for(len(pool))

    # === Students ===

    @cached_property
    def texts(self) -> list[str]:
        """The texts of the pool, for word pieces."""
        return list(self.pool.inputs("text")) if self.task.key == "text" else []

    def fresh(self, seed: int) -> Student:
        """Return a student before its training."""
        asked = self.asked
        sizes = Sizes(asked.student_width, asked.student_blocks, asked.vocabulary, asked.max_length)
        teacher, classes = self.teachers[0].model, len(self.task.class_names)
        image = self.task.reading if self.task.key == "image" else {}
        return student(asked.student, classes, teacher, self.task.key, self.texts, sizes, seed, **image)

    def network(self, seed: int, label_weight: float, match: Sequence[str]) -> keras.Model:
        """Return a student as it trains, with what it is to match."""
        return training_network(
            self.fresh(seed).model,
            temperature=self.asked.temperature,
            label_weight=label_weight,
            width=self.answered.features.shape[1] if "features" in match else 0,  # type: ignore[union-attr]
            places=attention_places(self.teachers[0]) if "attention" in match else None,
            weight=self.asked.match_weight,
            jit=self.asked.jit,
        )

    # === Examples ===

    @cached_property
    def answered(self) -> Answers:
        """What the teachers say of the pool."""
        with self.run.phase("teacher"):
            return self._answers(self.teachers)

    def random_answers(self, seed: int) -> Answers:
        """Return what teachers with random weights say of the pool."""
        with self.run.phase("random teacher"):
            return self._answers([teacher.random(seed) for teacher in self.teachers])

    def _answers(self, teachers: Sequence[Teacher]) -> Answers:
        match, key, kept = self.asked.match, teachers[0].key, self.asked.data_dir

        @cache
        def of(dataset: Any, split: str) -> Answers | None:
            return answers(teachers, dataset, split, match, kept) if has(dataset, key) else None

        said = [one for part in self.pool.parts if (one := of(part.dataset, part.split)) is not None]

        def joined(name: str) -> np.ndarray | None:
            first = getattr(said[0], name)
            if first is None:
                return None
            return self.pool.answered(lambda dataset, split: getattr(of(dataset, split), name, None), first.shape[1])

        probabilities = joined("probabilities")
        assert probabilities is not None  # every teacher has some
        return Answers(probabilities, joined("features"), joined("attention"))

    def examples(self, said: Answers | None) -> Examples:
        """Return what an arm trains on: the pool with what teachers say, or its labelled part."""
        pool, classes = self.pool if said else self.pool.labelled, len(self.task.class_names)
        found = {"probabilities": targets(said.probabilities if said else None, pool.labels(), classes)}
        if said and said.features is not None:
            found["features"] = standardised(said.features)
        if said and said.attention is not None:
            found["attention"] = said.attention
        return Examples(pool.inputs(self.task.key, **self.task.reading), found)

    @cached_property
    def held(self) -> Held:
        """Validation and test as the student reads them."""
        splits = ("validation", "test")
        data, key = self.task.dataset, self.task.key
        return Held(
            {one: inputs_of(data, one, key, **self.task.reading) for one in splits},
            {one: data.labels(one) for one in splits},
        )

    # === Arms ===

    @cached_property
    def trained(self) -> dict[str, StudentArm]:
        """The arms that train a student."""
        soft = self.asked.label_weight if "logits" in self.asked.match else 1.0
        repeat = all(cheap_to_repeat(teacher.model, None) for teacher in self.teachers)
        first = self.asked.seed

        def arm(match: Sequence[str], weight: float, of: Any, **more: Any) -> StudentArm:
            return StudentArm(
                lambda seed: self.network(seed, weight, match), of, self.held, self.asked.training, self.steps, first,
                report=lambda row: self.run.metric("training", **row), **more,
            )  # fmt: skip

        def alone(seed: int) -> Examples:
            return self.examples(None)

        def taught(seed: int) -> Examples:
            return self.examples(self.answered)

        def random(seed: int) -> Examples:
            return self.examples(self.random_answers(seed if repeat else first))

        return {
            ALONE: arm((), 1.0, lru_cache(maxsize=1)(alone), told=self._told),
            STUDENT: arm(self.asked.match, soft, lru_cache(maxsize=1)(taught)),
            RANDOM: arm(self.asked.match, soft, lru_cache(maxsize=1)(random)),
        }  # fmt: skip

    def arms(self) -> tuple[Arm, ...]:
        """Return the arms in the order in which they run."""
        made = {name: Arm(name, arm, recall=arm.recall) for name, arm in self.trained.items()}
        if self.reads:
            made[TEACHER] = Arm(TEACHER, lambda budget, seed: Outcome(self.said("test")), one_seed=True)
        return tuple(made[name] for name in ARMS if name in made and name in self.asked.arms)

    def said(self, split: str) -> np.ndarray:
        """Return what the teachers answer of a split of the target, [N, C]."""
        return answers(self.teachers, self.task.dataset, split, ("logits",), self.asked.data_dir).probabilities

    def _told(self, probabilities: np.ndarray) -> dict[str, Any]:
        """Return the classes that a student alone answers on validation, kept with its record."""
        return {"classes": probabilities.argmax(1).tolist()}

    def hypothesis(self, records: Sequence[Record]) -> Hypothesis | None:
        """Return the hypothesis by the students alone; None where the teacher cannot read validation."""
        answered = [record.settings["classes"] for record in records if record.arm == ALONE and record.status == "ok"]
        if not self.reads or not answered:
            return None
        teacher = self.said("validation").argmax(1)
        return complementarity_hypothesis(
            teacher, np.array(answered), self.task.labels("validation"), seed=self.asked.seed
        )

    def experiment(self, title: str) -> Experiment:
        """Return the experiment."""
        first = self.asked.seed
        return Experiment(
            title=title,
            class_names=self.task.class_names,
            labels=self.task.labels("test"),
            arms=self.arms(),
            budgets=(None,),
            seeds=tuple(range(first, first + self.asked.seeds)),
            examples=tuple(self.task.examples(None)),
            unit="labels",
            recipe="distill",
        )


def standardised(features: np.ndarray) -> np.ndarray:
    """Return features with mean 0 and deviation 1 in each dimension over the pool, so that λ means the same for all."""
    scale = np.nanstd(features, 0)
    return ((features - np.nanmean(features, 0)) / np.maximum(scale, 1e-6 * scale.max() + 1e-12)).astype(np.float32)


def hypothesis_sentence(found: Hypothesis) -> str:
    """Return the hypothesis in one sentence, as it is printed before the student meets its teacher."""
    sides = f"I(teacher; student) {found.teacher_student:.3f} bits, I(student; label) {found.student_label:.3f} bits"
    difference, low, high = map(signed, (found.teacher_student - found.student_label, found.low, found.high))
    span = f"95 % interval {low} to {high}, {found.examples:,} validation examples"
    says = "is undecided" if found.predicts == "undecided" else f"predicts {found.predicts}"
    return f"hypothesis: {sides}, difference {difference} ({span}): it {says}"


def concluded(comparison: Comparison, hypothesis: Hypothesis | None, margin: float | None) -> Distilled:
    """Return the verdicts on a comparison of the arms."""
    against = [name for name in (ALONE, RANDOM, TEACHER) if name in comparison.arms]
    rows = [row | {"role": "primary" if row["b"] == ALONE else "secondary"}
            for row in verdicts(comparison, STUDENT, against)]  # fmt: skip
    if TEACHER in comparison.arms:
        rows += verdicts(comparison, ALONE, TEACHER)
    told = {"hypothesis": hypothesis.to_dict()} if hypothesis else {}
    comparison = replace(comparison, verdicts=tuple(rows), about=comparison.about | {"arms": ARMS} | told)
    scores = {row["arm"]: row["score"] for row in summary(comparison)}
    both = scores.get(STUDENT) and scores.get(TEACHER)
    within = None
    if margin and both:
        found = equivalence(comparison.scores(STUDENT, None), comparison.scores(TEACHER, None), margin)
        within = {"margin": margin, "low": found.low, "high": found.high, "word": found.word}
    return Distilled(
        comparison=comparison,
        rows=tuple(_row(row, comparison) for row in summary(comparison)),
        hypothesis=hypothesis,
        kept=scores[STUDENT] / scores[TEACHER] if both else None,
        equivalence=within,
    )


def _row(row: dict[str, Any], comparison: Comparison) -> dict[str, Any]:
    records = comparison.select(row["arm"], None)
    settings = records[0].settings if records else {}
    chosen = f"learning rate {settings['learning_rate']:g}" if "learning_rate" in settings else ""
    return row | {"settings": chosen}
