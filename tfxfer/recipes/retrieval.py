"""Knowledge transfer by retrieval: K = f(X)·g(Y), pictures and texts that find one another (LiT, Zhai et al. 2022).

    f   the picture tower, locked: by default a CNN that learned to tell characters apart, none of those in the test
    g   the text tower, trained: by default a BERT that read names of characters, and never saw a picture
    K   over all pairs: by default pictures of unseen characters and their official names

A picture may have several texts (`captions:`, `coco:`): it finds any of its own, and each of them finds it.

Command:   python -m tfxfer.train retrieval
Replay:    python -m tfxfer.train retrieval --config runs/retrieval-<time>/config.yaml
Time, scores and machine of the default run: docs/results.md. Seeds: 0, 1, 2.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.arms.contrastive import MEASURES, Pairs, ContrastiveArm, anchors, native
from tfxfer.arms.controls import has_model
from tfxfer.arms.feature import fresh_copy
from tfxfer.cache import data_dir, key_of
from tfxfer.config import RetrievalConfig, TaskConfig
from tfxfer.data.dataset import Dataset
from tfxfer.data.pictures import readable_errors
from tfxfer.errors import UserError
from tfxfer.experiment import Arm, Experiment
from tfxfer.models.randomness import seeded
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.recipes.checks import retrieval_columns
from tfxfer.recipes.device import prepare
from tfxfer.recipes.feature import conclude, load_source, records_folder, run_arms
from tfxfer.recipes.panels.retrieval import save, spaced
from tfxfer.runs import Run
from tfxfer.sources.pretrain import trained_language_model
from tfxfer.tasks.classification import png
from tfxfer.transfer.feature import extract, extractor
from tfxfer.transfer.graph import clone, fingerprint
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder
from tfxfer.transfer.knowledge.text_towers import bert_tower

TEXT = "caption"
SHOWN = 8  # test pictures in the report, beside its gallery


def run(config: RetrievalConfig) -> Path:
    """Run the experiment that `config` describes; return the run's folder."""
    config = smoke(config) if config.smoke else config
    this = Run("retrieval", config)
    try:
        this.say(f"tfxfer {tfxfer.__version__} · retrieval · {prepare(config)} · {this.folder}")
        data = load_pairs(config, this)  # before anything is trained for them
        bert, words = load_language(config, this)
        size = (config.image_size or 64,) * 2
        phi = extractor(load_source(source_config(config), this, size))
        with this.phase("features"):
            pairs = Pairs(seen_by(phi, data, config), captions_of(data), pictures_of(data, phi, config))
        count_long(pairs, words, config, this)
        made = Arms(bert, words, phi, data, pairs, config, this)
        experiment = Experiment(
            title=f"{config.target}: pictures and texts that find one another",
            class_names=(),
            labels=np.zeros(len(pairs.ids["test"]), np.int32),
            arms=tuple(arm for arm in made.arms() if arm.name in config.arms),
            budgets=tuple(sorted(config.pairs)),
            seeds=tuple(range(config.seed, config.seed + config.seeds)),
            examples=tuple(examples(data, pairs, reading(phi, data, config))),
            measures=MEASURES,
            unit="pairs",
            recipe="retrieval",
        )
        keys = (data.fingerprint, fingerprint(bert), fingerprint(phi))
        with this.phase("arms"):
            comparison = run_arms(experiment, this, records_folder(config, ("controls_at",), *keys))
        with this.phase("saving and report"):
            if has_model(comparison, this):
                save(made.transfer.final(), data, pairs, reading(phi, data, config), comparison, this)
        conclude(comparison, this)
        return this.folder
    finally:
        this.close()


def smoke(config: RetrievalConfig) -> RetrievalConfig:
    """Return the config shrunk to seconds: the same code, so little data that the figures mean nothing."""
    few = {"pairs": (8, 16), "controls_at": (16,), "updates": 2, "learning_rates": (1e-3,), "batch_size": 8}
    return replace(
        config,
        seeds=min(config.seeds, 2),
        pictures_epochs=1,
        texts_epochs=1,
        texts_max=512,
        max_validation=30,
        max_test=50,
        **few,  # type: ignore[arg-type]
    )


def source_config(config: RetrievalConfig) -> TaskConfig:
    """Return how the picture tower is trained: as the source of the feature recipe, whose cache it shares."""
    return TaskConfig(
        source=config.pictures,
        source_label=config.pictures_label,
        source_epochs=config.pictures_epochs,
        source_max=512 if config.smoke else TaskConfig.source_max,
        image_size=config.image_size,
        **_shared(config),
    )


def _shared(config: RetrievalConfig) -> dict[str, Any]:
    names = ("seed", "precision", "jit", "download", "data_dir")
    return {name: getattr(config, name) for name in names}


def load_language(config: RetrievalConfig, this: Run) -> tuple[keras.Model, WordPieceTokenizer]:
    """Return a BERT and its word pieces: trained on texts (once, then cached), or read from a folder."""
    if config.texts.startswith("preset:"):
        folder = Path(config.texts.removeprefix("preset:")).expanduser()
        words = WordPieceTokenizer.from_folder(folder)
        return tfxfer.source(config.texts, seed=config.seed), words
    with this.phase("data"):
        texts = tfxfer.load(config.texts, data_dir=config.data_dir, download=config.download)
    language = TaskConfig(
        source=config.texts,
        model="fresh:bert",
        source_epochs=config.texts_epochs,
        source_max=config.texts_max,
        **_shared(config),
    )
    with this.phase("source"):
        model, words = trained_language_model(language, texts, this)
    return model.backbone, words


def load_pairs(config: RetrievalConfig, this: Run) -> Dataset:
    """Load pictures with texts, each text once, the validation and test splits cut to the config's limits."""
    with this.phase("data"):
        whole = tfxfer.load(
            config.target, data_dir=config.data_dir, download=config.download, **retrieval_columns(config)
        )
    if "image" not in whole.keys or TEXT not in whole.keys:
        raise UserError(
            f"{config.target}: pairs need pictures and captions; name them with --target-image and --target-caption"
        )
    captions = captions_of(whole)
    rows = {split: first_rows(captions[split]) for split in captions}
    without = next((split for split in rows if not len(rows[split])), None)
    if without:
        raise UserError(f"{config.target}: its {without} split has no picture with a text; fill the captions in")
    splits = {split: whole.splits[split].take(rows[split]) for split in rows}
    fingerprint = key_of(whole.fingerprint, "each caption once")
    data = replace(whole, splits=splits, fingerprint=fingerprint, _in_memory={})
    data = data.with_at_most(validation=config.max_validation or None, test=config.max_test or None, seed=0)
    if max(config.pairs) > data.sizes["train"]:
        raise UserError(
            f"--pairs {max(config.pairs)}: {config.target} has {data.sizes['train']:,} training pictures with texts of "
            "their own; ask for fewer"
        )
    counts = {split: sum(map(len, data.captions(split))) for split in data.sizes}
    said = ", ".join(f"{n:,} {split} pictures with {counts[split]:,} texts" for split, n in data.sizes.items())
    this.say(f"target: {config.target}, {said}")
    left = sum(whole.sizes.values()) - sum(map(len, rows.values()))
    if left:
        this.say(f"target: {left:,} pictures with no text, or with the same as a picture before, are left out")
    for note in whole.notes:
        this.say(f"target: {note}")
    return data


def captions_of(data: Dataset) -> dict[str, list[list[str]]]:
    """Return split -> the texts of each picture."""
    return {split: data.captions(split) for split in data.sizes}


def first_rows(captions: list[list[str]]) -> np.ndarray:
    """Return the rows in which texts occur for the first time, ascending; a row without a text is left out.

    >>> first_rows([["a", "b"], ["b"], ["a", "b"], [" "]]).tolist()
    [0, 1]
    """
    first: dict[tuple[str, ...], int] = {}
    for row, texts in enumerate(captions):
        if all(text.strip() for text in texts):
            first.setdefault(tuple(texts), row)
    return np.array(list(first.values()), np.int64)


def count_long(pairs: Pairs, words: WordPieceTokenizer, config: RetrievalConfig, this: Run) -> None:
    """Say how many texts are longer than the text tower reads."""
    texts = [text for split in pairs.captions for text in pairs.texts(split)]
    cut = words.encode(texts, config.length)[1]
    if cut:
        this.say(
            f"target: {cut:,} of {len(texts):,} texts are longer than {config.length} word pieces, and their ends are "
            "not read; --length takes more"
        )


def reading(phi: keras.Model, data: Dataset, config: RetrievalConfig) -> dict[str, Any]:
    """Return how φ sees pictures: the size and channels for `Dataset.batches`."""
    height, width, channels = phi.input.shape[1:]
    size = (config.image_size,) * 2 if config.image_size else None if data.image_shape else (64, 64)
    return {"image_size": size if None in (height, width) else (height, width), "channels": channels}


def seen_by(phi: keras.Model, data: Dataset, config: RetrievalConfig) -> dict[str, np.ndarray]:
    """Return split -> features [P, D] of the pictures; they are computed once and kept."""
    size = reading(phi, data, config)["image_size"] or data.image_shape[:2]  # type: ignore[index]
    folder = data_dir(config.data_dir) / "features"
    kept = {split: extract(phi, data, split=split, image_size=size, folder=folder) for split in data.sizes}
    return {split: np.asarray(rows, np.float32) for split, rows in kept.items()}


def pictures_of(data: Dataset, phi: keras.Model, config: RetrievalConfig) -> dict[str, np.ndarray]:
    """Return split -> int [P], equal where pictures are equal, pixel by pixel, as φ sees them."""
    ids = {}
    for split in data.sizes:
        with readable_errors(data):
            batches = data.batches(split, 256, keys=("image",), **reading(phi, data, config))
            seen = [hashlib.sha256(picture.tobytes()).digest() for b in batches for picture in b["image"].numpy()]
        ids[split] = np.unique(seen, return_inverse=True)[1]
    return ids


class Arms:
    """The arms over one `DualEncoder`: a text tower that trains, beside what needs no training.

    Args:
        bert: The language model's body; never changed.
        words: Its word pieces.
        phi: The locked picture tower.
        data: The pairs' data set.
        pairs: The pairs as φ sees them.
        config: The request.
        this: The run.
    """

    def __init__(
        self,
        bert: keras.Model,
        words: WordPieceTokenizer,
        phi: keras.Model,
        data: Dataset,
        pairs: Pairs,
        config: RetrievalConfig,
        this: Run,
    ) -> None:
        self.bert, self.words, self.phi, self.data = bert, words, phi, data
        self.pairs, self.config, self.this = pairs, config, this
        self.towers = self.build(clone(bert), config.seed)
        self.transfer = self.network("transfer", self.pairs.drawn)

    def arms(self) -> list[Arm]:
        """Return all arms."""
        controls = self.config.controls_at or (max(self.config.pairs),)
        towers = {
            "transfer": self.transfer,
            "random": self.network("random", self.seen_afresh, fresh=True),
            "random_f": self.network("random_f", self.seen_afresh),
            "random_g": self.network("random_g", self.pairs.drawn, fresh=True),
            "shuffled": self.network("shuffled", lambda budget, seed: self.pairs.drawn(budget, seed).shuffled(seed)),
        }
        trained = [
            Arm(name, tower, None if name in ("transfer", "random") else controls, recall=tower.recall)
            for name, tower in towers.items()
        ]
        plain = {"anchors": anchors, "native": native}
        return trained + [Arm(name, partial(self.answer, how)) for name, how in plain.items()]

    def build(self, bert: keras.Model, seed: int) -> DualEncoder:
        """Return a dual encoder over a BERT, the rest of it fresh."""
        seeded(seed)
        tower = bert_tower(bert, self.words.vocabulary, self.config.length, self.words.lowercase)
        return DualEncoder(self.phi, tower, dim=self.config.dim or None, temperature=self.config.temperature)

    def network(self, name: str, pairs: Any, fresh: bool = False) -> ContrastiveArm:
        """Return an arm that trains the text tower from its start."""

        def start(seed: int) -> list[np.ndarray]:
            bert = fresh_copy(self.bert, seed) if fresh else clone(self.bert)
            return [np.array(w) for w in self.build(bert, seed).trained.get_weights()]

        def report(row: dict[str, Any]) -> None:
            self.this.metric("arm training", arm=name, **row)

        return ContrastiveArm(self.towers, lru_cache(maxsize=None)(start), pairs, self.config, report)

    @lru_cache(maxsize=4)  # noqa: B019 - one object a run
    def by_fresh_eyes(self, seed: int) -> Pairs:
        """Return the pairs as a picture tower of the same architecture sees them that never learned anything."""
        fresh = fresh_copy(self.phi, seed)
        fresh.trainable = False
        return replace(self.pairs, features=seen_by(fresh, self.data, self.config))

    def seen_afresh(self, budget: int | None, seed: int) -> Pairs:
        """Return the drawn pairs with the pictures as `by_fresh_eyes`."""
        return self.by_fresh_eyes(seed).drawn(budget, seed)

    def answer(self, how: Any, budget: int | None, seed: int) -> Any:
        """Run an arm that needs no text tower."""
        return how(self.pairs.drawn(budget, seed))


def examples(data: Dataset, pairs: Pairs, how: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield test pictures with their texts, evenly spaced."""
    rows = spaced(len(pairs.ids["test"]), SHOWN)
    pictures = data.arrays("test", **how)["image"]
    for row in rows:
        yield {"index": int(row), "png": png(pictures[row]), "true": " · ".join(pairs.captions["test"][row])}
