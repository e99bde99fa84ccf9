"""`tfxfer merge RUN RUN …`: one model of several fine-tuned ones, each merge beside its parents and their average.

Without runs it fine-tunes members itself, all from one start and on the same labels, and merges these: a run of `train
feature` saves φ frozen with a head, so its runs have no fine-tuned weights to merge (docs/merge.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer.commands.of_runs import new_run, runs_and_options
from tfxfer.config import SourceConfig, TargetConfig, TrainingConfig, check_ranges, option, section, with_options
from tfxfer.errors import UserError
from tfxfer.recipes.checks import check_source, check_target
from tfxfer.recipes.feature import FeatureConfig
from tfxfer.recipes.merge_parents import HOW, Parent, described_parents, target_of
from tfxfer.terminal import console, json_text, printable

if TYPE_CHECKING:
    from tfxfer.recipes.merging import Merges
    from tfxfer.runs import Run
    from tfxfer.tasks.classification import Task

LIKE = FeatureConfig()  # source and target mean what they mean to `train feature`
TRAINING = TrainingConfig(steps=0, epochs=6, batch_size=16, learning_rates=(1e-3, 4e-3))
DESCRIPTION = f"""Merge the weights of classifiers that were fine-tuned from one start, and say beside each parent what
each merge is worth. Settings are chosen on the validation split; the test split is looked at once. The merge that
validates best becomes the model of a run folder of its own. Without runs, members are fine-tuned first. docs/merge.md
says how to read it.

Merges: {", ".join(HOW)}."""


@dataclass(frozen=True)
class MergeConfig:
    """Options of `tfxfer merge`."""

    runs: tuple[str, ...] = option((), "folders of saved classifiers; as words before all options too", group="arms")
    base: str | None = option(
        None, "folder of the model that all of them were fine-tuned from", group="arms", common=True
    )
    how: tuple[str, ...] = option(
        (), "merges (default: all, those over a base only where there is one)", tuple(HOW), group="arms", common=True
    )
    allow_different_starts: bool = option(
        False, "merge models whose kernels are not correlated", group="arms", common=True
    )
    scale: float | None = option(None, "λ of task vectors and TIES (default: by validation)", group="arms")
    keep: float | None = option(None, "k of TIES, the share that stays (default: by validation)", group="arms",
                                at_most=1)  # fmt: skip
    drop: float | None = option(None, "p of DARE, the share that goes (default: by validation)", group="arms",
                                at_most=0.999)  # fmt: skip
    alpha: float | None = option(
        None,
        "α of WiSE-FT, from the start (0) to the best parent (1) (default: by validation)",
        group="arms",
        at_most=1,
    )
    dare_seeds: int = option(5, "how many masks DARE draws", group="arms", at_least=1, at_most=100)
    statistics: str = option(
        "train",
        "means and variances of batch normalisation in a merge: estimated again on training examples (train), or the "
        "mean of the parents' (mean)",
        ("train", "mean"),
        group="arms",
    )
    members: int = option(4, "without runs: how many are fine-tuned", group="training", common=True, at_least=2,
                          at_most=20)  # fmt: skip
    labels_per_class: int = option(
        80, "without runs: labels a class, the same for each", group="training", common=True, at_least=1
    )
    source: SourceConfig = section(
        LIKE.source, "source", group="source", leave_out=("text",), common=("spec",),
        help={"spec": "without runs: what is fine-tuned, a data set to learn, or a trained model's spec"},
    )  # fmt: skip
    target: TargetConfig = section(
        TargetConfig(""), "target", group="target", leave_out=("caption", "question", "answer"), common=("spec", "text",
                                                                                                         "label"),
        help={"spec": f"the task (default: that of the runs; {LIKE.target.spec} without runs)"},
    )  # fmt: skip
    training: TrainingConfig = section(
        TRAINING, group="training", leave_out=("steps_scaling", "checkpoints", "train_set"),
        help={"learning_rates": "without runs: learning rates, which the members have in turn"},
    )  # fmt: skip
    seed: int = option(0, "first random seed", group="training", common=True, at_most=2**32 - 1)
    allow_overlap: bool = option(False, "go on where the target's splits overlap", group="target")
    json: bool = option(False, "everything as JSON", group="output", common=True)
    download: bool = option(False, "allow downloads of data sets and pretrained weights", group="output")
    data_dir: str | None = option(
        None, "prepared data and caches (default: $TFXFER_DATA or the user cache folder)", group="output"
    )
    run_dir: str | None = option(None, "this run's folder (default: runs/merge-TIME)", group="output", common=True)


def work(argv: Sequence[str]) -> None:
    """Merge, and print what was found."""
    asked = requested(argv)
    parents, start = described_parents(asked.runs, asked.base) if asked.runs else ((), None)
    asked = resolved(asked, parents, bool(start or not asked.runs))
    check_data(asked)
    specs = [asked.target.spec] if asked.runs else [asked.target.spec, asked.source.spec]
    with new_run("merge", asked, feature_config(asked), specs) as run:
        found = _merged(asked, parents, start, run)
        page = _written(found, run)
        if asked.json:
            print(json_text(found_as_json(found, run.folder), indent=1))
        else:
            show(found)
        run.say(f"report: {page}")


def requested(argv: Sequence[str]) -> MergeConfig:
    """Return the options of a command line, the runs that stand before them among them.

    Raises:
        UserError: An option is unknown, out of its range, or does not go with the others.
    """
    runs, asked = runs_and_options(MergeConfig, argv, "merge", "[RUN RUN ...]", DESCRIPTION)
    if runs:
        asked = with_options(asked, runs=runs)
    check_ranges(asked)
    if not asked.runs and asked.base:
        raise UserError("--base: names what given runs were fine-tuned from, and no run is given")
    own = {"members", "labels_per_class", "source", "training"}
    given = [name for name in sorted(own) if asked.runs and getattr(asked, name) != getattr(MergeConfig(), name)]
    if given:
        raise UserError(f"--{given[0].replace('_', '-')}: is for fine-tuning, and the runs are trained already")
    if asked.how and all(name == "ensemble" for name in asked.how):
        raise UserError("--how ensemble: has no weights that could be saved; name a merge of weights beside it")
    return asked


def resolved(asked: MergeConfig, parents: Sequence[Parent], has_start: bool) -> MergeConfig:
    """Return the options with the task and the merges that they stand for."""
    if not asked.target.spec:
        asked = replace(asked, target=target_of(parents, MergeConfig) if parents else
                        replace(asked.target, spec=LIKE.target.spec))  # fmt: skip
    over_base = [name for name in asked.how or HOW if HOW[name].over_base]
    if asked.how and over_base and not has_start:
        raise UserError(
            f"--how {' '.join(over_base)}: is made over the model before fine-tuning; name its folder with --base, "
            "such as a run of `train feature` on the same task, or leave it out"
        )
    how = asked.how or tuple(name for name in HOW if has_start or name not in over_base)
    return replace(asked, how=how)


def check_data(asked: MergeConfig) -> None:
    """Check source and target; raises `UserError`."""
    config = feature_config(asked)
    check_target(asked.target, config, "text", "image", "label")
    if not asked.runs:
        check_source(asked.source, config, "source")


def feature_config(asked: MergeConfig) -> FeatureConfig:
    """Return the options as `train feature` has them, for what loads data and trains."""
    shared = {name: getattr(asked, name) for name in ("seed", "allow_overlap", "download", "data_dir", "run_dir")}
    parts: dict[str, Any] = {name: getattr(asked, name) for name in ("source", "target", "training")}
    return replace(LIKE, labels_per_class=(asked.labels_per_class,), **shared, **parts)


def _merged(asked: MergeConfig, parents: Sequence[Parent], start: Parent | None, run: "Run") -> "Merges":
    """Return what was found; the models of the parents are fine-tuned first where none are given."""
    from tfxfer.recipes.merge_parents import check_test_rows, open_parents
    from tfxfer.recipes.merger import Settings
    from tfxfer.recipes.merging import merge
    from tfxfer.tasks.classification import load_target

    config = feature_config(asked)
    opened = open_parents(parents, start, asked.allow_different_starts) if parents else None
    dataset = load_target(asked.target, config, run)
    if opened is None:
        parents, start = _members(asked, dataset, run)
        opened = open_parents(parents, start, allow_different_starts=True)
    task = _task(asked, dataset, parents[0])
    for sentence in check_test_rows(parents, task):
        run.caution(sentence)
    settings = Settings(asked.scale, asked.keep, asked.drop, asked.alpha, asked.dare_seeds, asked.statistics)
    with run.phase("merges"):
        found = merge(opened, task, asked.how, settings, run.say)
    _save(found, opened, task, run)
    return replace(found, comparison=replace(found.comparison, costs=run.costs, about=found.comparison.about | {
        "cautions": run.cautions}))  # fmt: skip


def _members(asked: MergeConfig, dataset: Any, run: "Run") -> tuple[tuple[Parent, ...], Parent]:
    """Fine-tune the members; return them and their start as parents."""
    from tfxfer.arms.members import fine_tune_members
    from tfxfer.models.saved_folder import describe_folder
    from tfxfer.recipes.merge_parents import START
    from tfxfer.sources.load import load_source
    from tfxfer.tasks.classification import load_task

    config = feature_config(asked)
    source = load_source(asked.source, config, run, image_size=asked.target.image_size)
    task = load_task(asked.target, config, source, run, dataset=dataset)
    start, made = fine_tune_members(source, task, config, run, asked.members, run.folder / "members")
    found = [Parent(f"parent {place}", folder, describe_folder(folder)[1]) for place, folder in enumerate(made, 1)]
    return tuple(found), Parent(START, start, describe_folder(start)[1])


def _task(asked: MergeConfig, dataset: Any, parent: Parent) -> "Task":
    """Return the target as the parents see it: their classes, their input.

    Raises:
        UserError: The target has no such column, or not all of the classes.
    """
    from tfxfer.tasks.classification import Task

    names, key = tuple(parent.described["class_names"]), parent.described["input"]
    if key not in dataset.keys or not dataset.class_names:
        raise UserError(f"{asked.target.spec}: the models take {key}s with labels; name the columns with --target-{key}"
                        " and --target-label")  # fmt: skip
    missing = [name for name in names if name not in dataset.class_names]
    if missing:
        raise UserError(f"{asked.target.spec}: has no class '{missing[0]}', which the models of {parent.folder} have")
    dataset = dataset if tuple(dataset.class_names) == names else dataset.with_classes(names)
    if tuple(dataset.class_names) != names:
        raise UserError(f"{asked.target.spec}: has the classes of {parent.folder} in another order; name its own task")
    limits = {"validation": asked.target.max_validation or None, "test": asked.target.max_test or None}
    size = parent.described.get("image_size")
    reading = {"image_size": tuple(size) if size else None, "channels": parent.described.get("channels")}
    return Task(dataset.with_at_most(**limits, seed=0), key, reading if key == "image" else {})


def _save(found: "Merges", opened: Any, task: "Task", run: "Run") -> None:
    """Save the chosen merge, and which rows its parents were trained on."""
    import numpy as np

    from tfxfer.evaluate.split_rows import SplitRows
    from tfxfer.evaluate.trained_rows import TrainedRows

    SplitRows.of(task.dataset).save(run.folder)
    known = [TrainedRows.load(parent.folder) for parent in opened.parents]
    if all(known):
        rows = (np.concatenate([getattr(one, name) for one in known]) for name in ("train", "validation"))
        TrainedRows(*rows).save(run.folder)
    task.classifier(opened.put(found.chosen.weights[0])).save(run.folder)


def _written(found: "Merges", run: "Run") -> Path:
    """Write the comparison and the page into the run's folder."""
    from tfxfer.report.merged import write_page

    found.comparison.save(run.folder)
    return write_page(found, run.folder)


def found_as_json(found: "Merges", folder: Path) -> dict[str, Any]:
    """Return everything that was found, as JSON can hold it."""
    plain: dict[str, Any] = {name: getattr(found, name) for name in ("rows", "pairs", "best", "similarity")}
    plain |= {"validation_examples": found.validation, "test_examples": len(found.comparison.labels)}
    plain |= {"chosen": found.chosen.how, "lines": [vars(line) for line in found.lines], "run": str(folder)}
    return plain


# === The terminal ===


def show(found: "Merges") -> None:
    """Print the scores, the differences, and what they say."""
    from rich.text import Text

    from tfxfer.commands.compare import plain_table
    from tfxfer.evaluate.verdict import signed
    from tfxfer.report.merged import MAIN, sentences

    out = console(highlight=False)
    scores = plain_table("", "validation", "test", "95 % interval", "chosen by validation")
    for row in found.rows:
        span = f"{row['low']:.3f}–{row['high']:.3f}"
        scores.add_row(row["name"], f"{row['validation']:.3f}", f"{row['score']:.3f}", span, Text(row["settings"]))
    pairs = plain_table("merge − other", "differ", "95 % interval", "verdict", "Holm")
    for row in (row for row in found.pairs if row["b"] in MAIN):
        cells = [signed(row["difference"]), f"{signed(row['low'])} {signed(row['high'])}", row["outcome"]]
        holm = "named before" if row["role"] == "primary" else row["adjusted_outcome"]
        pairs.add_row(f"{row['a']} − {row['b']}", *cells, holm)
    out.print(Text(f"{found.validation:,} validation and {len(found.comparison.labels):,} test examples; accuracy"))
    for table in (scores, pairs):
        out.print(table)
    for sentence in sentences(found):
        out.print(Text(printable(sentence)))
