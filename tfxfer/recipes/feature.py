"""Feature transfer: f(x) = W·φ(x) + b, beside the controls that could explain it away.

    φ   a source model up to a layer, frozen: by default a CNN that learned to tell 6,500 characters apart
    x   the target's examples, brought to φ over a bridge: by default phrases drawn as pixels
    W,b a linear head fitted on few labels: by default the language of the phrase, 10 languages

Command:   python -m tfxfer.train            (or: make train)
Replay:    python -m tfxfer.train --config runs/feature-<time>/config.yaml
Time, scores and machine of the default run: docs/results.md. Seeds: 0, 1, 2.
"""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

import keras
import numpy as np

import tfxfer
from tfxfer import report
from tfxfer.arms import feature as arms
from tfxfer.arms.controls import has_model
from tfxfer.cache import atomic_file, code_key, data_dir, key_of, write_json
from tfxfer.config import FeatureConfig, RunConfig, TaskConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import TfxferError, UserError, suggest
from tfxfer.experiment import Experiment, compare
from tfxfer.models import spec as model_spec
from tfxfer.recipes.checks import target_columns
from tfxfer.recipes.device import prepare
from tfxfer.records import Comparison, Record
from tfxfer.runs import Run, peak_memory_mib
from tfxfer.sources.pretrain import trained_source
from tfxfer.tasks.classification import Task

AnyConfig = TypeVar("AnyConfig", bound=TaskConfig)


def run(config: FeatureConfig) -> Path:
    """Run the experiment that `config` describes; return the run's folder."""
    config = smoke(config) if config.smoke else config
    this = Run("feature", config)
    try:
        this.say(f"tfxfer {tfxfer.__version__} · feature transfer · {prepare(config)} · {this.folder}")
        source = load_source(config, this, (config.height, config.width))
        task = load_target(config, source, this)
        plan = arms.plan(source, task, config, this)
        experiment = Experiment(
            title=f"{config.source} → {config.target} by {plan.bridge}",
            class_names=task.class_names,
            labels=task.labels("test"),
            arms=tuple(arm for arm in plan.arms if arm.name in config.arms),
            budgets=tuple(sorted(config.labels_per_class)),
            seeds=tuple(range(config.seed, config.seed + config.seeds)),
            examples=tuple(task.examples(plan.picture)),
        )
        kept = kept_records(config, task, plan)
        with this.phase("arms"):
            comparison = run_arms(experiment, this, kept)
        finish(comparison, plan, task, this)
        return this.folder
    finally:
        this.close()


def smoke(config: AnyConfig) -> AnyConfig:
    """Return the config shrunk to seconds: the same code, so little data that the figures mean nothing."""
    budgets = (2, 5)
    return replace(
        config,
        source_epochs=1,
        source_max=512,
        labels_per_class=budgets,
        trained_at=budgets[:1],
        seeds=min(config.seeds, 2),
        epochs=1,
        updates=min(config.updates, 2),
        learning_rates=(1e-3,),
        max_validation=60,
        max_test=100,
    )


def load_target(config: TaskConfig, source: keras.Model, this: Run, at_least: int = 0, key: str | None = None) -> Task:
    """Load the task that is to profit, and say what it is.

    Args:
        config: Names the target and the classes to leave out.
        source: What is to be transferred; settles how pictures are read.
        this: The run.
        at_least: Classes with fewer training labels are left out too.
        key: "text" or "image": which is the task's, where examples have both; by default what the source does not take.
    """
    with this.phase("data"):
        dataset = tfxfer.load(
            config.target, data_dir=config.data_dir, download=config.download, **target_columns(config)
        )
    dataset = without_classes(dataset, config.leave_out, at_least, this) if dataset.class_names else dataset
    task = Task.of(dataset, config, source, key)
    sizes = ", ".join(f"{n:,} {split}" for split, n in task.sizes.items())
    this.say(f"target: {config.target}, {len(task.class_names)} classes, {sizes}")
    for note in dataset.notes:
        this.say(f"target: {note}")
    return task


def without_classes(dataset: Dataset, names: tuple[str, ...], at_least: int, this: Run) -> Dataset:
    """Leave out classes by name, and those with fewer than `at_least` training labels; say which."""
    unknown = next((name for name in names if name not in dataset.class_names), None)
    if unknown is not None:
        near = suggest(unknown, dataset.class_names)
        raise UserError(f"--leave-out: {dataset.name} has no class '{unknown}'; {near}")
    counts = np.bincount(dataset.labels("train"), minlength=len(dataset.class_names))
    few = [name for name, n in zip(dataset.class_names, counts) if n < at_least and name not in names]
    kept = [name for name in dataset.class_names if name not in (*names, *few)]
    if few:
        shown = ", ".join(few[:8]) + (" …" if len(few) > 8 else "")
        this.say(f"target: {len(few)} classes have fewer than {at_least} training labels and are left out: {shown}")
    if names:
        this.say(f"target: left out, as asked: {', '.join(names)}")
    if len(kept) < 2:
        raise UserError(f"{dataset.name}: {len(kept)} classes are left; leave out fewer, or ask for fewer labels")
    return dataset if len(kept) == len(dataset.class_names) else dataset.with_classes(kept)


def load_source(config: TaskConfig, this: Run, size: tuple[int, int]) -> keras.Model:
    """Return the model that knows something: given, or trained on a data set (once, then cached)."""
    if model_spec.is_model(config.source):
        model = tfxfer.source(
            config.source,
            input_shape=(*size, 3) if config.source.startswith("keras:") else None,
            seed=config.seed,
            download=config.download,
        )
        this.say(f"source: {config.source}, {model.count_params():,} parameters")
        return model
    with this.phase("data"):
        dataset = tfxfer.load(
            config.source, label=config.source_label, data_dir=config.data_dir, download=config.download
        )
    with this.phase("source"):
        return trained_source(config, dataset, this)


def kept_records(config: TaskConfig, task: Task, plan: "arms.Plan") -> Path:
    """Return the folder of finished records, named after everything that decides one: config, data, source, code."""
    return records_folder(config, ("labels_per_class", "trained_at"), task.fingerprint, plan.key)


def records_folder(config: RunConfig, budgets: tuple[str, ...], *keys: str) -> Path:
    """Return the folder of finished records of a config, whatever its budgets, seeds and arms; emptied when asked to.

    Args:
        config: Any recipe's.
        budgets: Names of its options that only say how much is run.
        keys: Fingerprints of data and models.
    """
    which = ("seeds", "arms", "fresh", "data_dir", "run_dir", "download", *budgets)
    deciding = {name: value for name, value in asdict(config).items() if name not in which}
    folder = data_dir(config.data_dir) / "records" / key_of(deciding, *keys, code_key())
    if config.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    return folder


def run_arms(experiment: Experiment, this: Run, kept: Path) -> Comparison:
    """Run all arms with a progress bar; a line for each that failed."""
    count = len(list(kept.glob("*.npz")))
    if count:
        this.say(f"{count} finished records of this experiment are at hand and not run again (--fresh runs them)")
    with this.progress() as bar:
        task = bar.add_task("running the arms", total=None, note="")

        def on_record(record: Record, done: int, total: int) -> None:
            score = next((f"{record.metrics[m]:.3f}" for m in experiment.measures if m in record.metrics), "failed")
            where = f"{record.arm}, {record.budget} {experiment.unit}, seed {record.seed}"
            bar.update(task, completed=done, total=total, note=f"{where}: {score}")
            this.metric(
                "arm",
                arm=record.arm,
                budget=record.budget,
                seed=record.seed,
                status=record.status,
                seconds=record.seconds,
                **record.metrics,
            )
            if record.status == "failed":
                this.say(f"arm failed: {where}: {record.error}", style="red")

        return compare(experiment, on_record=on_record, kept=kept)


def finish(comparison: Comparison, plan: "arms.Plan", task: Task, this: Run) -> None:
    """Write the model, the records and the report; end with the table, the verdict and the path.

    Raises:
        TfxferError: no arm gave an answer; the report is written all the same.
    """
    with this.phase("saving and report"):
        save_model(comparison, plan, task, this)
    conclude(comparison, this)


def conclude(comparison: Comparison, this: Run) -> None:
    """Write the records and the report; end with the table, the verdict and the path.

    Raises:
        TfxferError: no arm gave an answer; the report is written all the same.
    """
    costs = {**this.costs, "peak_memory_mib": peak_memory_mib()}
    comparison = replace(comparison, costs=costs)
    comparison.save(this.folder)
    page = report.write(this.folder)
    report.terminal(comparison, this.console)
    this.say(f"report: {page}")
    if all(record.status == "failed" for record in comparison.records):
        raise TfxferError(f"every arm failed; the first said: {comparison.records[0].error}")


def save_model(comparison: Comparison, plan: "arms.Plan", task: Task, this: Run) -> None:
    """Save the transfer arm at its greatest budget, first seed, as one model from raw input to probabilities."""
    if not has_model(comparison, this):
        return
    model = plan.final_model()
    with atomic_file(this.folder / "model.keras") as path:
        model.save(path)
    described = {
        "task": "classification",
        "input": task.key,
        "class_names": list(task.class_names),
        "image_size": task.image_shape[:2] if task.key == "image" else None,
        "channels": task.reading.get("channels"),
    }
    write_json(this.folder / "model.json", described)
