"""What `tfxfer advise` looks at before any training: the target, the sources and the machine. No test split."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.cache import key_of
from tfxfer.choose.candidates import Machine, Source, Target
from tfxfer.config import RunConfig, SourceConfig, TargetConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec
from tfxfer.runs import Run
from tfxfer.tasks.classification import takes, without_classes

READ = 2000  # training texts whose letters are counted


def without_test(dataset: Dataset) -> Dataset:
    """Return a target with its validation split in the place of the test split, so that nothing can look at that.

    Raises:
        UserError: There is no validation split.
    """
    if not dataset.sizes["validation"]:
        raise UserError(
            f"{dataset.name}: has no validation split, and pilots are scored on nothing else; add one, or give no "
            "splits: tfxfer then cuts some"
        )
    splits = dataset.splits | {"test": dataset.splits["validation"]}
    return replace(dataset, splits=splits, fingerprint=key_of(dataset.fingerprint, "without test"), _in_memory={})


def look_at_target(dataset: Dataset, target: TargetConfig, key: str) -> Target:
    """Return what is known of a target; the test split is not looked at.

    Raises:
        UserError: It has no labels, one class, or a class with one training example.
    """
    if not dataset.class_names:
        raise UserError(f"{target.spec}: there are no labels; name the column with --target-label")
    if len(dataset.class_names) < 2:
        only = dataset.class_names[0]
        raise UserError(f"{target.spec}: all examples are of one class, '{only}', so there is nothing to tell apart")
    counts = np.bincount(dataset.labels("train"), minlength=len(dataset.class_names))
    if counts.min() < 2:
        name = dataset.class_names[int(counts.argmin())]
        raise UserError(
            f"{target.spec}: class '{name}' has {counts.min()} training examples, and a pilot needs 2 of each; leave "
            f"it out with --leave-out '{name}', or add examples"
        )
    facts: dict[str, Any] = {"lengths": None, "readable": None, "drawable": None}
    if "text" in dataset.keys:
        facts = letters(dataset.texts("train")[:READ])
    shape = dataset.image_shape if key == "image" else None
    if key == "image":
        facts["lengths"] = None
    return Target(
        spec=target.spec,
        key=key,
        classes=len(dataset.class_names),
        sizes={split: dataset.sizes[split] for split in ("train", "validation")},
        smallest=int(counts.min()),
        largest=int(counts.max()),
        image_size=None if shape is None else (shape[0], shape[1]),
        **facts,
    )


def letters(texts: Sequence[str]) -> dict[str, Any]:
    """Return lengths of texts, and the shares of them that can be read and drawn."""
    from tfxfer.transfer.bridges.read import unreadable
    from tfxfer.transfer.bridges.render import RenderText

    written = [text for text in texts if text.strip()]
    if not written:
        return {"lengths": (0, 0), "readable": 0.0, "drawable": 0.0}
    lengths = [len(text) for text in written]
    readable = [2 * len(unreadable(text)) <= len("".join(text.split())) for text in written]
    counts = {name: np.asarray(value) for name, value in RenderText().count(np.array(written, object)).items()}
    return {
        "lengths": (int(np.median(lengths)), int(np.percentile(lengths, 95))),
        "readable": float(np.mean(readable)),
        "drawable": float(np.mean(2 * counts["missing"] <= counts["characters"])),
    }


def task_key(dataset: Dataset, target: TargetConfig, source_takes: str) -> str:
    """Return "text" or "image": what is classified; of both, what is named, or what the source does not take.

    Raises:
        UserError: There is neither.
    """
    has = [key for key in ("text", "image") if key in dataset.keys]
    if not has:
        raise UserError(f"{target.spec}: found neither text nor images; name the column with --target-text")
    given = "text" if target.text else "image" if target.image else None
    return given or next((key for key in has if key != source_takes), has[0])


def look_at_source(source: SourceConfig, config: RunConfig, run: Run, image_size: int) -> Source:
    """Return what is known of a source: a model is loaded, a data set is looked up.

    Raises:
        UserError: It cannot be loaded, or takes neither images nor token ids.
    """
    from tfxfer.sources.load import load_source
    from tfxfer.sources.reader import is_trained

    if not model_spec.is_model(source.spec):
        return _to_learn(source, config, image_size)
    model = load_source(source, config, run, image_size=image_size)
    wants, parsed = takes(model), model_spec.parse(source.spec)
    folder = Path(parsed.name).expanduser()
    return Source(
        source.spec,
        wants,
        architecture_of(model, wants),
        parameters=int(model.count_params()),
        layers=len(model.layers),
        trained=not parsed.fresh,
        reads=wants == "text" and parsed.kind == "preset" and folder.is_dir(),
        reader_to_train=not is_trained(config),
    )


def architecture_of(model: Any, wants: str) -> str:
    """Return "cnn", "vit", "bert" or "other", by the layers of a model."""
    names = {type(layer).__name__ for layer in model._flatten_layers()}
    if wants == "text":
        return "bert" if any("Transformer" in name for name in names) else "other"
    if any("Transformer" in name or "Attention" in name for name in names):
        return "vit"
    return "cnn" if "Conv2D" in names else "other"


def _to_learn(source: SourceConfig, config: RunConfig, image_size: int) -> Source:
    """Return what is known of a source that is trained on a data set."""
    import tfxfer
    from tfxfer.sources.pretrain import Pretraining, kept_record
    from tfxfer.sources.reader import is_trained

    columns = {name: value for name, value in (("label", source.label), ("text", source.text)) if value}
    dataset = tfxfer.load(source.spec, data_dir=config.data_dir, download=config.download, **columns)
    training = Pretraining.of(source, config, dataset, image_size)
    kind = training.source.architecture.removeprefix("fresh:").partition("/")[0]
    kept = any(map(kept_record, (training.folder, *training.shared)))
    return Source(
        source.spec,
        model_spec.MODALITY[training.source.architecture],
        kind if kind in ("cnn", "vit", "bert") else "other",
        to_train=not kept,
        reads="text" in dataset.keys and "image" not in dataset.keys,
        reader_to_train=not is_trained(config),
    )


def look_at_machine() -> Machine:
    """Return cores, free memory and GPUs."""
    import tensorflow as tf

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cores, free_memory_mib(), len(tf.config.list_physical_devices("GPU")))


def free_memory_mib() -> float | None:
    """Return the memory that processes can still get, in MiB; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return int(available.split()[1]) / 1024


def usable(dataset: Dataset, target: TargetConfig, run: Run) -> Dataset:
    """Return a target without the classes that are to be left out."""
    return without_classes(dataset, target.leave_out, 0, run) if dataset.class_names else dataset
