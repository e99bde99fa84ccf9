"""Images with captions, one image of those that have the same captions, and their feature maps: what all arms share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.dataset import Dataset
from tfxfer.data.overlap import digests_of
from tfxfer.data.splits import same_text
from tfxfer.errors import UserError
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.runs import Run
from tfxfer.tasks.derangement import deranged
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.overlap import NOTED, check_overlap
from tfxfer.tasks.pair_kinds import say_pairs
from tfxfer.transfer.knowledge.captioner import LONGEST, FeatureMaps


def pairs_there_are(config: Any, dataset: Dataset, run: Run) -> tuple[int, ...]:
    """Return budgets of pairs that the target has; to be asked before anything is trained.

    Args:
        config: Has `pairs` and a `target`. Budgets that are the recipe's default, and too large, become the number of
            training images with captions of their own. Others are left, and `CaptionedImages.load` refuses them.
        dataset: The target.
        run: Says so.
    """
    count = len(set(map(tuple, dataset.captions("train"))))
    if max(config.pairs) <= count or config.pairs != type(config)().pairs:
        return tuple(config.pairs)
    found = tuple(dict.fromkeys(min(number, count) for number in config.pairs))
    run.say(
        f"pairs: {', '.join(map(str, found))}, as {config.target.spec} has {count} training images with captions of "
        "their own; --pairs says otherwise"
    )
    return found


@dataclass(frozen=True)
class CaptionedImages:
    """Images with captions.

    Attributes:
        dataset: The target.
        images: split -> uint8 [N, H, W, C].
        captions: split -> N lists of captions.
    """

    dataset: Dataset
    images: dict[str, np.ndarray]
    captions: dict[str, list[list[str]]]

    @classmethod
    def load(
        cls,
        target: TargetConfig,
        config: RunConfig,
        encoder: keras.Model,
        most: int,
        run: Run,
        dataset: Dataset | None = None,
    ) -> "CaptionedImages":
        """Load the target; of several images with the same captions, as of a character in many faces, one is drawn.

        Args:
            target: Names the data set and its columns.
            config: Folders and downloads.
            encoder: The image model, which settles the size of the images.
            most: The greatest budget; twice as many training images are loaded, to draw from.
            run: The run.
            dataset: What `load_target` gave, if it was called before the encoder was trained.

        Raises:
            UserError: There are no images or no captions, the splits share images, or there are fewer training images
                than the greatest budget.
        """
        dataset = dataset if dataset is not None else load_target(target, config, run)
        limits = {"train": 2 * most, "validation": target.max_validation, "test": target.max_test}
        images, captions = {}, {}
        for split, limit in limits.items():
            images[split], captions[split] = one_image_per_caption(dataset, split, limit, target.image_size, encoder)
        if len(captions["train"]) < most:
            raise UserError(
                f"--pairs {most}: {target.spec} has {len(captions['train'])} training images with captions of their "
                "own; ask for fewer"
            )
        sizes = ", ".join(f"{len(rows):,} {split}" for split, rows in captions.items())
        run.say(f"target: {target.spec}, images with captions: {sizes}")
        for note in dataset.notes:
            run.say(f"target: {note}")
        return cls(dataset, images, captions)

    def drawn(self, pairs: int, seed: int) -> "CaptionedImages":
        """Return the same with `pairs` training images; a smaller draw is part of a greater one."""
        rows = draw(len(self.captions["train"]), pairs, seed)
        captions = self.captions | {"train": [self.captions["train"][i] for i in rows]}
        return replace(self, images=self.images | {"train": self.images["train"][rows]}, captions=captions)

    def examples(self) -> Iterator[dict[str, Any]]:
        """Yield test images for people, evenly spaced, with their true captions."""
        for i in evenly_spaced(len(self.captions["test"])):
            yield {"index": int(i), "png": png(self.images["test"][i]), "true": " · ".join(self.captions["test"][i])}


def draw(count: int, pairs: int, seed: int) -> np.ndarray:
    """Return which of `count` images are drawn, int [pairs]; those of fewer pairs come first."""
    return np.random.default_rng(seed).permutation(count)[:pairs]


def load_target(target: TargetConfig, config: RunConfig, run: Run) -> Dataset:
    """Load images with captions; raises `UserError` when either is missing, or the splits share images."""
    with run.phase("data"):
        columns = target.columns("image", "caption")
        where = {"data_dir": config.data_dir, "download": config.download}
        dataset = tfxfer.load(target.spec, **where, **target.reading(), **columns)
    for key in ("image", "caption"):
        if key not in dataset.keys:
            raise UserError(f"{target.spec}: has no {key}s; name the column with --target-{key}")
    check_overlap(dataset, target, config, run)
    say_pairs(dataset, run, refuse_classes="a caption is compared with the image's own, and these images have none")
    return dataset


@dataclass(frozen=True)
class CaptionedMaps:
    """Images as feature maps, with their captions: what all arms learn from and answer.

    Attributes:
        maps: split -> float32 [N, h, w, E].
        captions: split -> N lists of captions.
    """

    maps: dict[str, np.ndarray]
    captions: dict[str, list[list[str]]]

    def pairs(self, split: str) -> tuple[FeatureMaps, list[list[str]]]:
        """Return the feature maps and captions of a split, as a `Captioner` takes them."""
        return FeatureMaps(self.maps[split]), self.captions[split]

    def drawn(self, pairs: int, seed: int) -> "CaptionedMaps":
        """Return the same with `pairs` training images; a smaller draw is part of a greater one."""
        rows = draw(len(self.maps["train"]), pairs, seed)
        captions = [self.captions["train"][i] for i in rows]
        return CaptionedMaps(self.maps | {"train": self.maps["train"][rows]}, self.captions | {"train": captions})

    def first(self, pairs: int) -> "CaptionedMaps":
        """Return the same with the first training images: a part of what was drawn with the same seed."""
        train = {"train": self.captions["train"][:pairs]}
        return CaptionedMaps(self.maps | {"train": self.maps["train"][:pairs]}, self.captions | train)

    def with_copies(self, copies: np.ndarray) -> "CaptionedMaps":
        """Return the same with edited copies of the training images after them, each with its image's captions.

        Args:
            copies: float32 [K, N', h, w, E] of K copies; N' may be more than the N images that are drawn.
        """
        count = len(self.maps["train"])
        maps = np.concatenate([self.maps["train"], *copies[:, :count]])
        captions = self.captions["train"] * (1 + len(copies))
        return replace(self, maps=self.maps | {"train": maps}, captions=self.captions | {"train": captions})

    def blind(self) -> "CaptionedMaps":
        """Return the same with every image replaced by the mean training image."""
        mean = self.maps["train"].mean(0, keepdims=True)
        return replace(self, maps={split: np.repeat(mean, len(maps), 0) for split, maps in self.maps.items()})

    def shuffled(self, seed: int) -> "CaptionedMaps":
        """Return the same with the training captions given to other images."""
        order = deranged(len(self.captions["train"]), seed + 1)
        return replace(self, captions=self.captions | {"train": [self.captions["train"][i] for i in order]})


def check_candidates(texts: Sequence[str], spec: str, dataset: Dataset, config: RunConfig, run: Run) -> None:
    """Refuse candidates that hold the captions of the test images; few of them, or allowed ones, become a caution.

    A caption that a training image has too is no leak: it is learned anyway. Captions of the validation images are
    counted in the same way, as validation chooses the weight of the decoder.

    Args:
        texts: The candidates.
        spec: Where they come from, for the message.
        dataset: The target, all of its splits.
        config: Whether an overlap is allowed.
        run: The run.

    Raises:
        UserError: More than 5 % of the test or validation images have a caption among the candidates that no training
            image has, and `allow_overlap` is off.
    """
    given = digests_of(map(same_text, texts))
    own = {split: captions_by_image(dataset, split)[1] for split in ("train", "validation", "test")}
    learned = digests_of(same_text(text) for each in own["train"] for text in each)
    for split in ("test", "validation"):
        leaks = np.setdiff1d(given, learned)
        seen = [any(np.isin(digests_of(map(same_text, each)), leaks)) for each in own[split]]
        if not any(seen):
            continue
        first = own[split][seen.index(True)][0]
        count = f"{sum(seen):,} of {len(seen):,} {split} images ({np.mean(seen):.1%})"
        said = f"{count} have a caption among the candidates"
        if np.mean(seen) > NOTED and not config.allow_overlap:
            raise UserError(
                f"--candidates {spec}: {said}, the first '{first:.60}'. Remove the captions of these images from the "
                "file. To go on all the same, give --allow-overlap; the verdict says it"
            )
        run.caution(f"{said}: {spec}. Their true caption could be chosen.")


def one_image_per_caption(
    dataset: Dataset, split: str, limit: int, image_size: int, encoder: keras.Model
) -> tuple[np.ndarray, list[list[str]]]:
    """Return images of a split and their captions: one image of those with the same captions, in a drawn order.

    Args:
        dataset: The target.
        split: One of its splits.
        limit: At most so many; 0 for all.
        image_size: Side in pixels; 0 leaves images as they are, 64 when they vary.
        encoder: Takes the images; its own size and channels come first.
    """
    rows, found = one_per_caption(dataset, split, limit)
    size = (image_size,) * 2 if image_size else None if dataset.image_shape else (64, 64)
    height, width, channels = encoder.input.shape[1:]
    size = size if None in (height, width) else (height, width)
    few = replace(dataset, splits={split: dataset.splits[split].take(rows)}, _in_memory={})
    return few.arrays(split, size, channels)["image"], found


def one_per_caption(dataset: Dataset, split: str, limit: int) -> tuple[np.ndarray, list[list[str]]]:
    """Return the rows of the images that `one_image_per_caption` returns, int [P], and their captions."""
    rows, found = captions_by_image(dataset, split)
    order = np.random.default_rng(0).permutation(len(found))
    first: dict[tuple[str, ...], int] = {}
    for i in order:
        first.setdefault(tuple(found[i]), i)
    kept = np.array(list(first.values()), int)[: limit or None]
    return rows[kept], [found[i] for i in kept]


def captions_by_image(dataset: Dataset, split: str) -> tuple[np.ndarray, list[list[str]]]:
    """Return the first row of each image, int [P], and all its captions, without empty ones.

    A table has a row for each caption; all rows of one image file are one example. Images without a caption are left
    out; the data set's notes count the empty captions.
    """
    captions, part = dataset.captions(split), dataset.splits[split]
    files = getattr(part, "files", None)
    images = range(len(captions)) if files is None else files.paths.numpy()[part.index].tolist()
    by_image: dict[Any, tuple[int, list[str]]] = {}
    for row, (image, texts) in enumerate(zip(images, captions)):
        by_image.setdefault(image, (row, []))[1].extend(text for text in texts if text.strip())
    kept = [(row, texts) for row, texts in by_image.values() if texts]
    return np.array([row for row, _ in kept], int), [texts for _, texts in kept]


def count_long(
    captions: dict[str, list[list[str]]], tokenizer: WordPieceTokenizer, max_length: int, source: str, run: Run
) -> None:
    """Print how many captions are longer than the limit and lose their end, and how many have unknown words."""
    for split, each in captions.items():
        texts = [text for one in each for text in one]
        cut = tokenizer.encode(texts, max_length)[1]
        if cut:
            run.say(
                f"target: {cut:,} of {len(texts):,} {split} captions have more than {max_length - 2} word pieces and "
                f"are cut there; --max-length {max_length} can be raised"
            )
        unknown = sum(tokenizer.unknown_id in row for row in tokenizer.encode(texts, LONGEST)[0])
        if unknown:
            run.say(
                f"target: {unknown:,} of {len(texts):,} {split} captions have words that the vocabulary of {source} "
                "does not cover; no generated caption can match them exactly"
            )
