"""Edited copies of training examples: `Augmentation` makes the same ones again for the same seed.

The copies stand beside the examples that they were made of, which stay as they are. Validation and test are never
edited: `copies` takes the training split of a data set and returns one that has nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfxfer.cache import code_key, key_of
from tfxfer.data.augment.images import edited_images, mixed_images, moved_within
from tfxfer.data.augment.policy import MIXES, Part, Policy
from tfxfer.data.augment.texts import edited_texts
from tfxfer.data.augment.words import names_colours, says_direction
from tfxfer.data.dataset import Dataset
from tfxfer.data.rows import Rows

HELD = 256 * 2**20  # bytes of copies that are held at most; of larger images there are fewer copies
SHARES = "shares"  # key of a copy whose label is mixed: float32 [C]
PAIR_SHIFT, PAIR_COLOUR = 0.1, 0.2  # of `pairs` at strength 1
Draw = Callable[[Sequence[str], Policy, int], np.ndarray]  # texts, how they are drawn, seed -> uint8 [N, H, W, C]


@dataclass(frozen=True)
class Augmentation:
    """How training examples are copied.

    Attributes:
        policy: The edits, of one strength each.
        number: Copies of each example; arms that train a network may need more, see `copies`.
        draw: Draws texts as pixels, where the policy has edits of the family "rendered".
        characters: Whether the images show characters, which are not mirrored, and not moved beyond the edge.
    """

    policy: Policy
    number: int = 4
    draw: Draw | None = None
    characters: bool = False

    def copies(self, data: Dataset, key: str, reading: dict[str, Any], seed: int, draws: int = 0) -> Dataset:
        """Return copies of the training split, one after the other; the data set has no other split.

        Args:
            data: Its training split is copied.
            key: "text" or "image": what is edited.
            reading: How images are read, see `Dataset.batches`.
            seed: Decides every draw.
            draws: How many examples a training will take: with enough copies it hardly sees one twice.

        Returns:
            Examples "image" or "text" with "label", and "shares" [C] where labels are mixed. Drawn texts are images.
        """
        labels, count = data.labels("train"), data.sizes["train"]
        number = max(self.number, -(-draws // count) - 1)
        shares = np.eye(len(data.class_names), dtype=np.float32)[labels]
        rows: dict[str, Any]
        if key == "text":
            rows = self._of_texts(data.texts("train"), seed, number)
        else:
            rows = self._of_images(data.arrays("train", **reading)["image"], shares, seed, number)
        made = len(next(iter(rows.values()))) // count
        rows["label"] = rows[SHARES].argmax(1).astype(np.int32) if SHARES in rows else np.tile(labels, made)
        how = f"{self.policy}, {made} copies, seed {seed}, {key} {sorted(reading.items())}"
        return replace(
            data,
            splits={"train": Rows.of(rows)},
            fingerprint=key_of(data.fingerprint, how, code_key()),  # features of other edits must not be found
            references=(),
            _in_memory={},
        )

    def images(self, images: np.ndarray, seed: int, texts: Sequence[str] = ()) -> list[np.ndarray]:
        """Return copies of images, a list of `number` arrays like them.

        Args:
            images: uint8 [N, H, W, C].
            seed: Decides every draw.
            texts: What is said of each image [N]: where it says left or right the image is not mirrored, and where it
                names a colour none is changed.
        """
        return [self._edited(images, seed, place, texts) for place in range(self._room(images, self.number))]

    def texts(self, texts: Sequence[str], seed: int, place: int) -> list[str]:
        """Return copy number `place` of N texts."""
        found = list(texts)
        for part in self.policy.of("text").parts:
            found = edited_texts(found, part.edit.name, part.strength, np.random.default_rng([seed, place, 1]))
        return found

    def _of_texts(self, texts: Sequence[str], seed: int, number: int) -> dict[str, Any]:
        drawn = self.policy.of("rendered")
        copies = [self.texts(texts, seed, place) for place in range(number)]
        if not drawn or self.draw is None:  # an arm that reads the texts themselves
            return {"text": [text for copy in copies for text in copy]}
        found: list[np.ndarray] = []
        for place, copy in enumerate(copies):
            found.append(self.draw(copy, drawn, drawn_seed(seed, place)))
            if place + 1 >= self._room(found[0], number):
                break
        return {"image": np.concatenate(found)}

    def _of_images(self, images: np.ndarray, shares: np.ndarray, seed: int, number: int) -> dict[str, Any]:
        number = self._room(images, number)
        copies = [self._edited(images, seed, place) for place in range(number)]
        if not self.policy.mixes:
            return {"image": np.concatenate(copies)}
        labels = []
        for place, copy in enumerate(copies):
            mixed = shares
            for part in self.policy.parts:
                if part.edit.name in MIXES:
                    own = drawn_seed(seed, place)
                    copy, mixed = mixed_images(copy, mixed, part.edit.name, part.strength, own)
            copies[place] = copy
            labels.append(mixed)
        return {"image": np.concatenate(copies), SHARES: np.concatenate(labels)}

    def _edited(self, images: np.ndarray, seed: int, place: int, texts: Sequence[str] = ()) -> np.ndarray:
        """Return copy number `place`, without what mixes examples."""
        for i, part in enumerate(self.policy.parts):
            own = drawn_seed(seed, place) + 8 * i  # an edit may use the next ones too
            if part.edit.family == "pairs":
                images = true_to_texts(images, texts, part, own, self.characters)
            elif part.edit.name == "shift" and self.characters:
                images = moved_within(images, part.strength, own)
            elif part.edit.family == "images" and part.edit.name not in MIXES:
                images = edited_images(images, part.edit.name, part.strength, own)
        return images

    def _room(self, images: np.ndarray, number: int) -> int:
        return max(1, min(number, HELD // max(1, images.nbytes)))


def drawn_seed(seed: int, place: int) -> int:
    """Return the seed of a copy: other copies and other seeds have others."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1)[0]) % 2**30


def true_to_texts(
    images: np.ndarray, texts: Sequence[str], part: Part, seed: int, characters: bool = False
) -> np.ndarray:
    """Return images edited only so that their texts stay true.

    All are moved a little. An image of which no text says left or right may be mirrored, and one of which no text names
    a colour may change in colour; without any text, neither is done.
    """
    shift = min(0.5, PAIR_SHIFT * part.strength)
    found = moved_within(images, shift, seed) if characters else edited_images(images, "shift", shift, seed)
    if not texts:
        return found
    still = np.array([not says_direction(text) for text in texts])
    plain = np.array([not names_colours(text) for text in texts])
    if still.any() and not characters:
        found[still] = edited_images(found[still], "flip", 1.0, seed + 1)
    if plain.any():
        found[plain] = edited_images(found[plain], "colour", min(1.0, PAIR_COLOUR * part.strength), seed + 2)
    return found
