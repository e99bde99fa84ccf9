"""A classification task as the arms see it: what a model takes, and the splits that they share."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.augment.copies import SHARES, Augmentation
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError, suggest
from tfxfer.evaluate.trained_rows import TrainedRows
from tfxfer.records import SHIFT
from tfxfer.runs import Run
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.overlap import check_overlap, check_texts
from tfxfer.transfer.classifier import Classifier


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes:
        dataset: The target, its validation and test splits cut to the config's limits.
        key: "text" or "image": what a model of this task takes.
        reading: Keyword arguments for `Dataset.batches`: image size and channels.
        shift: A data set whose test split is of another domain, with the same classes; None without `--shift`.
        augment: How the arms copy training examples; None for arms without augmentation.
    """

    dataset: Dataset
    key: str
    reading: dict[str, Any]
    shift: Dataset | None = field(default=None, kw_only=True)
    augment: Augmentation | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, dataset: Dataset, target: TargetConfig, source: keras.Model, key: str | None = None) -> "Task":
        """Check that `dataset` is a classification task and settle how it is read.

        Where examples have both a text and an image, `key` is the task's, or else the one that the source does not
        take. Images for an image model have its channels and, where it takes one size only, its size.
        """
        if not dataset.class_names:
            raise UserError(f"{target.spec}: there are no labels; name the column with --target-label")
        has = [key for key in ("text", "image") if key in dataset.keys]
        given = "text" if target.text else "image" if target.image else key
        key = given or next((key for key in has if key != takes(source)), has[0] if has else None)
        if key not in has:
            raise UserError(f"{target.spec}: found neither text nor images; name the column with --target-text")
        reading = _reading(dataset, target, source) if key == "image" else {}
        limited = dataset.with_at_most(validation=target.max_validation or None, test=target.max_test or None, seed=0)
        return cls(limited, key, reading)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes."""
        return self.dataset.class_names

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples of each split."""
        return self.dataset.sizes

    @property
    def fingerprint(self) -> str:
        """Changes whenever the data change."""
        return self.dataset.fingerprint

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images a model takes."""
        stored = self.dataset.image_shape
        height, width = self.reading["image_size"] or (stored[:2] if stored else (64, 64))
        return (height, width, self.reading["channels"])

    def labels(self, split: str) -> np.ndarray:
        """Return int32 [N]."""
        return self.dataset.labels(split)

    def texts(self, split: str) -> tuple[str, ...] | None:
        """Return the N texts of a split; None where the task is one of images."""
        return tuple(self.dataset.texts(split)) if self.key == "text" else None

    def train(self, budget: int | None, seed: int) -> Dataset:
        """Return the data set with its training split reduced to `budget` labels a class."""
        return self.dataset if budget is None else self.dataset.with_labels(budget, seed)

    @property
    def mixes_labels(self) -> bool:
        """Whether copies have labels that are mixed of several classes."""
        return self.augment is not None and self.augment.policy.mixes

    def copies(self, data: Dataset, seed: int, draws: int = 0) -> Dataset | None:
        """Return edited copies of the training examples of `data`, see `Augmentation.copies`; None without any."""
        return self.augment.copies(data, self.key, self.reading, seed, draws) if self.augment else None

    def shifted(self, probabilities: Any) -> dict[str, np.ndarray]:
        """Return which examples of the shifted test set [M] are classified correctly, by its name in a record.

        Args:
            probabilities: [M, C]; a function that gives them, called only where there is such a set.
        """
        if self.shift is None:
            return {}
        found = np.asarray(probabilities() if callable(probabilities) else probabilities)
        return {SHIFT: found.argmax(-1) == self.shift.labels("test")}

    def classifier(self, model: keras.Model) -> Classifier:
        """Return a trained Keras model with this task's class names and image size."""
        return Classifier(model, self.class_names, self.image_shape[:2] if self.key == "image" else None)

    def save(self, classifier: Classifier, folder: Path, budget: int | None, seed: int) -> None:
        """Write a classifier, and the digests of the rows it was trained and validated on, into a run's folder.

        Args:
            classifier: Trained on `train(budget, seed)`.
            folder: The run's.
            budget: Labels a class; None for all.
            seed: Of the draw of the labels.
        """
        train = self.train(budget, seed).digests("train", self.key)
        TrainedRows(train, self.dataset.digests("validation", self.key)).save(folder)
        classifier.save(folder)

    def examples(self, render_images: Callable[[list[str]], np.ndarray] | None) -> Iterator[dict[str, Any]]:
        """Yield test examples for people: evenly spaced, with the image a model sees.

        Args:
            render_images: Draws texts as uint8 [n, H, W, C], where a bridge renders.
        """
        rows = evenly_spaced(self.sizes["test"])
        if self.key == "text":
            texts = self.dataset.texts("test")
            drawn = render_images([texts[i] for i in rows]) if render_images else [None] * len(rows)
            for row, pixels in zip(rows, drawn):
                yield {"index": int(row), "text": texts[row]} | ({} if pixels is None else {"png": png(pixels)})
        else:
            images = self.dataset.arrays("test", **self.reading)["image"]
            for row in rows:
                yield {"index": int(row), "png": png(images[row])}


def joined_labels(labels: np.ndarray, copies: Mapping[str, np.ndarray], num_classes: int) -> np.ndarray:
    """Return the labels of examples and of their copies: int [N + M], or shares of the classes [N + M, C].

    Args:
        labels: int [N].
        copies: "label" int [M], and "shares" [M, C] where labels are mixed.
        num_classes: C.
    """
    if SHARES not in copies:
        return np.concatenate([labels, copies["label"]])
    return np.concatenate([np.eye(num_classes, dtype=np.float32)[labels], copies[SHARES]])


def load_target(target: TargetConfig, config: RunConfig, run: Run) -> Dataset:
    """Load the target; raises `UserError` when its splits overlap, see `tfxfer.tasks.overlap.check_overlap`."""
    with run.phase("data"):
        columns = target.columns("text", "image", "label")
        where = {"data_dir": config.data_dir, "download": config.download}
        dataset = tfxfer.load(target.spec, **where, **target.reading(), **columns)
    check_overlap(dataset, target, config, run)
    return dataset


def labels_there_are(config: Any, dataset: Dataset, run: Run) -> tuple[int, ...]:
    """Return numbers of labels a class that the smallest class has; to be asked before anything is trained.

    Args:
        config: Has `labels_per_class` and a `target`. Where the numbers are the recipe's default, those that are too
            large become the size of the smallest class.
        dataset: The target.
        run: Says so.

    Raises:
        UserError: The smallest class has fewer than was asked for; it is named.
    """
    asked, usual = config.labels_per_class, type(config)().labels_per_class
    names = [name for name in dataset.class_names if name not in config.target.leave_out]
    if len(names) < 2:
        return asked  # refused where the task is made
    sizes = np.bincount(dataset.labels("train"), minlength=len(dataset.class_names))
    sizes_of = {name: int(n) for name, n in zip(dataset.class_names, sizes) if n and name in names}
    name, smallest = min(sizes_of.items(), key=lambda row: row[1])
    if max(asked) <= smallest:
        return asked
    if asked != usual:
        dataset.with_classes(names).with_labels(max(asked))  # raises
    found = tuple(dict.fromkeys(min(number, smallest) for number in asked))
    run.say(
        f"labels a class: {', '.join(map(str, found))}, as class '{name}' has {smallest} training examples; "
        "--labels-per-class says otherwise"
    )
    return found


def load_task(
    target: TargetConfig,
    config: RunConfig,
    source: keras.Model,
    run: Run,
    *,
    at_least: int = 0,
    key: str | None = None,
    dataset: Dataset | None = None,
) -> Task:
    """Load the task that is to profit, and print what it is.

    Args:
        target: Names the data set, its columns and the classes to leave out.
        config: Folders and downloads.
        source: What is to be transferred; settles how images are read.
        run: The run.
        at_least: Classes with fewer training labels are left out too.
        key: "text" or "image": which is the task's, where examples have both; by default what the source does not take.
        dataset: What `load_target` gave, if it was called before the source was trained.
    """
    dataset = dataset if dataset is not None else load_target(target, config, run)
    dataset = without_classes(dataset, target.leave_out, at_least, run) if dataset.class_names else dataset
    task = Task.of(dataset, target, source, key)
    if task.key == "text":
        check_texts(dataset, target, run)
    sizes = ", ".join(f"{n:,} {split}" for split, n in task.sizes.items())
    run.say(f"target: {target.spec}, {len(task.class_names)} classes, {sizes}")
    for note in dataset.notes:
        run.say(f"target: {note}")
    return task


def without_classes(dataset: Dataset, names: tuple[str, ...], at_least: int, run: Run) -> Dataset:
    """Leave out classes by name, and those with fewer than `at_least` training labels; print which."""
    unknown = next((name for name in names if name not in dataset.class_names), None)
    if unknown is not None:
        near = suggest(unknown, dataset.class_names)
        raise UserError(f"--leave-out: {dataset.name} has no class '{unknown}'; {near}")
    counts = np.bincount(dataset.labels("train"), minlength=len(dataset.class_names))
    few = [name for name, n in zip(dataset.class_names, counts) if n < at_least and name not in names]
    kept = [name for name in dataset.class_names if name not in (*names, *few)]
    if few:
        shown = ", ".join(few[:8]) + (" …" if len(few) > 8 else "")
        run.say(f"target: {len(few)} classes have fewer than {at_least} training labels and are left out: {shown}")
    if names:
        run.say(f"target: left out, as asked: {', '.join(names)}")
    if len(kept) < 2:
        raise UserError(f"{dataset.name}: {len(kept)} classes are left; leave out fewer, or ask for fewer labels")
    return dataset if len(kept) == len(dataset.class_names) else dataset.with_classes(kept)


def takes(source: keras.Model) -> str:
    """Return what a source model takes: "text" (token ids, as a BERT) or "image".

    Raises:
        UserError: it takes something else, such as raw strings, flat rows or two inputs.
    """
    wanted = source.input
    if isinstance(wanted, dict) and "token_ids" in wanted:
        return "text"
    if isinstance(wanted, keras.KerasTensor) and len(wanted.shape) == 4 and wanted.shape[3] in (1, 3):
        return "image"
    shapes = ", ".join(f"{tensor.name} {tensor.dtype} {list(tensor.shape)}" for tensor in source.inputs)
    raise UserError(
        f"the source {source.name} takes {shapes}; a source takes images [B, H, W, 1 or 3], or token ids as a "
        "KerasHub backbone does. Give the model inside it, up to its own bridge"
    )


def _reading(dataset: Dataset, target: TargetConfig, source: keras.Model) -> dict[str, Any]:
    size: tuple[int, int] | None = None
    channels = dataset.image_shape[2] if dataset.image_shape else 3
    if target.image_size:
        size = (target.image_size, target.image_size)
    elif not dataset.image_shape:
        size = (64, 64)
    if takes(source) == "image":
        height, width, channels = source.input.shape[1:]
        size = size if None in (height, width) else (height, width)
    return {"image_size": size, "channels": channels}
