"""`names`: the Unicode names of characters that have no image in `glyphs`, as text to pre-train on."""

import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfxfer.data.builders.faces import drawable
from tfxfer.data.builders.offline import OfflineBuilder
from tfxfer.data.splits import SPLITS, split_of


def names_without_image() -> list[str]:
    """Return the names by code point, without names that contain the code point, as CJK UNIFIED IDEOGRAPH-4E00."""
    drawn = drawable()
    characters = (chr(c) for c in range(sys.maxunicode + 1))
    names = (unicodedata.name(c, "") for c in characters if c not in drawn)
    return [name for name in names if name and not re.search(r"-[0-9A-F]{4,6}$", name)]


def is_listed(name: str) -> bool:
    """Return whether Unicode lists a name; the names of Hangul syllables are derived from their letters by rule.

    The rule is NR1 of the Unicode Standard, section 4.8. A third of all names are of this kind, and have no new words.

    >>> is_listed("MUSICAL SYMBOL G CLEF"), is_listed("HANGUL SYLLABLE GAG")
    (True, False)
    """
    return not name.startswith("HANGUL SYLLABLE ")


class Names(OfflineBuilder):
    """Unicode names, text only."""

    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="all", description="All names."),
        tfds.core.BuilderConfig(name="listed", description="Without names derived by rule, of Hangul syllables."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Names of characters without an image, Unicode {unicodedata.unidata_version}.",
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
            homepage="https://www.unicode.org/ucd/",
            license="Unicode licence",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict]]]:
        names = names_without_image()
        if self.builder_config.name == "listed":
            names = [name for name in names if is_listed(name)]
        return {s: self._generate_examples([n for n in names if split_of(n) == s]) for s in SPLITS}

    def _generate_examples(self, names: list[str]) -> Iterator[tuple[str, dict]]:
        for name in names:
            yield name, {"text": name}
