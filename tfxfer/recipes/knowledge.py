"""Knowledge transfer by captions: K = f(X)·g(Y) + h(X, Y), with h the log-likelihood of a caption under a decoder.

    X   pictures, as maps of a frozen encoder: by default a CNN that learned other characters
    Y   captions: by default the names of characters that encoder and decoder have never met
    h   a BERT turned into a decoder: by default one that read 8,000 names an epoch, never with a picture

Command:   python -m tfxfer.train knowledge
Replay:    python -m tfxfer.train knowledge --config runs/knowledge-<time>/config.yaml
A decoder can gain likelihood by its language alone; so likelihood, CIDEr-D and exact match stand side by side, and what
the model says without the picture stands beside what it says with it. Time, scores and machine: docs/results.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.cache import atomic_file, write_json
from tfxfer.config import KnowledgeConfig, TaskConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError
from tfxfer.experiment import Arm, Experiment
from tfxfer.models import spec as model_spec
from tfxfer.models.vocabulary import Vocabulary
from tfxfer.recipes import looking
from tfxfer.recipes.feature import conclude, load_source, records_folder, run_arms
from tfxfer.recipes.pretrain import trained_language_model
from tfxfer.recipes.runtime import prepare
from tfxfer.recipes.task import png
from tfxfer.recipes.writers import Gallery, Writer, neighbour
from tfxfer.runs import Run
from tfxfer.transfer.graph import fingerprint
from tfxfer.transfer.knowledge.captioner import caption_reader, grid_of, whole
from tfxfer.transfer.weights.ledger import entries, flows, show_layers, totals

MEASURES = ("cider_d", "log_likelihood", "exact_match", "token_f1")
SHOWN = 24  # test pictures in the report


def run(config: KnowledgeConfig) -> Path:
    """Run the experiment that `config` describes; return the run's folder."""
    config = smoke(config) if config.smoke else config
    this = Run("knowledge", config)
    try:
        this.say(f"tfxfer {tfxfer.__version__} · knowledge transfer · {prepare(config)} · {this.folder}")
        language, words = load_language(config, this)
        encoder = grid_of(load_source(encoder_config(config), this, (config.image_size or 64,) * 2))
        pictures = Pictures.load(config, encoder, this)
        with this.phase("features"):
            gallery = pictures.gallery(encoder)
        arms, transfer = plan(language, words, gallery, config, this)
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
        keys = (pictures.dataset.fingerprint, fingerprint(language), fingerprint(encoder))
        with this.phase("arms"):
            comparison = run_arms(experiment, this, records_folder(config, ("pairs", "controls_at"), *keys))
        with this.phase("saving and report"):
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
    small |= {"updates": 5, "learning_rates": (1e-3,), "max_validation": 20, "max_test": 30}
    return replace(config, seeds=min(config.seeds, 2), **small)


def load_language(config: KnowledgeConfig, this: Run) -> tuple[keras.Model, Vocabulary]:
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
    return load_source(as_source, this, (0, 0)), Vocabulary.read(Path(name).expanduser())


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


@dataclass(frozen=True)
class Pictures:
    """Pictures with captions, one row a caption's picture.

    Attributes:
        dataset: The target.
        images: split -> uint8 [N, H, W, C].
        captions: split -> N lists of captions.
    """

    dataset: Dataset
    images: dict[str, np.ndarray]
    captions: dict[str, list[list[str]]]

    @classmethod
    def load(cls, config: KnowledgeConfig, encoder: keras.Model, this: Run) -> "Pictures":
        """Load the target; of several pictures with the same captions, as of a character in many faces, one is drawn.

        Raises:
            UserError: There are no pictures or no captions, or fewer training pictures than a budget asks for.
        """
        columns = {"image": config.target_image, "caption": config.target_caption}
        with this.phase("data"):
            dataset = tfxfer.load(config.target, data_dir=config.data_dir, download=config.download, **columns)
        for key in ("image", "caption"):
            if key not in dataset.keys:
                raise UserError(f"{config.target}: has no {key}s; name the column with --target-{key}")
        limits = {"train": max(config.pairs) * 2, "validation": config.max_validation, "test": config.max_test}
        images, captions = {}, {}
        for split, limit in limits.items():
            images[split], captions[split] = one_each(dataset, split, limit, config, encoder)
        if len(captions["train"]) < max(config.pairs):
            raise UserError(
                f"--pairs {max(config.pairs)}: {config.target} has {len(captions['train'])} training pictures with "
                "captions of their own; ask for fewer"
            )
        sizes = ", ".join(f"{len(rows):,} {split}" for split, rows in captions.items())
        this.say(f"target: {config.target}, pictures with captions: {sizes}")
        for note in dataset.notes:
            this.say(f"target: {note}")
        return cls(dataset, images, captions)

    def gallery(self, encoder: keras.Model) -> Gallery:
        """Return the encoder's maps of all pictures, with their captions."""
        grids = {
            split: np.asarray(encoder.predict(rows, batch_size=128, verbose=0), np.float32)
            for split, rows in self.images.items()
        }
        return Gallery(grids, self.captions)

    def examples(self) -> Iterator[dict[str, Any]]:
        """Yield test pictures for people, evenly spaced, with their true captions."""
        count = len(self.captions["test"])
        for i in np.unique(np.linspace(0, count - 1, min(SHOWN, count)).astype(int)):
            yield {"index": int(i), "png": png(self.images["test"][i]), "true": " · ".join(self.captions["test"][i])}


def one_each(
    dataset: Dataset, split: str, limit: int, config: KnowledgeConfig, encoder: keras.Model
) -> tuple[np.ndarray, list[list[str]]]:
    """Return pictures of a split and their captions: one picture of those with the same captions, in a drawn order."""
    found = all_captions(dataset, split)
    order = np.random.default_rng(0).permutation(len(found))
    first = dict.fromkeys(tuple(found[i]) for i in order if found[i])
    for i in reversed(order):
        if found[i]:
            first[tuple(found[i])] = i
    rows = np.array(list(first.values()), int)[: limit or None]
    size = (config.image_size,) * 2 if config.image_size else None if dataset.image_shape else (64, 64)
    height, width, channels = encoder.input.shape[1:]
    size = size if None in (height, width) else (height, width)
    few = replace(dataset, splits={split: dataset.splits[split].take(rows)}, _in_memory={})
    return few.arrays(split, size, channels)["image"], [found[i] for i in rows]


def all_captions(dataset: Dataset, split: str) -> list[list[str]]:
    """Return the captions of each picture of a split."""
    return [[text] for text in dataset.texts(split, "caption")]


def plan(
    language: keras.Model, words: Vocabulary, gallery: Gallery, config: KnowledgeConfig, this: Run
) -> tuple[list[Arm], Writer]:
    """Return the arms, and the one under study: one reader, the same budget, and one thing changed at a time."""
    shape = gallery.grids["train"].shape[1:]
    how: dict[str, Any] = {
        "cross_attention": config.cross_attention,
        "prefix_length": config.prefix_length if config.looking == "prefix" else 0,
    }
    reader, weight_map = caption_reader(shape, language, **how, seed=config.seed)
    show_layers(weight_map, this.console)
    weight_map.to_json(this.folder / "weight_map.json")
    told = {"entries": entries(weight_map, group=True), "totals": totals(weight_map), "proof": ""}
    write_json(this.folder / "ledger.json", told | {"flows": flows(weight_map), "titles": dict(weight_map.titles)})

    @cache
    def warm(seed: int) -> list[np.ndarray]:
        return caption_reader(shape, language, **how, seed=seed)[0].get_weights()

    @cache
    def cold(seed: int) -> list[np.ndarray]:
        return caption_reader(shape, fresh_language(language, seed), **how, seed=seed)[0].get_weights()

    def arm(name: str, start: Callable[[int], list[np.ndarray]], change: Callable[[Gallery, int], Gallery]) -> Writer:
        def told_of(row: dict[str, Any]) -> None:
            this.metric("arm training", arm=name, **row)

        keep = (max(config.pairs), config.seed)
        return Writer(start, reader, words, lambda n, s: change(gallery.drawn(n, s), s), config, told_of, keep)

    transfer = arm("transfer", warm, lambda drawn, seed: drawn)
    at = config.controls_at or (max(config.pairs),)
    writers: list[tuple[str, Writer, tuple[int, ...] | None]] = [
        ("transfer", transfer, None),
        ("random", arm("random", cold, lambda drawn, seed: drawn), None),
        ("blind", arm("blind", warm, lambda drawn, seed: drawn.blind()), at),
        ("shuffled", arm("shuffled", warm, lambda drawn, seed: drawn.shuffled(seed)), at),
    ]
    arms = [Arm(name, writer, budgets, recall=writer.recall) for name, writer, budgets in writers]
    return [*arms, Arm("neighbour", lambda n, seed: neighbour(gallery.drawn(n or 0, seed), words))], transfer


def fresh_language(language: keras.Model, seed: int) -> keras.Model:
    """Return the same language model with fresh weights."""
    keras.utils.set_random_seed(7919 + seed)  # away from the seeds of sources and of what is new
    backbone = getattr(language, "backbone", language)
    fresh = type(backbone).from_config(backbone.get_config())
    return fresh if backbone is language else type(language)(fresh, preprocessor=None)


def save(
    transfer: Writer, encoder: keras.Model, pictures: Pictures, words: Vocabulary, config: KnowledgeConfig, this: Run
) -> None:
    """Save the transfer arm at its greatest budget, first seed, as one model, with its vocabulary."""
    model = whole(encoder, transfer.final())
    with atomic_file(this.folder / "model.keras") as path:
        model.save(path)
    height, width, channels = pictures.images["test"].shape[1:]
    described = {
        "task": "captions",
        "input": "image",
        "pieces": words.pieces,
        "lowercase": words.lowercase,
        "image_size": [height, width],
        "channels": channels,
        "num_beams": config.num_beams,
        "length_penalty": config.length_penalty,
    }
    write_json(this.folder / "model.json", described)
