"""Edits of texts: words left out or swapped (KerasHub's layers), other case, typing errors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
KEYS = {  # letter -> its neighbours on a keyboard, in its row and below
    letter: row[max(0, i - 1) : i] + row[i + 1 : i + 2] + (_ROWS[r + 1][i : i + 1] if r < 2 else "")
    for r, row in enumerate(_ROWS)
    for i, letter in enumerate(row)
}
CASES = (str.upper, str.lower, str.capitalize)


def edited_texts(texts: Sequence[str], name: str, strength: float, rng: np.random.Generator) -> list[str]:
    """Return texts with one kind of edit; a text of which nothing would be left stays as it is.

    Args:
        texts: N texts.
        name: "deletion", "swap", "casing" or "typing".
        strength: Share of the words, or of the characters, that are edited.
        rng: Draws.
    """
    edit = _EDITS[name](strength)
    return [new if (new := edit(text, rng)).strip() else text for text in texts]


def _of_words(layer_name: str) -> Callable[[float], Callable[[str, np.random.Generator], str]]:
    """Return an edit by a layer of KerasHub, which takes the words of a text."""

    def at(strength: float) -> Callable[[str, np.random.Generator], str]:
        import keras_hub

        layer: Any = getattr(keras_hub.layers, layer_name)(rate=strength, seed=0, dtype="string")
        return lambda text, rng: " ".join(layer(text.split(), rng=rng)) if text.split() else text

    return at


def _casing(strength: float) -> Callable[[str, np.random.Generator], str]:
    def edit(text: str, rng: np.random.Generator) -> str:
        words = text.split(" ")
        hit = rng.random(len(words)) < strength
        how = rng.integers(0, 3, len(words))
        return " ".join(CASES[way](word) if yes else word for word, yes, way in zip(words, hit, how))

    return edit


def _typing(strength: float) -> Callable[[str, np.random.Generator], str]:
    """Return typing errors: a neighbouring key, a letter left out, doubled, or swapped with the next."""

    def edit(text: str, rng: np.random.Generator) -> str:
        letters, place, found = list(text), 0, []
        hit, how, which = (
            rng.random(len(letters)) < strength,
            rng.integers(0, 4, len(letters)),
            rng.random(len(letters)),
        )
        while place < len(letters):
            letter = letters[place]
            if not hit[place] or not letter.isalpha():
                found.append(letter)
            elif how[place] == 0 and letter.lower() in KEYS:
                near = KEYS[letter.lower()]
                key = near[int(which[place] * len(near))]
                found.append(key.upper() if letter.isupper() else key)
            elif how[place] == 1:
                found += [letter, letter]
            elif how[place] == 2 and place + 1 < len(letters):
                found += [letters[place + 1], letter]
                place += 1
            place += 1
        return "".join(found)

    return edit


_EDITS: dict[str, Callable[[float], Callable[[str, np.random.Generator], str]]] = {
    "deletion": _of_words("RandomDeletion"),
    "swap": _of_words("RandomSwap"),
    "casing": _casing,
    "typing": _typing,
}
