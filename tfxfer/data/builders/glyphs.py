"""`glyphs`: characters drawn in the DejaVu faces, with their official names and facts about them."""

import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfxfer.data.builders.faces import SIDE, draw_face, face_files
from tfxfer.data.builders.facts import facts_of
from tfxfer.data.builders.groups import joined
from tfxfer.data.builders.offline import OfflineBuilder
from tfxfer.data.splits import SPLITS, split_of

VALIDATION_FACES = ("DejaVuSerif-Italic",)
TEST_FACES = ("DejaVuSans-BoldOblique",)


@dataclass(frozen=True)
class GlyphImages:
    """N images uint8 [N, 32, 32], with the character and the face of each, and how many blank ones are left out."""

    pixels: np.ndarray
    characters: list[str]
    faces: list[str]
    blank: int

    @classmethod
    def draw(cls) -> "GlyphImages":
        """Draw all faces; images are in order of face, then of code point."""
        drawn = {face: draw_face(face) for face in face_files()}
        return cls(
            np.concatenate([pixels for _, pixels, _ in drawn.values()]),
            [character for characters, _, _ in drawn.values() for character in characters],
            [face for face, (characters, _, _) in drawn.items() for _ in characters],
            sum(blank for _, _, blank in drawn.values()),
        )


def identical_groups(images: GlyphImages) -> dict[str, str]:
    """Return character -> the first character of its group; characters with an identical image are in one group.

    Latin A, Greek Alpha and Cyrillic A are one group. Groups are joined through chains.
    """
    alike: dict[bytes, list[str]] = defaultdict(list)
    for character, pixels in zip(images.characters, images.pixels):
        alike[pixels.tobytes()].append(character)
    return joined(alike.values())


def splits_by_character(images: GlyphImages) -> dict[str, np.ndarray]:
    """Return split -> image numbers: 80/10/10 by a hash of the character's group."""
    groups = identical_groups(images)
    split_of_character = {character: split_of(f"glyph {group}") for character, group in groups.items()}
    assigned = np.array([split_of_character[character] for character in images.characters])
    return {split: np.flatnonzero(assigned == split) for split in SPLITS}


def splits_by_face(images: GlyphImages) -> dict[str, np.ndarray]:
    """Return split -> image numbers: one face held out for each of validation and test.

    A character that is in no training face is left out of validation and test, and so is an image whose pixels
    are identical to those of an image in train or, for test, in validation.
    """
    face = np.array(images.faces)
    held_out = {"validation": VALIDATION_FACES, "test": TEST_FACES}
    train = ~np.isin(face, [name for names in held_out.values() for name in names])
    known = {images.characters[i] for i in np.flatnonzero(train)}
    used = {images.pixels[i].tobytes() for i in np.flatnonzero(train)}
    splits = {"train": np.flatnonzero(train)}
    for split, names in held_out.items():
        rows = [
            i
            for i in np.flatnonzero(np.isin(face, names))
            if images.characters[i] in known and images.pixels[i].tobytes() not in used
        ]
        used |= {images.pixels[i].tobytes() for i in rows}
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
            disable_shuffling=True,  # shuffled below
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        images = GlyphImages.draw()
        facts = {character: facts_of(character) for character in set(images.characters)}
        self.info.features["label"].names = sorted(str(fact["caption"]) for fact in facts.values())
        cut = splits_by_face if self.builder_config.name == "by_face" else splits_by_character
        order = np.random.default_rng(0)
        return {
            split: self._generate_examples(images, facts, order.permutation(rows))
            for split, rows in cut(images).items()
        }

    def _generate_examples(self, images: GlyphImages, facts: dict, rows: np.ndarray) -> Iterator[tuple[int, dict]]:
        for number, (i, png) in enumerate(zip(rows, encode_png(images.pixels[rows]))):
            known = facts[images.characters[i]]
            face = images.faces[i]
            yield number, {**known, "image": BytesIO(png), "label": known["caption"], "face": face}


def encode_png(pixels: np.ndarray) -> Iterator[bytes]:
    """Encode uint8 [N, H, W] as N PNG files (RFC 2083); for tiny images much faster than a general encoder."""
    _, height, width = pixels.shape
    lines = np.pad(pixels, ((0, 0), (0, 0), (1, 0)))  # each line begins with filter type 0

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))  # 8 bits, grey
    for image in lines:
        body = chunk(b"IDAT", zlib.compress(image.tobytes(), 1))
        yield b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")
