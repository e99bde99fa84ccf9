"""`--transfer encoder_to_decoder`: a BERT made a decoder foretells texts, beside the same decoder with fresh weights.

    S   a BERT that read one kind of text: by default the names of characters that have no picture here
    M   a decoder with causal and cross-attention, its head tied to the word embeddings (Rothe et al. 2020)
    it reads texts, and looks at the patches of their pictures; where a target has none, at a blank

Every arm trains all of M with the same steps, so that scratch is `random` and finetune `transfer`. The measure is the
mean log-likelihood of a test text, in nats a token; it can be compared between arms as they share the vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.arms.captioning import Gallery, CaptioningArm
from tfxfer.arms.controls import has_model
from tfxfer.baselines.language_ngrams import native_language, nats
from tfxfer.cache import atomic_file, write_json
from tfxfer.config import KnowledgeConfig, StructureConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError
from tfxfer.experiment import Arm, Experiment
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.recipes.checks import target_columns
from tfxfer.recipes.feature import conclude, records_folder, run_arms
from tfxfer.recipes.panels.ledger import keep
from tfxfer.runs import Run
from tfxfer.sources.language_model import fresh_language, load_language
from tfxfer.tasks.captioned_images import one_image_per_caption
from tfxfer.tasks.classification import png
from tfxfer.transfer.graph import fingerprint
from tfxfer.transfer.knowledge.caption_model import caption_model, whole
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

SHOWN = 24  # test texts in the report
PROVEN_ON = 64  # test texts that are asked before anything trains


def speak(config: StructureConfig, this: Run) -> None:
    """Run the experiment with a decoder, and write what a run leaves behind."""
    how = training(config)
    language, words = load_language(how, this)
    texts = Texts.load(config, this)
    makes = Decoders(language, texts.gallery, config)
    last = (max(how.pairs), config.seed)
    transfer, random = (
        LanguageModelArm(start, makes.reader, words, texts.gallery.drawn, how, _telling(this, name), keep=last)
        for name, start in (("transfer", makes.warm), ("random", makes.cold))
    )
    random.teller = transfer.teller  # one reader, one compiled question
    keep(makes.weight_map, makes.proof(transfer), this)
    arms = [Arm(name, arm, recall=arm.recall) for name, arm in (("transfer", transfer), ("random", random))]
    arms.append(Arm("native", lambda n, seed: rival(texts.gallery.drawn(n or 0, seed), words, config.length)))
    experiment = Experiment(
        title=f"{config.source} → {config.target} by {config.transfer}",
        class_names=(),
        labels=np.zeros(len(texts.gallery.captions["test"]), np.int32),
        arms=tuple(arm for arm in arms if arm.name in config.arms),
        budgets=tuple(sorted(config.training_texts)),
        seeds=tuple(range(config.seed, config.seed + config.seeds)),
        examples=tuple(texts.examples()),
        measures=("log_likelihood",),
        unit="texts",
        recipe="structure",
    )
    keys = (texts.dataset.fingerprint, fingerprint(language))
    with this.phase("arms"):
        comparison = run_arms(experiment, this, records_folder(config, ("labels_per_class",), *keys))
    with this.phase("saving and report"):
        if has_model(comparison, this):
            save(transfer.final(), texts, words, config, this)
    conclude(comparison, this)


def training(config: StructureConfig) -> KnowledgeConfig:
    """Return how a decoder is made and taught, in the words of the recipe that teaches captioners."""
    same = ("source", "source_epochs", "source_max", "seed", "data_dir", "download", "updates", "batch_size", "length")
    given: dict[str, Any] = {name: getattr(config, name) for name in (*same, "learning_rates", "cross_attention")}
    # nothing is hidden or smoothed away: what is judged is the likelihood itself
    plain: dict[str, Any] = {"word_dropout": 0.0, "label_smoothing": 0.0, "text_updates": 0, "ranking": "decoder"}
    return KnowledgeConfig(**given, **plain, pairs=config.training_texts)


@dataclass(frozen=True)
class Texts:
    """The target: texts, and what is looked at while they are read.

    Attributes:
        dataset: The target.
        gallery: Grids of patches [N, h, w, E], or blanks [N, 1, 1, 1], and each one's text.
        patches: Pictures to grids; None where the target has no pictures.
        images: Test pictures uint8 [N, H, W, C], or None.
    """

    dataset: Dataset
    gallery: Gallery
    patches: keras.Model | None = None
    images: np.ndarray | None = None

    @classmethod
    def load(cls, config: StructureConfig, this: Run) -> "Texts":
        """Load the target, each text once; texts of a split are drawn in an order of their own.

        Raises:
            UserError: There is no text, or fewer training texts than a budget asks for.
        """
        with this.phase("data"):
            dataset = tfxfer.load(
                config.target, data_dir=config.data_dir, download=config.download, **target_columns(config)
            )
        most = max(config.training_texts)
        limits = {"train": 2 * most, "validation": config.max_validation, "test": config.max_test}
        if {"image", "caption"} <= set(dataset.keys):
            found = cls._with_pictures(dataset, limits, config)
        else:
            key = next((key for key in ("text", "caption") if key in dataset.keys), None)
            if key is None:
                raise UserError(f"{config.target}: has no texts to foretell; name the column with --target-text")
            captions = {split: [[text] for text in once(dataset.texts(split, key), n)] for split, n in limits.items()}
            blank = {split: np.zeros((len(rows), 1, 1, 1), np.float32) for split, rows in captions.items()}
            found = cls(dataset, Gallery(blank, captions))
        sizes = {split: len(rows) for split, rows in found.gallery.captions.items()}
        short = next((split for split, n in sizes.items() if n < (most if split == "train" else 1)), None)
        if short is not None:
            raise UserError(
                f"{config.target}: {sizes[short]} {short} texts that differ, and --training-texts asks for {most}; "
                "ask for fewer, or give more"
            )
        seen = "their pictures" if found.patches else "a blank, as there are no pictures"
        this.say(f"target: {config.target}, {', '.join(f'{n:,} {s}' for s, n in sizes.items())} texts, beside {seen}")
        return found

    @classmethod
    def _with_pictures(cls, dataset: Dataset, limits: dict[str, int], config: StructureConfig) -> "Texts":
        stored = dataset.image_shape
        height, width = (config.image_size,) * 2 if config.image_size else stored[:2] if stored else (64, 64)
        patches = patches_of((height, width, stored[2] if stored else 3), config.patch_size)
        reading = KnowledgeConfig(image_size=config.image_size)
        found = {split: one_image_per_caption(dataset, split, n, reading, patches) for split, n in limits.items()}
        grids = {
            split: np.asarray(patches.predict(rows, batch_size=128, verbose=0), np.float32)
            for split, (rows, _) in found.items()
        }
        gallery = Gallery(grids, {split: [each[:1] for each in captions] for split, (_, captions) in found.items()})
        return cls(dataset, gallery, patches, found["test"][0])

    def examples(self) -> list[dict[str, Any]]:
        """Return test texts for people, evenly spaced."""
        texts = [each[0] for each in self.gallery.captions["test"]]
        rows = np.unique(np.linspace(0, len(texts) - 1, min(SHOWN, len(texts))).astype(int))
        pictures = [{} if self.images is None else {"png": png(self.images[i])} for i in rows]
        return [{"index": int(i), "true": texts[i], **picture} for i, picture in zip(rows, pictures)]


def patches_of(image_shape: tuple[int, int, int], side: int) -> keras.Model:
    """Return a model without weights from pictures [B, H, W, C] to their patches [B, H/side, W/side, side · side · C].

    White becomes 0 and black 1, as paper and ink.

    Raises:
        UserError: The patches do not tile the picture.
    """
    height, width, channels = image_shape
    if side < 1 or height % side or width % side:
        raise UserError(
            f"--patch-size {side}: such patches do not tile a picture of {height} x {width}; give one that divides "
            "both, or resize the pictures with --image-size"
        )
    pictures = keras.Input(image_shape, name="image")
    x = keras.layers.Rescaling(-1 / 255, offset=1.0, name="ink")(pictures)
    x = keras.layers.Reshape((height // side, side, width // side, side * channels), name="rows")(x)
    x = keras.layers.Permute((1, 3, 2, 4), name="turned")(x)
    grid = keras.layers.Reshape((height // side, width // side, side * side * channels), name="patches")(x)
    return keras.Model(pictures, grid, name="encoder")


def once(texts: list[str], limit: int) -> list[str]:
    """Return the texts that differ, in a drawn order; at most `limit` of them, or all with 0."""
    kept = list(dict.fromkeys(text for text in texts if text.strip()))
    order = np.random.default_rng(0).permutation(len(kept))
    return [kept[i] for i in order[: limit or None]]


class Decoders:
    """The decoder that all arms share, and the weights that each begins with.

    Args:
        language: The source.
        gallery: What is looked at.
        config: Seed and cross-attention.

    Attributes:
        reader: {"grid", "token_ids", "padding_mask"} → logits.
        weight_map: The plan that its decoder was made by.
    """

    def __init__(self, language: keras.Model, gallery: Gallery, config: StructureConfig) -> None:
        self.language, self.gallery, self.config = language, gallery, config
        self.shape = gallery.grids["train"].shape[1:]
        self.reader, self.weight_map = self._made(language, config.seed)
        self.warm = lru_cache(maxsize=1)(lambda seed: self._made(language, seed)[0].get_weights())
        self.cold = lru_cache(maxsize=1)(lambda seed: self._made(fresh_language(language, seed), seed)[0].get_weights())

    def _made(self, language: keras.Model, seed: int) -> tuple[keras.Model, WeightMap]:
        return caption_model(self.shape, language, cross_attention=self.config.cross_attention, seed=seed)

    def proof(self, speaker: CaptioningArm) -> str:
        """Say what the decoder makes of test texts before anything trains, with the source's weights and with fresh."""
        asked = self.gallery.captions["test"][:PROVEN_ON]
        found = []
        for start in (self.warm, self.cold):
            self.reader.set_weights(start(self.config.seed))
            _, measured = speaker.answer(self.gallery.grids["test"][: len(asked)], asked)
            found += nats(measured["log_likelihood"].mean(keepdims=True))
        return (
            "A decoder cannot compute what its encoder did, as it no longer sees the words to come. Before any "
            f"training, {len(asked)} test texts are worth {found[0]} with carried weights, {found[1]} with fresh ones."
        )


class LanguageModelArm(CaptioningArm):
    """An arm that is judged by the likelihood of test texts, and makes the same steps whatever the budget."""

    each_budget = True
    looks_back = 5

    def answer(self, grids: np.ndarray, wanted: Any) -> tuple[list[str], dict[str, np.ndarray]]:
        """Return the likelihoods of texts, in words and in numbers."""
        numbers, _ = self.words.encode([each[0] for each in wanted], self.config.length)
        found = self.teller.log_likelihood(grids, numbers)
        return nats(found), {"log_likelihood": found}

    def updates(self, pairs: int) -> int:
        """Return the steps of a training."""
        return self.config.updates


def rival(gallery: Gallery, words: WordPieceTokenizer, length: int) -> Any:
    """Return what n-grams of the same training texts answer; they look at no picture."""
    texts = {split: [each[0] for each in rows] for split, rows in gallery.captions.items()}
    return native_language(texts["train"], texts["validation"], texts["test"], words, length)


def save(reader: keras.Model, texts: Texts, words: WordPieceTokenizer, config: StructureConfig, this: Run) -> None:
    """Save the transfer arm at its greatest budget, first seed: as a captioner, or as a model of language alone."""
    defaults = KnowledgeConfig()
    described: dict[str, Any] = {
        "task": "captions" if texts.patches else "language",
        "input": "image" if texts.patches else "text",
        "pieces": words.vocabulary,
        "lowercase": words.lowercase,
        "length": config.length,
        "num_beams": defaults.num_beams,
        "length_penalty": defaults.length_penalty,
    }
    if texts.patches is not None:
        height, width, channels = texts.patches.input.shape[1:]
        described |= {"image_size": [height, width], "channels": channels}
        reader = whole(texts.patches, reader)
    with atomic_file(this.folder / "model.keras") as path:
        reader.save(path)
    write_json(this.folder / "model.json", described)


def _telling(this: Run, name: str) -> Callable[[dict[str, Any]], None]:
    def told(row: dict[str, Any]) -> None:
        this.metric("arm training", arm=name, **row)

    return told
