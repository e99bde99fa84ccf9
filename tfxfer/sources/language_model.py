"""The language of a captioner: a BERT trained on texts or given, and the decoder made of it that goes on reading.

A BERT guesses hidden words from both sides. The decoder made of it must go from left to right, and can learn that from
the texts alone, without pairs: teacher forcing beside a blank picture. What is new in it, the looking, is put back.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

import tfxfer
from tfxfer.arms.classifier import warmed
from tfxfer.cache import atomic_file, data_dir, key_of
from tfxfer.config import KnowledgeConfig, TaskConfig
from tfxfer.errors import UserError
from tfxfer.fit import train
from tfxfer.models import spec as model_spec
from tfxfer.models.randomness import seeded
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.recipes.feature import load_source
from tfxfer.runs import Run
from tfxfer.sources.pretrain import trained_language_model
from tfxfer.transfer.graph import fingerprint
from tfxfer.transfer.knowledge.caption_model import new_weight_paths
from tfxfer.transfer.knowledge.caption_training import Lessons, batches, compiled, slower

RATE = 3e-3  # the largest learning rate


def load_language(config: KnowledgeConfig, this: Run) -> tuple[keras.Model, WordPieceTokenizer]:
    """Return the language model whose knowledge is carried, and its vocabulary."""
    as_source = TaskConfig(
        source=config.source,
        model="fresh:bert",
        source_epochs=config.source_epochs,
        source_max=config.source_max,
        seed=config.seed,
        data_dir=config.data_dir,
        download=config.download,
    )
    if not model_spec.is_model(config.source):
        with this.phase("data"):
            options = {"text": config.source_text} if config.source_text else {}
            dataset = tfxfer.load(config.source, data_dir=config.data_dir, download=config.download, **options)
        with this.phase("source"):
            return trained_language_model(as_source, dataset, this)
    kind, _, name = config.source.partition(":")
    if kind != "preset":
        raise UserError(f"--source {config.source}: give a data set of texts, or preset:DIR with its vocabulary")
    return load_source(as_source, this, (0, 0)), WordPieceTokenizer.from_folder(Path(name).expanduser())


def fresh_language(language: keras.Model, seed: int) -> keras.Model:
    """Return the same language model with fresh weights."""
    seeded(7919 + seed)  # away from the seeds of sources and of what is new
    backbone = getattr(language, "backbone", language)
    fresh = type(backbone).from_config(backbone.get_config())
    return fresh if backbone is language else type(language)(fresh, preprocessor=None)


def texts_to_read(config: KnowledgeConfig, this: Run) -> list[str]:
    """Return the texts that the decoder goes on reading; none where a trained source comes without."""
    if not config.text_updates:
        return []
    if config.reading is None and model_spec.is_model(config.source):
        this.say(f"source: {config.source} comes without texts to go on reading; --reading can name some")
        return []
    spec = config.reading or config.source
    options = {"text": config.source_text} if config.source_text and not config.reading else {}
    dataset = tfxfer.load(spec, data_dir=config.data_dir, download=config.download, **options)
    if "text" not in dataset.keys:
        raise UserError(f"--reading {spec}: has no texts; name a set that has, such as text:FILE")
    return dataset.texts("train")


def read_on(
    reader: keras.Model, words: WordPieceTokenizer, texts: Sequence[str], config: KnowledgeConfig, this: Run
) -> dict[str, np.ndarray]:
    """Let a decoder foretell texts; return path -> its carried weights, from the cache where they are there.

    Args:
        reader: A model of `caption_model` as the language model left it; it is compiled, and its weights are changed.
        words: Its vocabulary.
        texts: What it reads.
        config: `text_updates` steps of `batch_size` texts of `length` tokens.
        this: The run.
    """
    shape = reader.input["grid"].shape[1:]
    how = [config.text_updates, config.batch_size, config.length, config.label_smoothing, config.seed, RATE, shape]
    key = key_of("reading", how, fingerprint(reader), list(texts))
    file = data_dir(config.data_dir) / "sources" / f"reading-{key}.npz"
    if file.is_file():
        this.say(f"source: the decoder has gone on reading before; its weights are taken from the cache ({key})")
        with np.load(file) as kept:
            return {path: kept[path] for path in kept.files}
    started = time.perf_counter()
    new = new_weight_paths(reader)
    optimizer = compiled(reader, sorted(new), smoothing=config.label_smoothing)
    numbers, _ = words.encode(texts, config.length)
    lessons = Lessons(np.zeros((1, *shape), np.float32), numbers, np.zeros(len(numbers), int))
    data = batches(lessons, words, config.batch_size, seed=config.seed, updates=config.text_updates)
    rate = slower(optimizer, 1.0, 0, warmed(RATE, config.text_updates))
    loss = train(reader, lambda epoch, skip: data, 1, step_rate=rate).rows[-1]["loss"]
    this.metric("reading", loss=loss, updates=config.text_updates)
    this.say(
        f"source: the decoder went on reading, {config.text_updates} steps of {config.batch_size} texts without "
        f"pictures, in {time.perf_counter() - started:.0f} s (loss {loss:.3f})"
    )
    carried = {v.path: np.asarray(v) for v in reader.trainable_variables if v.path not in new}
    with atomic_file(file) as temporary, temporary.open("wb") as opened:
        np.savez(opened, **carried)  # type: ignore[arg-type]
    return carried
