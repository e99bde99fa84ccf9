"""Pictures with captions, as a captioner takes them: one picture of those that say the same."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.arms.captioning import LONGEST, Gallery
from tfxfer.config import KnowledgeConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.runs import Run
from tfxfer.tasks.classification import png

SHOWN = 24  # test pictures in the report


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
            images[split], captions[split] = one_image_per_caption(dataset, split, limit, config, encoder)
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


def one_image_per_caption(
    dataset: Dataset, split: str, limit: int, config: KnowledgeConfig, encoder: keras.Model
) -> tuple[np.ndarray, list[list[str]]]:
    """Return pictures of a split and their captions: one picture of those with the same captions, in a drawn order."""
    pictures, found = captions_by_image(dataset, split)
    order = np.random.default_rng(0).permutation(len(found))
    first: dict[tuple[str, ...], int] = {}
    for i in order:
        first.setdefault(tuple(found[i]), i)
    kept = np.array(list(first.values()), int)[: limit or None]
    rows = pictures[kept]
    size = (config.image_size,) * 2 if config.image_size else None if dataset.image_shape else (64, 64)
    height, width, channels = encoder.input.shape[1:]
    size = size if None in (height, width) else (height, width)
    few = replace(dataset, splits={split: dataset.splits[split].take(rows)}, _in_memory={})
    return few.arrays(split, size, channels)["image"], [found[i] for i in kept]


def captions_by_image(dataset: Dataset, split: str) -> tuple[np.ndarray, list[list[str]]]:
    """Return the first row of each picture, int [P], and all that is said of it, without what is empty.

    A table has a row for each caption; all rows of one picture file are one example. Pictures of which nothing is said
    are left out; the data set's notes count the empty captions.
    """
    captions, part = dataset.captions(split), dataset.splits[split]
    files = getattr(part, "files", None)
    pictures = range(len(captions)) if files is None else files.paths.numpy()[part.index].tolist()
    said: dict[Any, tuple[int, list[str]]] = {}
    for row, (picture, texts) in enumerate(zip(pictures, captions)):
        said.setdefault(picture, (row, []))[1].extend(text for text in texts if text.strip())
    kept = [(row, texts) for row, texts in said.values() if texts]
    return np.array([row for row, _ in kept], int), [texts for _, texts in kept]


def count_long(gallery: Gallery, words: WordPieceTokenizer, config: KnowledgeConfig, this: Run) -> None:
    """Say how many captions are longer than the limit and lose their end, and how many have words that are unknown."""
    for split, captions in gallery.captions.items():
        texts = [text for each in captions for text in each]
        cut = words.encode(texts, config.length)[1]
        if cut:
            this.say(
                f"target: {cut:,} of {len(texts):,} {split} captions have more than {config.length - 2} word pieces "
                f"and are cut there; --length {config.length} can be raised"
            )
        unknown = sum(words.unknown_id in row for row in words.encode(texts, LONGEST)[0])
        if unknown:
            this.say(
                f"target: {unknown:,} of {len(texts):,} {split} captions have words that the vocabulary of "
                f"{config.source} cannot write; none of its captions can be all right there"
            )
