"""Image–text pairs as the arms see them: images as features of a frozen encoder, each with one or more texts."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.cache import atomic_file, key_of
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.dataset import Dataset
from tfxfer.data.fusion.parts import CLASS
from tfxfer.data.images import readable_errors
from tfxfer.data.splits import SPLITS
from tfxfer.errors import UserError
from tfxfer.evaluate.retrieval import by_query, ranks
from tfxfer.experiment import Outcome
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.runs import Run
from tfxfer.tasks.derangement import deranged
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.overlap import check_overlap
from tfxfer.tasks.pair_kinds import made_by, say_pairs, with_classes_alike
from tfxfer.transfer.feature import extract
from tfxfer.transfer.knowledge import DualEncoder
from tfxfer.transfer.knowledge.caption_model import feature_map_encoder, resized_encoder
from tfxfer.transfer.knowledge.hubness import Ranking, csls, inverted_softmax, similarity
from tfxfer.transfer.knowledge.text_towers import TextTower

TEXT = "caption"
GALLERY = 20_000  # texts that a saved encoder retrieves from
POSITIONS = 4  # along each side of a feature map
BETAS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # of the inverted softmax, times the deviation of K on validation
TEXTS_AT_A_TIME = 128
SHOWN = 8  # test images in the report, beside its gallery
MEASURES = ("recall_at_1", "reciprocal_rank", "recall_at_5")


@dataclass(frozen=True)
class ImageTextPairs:
    """Images as features, each with its texts: what all arms learn from and answer.

    Attributes:
        features: split -> float32 [P, D] of the frozen image encoder.
        captions: split -> P lists of texts, one or more each.
        ids: split -> int [P], what an image shows; two that are the same image share one.
        positions: split -> float32 [P, D'], the feature map before its mean, flattened; None where there is none.
        ranking: How candidates are ranked on test, one of `RANKINGS`; every choice is made by the similarity itself.
    """

    features: dict[str, np.ndarray]
    captions: dict[str, list[list[str]]]
    ids: dict[str, np.ndarray]
    positions: dict[str, np.ndarray] | None = None
    ranking: str = "similarity"

    def texts(self, split: str) -> list[str]:
        """Return all C texts of a split, those of an image one after the other."""
        return [text for each in self.captions[split] for text in each]

    def image_index(self, split: str) -> np.ndarray:
        """Return int [C], which image each text is about."""
        return np.repeat(np.arange(len(self.captions[split])), [len(each) for each in self.captions[split]])

    def drawn(self, budget: int | None, seed: int) -> "ImageTextPairs":
        """Return the pairs with `budget` images in training; a smaller draw is part of a greater one."""
        rows = np.random.default_rng(seed).permutation(len(self.ids["train"]))[:budget]
        return ImageTextPairs(
            self.features | {"train": self.features["train"][rows]},
            self.captions | {"train": [self.captions["train"][i] for i in rows]},
            self.ids | {"train": self.ids["train"][rows]},
            self.positions and self.positions | {"train": self.positions["train"][rows]},
            self.ranking,
        )

    def with_copies(self, features: np.ndarray, texts: Sequence[Sequence[Sequence[str]]]) -> "ImageTextPairs":
        """Return the pairs with edited copies of the training images, and of their texts, after them.

        Args:
            features: float32 [K, P', D] of K copies of each image; P' may be more than the P that are drawn.
            texts: K lists of P' lists of texts.
        """
        count = len(self.ids["train"])
        copied = [list(one) for copy in texts for one in copy[:count]]
        return replace(
            self,
            features=self.features | {"train": np.concatenate([self.features["train"], *features[:, :count]])},
            captions=self.captions | {"train": self.captions["train"] + copied},
            ids=self.ids | {"train": np.tile(self.ids["train"], 1 + len(features))},
            positions=None,
        )

    def shuffled(self, seed: int) -> "ImageTextPairs":
        """Return the pairs whose training texts belong to other images: no image keeps its own."""
        order = deranged(len(self.captions["train"]), seed + 1)
        return replace(self, captions=self.captions | {"train": [self.captions["train"][i] for i in order]})

    def ranks(self, k: np.ndarray, split: str, by: Ranking = similarity) -> tuple[np.ndarray, np.ndarray]:
        """Return the ranks of K [P, C] over a split: int [P] of each image's best text, int [C] of each text's."""
        ids, of_texts = self.ids[split], self.ids[split][self.image_index(split)]
        return ranks(by(k), ids, of_texts, "image"), ranks(by(k.T), of_texts, ids, "text")

    def score(self, k: np.ndarray, split: str, by: Ranking = similarity) -> dict[str, np.ndarray]:
        """Return measure -> float [P] of each image of a split, from K [P, C].

        An image retrieves any of its own texts; each of its texts retrieves the image, and the mean over them counts. A
        measure without a direction is the mean of both.
        """
        of_images, of_texts = self.ranks(k, split, by)
        index, count = self.image_index(split), np.array([len(each) for each in self.captions[split]])
        by_image = by_query(of_images)
        by_text = {n: np.bincount(index, v, len(count)) / count for n, v in by_query(of_texts).items()}
        both = {name: (by_image[name] + by_text[name]) / 2 for name in by_image}
        directions = {"image_to_text": by_image, "text_to_image": by_text}
        return both | {
            f"{direction}_{name}": values for direction, found in directions.items() for name, values in found.items()
        }

    def outcome(
        self,
        k: np.ndarray,
        settings: dict[str, Any],
        trainable: int = 0,
        validation: Callable[[], np.ndarray] | None = None,
    ) -> Outcome:
        """Return what an arm answers on the test pairs: for each image the text that is ranked first.

        Args:
            k: K of the test pairs [P, C].
            settings: What the arm chose.
            trainable: Its trained parameters.
            validation: Gives K of the validation pairs, which β of the inverted softmax is chosen by.
        """
        by, chosen = self._ranking(validation)
        texts = self.texts("test")
        medians = {"median_ranks": [float(np.median(found)) for found in self.ranks(k, "test", by)]}
        answers = [texts[i] for i in by(k).argmax(1)]
        return Outcome(None, settings | chosen | medians, trainable, scores=self.score(k, "test", by), answers=answers)

    def _ranking(self, validation: Callable[[], np.ndarray] | None) -> tuple[Ranking, dict[str, Any]]:
        """Return how the test pairs are ranked, and what was chosen for it."""
        if self.ranking == "similarity":
            return similarity, {}
        if self.ranking == "csls":
            return csls, {"ranking": self.ranking}
        if validation is None:
            raise UserError("the inverted softmax has a temperature; give `validation` to choose it by")
        k = validation()
        rankings = {beta: partial(inverted_softmax, beta=beta / max(float(k.std()), 1e-12)) for beta in BETAS}
        best = max(BETAS, key=lambda beta: self.score(k, "validation", rankings[beta])["reciprocal_rank"].mean())
        return rankings[best], {"ranking": self.ranking, "beta": rankings[best].keywords["beta"]}

    def validate(self, k: np.ndarray) -> float:
        """Return the mean reciprocal rank of K on the validation pairs, which every choice is made by."""
        return float(self.score(k, "validation")["reciprocal_rank"].mean())


def load_pairs(target: TargetConfig, config: RunConfig, most: int, run: Run, whole: Dataset | None = None) -> Dataset:
    """Load images with texts, each text once, the validation and test splits cut to the target's limits.

    Args:
        target: Names the data set and its columns; characters have their script as classes.
        config: Folders and downloads.
        most: The greatest budget.
        run: The run.
        whole: The data set, where it is loaded already.

    Raises:
        UserError: There are no pairs, the splits share images, or there are fewer training images than the greatest
            budget.
    """
    if whole is None:
        with run.phase("data"):
            columns = retrieval_columns(target)
            where = {"data_dir": config.data_dir, "download": config.download}
            whole = tfxfer.load(target.spec, **where, **target.reading(), **columns)
    if "image" not in whole.keys or TEXT not in whole.keys:
        raise UserError(
            f"{target.spec}: pairs need images and captions; name them with --target-image and --target-caption"
        )
    check_overlap(whole, target, config, run)
    say_pairs(whole, run)
    rows = {split: first_rows(captions, made_by(whole, split, CLASS)) for split, captions in captions_of(whole).items()}
    without = next((split for split in rows if not len(rows[split])), None)
    if without:
        raise UserError(f"{target.spec}: its {without} split has no image with a text; fill the captions in")
    splits = {split: whole.splits[split].take(rows[split]) for split in rows}
    data = replace(whole, splits=splits, fingerprint=key_of(whole.fingerprint, "each caption once"), _in_memory={})
    data = data.with_at_most(validation=target.max_validation or None, test=target.max_test or None, seed=0)
    if most > data.sizes["train"]:
        raise UserError(
            f"--pairs {most}: {target.spec} has {data.sizes['train']:,} training images with texts of their own; ask "
            "for fewer"
        )
    counts = {split: sum(map(len, data.captions(split))) for split in data.sizes}
    sizes = ", ".join(f"{n:,} {split} images with {counts[split]:,} texts" for split, n in data.sizes.items())
    run.say(f"target: {target.spec}, {sizes}")
    left = sum(whole.sizes.values()) - sum(map(len, rows.values()))
    if left:
        run.say(f"target: {left:,} images with no text, or with the same as an image before, are left out")
    for note in whole.notes:
        run.say(f"target: {note}")
    return data


def retrieval_columns(target: TargetConfig) -> dict[str, str | None]:
    """Return the column options of a target of pairs; characters have their script as classes."""
    label = target.label or ("script" if target.spec.startswith("glyphs") else None)
    return target.columns("image", "caption") | {"label": label}


def captions_of(data: Dataset) -> dict[str, list[list[str]]]:
    """Return split -> the texts of each image."""
    return {split: data.captions(split) for split in data.sizes}


def first_rows(captions: list[list[str]], always: np.ndarray | None = None) -> np.ndarray:
    """Return the rows in which texts occur for the first time, ascending; a row without a text is left out.

    Args:
        captions: The texts of each row.
        always: Rows that stay whatever was before them, bool: in class-level pairs many images share a text.

    >>> first_rows([["a", "b"], ["b"], ["a", "b"], [" "]]).tolist()
    [0, 1]
    """
    first: dict[tuple[str, ...], int] = {}
    for row, texts in enumerate(captions):
        if all(text.strip() for text in texts) and (always is None or not always[row]):
            first.setdefault(tuple(texts), row)
    kept = [] if always is None else np.flatnonzero(always).tolist()
    return np.array(sorted([*first.values(), *kept]), np.int64)


def count_long(pairs: ImageTextPairs, tokenizer: WordPieceTokenizer, max_length: int, run: Run) -> None:
    """Print how many texts are longer than the text tower takes."""
    texts = [text for split in pairs.captions for text in pairs.texts(split)]
    cut = tokenizer.encode(texts, max_length)[1]
    if cut:
        run.say(
            f"target: {cut:,} of {len(texts):,} texts are longer than {max_length} word pieces, and their ends are not "
            "read; --max-length takes more"
        )


def reading(phi: keras.Model, data: Dataset, image_size: int) -> dict[str, Any]:
    """Return how φ takes images: the size and channels for `Dataset.batches`."""
    height, width, channels = phi.input.shape[1:]
    size = (image_size,) * 2 if image_size else None if data.image_shape else (64, 64)
    return {"image_size": size if None in (height, width) else (height, width), "channels": channels}


def extracted(
    phi: keras.Model, data: Dataset, image_size: int, config: RunConfig, splits: Sequence[str] = SPLITS
) -> dict[str, np.ndarray]:
    """Return split -> features [P, D] of the images; they are computed once and cached."""
    size = reading(phi, data, image_size)["image_size"] or data.image_shape[:2]  # type: ignore[index]
    kept = {s: extract(phi, data, split=s, image_size=size, data_dir=config.data_dir) for s in splits}
    return {split: np.asarray(rows, np.float32) for split, rows in kept.items()}


def extracted_positions(
    source: keras.Model, data: Dataset, image_size: int, config: RunConfig
) -> dict[str, np.ndarray] | None:
    """Return split -> feature maps of the images, averaged to at most 4 x 4 positions and flattened, float32 [P, D].

    Args:
        source: The image encoder's model.
        data: The pairs.
        image_size: As for `extracted`.
        config: Where features are cached.

    Returns:
        None where the source has no feature map, such as a ViT.
    """
    try:
        maps = feature_map_encoder(source)
    except UserError:  # it has no feature map
        return None
    channels = maps.input.shape[-1]
    size = reading(maps, data, image_size)["image_size"] or data.image_shape[:2]  # type: ignore[index]
    encoder = resized_encoder(maps, (*size, channels), POSITIONS)
    flat = keras.Model(encoder.input, keras.layers.Flatten()(encoder.output), name="positions")
    flat.trainable = False
    return extracted(flat, data, image_size, config)


def image_ids(data: Dataset, how: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return split -> int [P], equal where images are equal, pixel by pixel, as φ gets them.

    Class-level pairs are equal where their class is: every text of the class is right.
    """
    ids = {}
    for split in data.sizes:
        with readable_errors(data):
            batches = data.batches(split, 256, keys=("image",), **how)
            digests = [hashlib.sha256(image.tobytes()).digest() for b in batches for image in b["image"].numpy()]
        ids[split] = np.unique(digests, return_inverse=True)[1]
    return with_classes_alike(data, ids)


def examples(data: Dataset, pairs: ImageTextPairs, how: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield test images with their texts, evenly spaced."""
    rows = evenly_spaced(len(pairs.ids["test"]), SHOWN)
    images = data.arrays("test", **how)["image"]
    for row in rows:
        yield {"index": int(row), "png": png(images[row]), "true": " · ".join(pairs.captions["test"][row])}


def image_names(data: Dataset) -> list[str]:
    """Return what a person knows the test images by: their files, else their first text."""
    files = getattr(data.splits["test"], "files", None)
    if files:
        return [path.decode() for path in files.paths.numpy()[data.splits["test"].index]]
    return [captions[0] for captions in data.captions("test")]


def save_gallery(folder: Path, encoder: DualEncoder, data: Dataset, pairs: ImageTextPairs) -> None:
    """Write `gallery.npz`: the vectors of all texts and of the test images, which a saved encoder retrieves from."""
    texts = list(dict.fromkeys(text for split in ("test", "validation", "train") for text in pairs.texts(split)))
    texts = texts[:GALLERY]
    with atomic_file(folder / "gallery.npz") as path, path.open("wb") as file:
        np.savez_compressed(
            file,
            texts=np.array(texts, dtype=np.str_),
            text_vectors=encoder.encode_texts(texts),
            images=np.array(image_names(data), dtype=np.str_),
            image_vectors=encoder.encode_images(pairs.features["test"]),
        )


def embedding_of(tower: TextTower, texts: Sequence[str]) -> Callable[[Sequence[str]], np.ndarray]:
    """Return a function from some of these texts to their vectors by a frozen text tower, float32 [N, D]."""
    unique = list(dict.fromkeys(texts))
    token_ids = tower.encode(unique)
    vectors = np.asarray(tower.body.predict(token_ids, batch_size=TEXTS_AT_A_TIME, verbose=0), np.float32)
    rows = {text: row for row, text in enumerate(unique)}
    return lambda some: vectors[[rows[text] for text in some]]
