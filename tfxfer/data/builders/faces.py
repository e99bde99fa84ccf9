"""The DejaVu faces bundled with matplotlib: which characters they have, and how a character is drawn."""

import importlib.util
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 32  # pixels
FONT_SIZE = 24  # pixels per em
BASELINE = 24  # row, from the top


@cache
def face_files() -> dict[str, Path]:
    """Return face name -> font file, in alphabetical order, found without importing matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("matplotlib is not installed; its DejaVu faces draw the glyphs")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return {path.stem: path for path in sorted(folder.glob("DejaVu*.ttf"))}


def named_characters(face: str) -> list[str]:
    """Return the characters with a Unicode name that a face has a glyph for, by code point."""
    from fontTools.ttLib import TTFont

    with TTFont(face_files()[face], lazy=True) as font:
        return [chr(c) for c in sorted(font.getBestCmap()) if unicodedata.name(chr(c), "")]


def draw_face(face: str) -> tuple[list[str], np.ndarray, int]:
    """Draw every named character of a face, black on white.

    The ink is centred from left to right. The baseline is row 24; it moves only as far as needed to
    keep the ink inside. A character too wide or too tall for 32 pixels is drawn at the largest smaller size
    that fits.

    Returns:
        The N characters drawn, their images uint8 [N, 32, 32], and how many are blank and left out.
    """
    characters = named_characters(face)
    sheet = Image.new("L", (SIDE, SIDE * len(characters)), 255)  # one image below the other
    draw = ImageDraw.Draw(sheet)
    for row, character in enumerate(characters):
        font, x, y = _placed(face, character)
        draw.text((x, y + SIDE * row), character, font=font, fill=0, anchor="ls")
    images = np.asarray(sheet).reshape(-1, SIDE, SIDE)  # [N, 32, 32]
    inked = images.min((1, 2)) < 255
    return [c for c, ink in zip(characters, inked) if ink], images[inked], int((~inked).sum())


def _placed(face: str, character: str) -> tuple[ImageFont.FreeTypeFont, int, int]:
    """Return the font, and where the pen starts within the 32 x 32 pixels."""
    for size in range(FONT_SIZE, 0, -1):
        font = _font(face, size)
        left, top, right, bottom = map(int, font.getbbox(character, anchor="ls"))
        if max(right - left, bottom - top) <= SIDE:
            break
    return font, (SIDE - (right - left)) // 2 - left, min(max(BASELINE, -top), SIDE - bottom)


@cache
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(face_files()[face]), size, layout_engine=ImageFont.Layout.BASIC)


def inked_characters(face: str) -> set[str]:
    """Return the named characters of a face that are not blank, without drawing them."""
    font = _font(face, FONT_SIZE)
    boxes = {c: font.getbbox(c, anchor="ls") for c in named_characters(face)}
    return {c for c, (left, top, right, bottom) in boxes.items() if right > left and bottom > top}


@cache
def drawable() -> frozenset[str]:
    """Return every named character that some face draws with ink."""
    return frozenset().union(*map(inked_characters, face_files()))
