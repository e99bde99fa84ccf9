"""The step before a transfer: training the source, once. A trained source is kept and used again."""

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.cache import atomic_file, data_dir, key_of, locked, sha256_file, write_json
from tfxfer.config import TaskConfig
from tfxfer.data.dataset import Dataset
from tfxfer.data.pictures import readable_errors
from tfxfer.errors import UserError
from tfxfer.fit import cosine, train
from tfxfer.models.bert import masked_lm, small_bert, word_pieces
from tfxfer.models.randomness import seeded
from tfxfer.models.saved import load_model
from tfxfer.models.sources import source
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.runs import Run

BATCH = 128
LEARNING_RATES = {"fresh:cnn": 1e-2}  # the largest of half a cosine, with Adam; see benchmarks/default.py
USUAL_RATE = 1e-3  # of every other model
PIECES = 2000  # word pieces of a fresh BERT
HEAD = "masked_lm.npz"  # a fresh BERT with its head
TOKENS = 24  # length of a text while a fresh BERT is trained


def trained_source(config: TaskConfig, dataset: Dataset, run: Run) -> keras.Model:
    """Return a model trained on the source data set: from the cache when the same was trained before.

    The key is made of the architecture, the training's settings and the data set's fingerprint. An interrupted
    training goes on from its last checkpoint. A model file whose bytes changed is trained again.
    """
    spec, folder = _place(config, dataset)
    with locked(folder):
        kept = _kept(folder)
        if kept:
            run.say(f"source: {spec} trained on {config.source} is taken from the cache ({folder.name})")
            for row in kept["history"]:
                run.metric("source", **row)
            return load_model(folder / "model.keras")
        return _train(spec, config, dataset, folder, run)


def trained_language_model(config: TaskConfig, dataset: Dataset, run: Run) -> tuple[keras.Model, WordPieceTokenizer]:
    """Return a `BertMaskedLM` trained on the source's text, with its head, and its vocabulary; cached as above."""
    backbone = trained_source(config, dataset, run)
    _, folder = _place(config, dataset)
    words = WordPieceTokenizer.from_folder(folder)
    model, _ = masked_lm(backbone, words.vocabulary, TOKENS)
    with np.load(folder / HEAD) as file:
        model.set_weights(list(file.values()))
    return model, words


def _place(config: TaskConfig, dataset: Dataset) -> tuple[str, Path]:
    """Return the spec of the architecture, and the folder named after everything that decides the trained source."""
    spec = config.model if config.model != "auto" else _usual_model(dataset)
    settings = {"model": spec, "epochs": config.source_epochs, "max": config.source_max, "batch": BATCH}
    settings |= {"rate": learning_rate(spec, config), "seed": config.seed, "precision": config.precision, "format": 2}
    settings |= {"image_size": picture_size(config, dataset)} | ({"head": True} if spec == "fresh:bert" else {})
    return spec, data_dir(config.data_dir) / "sources" / key_of(settings, dataset.fingerprint)


def learning_rate(spec: str, config: TaskConfig) -> float:
    """Return the largest learning rate that a source is trained with."""
    return config.source_learning_rate or LEARNING_RATES.get(spec, USUAL_RATE)


def _usual_model(dataset: Dataset) -> str:
    return "fresh:cnn" if "image" in dataset.keys else "fresh:bert"


def _kept(folder: Path) -> dict[str, Any] | None:
    """Return the record of a trained source when its model file is whole."""
    try:
        record = json.loads((folder / "source.json").read_text(encoding="utf-8"))
        whole = sha256_file(folder / "model.keras") == record["sha256"]
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None
    return record if whole else None


def _train(spec: str, config: TaskConfig, dataset: Dataset, folder: Path, run: Run) -> keras.Model:
    prepare = _text_training if spec == "fresh:bert" else _picture_training
    model, keep, batches, validation = prepare(spec, config, dataset, folder)
    epochs = config.source_epochs
    run.say(f"source: training {spec} on {config.source}, {dataset.sizes['train']:,} examples, {epochs} epochs")
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
            learning_rate=cosine(learning_rate(spec, config), epochs),
            checkpoint=folder / "unfinished.npz",
            on_epoch=on_epoch,
        )
    if history.resumed_at:
        run.say(f"source: went on from epoch {history.resumed_at[0] + 1}, step {history.resumed_at[1] + 1}")
    last = ", ".join(f"{k} {v:.3f}" for k, v in history.rows[-1].items() if k not in ("epoch", "seconds"))
    run.say(f"source: trained in {time.perf_counter() - started:.0f} s ({last})")
    if spec == "fresh:bert":  # what the decoder of a captioner takes along
        with atomic_file(folder / HEAD) as path:
            np.savez(path, *model.get_weights())
    with atomic_file(folder / "model.keras") as path:
        keep.save(path)
    record = {"spec": spec, "data": config.source, "sha256": sha256_file(folder / "model.keras")}
    write_json(folder / "source.json", record | {"history": history.rows})
    (folder / "unfinished.npz").unlink(missing_ok=True)
    return keep


Training = tuple[keras.Model, keras.Model, Callable[[int, int], tf.data.Dataset], tf.data.Dataset]


def picture_size(config: TaskConfig, dataset: Dataset) -> tuple[int, int] | None:
    """Return (height, width) that pictures are resized to, or None to take them as they are."""
    if config.image_size:
        return (config.image_size, config.image_size)
    return None if dataset.image_shape or "image" not in dataset.keys else (64, 64)


def _picture_training(spec: str, config: TaskConfig, dataset: Dataset, folder: Path) -> Training:
    """A classifier of the source's pictures: (model to train, model to keep, its batches, validation)."""
    if "image" not in dataset.keys or not dataset.class_names:
        raise UserError(f"{config.source}: {spec} needs pictures with labels; name the column with --source-label")
    size = picture_size(config, dataset)
    channels = dataset.image_shape[2] if dataset.image_shape else 3
    height, width = size or (dataset.image_shape or (64, 64))[:2]
    model = source(spec, num_classes=len(dataset.class_names), input_shape=(height, width, channels), seed=config.seed)
    if model.output.shape[-1] != len(dataset.class_names):  # keras:NAME/fresh comes without a head
        head = keras.layers.Dense(len(dataset.class_names), activation="softmax", name="classes")
        model = keras.Model(model.input, head(model.output), name=model.name)
    model.compile(
        keras.optimizers.Adam(),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
        jit_compile=config.jit or spec == "fresh:vit",
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

    limit = -(-config.source_max // BATCH) if config.source_max else -1

    def epoch_batches(epoch: int, skip: int) -> tf.data.Dataset:
        return pairs("train", 1000 + config.seed + epoch, skip).take(max(0, limit - skip) if limit > 0 else -1)

    return model, model, epoch_batches, pairs("validation").take(2000 // BATCH + 1)


def _text_training(spec: str, config: TaskConfig, dataset: Dataset, folder: Path) -> Training:
    """A masked language model of the source's text."""
    if "text" not in dataset.keys:
        raise UserError(f"--model {spec}: {config.source} has no text column to train it on")
    texts = dataset.texts("train")
    if config.source_max:
        texts = texts[: config.source_max]
    pieces = word_pieces(texts, PIECES, folder / "vocabulary.txt")
    seeded(config.seed)
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
