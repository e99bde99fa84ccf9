"""Images with a text and a class each: what all arms of knowledge fusion share."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.cache import key_of
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.dataset import Dataset
from tfxfer.data.splits import SPLITS
from tfxfer.errors import UserError
from tfxfer.runs import Run
from tfxfer.tasks.classification import without_classes
from tfxfer.tasks.derangement import deranged
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.overlap import check_overlap
from tfxfer.transfer.feature import extract
from tfxfer.transfer.knowledge.fusion.classifier import Standardise
from tfxfer.transfer.knowledge.fusion.training import Sides

MADE = {"caption", "script"}  # keys of a set of characters: the caption is then the text
NO_SCRIPT = ("Common", "Inherited")  # Unicode's words for characters of no single script
HIDDEN = "…"  # what is left of a text whose words are all hidden
WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class FusedPairs:
    """A task of pairs.

    Attributes:
        dataset: The target with "image", "text" and "label", its splits cut to the config's limits.
        image_shape: (H, W, C) of the images as the encoder takes them.
    """

    dataset: Dataset
    image_shape: tuple[int, int, int]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes."""
        return self.dataset.class_names

    def labels(self, split: str) -> np.ndarray:
        """Return int32 [N]."""
        return self.dataset.labels(split)

    def rows(self, budget: int | None, seed: int) -> np.ndarray:
        """Return which training examples a budget of labels a class draws, int [n], ascending."""
        whole = self.dataset.indices("train")
        if budget is None:
            return np.arange(len(whole))
        return np.flatnonzero(np.isin(whole, self.dataset.with_labels(budget, seed).indices("train")))

    def test_images(self) -> np.ndarray:
        """Return the test images, uint8 [N, H, W, C]."""
        height, width, channels = self.image_shape
        return self.dataset.arrays("test", (height, width), channels)["image"]

    def examples(self, images: np.ndarray) -> Iterator[dict[str, Any]]:
        """Yield test examples for people, evenly spaced: the image and its text."""
        texts = self.dataset.texts("test")
        for row in evenly_spaced(len(texts)):
            yield {"index": int(row), "text": texts[row], "png": png(images[row])}


@dataclass(frozen=True)
class PairFeatures:
    """What two frozen encoders give of all examples, standardised.

    Attributes:
        image: split -> float32 [N, P, E].
        text: split -> float32 [N, T, G], zeros where there is padding.
        layers: What standardised them: made on all training examples, without their labels.
    """

    image: dict[str, np.ndarray]
    text: dict[str, np.ndarray]
    layers: tuple[Standardise, Standardise]

    @classmethod
    def extracted(cls, images: keras.Model, texts: keras.Model, pairs: FusedPairs, config: RunConfig) -> "PairFeatures":
        """Run both encoders once on every example; the features are cached on disk."""
        size = pairs.image_shape[:2]
        own: dict[str, Any] = {"data_dir": config.data_dir, "jit": config.jit}
        data = pairs.dataset
        taken = {s: extract(images, data, split=s, key="image", image_size=size, **own) for s in SPLITS}
        read = {
            s: extract(texts, data, split=s, key="text", **own) for s in SPLITS
        }  # after all images: one compilation
        image, text = ({s: np.asarray(rows, np.float32) for s, rows in each.items()} for each in (taken, read))
        layers = Standardise.of(image["train"]), Standardise.of(text["train"], padded=True)
        sides = [{s: np.asarray(layer(rows)) for s, rows in each.items()} for layer, each in zip(layers, (image, text))]
        return cls(sides[0], sides[1], layers)

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(P, E) of an image and (T, G) of a text."""
        one, two = (side["train"].shape[1:] for side in (self.image, self.text))
        return (one[0], one[1]), (two[0], two[1])

    def sides(self, pairs: FusedPairs, split: str) -> Sides:
        """Return a split's examples."""
        return Sides(self.image[split], self.text[split], pairs.labels(split))

    def shuffled(self, seed: int) -> "PairFeatures":
        """Return the features with the image of another example of the same split, in all splits."""
        image = {split: rows[deranged(len(rows), seed + 1)] for split, rows in self.image.items()}
        return replace(self, image=image)


def vectors(rows: np.ndarray) -> np.ndarray:
    """Return the mean [N, E] over the rows of a side [N, P, E] that are not padding."""
    kept = (rows != 0).any(-1)
    return rows.sum(1) / np.maximum(kept.sum(1, keepdims=True), 1)


def load_fused(target: TargetConfig, config: Any, run: Run) -> Dataset:
    """Load the target and bring it into the form of `FusedPairs`; nothing is trained yet.

    Raises:
        UserError: It has no images, no texts or no labels, a text is empty, or its splits share examples.
    """
    with run.phase("data"):
        columns = target.columns("text", "image", "label")
        drop = ("image", "text") if config.missing == "drop" else ()
        where = {"data_dir": config.data_dir, "download": config.download}
        whole = tfxfer.load(target.spec, **where, drop_empty=drop, **target.reading(), **columns)
    check_overlap(whole, target, config, run)
    made = set(whole.keys) >= MADE
    dataset = one_of_each(whole) if made else whole
    check_sides(dataset, target)
    dataset = without_empty_texts(dataset, target, config, run)
    if config.hide_words:
        dataset = with_words_hidden(dataset, config.hide_words, run)
    left_out = target.leave_out or tuple(name for name in NO_SCRIPT if made and name in dataset.class_names)
    dataset = without_classes(dataset, left_out, 0, run)
    limits = {"train": config.max_train, "validation": target.max_validation, "test": target.max_test}
    dataset = dataset.with_at_most(seed=0, **{split: most or None for split, most in limits.items()})
    if made:  # of a set of one's own no class is left out unasked
        dataset = without_classes(dataset, (), max(config.labels_per_class), run)
    sizes = ", ".join(f"{n:,} {split}" for split, n in dataset.sizes.items())
    run.say(f"target: {target.spec}, {len(dataset.class_names)} classes, pairs of image and text: {sizes}")
    for note in dataset.notes:
        run.say(f"target: {note}")
    return dataset


def check_sides(dataset: Dataset, target: TargetConfig) -> None:
    """Refuse a target that lacks a side, and say what it has; raises `UserError`."""
    for role in ("image", "text"):
        if role not in dataset.keys:
            raise UserError(
                f"--target {target.spec}: has no {role}, but {', '.join(dataset.keys)}; fusion needs an image and a "
                f"text in each row: name the column with --target-{role}"
            )
    if len(dataset.class_names) < 2:
        raise UserError(f"--target {target.spec}: has fewer than two classes; name the column with --target-label")


def one_of_each(dataset: Dataset) -> Dataset:
    """Return characters with their caption as the text, each in one face: other faces would be no new examples."""
    splits = {}
    for split, part in dataset.splits.items():
        captions = dataset.texts(split, "caption")
        order = np.random.default_rng(0).permutation(len(captions))
        rows = np.sort(list({captions[i]: int(i) for i in order}.values()))
        kept = part.take(rows)
        splits[split] = kept.with_column("text", np.array(kept.column("caption").tolist()))
    return replace(dataset, splits=splits, fingerprint=key_of(dataset.fingerprint, "one of each"), _in_memory={})


def without_empty_texts(dataset: Dataset, target: TargetConfig, config: Any, run: Run) -> Dataset:
    """Refuse or leave out examples with an empty text, which a table's check does not see; raises `UserError`."""
    for split in SPLITS:
        texts = dataset.texts(split)
        there = np.array([bool(text.strip()) for text in texts])
        if there.all():
            continue
        row = int(dataset.indices(split)[np.flatnonzero(~there)[0]])
        if config.missing != "drop":
            raise UserError(
                f"{target.spec}: {np.sum(~there):,} of {len(texts):,} {split} examples have no text (the first: "
                f"example {row:,}); --missing drop leaves them out"
            )
        run.say(f"target: {np.sum(~there):,} {split} examples without a text are left out")
        dataset = dataset.with_rows(split, np.flatnonzero(there))
    return dataset


def with_words_hidden(dataset: Dataset, share: float, run: Run) -> Dataset:
    """Return the data with words of its texts hidden: those of class names always, others by chance."""
    secret = {word for name in dataset.class_names for word in WORD.findall(name.casefold())}
    splits = {}
    for split, part in dataset.splits.items():
        texts = [hidden(text, secret, share) for text in dataset.texts(split)]
        splits[split] = part.with_column("text", np.array([text.encode() for text in texts]))
    run.say(f"target: the words of class names and {share:.0%} of the other words of each text are hidden")
    return replace(dataset, splits=splits, fingerprint=key_of(dataset.fingerprint, "hidden", share), _in_memory={})


def hidden(text: str, secret: set[str], share: float) -> str:
    """Return a text without some of its words; the same text always loses the same.

    Args:
        text: The text.
        secret: Words without case that are always hidden.
        share: Of the other words, in 0..1; at least one of them stays.

    >>> hidden("GREEK SMALL LETTER ALPHA", {"greek"}, 0.0)
    'SMALL LETTER ALPHA'
    """
    words = [word for word in text.split() if not set(WORD.findall(word.casefold())) & secret]
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    count = min(round(share * len(words)), max(len(words) - 1, 0))
    gone = set(rng.permutation(len(words))[:count].tolist())
    return " ".join(word for i, word in enumerate(words) if i not in gone) or HIDDEN
