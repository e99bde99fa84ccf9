"""`glyphs`: characters drawn in the DejaVu faces, with their official names and facts about them."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfxfer.data.builders.faces import SIDE, draw_face, face_files
from tfxfer.data.builders.facts import facts_of
from tfxfer.data.builders.offline import OfflineBuilder
from tfxfer.data.splits import SPLITS, split_of

VALIDATION_FACES = ("DejaVuSerif-Italic",)
TEST_FACES = ("DejaVuSans-BoldOblique",)


@dataclass(frozen=True)
class Pictures:
    """N pictures: uint8 [N, 32, 32], with the character and the face of each."""

    pixels: np.ndarray
    characters: list[str]
    faces: list[str]
    blank: int

    @classmethod
    def draw(cls) -> "Pictures":
        """Draw all faces; pictures are in order of face, then of code point."""
        drawn = {face: draw_face(face) for face in face_files()}
        return cls(
            np.concatenate([pixels for _, pixels, _ in drawn.values()]),
            [character for characters, _, _ in drawn.values() for character in characters],
            [face for face, (characters, _, _) in drawn.items() for _ in characters],
            sum(blank for _, _, blank in drawn.values()),
        )


def lookalikes(pictures: Pictures) -> dict[str, str]:
    """Return character -> the first character of its group; two that share an identical picture are in one.

    Latin A, Greek Alpha and Cyrillic A are one group. Groups are joined through chains (union-find).
    """
    parent = {character: character for character in pictures.characters}

    def root(character: str) -> str:
        while parent[character] != character:
            parent[character] = parent[parent[character]]
            character = parent[character]
        return character

    first: dict[bytes, str] = {}
    for character, pixels in zip(pictures.characters, pictures.pixels):
        a, b = root(character), root(first.setdefault(pixels.tobytes(), character))
        parent[max(a, b)] = min(a, b)
    return {character: root(character) for character in parent}


def splits_by_character(pictures: Pictures) -> dict[str, np.ndarray]:
    """Return split -> picture numbers: 80/10/10 by a hash of the character's group."""
    group = lookalikes(pictures)
    home = {character: split_of(f"glyph {group[character]}") for character in group}
    where = np.array([home[character] for character in pictures.characters])
    return {split: np.flatnonzero(where == split) for split in SPLITS}


def splits_by_face(pictures: Pictures) -> dict[str, np.ndarray]:
    """Return split -> picture numbers: one face held out for each of validation and test.

    A character that no training face draws is left out of validation and test, and so is a picture whose very
    pixels occur in train or, for test, in validation.
    """
    face = np.array(pictures.faces)
    homes = {"validation": VALIDATION_FACES, "test": TEST_FACES}
    train = ~np.isin(face, [name for names in homes.values() for name in names])
    taught = {pictures.characters[i] for i in np.flatnonzero(train)}
    seen = {pictures.pixels[i].tobytes() for i in np.flatnonzero(train)}
    splits = {"train": np.flatnonzero(train)}
    for split, names in homes.items():
        rows = [
            i
            for i in np.flatnonzero(np.isin(face, names))
            if pictures.characters[i] in taught and pictures.pixels[i].tobytes() not in seen
        ]
        seen |= {pictures.pixels[i].tobytes() for i in rows}
        splits[split] = np.array(rows)
    return splits


class Glyphs(OfflineBuilder):
    """Named Unicode characters in 32 x 32 pixels, black on white."""

    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="by_character", description="Test characters are unseen in every face."),
        tfds.core.BuilderConfig(name="by_face", description="Test faces are unseen; their characters are known."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        text, number = tfds.features.Text, np.int32
        features = {
            "image": tfds.features.Image(shape=(SIDE, SIDE, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(),
            **{
                key: text() for key in ("text", "caption", "script", "category", "case", "diacritic", "numeric", "face")
            },
            **dict.fromkeys(("codepoint", "braille_dots"), number),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Every named Unicode character that the DejaVu faces of matplotlib can draw.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://dejavu-fonts.github.io",
            license="DejaVu and Bitstream Vera licences (faces); Unicode licence (names and facts)",
            disable_shuffling=True,  # they come in random order below
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        pictures = Pictures.draw()
        facts = {character: facts_of(character) for character in set(pictures.characters)}
        self.info.features["label"].names = sorted(str(fact["caption"]) for fact in facts.values())
        cut = splits_by_face if self.builder_config.name == "by_face" else splits_by_character
        order = np.random.default_rng(0)
        return {
            split: self._generate_examples(pictures, facts, order.permutation(rows))
            for split, rows in cut(pictures).items()
        }

    def _generate_examples(self, pictures: Pictures, facts: dict, rows: np.ndarray) -> Iterator[tuple[int, dict]]:
        for number, (i, png) in enumerate(zip(rows, grey_pngs(pictures.pixels[rows]))):
            known = facts[pictures.characters[i]]
            face = pictures.faces[i]
            yield number, {**known, "image": BytesIO(png), "label": known["caption"], "face": face}


def grey_pngs(pixels: np.ndarray) -> Iterator[bytes]:
    """Encode uint8 [N, H, W] as N PNG files (RFC 2083); for tiny pictures much faster than a general encoder."""
    _, height, width = pixels.shape
    lines = np.pad(pixels, ((0, 0), (0, 0), (1, 0)))  # each line begins with filter type 0

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))  # 8 bits, grey
    for picture in lines:
        body = chunk(b"IDAT", zlib.compress(picture.tobytes(), 1))
        yield b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")
