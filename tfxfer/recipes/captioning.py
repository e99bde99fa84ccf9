"""Knowledge transfer by captions: K = f(X)·g(Y) + h(X, Y), with h the log-likelihood of a caption under a decoder.

    X   pictures, as maps of a frozen encoder: by default a CNN that learned other characters
    Y   captions: by default the names of characters that encoder and decoder have never met
    h   a BERT turned into a decoder: by default one that read other names, 8,000 an epoch, and never saw a picture

Command:   python -m tfxfer.train knowledge
Replay:    python -m tfxfer.train knowledge --config runs/knowledge-<time>/config.yaml
A decoder can gain likelihood by its language alone; so likelihood, CIDEr-D and exact match stand side by side, and what
the model says without the picture stands beside what it says with it. Time, scores and machine: docs/results.md.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.arms.captioning import Gallery, CaptioningArm, neighbour
from tfxfer.arms.controls import has_model
from tfxfer.cache import atomic_file, key_of, write_json
from tfxfer.config import KnowledgeConfig, TaskConfig
from tfxfer.experiment import Arm, Experiment
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.recipes.device import prepare
from tfxfer.recipes.feature import conclude, load_source, records_folder, run_arms
from tfxfer.recipes.panels import image_ablation as looking
from tfxfer.recipes.panels.ledger import keep
from tfxfer.runs import Run
from tfxfer.sources.language_model import fresh_language, load_language, read_on, texts_to_read
from tfxfer.tasks.captioned_images import Pictures, count_long
from tfxfer.transfer.graph import fingerprint
from tfxfer.transfer.knowledge.caption_model import caption_model, feature_map_encoder, resized_encoder, standardized, whole

MEASURES = ("cider_d", "log_likelihood", "exact_match", "token_f1")


def run(config: KnowledgeConfig) -> Path:
    """Run the experiment that `config` describes; return the run's folder."""
    config = smoke(config) if config.smoke else config
    this = Run("knowledge", config)
    try:
        this.say(f"tfxfer {tfxfer.__version__} · knowledge transfer · {prepare(config)} · {this.folder}")
        language, words = load_language(config, this)
        encoder = feature_map_encoder(load_encoder(config, this))
        pictures = Pictures.load(config, encoder, this)
        encoder = resized_encoder(encoder, pictures.images["train"].shape[1:], config.places)
        with this.phase("features"):
            gallery = pictures.gallery(encoder)
            encoder = standardized(encoder, gallery.grids["train"])
            gallery = gallery.through(encoder.get_layer("standardized"))
        count_long(gallery, words, config, this)
        texts = texts_to_read(config, this)
        arms, transfer = plan(language, words, texts, gallery, config, this)
        experiment = Experiment(
            title=f"{config.source} → captions of {config.target}",
            class_names=(),
            labels=np.zeros(len(gallery.captions["test"]), np.int32),
            arms=tuple(arm for arm in arms if arm.name in config.arms),
            budgets=tuple(sorted(config.pairs)),
            seeds=tuple(range(config.seed, config.seed + config.seeds)),
            examples=tuple(pictures.examples()),
            measures=MEASURES,
            unit="pairs",
            recipe="knowledge",
        )
        keys = (pictures.dataset.fingerprint, fingerprint(language), fingerprint(encoder), key_of(texts))
        with this.phase("arms"):
            comparison = run_arms(experiment, this, records_folder(config, ("controls_at",), *keys))
        with this.phase("saving and report"):
            if has_model(comparison, this):
                save(transfer, encoder, pictures, words, config, this)
                looking.write(transfer, gallery, pictures.images["test"], this)
        conclude(comparison, this)
        return this.folder
    finally:
        this.close()


def smoke(config: KnowledgeConfig) -> KnowledgeConfig:
    """Return the config shrunk to seconds: the same code, so little data that the figures mean nothing."""
    small: dict[str, Any] = {
        "source_epochs": 1,
        "encoder_epochs": 1,
        "source_max": 512,
        "pairs": (8, 16),
        "controls_at": (16,),
    }
    small |= {
        "text_updates": min(config.text_updates, 5),
        "updates": 5,
        "batch_size": 8,  # of every number of pairs: one compilation
        "learning_rates": (1e-3,),
        "max_validation": 20,
        "max_test": 30,
    }
    return replace(config, seeds=min(config.seeds, 2), **small)


def load_encoder(config: KnowledgeConfig, this: Run) -> keras.Model:
    """Return the picture model: given, trained on a data set (once, then cached), or fresh for the target's pictures.

    A fresh one stays as it is: random features, a control of what the encoder has to know.
    """
    size = (config.image_size or 64,) * 2
    if not config.encoder.startswith("fresh:"):
        return load_source(encoder_config(config), this, size)
    columns = {"image": config.target_image, "caption": config.target_caption}
    shape = tfxfer.load(config.target, data_dir=config.data_dir, download=config.download, **columns).image_shape
    height, width, channels = (*size, 3) if shape is None else shape
    height, width = size if config.image_size else (height, width)
    this.say(f"encoder: {config.encoder}, random weights that do not train")
    return tfxfer.source(config.encoder, input_shape=(height, width, channels), seed=config.seed)


def encoder_config(config: KnowledgeConfig) -> TaskConfig:
    """Return the config by which the picture encoder is trained or loaded."""
    return TaskConfig(
        source=config.encoder,
        source_label=config.encoder_label,
        source_epochs=config.encoder_epochs,
        source_max=512 if config.smoke else TaskConfig.source_max,
        image_size=config.image_size,
        seed=config.seed,
        jit=config.jit,
        data_dir=config.data_dir,
        download=config.download,
    )


def plan(
    language: keras.Model,
    words: WordPieceTokenizer,
    texts: list[str],
    gallery: Gallery,
    config: KnowledgeConfig,
    this: Run,
) -> tuple[list[Arm], CaptioningArm]:
    """Return the arms, and the one under study: one reader, the same budget, and one thing changed at a time."""
    shape = gallery.grids["train"].shape[1:]
    how: dict[str, Any] = {
        "cross_attention": config.cross_attention,
        "prefix_length": config.prefix_length if config.looking == "prefix" else 0,
        "evidence": config.evidence,
    }
    reader, weight_map = caption_model(shape, language, **how, seed=config.seed)
    keep(weight_map, "", this)

    carried = read_on(reader, words, texts, config, this) if texts else {}

    @cache
    def warm(seed: int) -> list[np.ndarray]:
        made = caption_model(shape, language, **how, seed=seed)[0]
        for variable in made.trainable_variables:
            if variable.path in carried:
                variable.assign(carried[variable.path])
        return made.get_weights()

    @cache
    def cold(seed: int) -> list[np.ndarray]:
        return caption_model(shape, fresh_language(language, seed), **how, seed=seed)[0].get_weights()

    def arm(name: str, start: Callable[[int], list[np.ndarray]], change: Callable[[Gallery, int], Gallery]) -> CaptioningArm:
        def told_of(row: dict[str, Any]) -> None:
            this.metric("arm training", arm=name, **row)

        last = (max(config.pairs), config.seed)
        return CaptioningArm(start, reader, words, lambda n, s: change(gallery.drawn(n, s), s), config, told_of, last)

    transfer = arm("transfer", warm, lambda drawn, seed: drawn)
    at = config.controls_at or (max(config.pairs),)
    writers: list[tuple[str, CaptioningArm, tuple[int, ...] | None]] = [
        ("transfer", transfer, None),
        ("random", arm("random", cold, lambda drawn, seed: drawn), None),
        ("blind", arm("blind", warm, lambda drawn, seed: drawn.blind()), at),
        ("shuffled", arm("shuffled", warm, lambda drawn, seed: drawn.shuffled(seed)), at),
    ]
    arms = [Arm(name, w, budgets, one_seed=budgets is not None, recall=w.recall) for name, w, budgets in writers]
    return [*arms, Arm("neighbour", lambda n, seed: neighbour(gallery.drawn(n or 0, seed), words))], transfer


def save(
    transfer: CaptioningArm, encoder: keras.Model, pictures: Pictures, words: WordPieceTokenizer, config: KnowledgeConfig, this: Run
) -> None:
    """Save the transfer arm at its greatest budget, first seed, as one model, with its vocabulary."""
    model = whole(encoder, transfer.final())
    with atomic_file(this.folder / "model.keras") as path:
        model.save(path)
    if config.ranking == "both":
        with atomic_file(this.folder / "ranking.npz") as path, path.open("wb") as file:
            np.savez(file, weight=np.array(transfer.weight), **transfer.captions.state())  # type: ignore[arg-type]
    height, width, channels = pictures.images["test"].shape[1:]
    described = {
        "task": "captions",
        "input": "image",
        "pieces": words.vocabulary,
        "lowercase": words.lowercase,
        "image_size": [height, width],
        "channels": channels,
        "num_beams": config.num_beams,
        "length_penalty": config.length_penalty,
    }
    write_json(this.folder / "model.json", described)
