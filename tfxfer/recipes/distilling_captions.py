"""Sequence-level distillation of captioners: a student learns the captions that its teacher writes (Kim & Rush 2016).

The student keeps the teacher's image encoder and its word pieces; its decoder is a small one with fresh weights. Its
targets are the captions that the teacher writes of labelled images and of images without captions.
"""

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tfxfer.config import CaptionTrainingConfig
from tfxfer.errors import TfxferError, UserError
from tfxfer.evaluate.split_rows import SplitRows
from tfxfer.evaluate.trained_rows import TrainedRows
from tfxfer.experiment import Arm, Experiment, Outcome, compare
from tfxfer.fit import sweep
from tfxfer.models.bert import small_bert
from tfxfer.models.fresh import fresh_copy
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.recipes.distilling import ALONE, ARMS, RANDOM, STUDENT, TEACHER, Distilled, concluded
from tfxfer.recipes.merge_parents import Parent
from tfxfer.recipes.runner import records_folder
from tfxfer.records import Record
from tfxfer.runs import Run
from tfxfer.saved import from_run
from tfxfer.tasks.captioned_images import load_target
from tfxfer.tasks.distillation import Pool, check_unlabelled, labelled_rows, pool_of
from tfxfer.transfer.graph import fingerprint
from tfxfer.transfer.knowledge.captioner import Captioner, caption_measures
from tfxfer.transfer.knowledge.question_batches import TruncationWarning

MEASURES = ("cider_d", "log_likelihood")
LENGTH = 16  # tokens of a caption
REPEATS = 3  # timed calls, of which the median counts


@dataclass(frozen=True)
class Pairs:
    """Images with captions to learn from.

    Attributes:
        images: uint8 [N, H, W, C].
        captions: N lists.
    """

    images: np.ndarray
    captions: list[list[str]]


class CaptionDistillation:
    """The arms over one set of captioned images.

    Args:
        teacher: The teacher.
        folder: Its folder, from which copies with random weights are made.
        dataset: Images with captions.
        pool: Labelled images, and those without captions.
        asked: The options, a `DistillConfig`.
        run: Where trainings are logged.
    """

    def __init__(self, teacher: Captioner, folder: Any, dataset: Any, pool: Pool, asked: Any, run: Run) -> None:
        self.teacher, self.folder, self.dataset, self.asked, self.run = teacher, folder, dataset, asked, run
        height, width, channels = teacher.encoder.input.shape[1:]
        self.shape = (height, width, channels)
        self.pool = pool
        self.length = min(asked.max_length or LENGTH, teacher.max_positions)
        self.steps = asked.training.steps_for(len(pool))
        self.rates: dict[str, tuple[float, dict[str, float]]] = {}
        self.kept: Captioner | None = None

    def images(self, split: str) -> np.ndarray:
        """Return the images of a split, [N, H, W, C]."""
        return self.dataset.arrays(split, image_size=self.shape[:2], channels=self.shape[2])["image"]

    # === Students ===

    def fresh(self, seed: int) -> Captioner:
        """Return a student before its training."""
        asked, words = self.asked, len(self.teacher.tokenizer.vocabulary)
        set_initializer_seed(seed)
        width = asked.student_width or 64
        if width % 4:
            raise UserError(f"--student-width {width}: a BERT has 4 attention heads; give a multiple of 4")
        decoder = small_bert(words, asked.student_blocks or 1, width, 4, max(self.length, 4))
        own = self.teacher.encoder
        maps = keras.Model(own.input, own.get_layer("standardise").input, name="maps")  # the student scales its own
        return Captioner(maps, decoder, self.teacher.tokenizer, self.shape, seed=seed)

    @cached_property
    def references(self) -> Pairs:
        """What the student alone learns from: labelled images with their own captions."""
        (part,) = self.pool.labelled.parts
        captions = self.dataset.captions(part.split)
        reading = {"image_size": self.shape[:2], "channels": self.shape[2]}
        return Pairs(self.pool.labelled.inputs("image", **reading), [captions[row] for row in part.rows])

    @cached_property
    def pool_images(self) -> np.ndarray:
        """All images of the pool, [N, H, W, C]."""
        return self.pool.inputs("image", image_size=self.shape[:2], channels=self.shape[2])

    def written(self, teacher: Captioner, name: str) -> Pairs:
        """Return the pool's images with the captions that a teacher writes of them."""
        with self.run.phase(name):
            found = teacher.predict(self.pool_images, max_length=self.length).texts
        captions = [[row[0].strip() or teacher.tokenizer.vocabulary[teacher.tokenizer.unknown_id]] for row in found]
        return Pairs(self.pool_images, captions)

    @cached_property
    def taught(self) -> Pairs:
        """What the student learns from its teacher."""
        return self.written(self.teacher, "teacher")

    @cached_property
    def untaught(self) -> Pairs:
        """What the student learns from a teacher whose decoder has random weights."""
        random = from_run(self.folder)
        random.model.set_weights(fresh_copy(random.model, self.asked.seed).get_weights())
        random.pool, random.weight = None, 0.0  # what is fitted in closed form knows the captions
        return self.written(random, "random teacher")

    # === Arms ===

    def train(self, name: str, pairs: Pairs, seed: int) -> tuple[Captioner, dict[str, Any]]:
        """Train one student; the first seed chooses the learning rate by the likelihood of validation captions."""

        def trained(rate: float) -> tuple[float, Captioner]:
            made, given = self.fresh(seed), self.asked.training
            config = CaptionTrainingConfig(
                steps=self.steps, batch_size=given.batch_size, learning_rates=(rate,), schedule=given.schedule,
                max_length=self.length, num_validations=4,
            )  # fmt: skip
            validation = self.images("validation"), self.dataset.captions("validation")
            history = made.fit(
                pairs.images, pairs.captions, validation=validation, training=config, seed=seed, jit=self.asked.jit
            )
            return max(history.history["validation"]), made

        if name not in self.rates:
            rate, made, tried = sweep(self.asked.training.learning_rates, trained)
            self.rates[name] = rate, tried
        else:
            rate, tried = self.rates[name]
            made = trained(rate)[1]
        if name == STUDENT and seed == self.asked.seed:
            self.kept = made
        return made, {"learning_rate": rate, "validation": tried, "steps": self.steps}

    def outcome(self, captioner: Captioner, settings: dict[str, Any], images: Any) -> Outcome:
        """Return what a captioner writes of the test images, and how likely it finds their own captions."""
        references = self.dataset.captions("test")
        maps = captioner.encode(images)
        answers = [row[0] for row in captioner.predict(maps, max_length=self.length).texts]
        scores = {"cider_d": caption_measures(answers, references, self.teacher.tokenizer)["cider_d"]}
        scores["log_likelihood"] = captioner.caption_likelihoods(maps, references, self.length)
        return Outcome(None, settings, scores=scores, answers=answers)

    def student_arm(self, name: str, pairs: Callable[[], Pairs]) -> Arm:
        """Return the arm of a student that learns from some pairs."""

        def run(budget: int | None, seed: int) -> Outcome:
            made, settings = self.train(name, pairs(), seed)
            return self.outcome(made, settings, self.images("test"))

        return Arm(name, run, recall=lambda record: self._recall(name, record))

    def _recall(self, name: str, record: Record) -> None:
        self.rates.setdefault(name, (record.settings["learning_rate"], record.settings["validation"]))

    def arms(self) -> tuple[Arm, ...]:
        """Return the arms in the order in which they run."""

        def teacher(budget: int | None, seed: int) -> Outcome:
            return self.outcome(self.teacher, {}, self.images("test"))

        made = {
            TEACHER: Arm(TEACHER, teacher, one_seed=True),
            ALONE: self.student_arm(ALONE, lambda: self.references),
            STUDENT: self.student_arm(STUDENT, lambda: self.taught),
            RANDOM: self.student_arm(RANDOM, lambda: self.untaught),
        }
        return tuple(made[name] for name in ARMS if name in self.asked.arms)

    def final(self) -> Captioner:
        """Return the student of the first seed, trained again where its record was kept."""
        if self.kept is None:
            self.train(STUDENT, self.taught, self.asked.seed)
        assert self.kept is not None  # the line above sets it
        return self.kept


def distill_captions(asked: Any, config: Any, described: Sequence[Parent], run: Run) -> Distilled:
    """Run a distillation of a captioner; arguments as for `tfxfer.recipes.distill_run.distill`."""
    warnings.simplefilter("ignore", TruncationWarning)  # every training would say it again
    dataset = load_target(asked.target, config, run)
    limits = {"validation": asked.target.max_validation or None, "test": asked.target.max_test or None}
    dataset = dataset.with_at_most(**limits, seed=0)
    others = None
    if asked.unlabelled not in ("train", "none"):
        import tfxfer

        others = tfxfer.load(asked.unlabelled, data_dir=asked.data_dir, download=asked.download)
        check_unlabelled(others, dataset, {"teacher": "image", "student": "image"}, asked.unlabelled)
    known = TrainedRows.load(described[0].folder)
    labelled = _labelled(asked, dataset, known)
    pool = pool_of(dataset, labelled, ("image",), others, asked.unlabelled == "train", asked.max_unlabelled, asked.seed)
    run.say(
        f"student learns from {len(labelled):,} images with captions and {len(pool) - len(labelled):,} without; "
        f"{dataset.sizes['validation']:,} validation, {dataset.sizes['test']:,} test"
    )
    both = CaptionDistillation(from_run(described[0].folder), described[0].folder, dataset, pool, asked, run)
    sizes = [f"{one.model.count_params():,}" for one in (both.fresh(asked.seed), both.teacher)]
    run.say(f"student: a decoder of {sizes[0]} parameters, that of the teacher has {sizes[1]}")
    run.say("hypothesis: it is about classes, and is not estimated for captions")
    comparison = _compared(both, described, asked, run)
    _save(both, known, run)
    return replace(concluded(comparison, None, asked.margin), costs=tuple(_costs(both, described[0], run)))


def _labelled(asked: Any, dataset: Any, known: TrainedRows | None) -> np.ndarray:
    if asked.labels_per_class:
        most = min(asked.labels_per_class, dataset.sizes["train"])
        return np.sort(np.random.default_rng(asked.seed).permutation(dataset.sizes["train"])[:most])
    return labelled_rows(dataset, "image", None, known, asked.seed)


def _compared(both: CaptionDistillation, described: Sequence[Parent], asked: Any, run: Run) -> Any:
    parts = [part.dataset.fingerprint for part in both.pool.parts]
    kept = records_folder(replace(asked, runs=()), *parts, fingerprint(both.teacher.model), str(len(both.pool)))
    count = both.dataset.sizes["test"]
    experiment = Experiment(
        title=f"{described[0].folder.name} → {asked.student} on {asked.target.spec}",
        class_names=(),
        labels=np.zeros(count, np.int32),
        arms=both.arms(),
        budgets=(None,),
        seeds=tuple(range(asked.seed, asked.seed + asked.seeds)),
        measures=MEASURES,
        unit="images",
        recipe="distill",
    )
    records: list[Record] = []

    def on_record(record: Record, done: int, total: int) -> None:
        records.append(record)
        score = f"CIDEr-D {record.metrics['cider_d']:.3f}" if record.metrics else f"failed: {record.error}"
        run.say(f"{record.arm}, seed {record.seed}: {score} ({done} of {total})")
        run.metric("arm", arm=record.arm, seed=record.seed, status=record.status, seconds=record.seconds)

    with run.phase("arms"):
        comparison = compare(experiment, on_record=on_record, kept=kept)
    failed = next((one for one in records if one.status == "failed" and one.arm in (ALONE, STUDENT)), None)
    if failed:
        raise TfxferError(f"{failed.arm}, seed {failed.seed}: {failed.error}")
    return comparison


def _save(both: CaptionDistillation, known: TrainedRows | None, run: Run) -> None:
    SplitRows.of(both.dataset).save(run.folder)
    train, validation = both.pool.digests("image"), both.dataset.digests("validation", "image")
    if known:
        train, validation = np.concatenate([train, known.train]), np.concatenate([validation, known.validation])
    TrainedRows(train, validation).save(run.folder)
    both.final().save(run.folder)


def _costs(both: CaptionDistillation, described: Parent, run: Run) -> list[dict[str, Any]]:
    images = both.images("test")
    rows = []
    for name, captioner, folder in ((TEACHER, both.teacher, described.folder), (STUDENT, both.final(), run.folder)):
        parameters = captioner.model.count_params() + captioner.encoder.count_params()
        files = [folder / one for one in ("model.keras", "ranking.npz", "candidates.npz")]
        row = {"model": name, "parameters": parameters, "bytes": sum(f.stat().st_size for f in files if f.is_file())}
        rows.append(row | {f"ms_{count}": _milliseconds(captioner, images[:count], both.length) for count in (1, 32)})
    return rows


def _milliseconds(captioner: Captioner, images: np.ndarray, length: int) -> float:
    spent = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        captioner.predict(images, max_length=length)
        spent.append(time.perf_counter() - started)
    return 1000 * statistics.median(spent[1:])  # the first call compiles
