"""Images with a name in each of two languages, of which no image is named in both while they are learned."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import tfxfer
from tfxfer.cache import key_of
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError, suggest
from tfxfer.evaluate.retrieval import by_query, ranks
from tfxfer.experiment import Outcome
from tfxfer.runs import Run
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.overlap import check_overlap

MEASURES = ("recall_at_1", "reciprocal_rank")
CONCEPT = "concept"  # key of what an image shows, where a data set has it; images of one concept stay together
FEWEST = 4  # concepts in training: two for each language


@dataclass(frozen=True)
class NamedImages:
    """Images with names in two languages.

    Attributes:
        dataset: The images, validation and test with one image of each concept.
        languages: The two languages, which are keys of the data set.
    """

    dataset: Dataset
    languages: tuple[str, str]

    @classmethod
    def load(cls, target: TargetConfig, languages: tuple[str, ...], config: RunConfig, run: Run) -> "NamedImages":
        """Load the images; raises `UserError` where a language is missing, or there are too few concepts."""
        with run.phase("data"):
            whole = tfxfer.load(target.spec, data_dir=config.data_dir, download=config.download)
        check_overlap(whole, target, config, run)
        if "image" not in whole.keys:
            raise UserError(f"{target.spec}: has no images, which the two languages would meet in")
        unknown = next((code for code in languages if code not in whole.keys), None)
        if unknown is not None:
            there = [key for key in whole.keys if len(key) == 2]
            raise UserError(f"{target.spec} has no names in '{unknown}'; {suggest(unknown, there)}")
        rows = {split: first_of_each(concepts(whole, split)) for split in ("validation", "test")}
        splits = whole.splits | {split: whole.splits[split].take(kept) for split, kept in rows.items()}
        key = key_of(whole.fingerprint, "one image a concept")
        found = cls(replace(whole, splits=splits, fingerprint=key, _in_memory={}), (languages[0], languages[1]))
        count = len(set(found.concepts("train")))
        if count < FEWEST:
            raise UserError(f"{target.spec}: {count} concepts in training; the two languages need two each")
        sizes = ", ".join(f"{size:,} {split} images" for split, size in found.dataset.sizes.items())
        run.say(f"target: {target.spec}, {sizes}, one a concept in validation and test")
        return found

    def names(self, language: str, split: str) -> list[str]:
        """Return the names of a split's images in one language."""
        return self.dataset.texts(split, language)

    def concepts(self, split: str) -> list[str]:
        """Return what each image of a split shows."""
        return concepts(self.dataset, split)

    @property
    def most(self) -> int:
        """The greatest number of training images that each language can have of its own, whatever the draw."""
        _, counts = np.unique(self.concepts("train"), return_counts=True)
        return int(counts.sum()) // 2 - int(counts.max())

    def drawn(self, budget: int, seed: int, shared: bool = False) -> dict[str, np.ndarray]:
        """Return language -> rows of `budget` training images, none of them of a concept that the other language has.

        A smaller draw is part of a greater one with the same seed.

        Args:
            budget: Images a language.
            seed: Of the draw.
            shared: Both languages get the rows of the first.
        """
        known = np.array(self.concepts("train"))
        order = np.random.default_rng(seed).permutation(np.unique(known))
        sizes = {concept: int(count) for concept, count in zip(*np.unique(known, return_counts=True))}
        half, first = 0, set()
        for concept in order:
            if half >= len(known) / 2:
                break
            half += sizes[concept]
            first.add(concept)
        rows = np.random.default_rng(seed).permutation(len(known))
        own = np.array([known[row] in first for row in rows])
        one, two = (rows[part][:budget] for part in (own, ~own))
        return dict(zip(self.languages, (one, one if shared else two)))

    def outcome(self, k: np.ndarray, settings: dict[str, Any], trainable: int = 0) -> Outcome:
        """Return what an arm answers, from K of the test names, float [N, N]."""
        one, two = (self.names(code, "test") for code in self.languages)
        answers = [f"{name} → {two[i]}" for name, i in zip(one, k.argmax(1))]
        return Outcome(None, settings, trainable, scores=scores(k), answers=answers)

    def examples(self) -> list[dict[str, Any]]:
        """Return test images with their names in both languages, evenly spaced."""
        rows = evenly_spaced(self.dataset.sizes["test"])
        images = self.dataset.arrays("test")["image"]
        both = [" · ".join(names) for names in zip(*(self.names(code, "test") for code in self.languages))]
        return [{"index": int(row), "png": png(images[row]), "true": both[row]} for row in rows]


def scores(k: np.ndarray) -> dict[str, np.ndarray]:
    """Return measure -> float [N], the mean over both directions of K [N, N]; row i and column i belong together."""
    ids = np.arange(len(k))
    ways = [by_query(ranks(table, ids, ids)) for table in (k, k.T)]
    return {name: (ways[0][name] + ways[1][name]) / 2 for name in ways[0]}


def concepts(dataset: Dataset, split: str) -> list[str]:
    """Return what each image shows; each image by itself where the data set does not say."""
    if CONCEPT in dataset.keys:
        return dataset.texts(split, CONCEPT)
    return [f"{split} {row}" for row in range(dataset.sizes[split])]


def first_of_each(names: list[str]) -> np.ndarray:
    """Return the rows in which names occur for the first time, ascending.

    >>> first_of_each(["cat", "dog", "cat"]).tolist()
    [0, 1]
    """
    return np.sort(np.unique(names, return_index=True)[1])
