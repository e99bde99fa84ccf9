"""`tfxfer distill TEACHER_RUN … --student …`: a small student learns from a trained run, beside the same student alone.

Several teachers are an ensemble. Teacher and student may read other columns of the same rows, such as image and text
(docs/distill.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer import cli
from tfxfer.commands.of_runs import new_run, runs_and_options
from tfxfer.config import TargetConfig, TrainingConfig, check_ranges, option, section, with_options
from tfxfer.data import spec as data_spec
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec
from tfxfer.models.student_spec import CHOICES, parse_student
from tfxfer.recipes.checks import check_target
from tfxfer.recipes.distill_teachers import described_teachers, is_captioner
from tfxfer.recipes.feature import FeatureConfig
from tfxfer.recipes.merge_parents import Parent, target_of
from tfxfer.terminal import console, json_text, printable

if TYPE_CHECKING:
    from tfxfer.recipes.distilling import Distilled
    from tfxfer.runs import Run

LIKE = FeatureConfig()  # the target means what it means to `train feature`
TRAINING = TrainingConfig(steps=0, epochs=4, batch_size=32, learning_rates=(1e-4, 4e-4, 1.6e-3, 6.4e-3))
MATCHES = ("logits", "features", "attention")
DESCRIPTION = """Train a small student on what a trained run answers, and say beside the same student alone, beside one
with a random teacher and beside the teacher what that is worth. Settings are chosen on the validation split; the test
split is looked at once. The student becomes the model of a run folder of its own. docs/distill.md says how to read it.

Several runs are an ensemble of teachers."""


@dataclass(frozen=True)
class DistillConfig:
    """Options of `tfxfer distill`."""

    runs: tuple[str, ...] = option((), "folders of the teachers; as words before all options too", group="arms")
    student: str = option(
        "auto",
        f"the student: {CHOICES} (default: fresh:text_cnn for a teacher of texts, fresh:cnn for one of images, "
        "fresh:bert for a captioner)",
        group="model",
        common=True,
    )
    student_width: int = option(0, "width of a BERT, filters of a text CNN or of a CNN's last layer (0: its default)",
                                group="model", common=True, at_most=4096)  # fmt: skip
    student_blocks: int = option(0, "transformer blocks of fresh:bert (0: 2)", group="model", common=True, at_most=48)
    vocabulary: int = option(
        0, "word pieces of a BERT: those of the teacher's that the texts use most (0: 4000 for fresh:bert, else all)",
        group="model", common=True,
    )  # fmt: skip
    max_length: int = option(
        0, "word pieces, or characters, of a text that are read (0: 64)", group="model", at_most=512
    )
    match: tuple[str, ...] = option(
        ("logits",), "what of the teacher the student is to match", MATCHES, group="arms", common=True
    )
    temperature: float = option(2.0, "T that softens both sides' probabilities", group="arms", common=True,
                                at_least=1e-3)  # fmt: skip
    label_weight: float = option(
        0.5, "α of the labels against the teacher's probabilities (0: no labels, 1: labels alone)", group="arms",
        common=True, at_most=1,
    )  # fmt: skip
    match_weight: float = option(1.0, "λ of features and attention", group="arms")
    labels_per_class: int | None = option(
        None, "labels a class that the student sees (default: the teacher's, where its run says which; else all)",
        group="target", common=True, at_least=1,
    )  # fmt: skip
    unlabelled: str = option(
        "train",
        "examples without labels: train (the rest of the training split), none, or a data set",
        group="target",
        common=True,
    )
    max_unlabelled: int = option(0, "at most so many of them (0: all)", group="target")
    arms: tuple[str, ...] = option(
        ("teacher", "alone", "distilled", "random_teacher"), "what runs side by side",
        ("teacher", "alone", "distilled", "random_teacher"), group="arms", decides=False,
    )  # fmt: skip
    margin: float | None = option(
        None, "greatest loss against the teacher that would not matter", group="arms", decides=False, at_least=1e-12
    )
    target: TargetConfig = section(
        TargetConfig(""), "target", group="target", leave_out=("question", "answer"), common=("spec", "text", "label"),
        help={"spec": "the task (default: that of the teacher)"},
    )  # fmt: skip
    training: TrainingConfig = section(
        TRAINING, group="training", leave_out=("steps_scaling", "checkpoints", "train_set")
    )
    seed: int = option(0, "first random seed", group="training", common=True, at_most=2**32 - 1)
    seeds: int = option(3, "how many times each student is trained", group="training", common=True, at_least=1,
                        at_most=100, decides=False)  # fmt: skip
    jit: bool = option(False, "compile with XLA", group="training")
    fresh: bool = option(False, "train again what is kept from an earlier run", group="output", decides=False)
    allow_overlap: bool = option(False, "go on where the target's splits overlap", group="target", decides=False)
    json: bool = option(False, "everything as JSON", group="output", common=True, decides=False)
    download: bool = option(False, "allow downloads of data sets and pretrained weights", group="output", decides=False)
    data_dir: str | None = option(
        None, "prepared data and caches (default: $TFXFER_DATA or the user cache folder)", group="output", decides=False
    )
    run_dir: str | None = option(None, "this run's folder (default: runs/distill-TIME)", group="output", common=True,
                                 decides=False)  # fmt: skip


def work(argv: Sequence[str]) -> None:
    """Distil, and print what was found."""
    asked = requested(argv)
    teachers = described_teachers(asked.runs)
    asked = resolved(asked, teachers)
    check_data(asked, teachers)
    specs = [asked.target.spec, _unlabelled_spec(asked)]
    with new_run("distill", asked, feature_config(asked), specs) as run:
        found = _distilled(asked, teachers, run)
        page = _written(found, run)
        if asked.json:
            print(json_text(found_as_json(found, run.folder), indent=1))
        else:
            show(found)
        run.say(f"report: {page}")


def requested(argv: Sequence[str]) -> DistillConfig:
    """Return the options of a command line, the runs that stand before them among them.

    Raises:
        UserError: An option is unknown, out of its range, or does not go with the others.
    """
    runs, asked = runs_and_options(DistillConfig, argv, "distill", "TEACHER_RUN [TEACHER_RUN ...]", DESCRIPTION)
    if runs:
        asked = with_options(asked, runs=runs)
    check_ranges(asked)
    if asked.student != "auto":
        parse_student(asked.student)
    missing = next((name for name in ("alone", "distilled") if name not in asked.arms), None)
    if missing:
        raise UserError(f"--arms: '{missing}' is one side of the comparison and must be among them")
    if asked.label_weight == 1 and asked.match == ("logits",):
        raise UserError("--label-weight 1: labels alone teach nothing of the teacher; give less than 1")
    if not asked.training.steps and not asked.training.epochs:
        raise UserError("--steps 0 with --epochs 0: nothing would be learned; give one of them")
    return asked


def resolved(asked: DistillConfig, teachers: Sequence[Parent]) -> DistillConfig:
    """Return the options with the task and the student that they stand for.

    Raises:
        UserError: The student is none for this teacher.
    """
    if not asked.target.spec:
        asked = replace(asked, target=_named(target_of(teachers, DistillConfig), asked.target))
    captions = is_captioner(teachers)
    takes = "captions" if captions else teachers[0].described["input"]
    usual = {"captions": "fresh:bert", "text": "fresh:text_cnn", "image": "fresh:cnn"}[takes]
    asked = replace(asked, student=usual if asked.student == "auto" else asked.student)
    if captions and asked.student != "fresh:bert":
        raise UserError(f"--student {asked.student}: captions need a decoder; give fresh:bert with --student-width and "
                        "--student-blocks")  # fmt: skip
    if captions and asked.match != ("logits",):
        raise UserError(f"--match {' '.join(asked.match)}: of a captioner its captions are learned; leave it out")
    if asked.student.startswith("file:"):
        model_spec.check(asked.student, asked.download)
    return asked


def _named(known: TargetConfig, given: TargetConfig) -> TargetConfig:
    """Return a teacher's task with what the options say besides."""
    usual = TargetConfig("")
    return replace(known, **{name: value for name, value in vars(given).items() if value != getattr(usual, name)})


def check_data(asked: DistillConfig, teachers: Sequence[Parent]) -> None:
    """Check the target and the examples without labels; raises `UserError`."""
    columns = ("image", "caption") if is_captioner(teachers) else ("text", "image", "label")
    config = feature_config(asked)
    check_target(asked.target, config, *columns)
    spec = _unlabelled_spec(asked)
    if spec:
        data_spec.check(spec, data_dir=asked.data_dir, download=asked.download)
    if asked.label_weight == 0 and asked.unlabelled == "none" and asked.labels_per_class:
        cli.note("--label-weight 0 uses the labelled examples without their labels")


def _unlabelled_spec(asked: DistillConfig) -> str | None:
    return None if asked.unlabelled in ("train", "none") else asked.unlabelled


def feature_config(asked: DistillConfig) -> FeatureConfig:
    """Return the options as `train feature` has them, for what loads data."""
    shared = {
        name: getattr(asked, name) for name in ("seed", "allow_overlap", "download", "data_dir", "run_dir", "jit")
    }
    return replace(LIKE, target=asked.target, **shared)


def _distilled(asked: DistillConfig, teachers: Sequence[Parent], run: "Run") -> "Distilled":
    """Return what was found; the student is saved."""
    if is_captioner(teachers):
        from tfxfer.recipes.distilling_captions import distill_captions

        return distill_captions(asked, feature_config(asked), teachers, run)
    from tfxfer.recipes.distill_run import distill

    return distill(asked, feature_config(asked), teachers, run)


def _written(found: "Distilled", run: "Run") -> Path:
    """Write the comparison and the page into the run's folder."""
    from tfxfer.report.distilled import write_page

    about = found.comparison.about | {"cautions": run.cautions}
    found = replace(found, comparison=replace(found.comparison, costs=run.costs, about=about))
    found.comparison.save(run.folder)
    return write_page(found, run.folder)


def found_as_json(found: "Distilled", folder: Path) -> dict[str, Any]:
    """Return everything that was found, as JSON can hold it."""
    plain: dict[str, Any] = {
        name: getattr(found, name) for name in ("rows", "kept", "equivalence", "costs", "agreement")
    }
    plain |= {"verdicts": found.comparison.verdicts, "test_examples": len(found.comparison.labels)}
    return plain | {"hypothesis": found.hypothesis and found.hypothesis.to_dict(), "run": str(folder)}


# === The terminal ===


def show(found: "Distilled") -> None:
    """Print scores, costs, and what they say."""
    from rich.text import Text

    from tfxfer.commands.compare import plain_table
    from tfxfer.report.distilled import cost_cells, score_cells, sentences

    out = console(highlight=False)
    scores = plain_table("", "test", "95 % interval", "seeds", "chosen by validation")
    for row in found.rows:
        scores.add_row(*map(Text, score_cells(row)))
    costs = plain_table("", "parameters", "MB on disk", "ms, 1 example", "ms, 32 examples")
    for row in found.costs:
        costs.add_row(*map(Text, cost_cells(row)))
    for table in (scores, costs):
        out.print(table)
    for sentence in sentences(found):
        out.print(Text(printable(sentence)))
