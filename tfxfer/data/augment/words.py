"""Words in a text that an edit of its image would make wrong: sides and directions, and colours."""

import re

SIDES = (
    *("left", "right", "leftmost", "rightmost", "leftward", "rightward", "leftwards", "rightwards", "clockwise"),
    *("anticlockwise", "counterclockwise", "east", "west", "reversed", "mirrored", "letter", "letters", "word"),
    *("words", "text", "number", "numbers", "writing", "written", "sign", "logo"),  # mirrored writing is no writing
    *("links", "rechts", "linke", "linken", "linker", "rechte", "rechten", "rechter", "gauche", "droite", "izquierda"),
    *("derecha", "left-hand", "right-hand"),
)
COLOURS = (
    *("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white", "grey", "gray"),
    *("violet", "golden", "gold", "silver", "beige", "turquoise", "cyan", "magenta", "tan", "teal", "colored"),
    *("coloured", "color", "colour", "colors", "colours", "colorful", "colourful", "dark", "bright", "blond", "blonde"),
    *("rot", "grün", "blau", "gelb", "schwarz", "weiß", "rouge", "vert", "bleu", "jaune", "noir", "blanc", "rojo"),
    *("verde", "azul", "amarillo", "negro", "blanco"),
)
_SIDES, _COLOURS = (re.compile(rf"\b({'|'.join(words)})\b|[{signs}]", re.IGNORECASE)
                    for words, signs in ((SIDES, "左右"), (COLOURS, "红紅绿綠蓝藍黄黃黑白")))  # fmt: skip


def says_direction(text: str) -> bool:
    """Return whether a text may be wrong of the mirrored image.

    >>> says_direction("a man on the left"), says_direction("a leftover meal")
    (True, False)
    """
    return bool(_SIDES.search(text))


def names_colours(text: str) -> bool:
    """Return whether a text may be wrong of the image in other colours.

    >>> names_colours("a red ball"), names_colours("tired")
    (True, False)
    """
    return bool(_COLOURS.search(text))
