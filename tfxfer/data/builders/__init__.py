"""TFDS builders of data made offline from what is installed; importing this registers them."""

from tfxfer.data.builders.emoji import EmojiImages
from tfxfer.data.builders.glyphs import Glyphs
from tfxfer.data.builders.languages import Languages
from tfxfer.data.builders.names import Names

BUILDERS = {"glyphs": Glyphs, "names": Names, "languages": Languages, "emoji": EmojiImages}

__all__ = ["BUILDERS", "EmojiImages", "Glyphs", "Languages", "Names"]
