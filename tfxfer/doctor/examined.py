"""What is looked at: a data set, with its texts, signatures of its images and labels made once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tfxfer.data.splits import SPLITS
from tfxfer.doctor.findings import Row
from tfxfer.doctor.similar_images import SIDE, signatures
from tfxfer.doctor.similar_texts import normal

if TYPE_CHECKING:
    from tfxfer.data.dataset import Dataset

WIDTH = 60  # letters of a content that are shown


@dataclass
class Examined:
    """A data set that is checked.

    Attributes:
        dataset: The set.
        name: What its splits are called in front of others, such as "source "; "" for the target.
        groups: Split -> the group of each example; empty where no column of groups was given.
        images: Whether its images are looked at.
        seed: Of draws.
    """

    dataset: "Dataset"
    name: str = ""
    groups: dict[str, list[str]] = field(default_factory=dict)
    images: bool = True
    seed: int = 0

    @cached_property
    def text_key(self) -> str | None:
        """The column of texts: "text", "question" or "caption"; None without one."""
        return next((key for key in ("text", "question", "caption") if key in self.dataset.keys), None)

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """Split -> its texts; empty where there are none."""
        key = self.text_key
        return {split: self.dataset.texts(split, key) for split in SPLITS} if key else {}

    @cached_property
    def normal(self) -> dict[str, list[str]]:
        """Split -> its texts as they are compared."""
        return {split: [normal(text) for text in texts] for split, texts in self.texts.items()}

    @cached_property
    def signatures(self) -> dict[str, np.ndarray]:
        """Split -> signatures of its images, float32 [N, D]; empty where there are none, or none are looked at."""
        if "image" not in self.dataset.keys or not self.images:
            return {}
        from tfxfer.data.images import readable_errors

        found = {}
        for split in SPLITS:
            stream = self.dataset.batches(split, 256, keys=["image"], image_size=(SIDE, SIDE), channels=3)
            with readable_errors(self.dataset):
                parts = [signatures(batch["image"].numpy()) for batch in stream]
            found[split] = np.concatenate(parts) if parts else np.zeros((0, SIDE * SIDE * 3), np.float32)
        return found

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """Split -> labels, int [N]; empty without classes."""
        return {split: self.dataset.labels(split) for split in SPLITS} if self.dataset.class_names else {}

    @property
    def by_image(self) -> bool:
        """Whether what makes two examples the same is their image."""
        return "image" in self.dataset.keys

    def content(self, split: str, place: int) -> str:
        """Return how an example is named in a message: its text, and its class where there is no text."""
        if self.texts:
            return shortened(self.texts[split][place])
        return f"an image of '{self.dataset.class_names[self.labels[split][place]]}'" if self.labels else "an image"

    def rows(self, split: str, places: Sequence[int] | np.ndarray, why: Sequence[str] = ()) -> tuple[Row, ...]:
        """Return `Row`s of some examples of a split.

        Args:
            split: Its split.
            places: Their positions in it.
            why: What was found about each; nothing by default.
        """
        index = self.dataset.indices(split)
        said = list(why) or [""] * len(places)
        return tuple(
            Row(self.name + split, int(place), int(index[place]), self.content(split, int(place)), one)
            for place, one in zip(places, said)
        )

    def where(self, split: str, place: int) -> str:
        """Return a short address of an example, such as "train 12"."""
        return f"{self.name}{split} {place}"


def shortened(text: str) -> str:
    """Return a text in one line of at most `WIDTH` letters.

    >>> shortened("a" * 100)[-2:]
    'a…'
    """
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
