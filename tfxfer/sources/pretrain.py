"""The step before a transfer: training the source, once. A trained source is cached and used again.

Its cache key is made of every field of the `SourceConfig`, every field of the `RunConfig` that can change a result, the
size of its images and the fingerprint of its data.
"""

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.cache import atomic_file, changed_files, data_dirs, digests_of, key_of, locked
from tfxfer.config import RunConfig, SourceConfig, deciding
from tfxfer.data.dataset import Dataset
from tfxfer.data.images import readable_errors
from tfxfer.errors import DamagedFile, UserError
from tfxfer.fit import cosine, train
from tfxfer.in_use import use
from tfxfer.models.bert import learn_word_pieces, masked_lm, small_bert
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.models.saved import load_model
from tfxfer.models.sources import source
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.own_files import read_own_json, read_own_npz, write_own_json
from tfxfer.runs import Run

log = logging.getLogger("tfxfer")

BATCH = 128
TEXT_BATCH = 32  # of short texts, for a text CNN
LEARNING_RATES = {"fresh:cnn": 1e-2}  # the largest of half a cosine, with Adam; see benchmarks/default.py
USUAL_RATE = 1e-3  # of every other model
PIECES = 2000  # word pieces of a fresh BERT
FORMAT = 4  # of a cached source
HEAD = "masked_lm.npz"  # a fresh BERT with its head
VOCABULARY = "vocabulary.txt"  # of a fresh BERT
TOKENS = 24  # length of a text while a fresh BERT is trained


@dataclass(frozen=True)
class Pretraining:
    """One training of a source.

    Attributes:
        source: What is trained, its architecture and learning rate resolved.
        config: Seed, device and arithmetic.
        dataset: What it learns.
        image_size: (height, width) that images are resized to; None takes them as they are.
    """

    source: SourceConfig
    config: RunConfig
    dataset: Dataset
    image_size: tuple[int, int] | None

    @classmethod
    def of(cls, source: SourceConfig, config: RunConfig, dataset: Dataset, image_size: int = 0) -> "Pretraining":
        """Return the training that a config asks for; `image_size` 0 takes images as they are, 64 when they vary."""
        architecture = source.architecture
        if architecture == "auto":
            architecture = "fresh:cnn" if "image" in dataset.keys else "fresh:bert"
        rate = source.learning_rate or LEARNING_RATES.get(architecture, USUAL_RATE)
        size = (image_size,) * 2 if image_size else None if dataset.image_shape else (64, 64)
        resolved = replace(source, architecture=architecture, learning_rate=rate)
        return cls(resolved, config, dataset, size if "image" in dataset.keys else None)

    @property
    def key(self) -> str:
        """The cache key: equal for equal trained weights."""
        given = {"source": deciding(self.source), "run": deciding(self.config, RunConfig), "size": self.image_size}
        batch = TEXT_BATCH if self.source.architecture == "fresh:text_cnn" else BATCH
        return key_of(given, self.dataset.fingerprint, {"batch": batch, "format": FORMAT})

    @property
    def folder(self) -> Path:
        """Where the source is trained, and then cached."""
        return data_dirs(self.config.data_dir).own / "sources" / self.key

    @property
    def shared(self) -> list[Path]:
        """Folders of other data folders that may hold this source, trained."""
        return data_dirs(self.config.data_dir).shared("sources", self.key)


def trained_source(training: Pretraining, run: Run) -> keras.Model:
    """Return a model trained on the source data set: from the cache when the same was trained before.

    An interrupted training goes on from its last checkpoint. A source of which a file has changed is trained again.
    """
    return _found_or_trained(training, run)[0]


def _found_or_trained(training: Pretraining, run: Run) -> tuple[keras.Model, Path]:
    """Return a trained source and the folder that holds its files."""
    for folder in training.shared:
        kept = kept_record(folder)
        if kept:
            return _opened(folder, kept, training.source, run), folder
    folder = training.folder
    use(folder)
    with locked(folder):
        kept = kept_record(folder)
        return _opened(folder, kept, training.source, run) if kept else _train(training, run), folder


def _opened(folder: Path, kept: dict[str, Any], source: SourceConfig, run: Run) -> keras.Model:
    run.say(f"source: {source.architecture} trained on {source.spec} is taken from the cache ({folder.name})")
    for row in kept["history"]:
        run.metric("source", **row)
    return load_model(folder / "model.keras")


def trained_language_model(training: Pretraining, run: Run) -> tuple[keras.Model, WordPieceTokenizer]:
    """Return a `BertMaskedLM` trained on the source's text, with its head, and its tokenizer; cached as above."""
    backbone, folder = _found_or_trained(training, run)
    tokenizer = WordPieceTokenizer.from_folder(folder)
    model, _ = masked_lm(backbone, tokenizer.vocabulary, TOKENS)
    head = read_own_npz(folder / HEAD, "delete its folder and run the same command again")
    model.set_weights(list(head.values()))
    return model, tokenizer


def kept_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a trained source when all its files are whole."""
    try:
        record = read_own_json(folder / "source.json", "the source is trained again", {"history": list, "sha256": dict})
    except FileNotFoundError:
        return None
    except DamagedFile as error:
        log.warning("%s", error)
        return None
    changed = changed_files(folder, record["sha256"])
    if changed:
        log.warning("%s: %s changed or missing; the source is trained again", folder, ", ".join(changed))
    return None if changed else record


def _train(training: Pretraining, run: Run) -> keras.Model:
    source, dataset, folder = training.source, training.dataset, training.folder
    prepare = TRAININGS.get(source.architecture, _image_training)
    model, keep, batches, validation = prepare(training)
    epochs = source.epochs
    run.say(
        f"source: training {source.architecture} on {source.spec}, {dataset.sizes['train']:,} examples, {epochs} epochs"
    )
    started = time.perf_counter()
    with run.progress() as bar, readable_errors(dataset), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Gradients do not exist.*pooled_dense"
        )  # no part of masked language modelling
        task = bar.add_task("training the source", total=epochs, note="")

        def on_epoch(row: dict[str, float]) -> None:
            run.metric("source", **row)
            note = ", ".join(f"{k} {v:.3f}" for k, v in row.items() if k in ("loss", "val_accuracy"))
            bar.update(task, completed=row["epoch"], note=note)

        history = train(
            model,
            batches,
            epochs,
            validation=validation,
            learning_rate=cosine(source.learning_rate, epochs),
            checkpoint=folder / "unfinished.npz",
            on_epoch=on_epoch,
        )
    if history.resumed_at:
        run.say(f"source: went on from epoch {history.resumed_at[0] + 1}, step {history.resumed_at[1] + 1}")
    last = ", ".join(f"{k} {v:.3f}" for k, v in history.rows[-1].items() if k not in ("epoch", "seconds"))
    run.say(f"source: trained in {time.perf_counter() - started:.0f} s ({last})")
    if source.architecture == "fresh:bert":  # what the decoder of a captioner takes along
        with atomic_file(folder / HEAD) as path:
            np.savez(path, *model.get_weights())
    with atomic_file(folder / "model.keras") as path:
        keep.save(path)
    files = ["model.keras", *([HEAD, VOCABULARY] if source.architecture == "fresh:bert" else [])]
    record = {"spec": source.architecture, "data": source.spec, "sha256": digests_of(folder, files)}
    write_own_json(folder / "source.json", record | {"history": history.rows})
    (folder / "unfinished.npz").unlink(missing_ok=True)
    return keep


Training = tuple[keras.Model, keras.Model, Callable[[int, int], tf.data.Dataset], tf.data.Dataset]


def _image_training(training: Pretraining) -> Training:
    """A classifier of the source's images: (model to train, model to keep, its batches, validation)."""
    own, config, dataset, size = training.source, training.config, training.dataset, training.image_size
    if "image" not in dataset.keys or not dataset.class_names:
        raise UserError(f"{own.spec}: {own.architecture} needs images with labels; name the label column")
    channels = dataset.image_shape[2] if dataset.image_shape else 3
    shape = (*(size or (dataset.image_shape or (64, 64))[:2]), channels)
    model = source(own.architecture, num_classes=len(dataset.class_names), input_shape=shape, seed=config.seed)
    if model.output.shape[-1] != len(dataset.class_names):  # keras:NAME/fresh comes without a head
        head = keras.layers.Dense(len(dataset.class_names), activation="softmax", name="classes")
        model = keras.Model(model.input, head(model.output), name=model.name)
    model.compile(
        keras.optimizers.Adam(),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
        jit_compile=config.jit or own.architecture == "fresh:vit",
    )

    def pairs(split: str, shuffle: int | None = None, skip: int = 0) -> tf.data.Dataset:
        batches = dataset.batches(
            split,
            BATCH,
            keys=("image", "label"),
            image_size=size,
            channels=channels,
            shuffle_seed=shuffle,
            skip=skip,
        )
        return batches.map(lambda row: (row["image"], row["label"]))

    limit = -(-own.max_examples // BATCH) if own.max_examples else -1

    def epoch_batches(epoch: int, skip: int) -> tf.data.Dataset:
        return pairs("train", 1000 + config.seed + epoch, skip).take(max(0, limit - skip) if limit > 0 else -1)

    return model, model, epoch_batches, pairs("validation").take(2000 // BATCH + 1)


def _label_training(training: Pretraining) -> Training:
    """A classifier of the source's texts."""
    own, config, dataset = training.source, training.config, training.dataset
    if "text" not in dataset.keys or not dataset.class_names:
        raise UserError(f"{own.spec}: {own.architecture} needs texts with labels; name the label column")
    model = source(own.architecture, num_classes=len(dataset.class_names), seed=config.seed)
    model.compile(keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    most = max(1, own.max_examples // TEXT_BATCH) if own.max_examples else -1

    def pairs(split: str, shuffle: int | None = None, skip: int = 0) -> tf.data.Dataset:
        batches = dataset.batches(split, TEXT_BATCH, keys=("text", "label"), shuffle_seed=shuffle, skip=skip)
        return batches.map(lambda row: (row["text"], row["label"]))

    def epoch_batches(epoch: int, skip: int) -> tf.data.Dataset:
        return pairs("train", 1000 + config.seed + epoch, skip).take(max(0, most - skip) if most > 0 else -1)

    return model, model, epoch_batches, pairs("validation").take(2000 // TEXT_BATCH + 1)


def _text_training(training: Pretraining) -> Training:
    """A masked language model of the source's text."""
    own, config, dataset = training.source, training.config, training.dataset
    if "text" not in dataset.keys:
        raise UserError(f"{own.architecture}: {own.spec} has no text column to train it on; name it")
    texts = dataset.texts("train")
    if own.max_examples:
        texts = texts[: own.max_examples]
    pieces = learn_word_pieces(texts, PIECES, training.folder / VOCABULARY)
    set_initializer_seed(config.seed)
    backbone = small_bert(vocabulary_size=len(pieces))
    model, mask = masked_lm(backbone, pieces, TOKENS)
    model.compile(
        keras.optimizers.Adam(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
        jit_compile=True,  # measured: a small transformer's epoch takes about 0.4 of the time
    )

    def batches(rows: list[str], seed: int, skip: int, shuffle: bool) -> tf.data.Dataset:
        """Batch i of an epoch depends on the epoch's seed and i alone: its order and its masks."""
        order = np.random.default_rng(seed).permutation(len(rows)) if shuffle else np.arange(len(rows))
        data = tf.data.Dataset.from_tensor_slices(np.array(rows, object)[order[skip * BATCH :]])
        data = data.batch(BATCH, drop_remainder=len(rows) >= BATCH).enumerate(skip)
        masked = data.map(
            lambda i, batch: mask(batch, tf.stack([tf.constant(seed, tf.int64), i])),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        return masked.prefetch(tf.data.AUTOTUNE)

    held_out = dataset.texts("validation")[: 16 * BATCH]
    return (
        model,
        backbone,
        lambda epoch, skip: batches(texts, 1000 + config.seed + epoch, skip, shuffle=True),
        batches(held_out, 0, 0, shuffle=False).cache(),
    )


TRAININGS = {"fresh:bert": _text_training, "fresh:text_cnn": _label_training}  # of the others: images
