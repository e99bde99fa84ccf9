"""Facts about a character from the Unicode Character Database."""

import re
import unicodedata
from fractions import Fraction

from fontTools.unicodedata import script, script_name

BRAILLE = range(0x2800, 0x2900)


def facts_of(character: str) -> dict[str, str | int]:
    """Return name, script, category, case, diacritic, numeric value and braille dots of a character.

    Sources: name, general category and numeric value from Python's `unicodedata`, script from `fontTools`.
    A fact that a character does not have is "" or -1.

    >>> facts_of("½")["numeric"], facts_of("⠇")["braille_dots"]
    ('1/2', 3)
    >>> facts_of("Ā")["diacritic"], facts_of("ā")["case"]
    ('macron', 'lower')
    """
    name, category = unicodedata.name(character), unicodedata.category(character)
    return {
        "text": character,
        "caption": name,
        "codepoint": ord(character),
        "script": script_name(script(character)),
        "category": category,
        "case": {"Lu": "upper", "Ll": "lower"}.get(category, "none"),
        "diacritic": _diacritic(name, category),
        "numeric": _numeric(character),
        "braille_dots": (ord(character) - BRAILLE.start).bit_count() if ord(character) in BRAILLE else -1,
    }


def _diacritic(name: str, category: str) -> str:
    """Return the part of a letter's name after WITH: its marks, strokes and hooks."""
    if not category.startswith("L"):
        return ""
    match = re.search(r" WITH (.+)", name)
    return match[1].lower() if match else "none"


def _numeric(character: str) -> str:
    value = unicodedata.numeric(character, None)
    return "" if value is None else str(Fraction(value).limit_denominator(1000))
