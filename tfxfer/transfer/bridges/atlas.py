"""A glyph atlas: every character of a face, drawn once with Pillow and stored as columns of pixels.

Text is laid out column by column, so a line of text is a gather of columns. TensorFlow is not needed here.
"""

import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from tfxfer.errors import UserError, suggest

MISSING, EMPTY = 0, 1  # the first two glyphs: the face's missing-glyph box, and a glyph of no width
LINE_BREAKS = (0x0A, 0x0B, 0x0C, 0x85, 0x2028, 0x2029)
# Format characters that are drawn: Unicode calls them prepended concatenation marks (PropList.txt).
_VISIBLE_FORMATS = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}


@dataclass(frozen=True, eq=False)
class Atlas:
    """Drawn glyphs as arrays, for a line height of L pixels, G glyphs and K columns.

    Attributes:
        columns: uint8 [K, L], ink (0 none, 255 full), top to bottom. Column 0 is blank.
        boxes: int32 [G, 4]: first column, then the columns left of the pen, of the advance, and right of the
            advance. Columns left of the pen or right of the advance are overhang.
        pages: int32 [4352], for each block of 256 code points its row in `glyphs`.
        glyphs: int32 [P, 256], the glyph of each code point in a block; 0 where the face has none.
    """

    columns: np.ndarray
    boxes: np.ndarray
    pages: np.ndarray
    glyphs: np.ndarray

    @property
    def line_height(self) -> int:
        """Height of a line in pixels: ascent and descent of the face."""
        return self.columns.shape[1]

    def find(self, codes: np.ndarray) -> np.ndarray:
        """Return the glyph numbers of code points, any shape."""
        return self.glyphs[self.pages[codes >> 8], codes & 255]

    def save(self, file: str | Path | IO[bytes]) -> None:
        """Write the arrays as a compressed `.npz`."""
        np.savez_compressed(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, file: str | Path | IO[bytes]) -> "Atlas":
        """Read what `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            return cls(**{f.name: arrays[f.name] for f in fields(cls)})


def face_path(face: str) -> Path:
    """Return the file of a face: a name bundled with matplotlib ("DejaVuSans"), or the path of a font file."""
    given = Path(face).expanduser()
    if given.suffix.lower() in (".ttf", ".otf", ".ttc"):
        if not given.is_file():
            raise UserError(f"{face}: there is no such font file; give the path of one, or a name like 'DejaVuSans'.")
        return given
    from matplotlib import get_data_path

    folder = Path(get_data_path()) / "fonts" / "ttf"
    known = sorted(p.stem for p in folder.glob("*.ttf"))
    if face not in known:
        raise UserError(f"face '{face}' is not bundled with matplotlib and not a font file; {suggest(face, known)}")
    return folder / f"{face}.ttf"


def load_font(face: str, size: int) -> Any:
    """Return Pillow's font of a face at `size` pixels per em, in basic layout (no shaping, no ligatures)."""
    from PIL import ImageFont

    path = face_path(face)
    try:
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: Pillow cannot read this font at size {size} ({error})") from error


def largest_size(face: str, height: int) -> int:
    """Return the largest font size whose line (ascent + descent) is at most `height` pixels high."""
    for size in range(height, 0, -1):
        if sum(load_font(face, size).getmetrics()) <= height:
            return size
    raise UserError(f"no size of face '{face}' has a line of {height} pixels or less; give a greater height.")


@lru_cache(maxsize=8)
def build_atlas(face: str, size: int) -> Atlas:
    """Draw all characters of a face once; the result is shared, do not write into it.

    Args:
        face: A name bundled with matplotlib, or a path to a font file.
        size: Pixels per em.

    Raises:
        UserError: The face is unknown or the file is no font.
    """
    from matplotlib.ft2font import FT2Font

    font = load_font(face, size)
    drawable = sorted(FT2Font(str(face_path(face))).get_charmap())
    invisible = set(_invisible())
    number = dict.fromkeys(invisible, EMPTY)
    # U+FFFF is a noncharacter, so the face draws its missing-glyph box.
    drawn = [_draw("\uffff", font), (np.zeros((0, sum(font.getmetrics())), np.uint8), 0, 0, 0)]
    for code in drawable:
        if code not in invisible:
            number[code] = len(drawn)
            drawn.append(_draw(chr(code), font))
    for code in (0x09, *LINE_BREAKS):  # drawn as blanks in layouts that do not break lines at them
        number[code] = number.get(0x20, MISSING)

    blank = np.zeros((1, sum(font.getmetrics())), np.uint8)
    columns = np.concatenate([blank, *(ink for ink, *_ in drawn)])
    widths = np.array([box for _, *box in drawn], np.int32)  # [G, 3]
    first = 1 + np.concatenate([[0], widths.sum(1).cumsum()[:-1]])
    return Atlas(columns, np.column_stack([first, widths]).astype(np.int32), *_page(number))


def _draw(character: str, font: Any) -> tuple[np.ndarray, int, int, int]:
    """Return the ink of a character, uint8 [left + advance + right, L], and these three widths in pixels."""
    from PIL import Image, ImageDraw

    ascent, descent = font.getmetrics()
    advance = max(0, round(font.getlength(character)))
    ink_left, _, ink_right, _ = font.getbbox(character)
    left, right = max(0, -int(ink_left)), max(0, int(ink_right) - advance)
    width = left + advance + right
    if not width:
        return np.zeros((0, ascent + descent), np.uint8), 0, 0, 0
    image = Image.new("L", (width, ascent + descent))
    ImageDraw.Draw(image).text((left, 0), character, 255, font=font)
    return np.asarray(image).T, left, advance, right


def _invisible() -> Iterator[int]:
    """Yield the code points that draw nothing: controls, formats (joiners, marks of direction), selectors."""
    for code in (*range(0x20000), *range(0xE0000, 0xE0200)):  # the planes between have ideographs only
        selector = 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
        if selector or (unicodedata.category(chr(code)) in ("Cc", "Cf") and code not in _VISIBLE_FORMATS):
            yield code


def _page(number: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return code point → glyph as a table of pages: a lookup in all of Unicode is two small gathers."""
    pages = np.zeros((sys.maxunicode + 1) >> 8, np.int32)
    glyphs = [np.full(256, MISSING, np.int32)]
    for code, glyph in sorted(number.items()):
        if not pages[code >> 8]:
            pages[code >> 8] = len(glyphs)
            glyphs.append(np.full(256, MISSING, np.int32))
        glyphs[pages[code >> 8]][code & 255] = glyph
    return pages, np.stack(glyphs)
