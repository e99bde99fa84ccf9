"""The spec of a fused data set, taken apart: `fuse:A+B?WORD=VALUE&…`.

A and B are specs. In square brackets a spec may hold `+`, `?` and `&`, and be a fused set itself:
`fuse:[csv:a+b.csv]+[fuse:C+D?on=label]?mix=1,1`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tfxfer.errors import UserError, suggest

DEEPEST = 4  # brackets within brackets
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = {  # word -> the ways that take it
    "on": ("key", "class", "nearest"),
    "via": ("nearest",),
    "encoder": ("nearest",),
    "min_confidence": ("nearest",),
    "size": ("nearest", "mix"),
    "mix": ("mix",),
    "balance": ("mix",),
    "test": ("mix",),
    "seed": ("class", "mix"),
}
CALLED = {"key": "on=COLUMN", "class": "on=label", "nearest": "on=nearest", "mix": "mix=… or balance=label"}
REMEDY = (
    "write fuse:A+B?on=COLUMN, on=label, on=nearest&via=SPEC, mix=0.7,0.3, mix=temperature:0.5 or balance=label; put "
    "a spec with '+', '?' or '&' in [ ]"
)


@dataclass(frozen=True)
class Query:
    """What a spec of a fused set asks for.

    Attributes:
        source: The spec.
        parts: The specs of its sets, two or more.
        way: "key", "class", "nearest" or "mix".
        keys: The key columns of A and B, with "key".
        weights: Relative weights of the sets, with "mix"; None where a temperature or balance is asked for.
        temperature: τ of p ∝ n^τ; 1 leaves the sets as they are.
        balance: Whether every class gets equally many training examples.
        first_only: Whether validation and test are those of the first set alone.
        via: Spec of true pairs that the space is fitted on, with "nearest".
        encoder: Spec of an image model, or None for the pixels of the shrunken image.
        size: Side of images in pixels, or None.
        min_confidence: Pairs of less are left out, 0 to 1.
        seed: Of draws, or None for that of `load`.
        columns: Letter of a set -> role -> column, from `a.label=script`.
    """

    source: str
    parts: tuple[str, ...]
    way: str
    keys: tuple[str, str] = ("", "")
    weights: tuple[float, ...] | None = None
    temperature: float = 1.0
    balance: bool = False
    first_only: bool = False
    via: str | None = None
    encoder: str | None = None
    size: int | None = None
    min_confidence: float = 0.0
    seed: int | None = None
    columns: dict[str, dict[str, str]] = field(default_factory=dict)

    def named(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield (spec, role -> column) of each set."""
        for letter, part in zip(LETTERS, self.parts):
            yield part, self.columns.get(letter, {})


def parse_query(spec: str) -> Query:
    """Take a spec apart; raises `UserError` with the nearest word for a typo.

    >>> query = parse_query("fuse:[csv:a+b.csv]+emoji/de?on=image=text&b.text=name")
    >>> query.parts, query.way, query.keys, query.columns
    (('csv:a+b.csv', 'emoji/de'), 'key', ('image', 'text'), {'b': {'text': 'name'}})
    """
    rest = spec.removeprefix("fuse:")
    whole, *more = _cut(spec, rest, "?")
    parts = tuple(_bare(part) for part in _cut(spec, whole, "+"))
    if len(more) > 1 or len(parts) < 2 or not all(part.strip() for part in parts):
        raise UserError(f"data spec '{spec}': {REMEDY}")
    words = _words(spec, more[0] if more else "")
    columns: dict[str, dict[str, str]] = {}
    letters = LETTERS[: len(parts)]
    for word in [word for word in words if word[1:2] == "." and word[0] in letters]:
        columns.setdefault(word[0], {})[word[2:]] = words.pop(word)
    way = _way(spec, words)
    for word in words:
        if word not in WORDS:
            raise UserError(f"data spec '{spec}': there is no '{word}='; {suggest(word, [*WORDS, 'a.label'])}")
        if way not in WORDS[word]:
            belongs = " and ".join(CALLED[one] for one in WORDS[word])
            raise UserError(f"data spec '{spec}': {word}= belongs to {belongs}; leave it out")
    if way != "mix" and len(parts) > 2:
        raise UserError(
            f"data spec '{spec}': a join is of two sets, and this names {len(parts)}; join two, and the result with "
            f"the third: fuse:[fuse:{parts[0]}+{parts[1]}?on=…]+{parts[2]}?…"
        )
    return Query(spec, parts, way, columns=columns, **_settings(spec, way, words, len(parts)))


def _way(spec: str, words: dict[str, str]) -> str:
    if "on" in words and ("mix" in words or "balance" in words):
        raise UserError(f"data spec '{spec}': on= joins pairs and mix= mixes sets; ask for one, and nest the other")
    if "on" in words:
        return {"label": "class", "nearest": "nearest"}.get(words["on"], "key")
    if "mix" in words or "balance" in words:
        return "mix"
    near = next((word for word in words if word not in WORDS), None)
    raise UserError(
        f"data spec '{spec}': " + (f"there is no '{near}='; {suggest(near, WORDS)} " if near else "") + REMEDY
    )


def _settings(spec: str, way: str, words: dict[str, str], count: int) -> dict[str, Any]:
    """Return the fields of `Query` that the words give."""
    found: dict[str, Any] = {}
    if way == "key":
        one, equals, two = words["on"].partition("=")
        found["keys"] = (one.strip(), two.strip() if equals else one.strip())
        if not all(found["keys"]):
            raise UserError(f"data spec '{spec}': on={words['on']} names no column; write on=COLUMN_A=COLUMN_B")
    if way == "nearest" and not words.get("via"):
        raise UserError(f"data spec '{spec}': on=nearest needs via=SPEC, true pairs that the space is fitted on")
    found |= {word: words[word] for word in ("via", "encoder") if words.get(word)}
    for word, least in (("size", 4), ("seed", 0)):
        if word in words:
            found[word] = _whole(spec, word, words[word], least)
    if "min_confidence" in words:
        found["min_confidence"] = _number(spec, "min_confidence", words["min_confidence"])
        if float(found["min_confidence"]) > 1:
            raise UserError(f"data spec '{spec}': min_confidence={words['min_confidence']} is not between 0 and 1")
    for word, field_name, value in (("balance", "balance", "label"), ("test", "first_only", "first")):
        if word in words and words[word] != value:
            raise UserError(f"data spec '{spec}': {word}={words[word]} is not known; write {word}={value}")
        found |= {field_name: True} if word in words else {}
    return found | (_mixture(spec, words["mix"], count) if "mix" in words else {})


def _mixture(spec: str, value: str, count: int) -> dict[str, Any]:
    kind, colon, exponent = value.partition(":")
    if colon and kind == "temperature":
        return {"temperature": _number(spec, "mix=temperature", exponent)}
    if colon or not value.replace(",", "").replace(".", "").isdigit():
        raise UserError(f"data spec '{spec}': mix={value} is not known; write mix=0.7,0.3 or mix=temperature:0.5")
    weights = tuple(_number(spec, "mix", one) for one in value.split(","))
    if len(weights) != count or not all(weight > 0 for weight in weights):
        raise UserError(f"data spec '{spec}': mix={value}: give one weight above 0 to each of the {count} sets")
    return {"weights": weights}


def _number(spec: str, word: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UserError(f"data spec '{spec}': {word}: '{value}' is no number of 0 or more")
    return number


def _whole(spec: str, word: str, value: str, least: int) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 9 or int(value) < least:
        raise UserError(f"data spec '{spec}': {word}={value}: give a whole number of {least} or more")
    return int(value)


def _words(spec: str, text: str) -> dict[str, str]:
    words: dict[str, str] = {}
    for piece in _cut(spec, text, "&") if text else []:
        word, equals, value = piece.partition("=")
        if not equals or not value or not word:
            raise UserError(f"data spec '{spec}': '{piece}' is no WORD=VALUE; {REMEDY}")
        if word in words:
            raise UserError(f"data spec '{spec}': {word}= is there twice; give it once")
        words[word] = _bare(value)
    return words


def _cut(spec: str, text: str, mark: str) -> list[str]:
    """Cut a text at a mark that stands in no brackets."""
    pieces, depth = [""], 0
    for letter in text:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if depth < 0 or depth > DEEPEST:
            what = "a bracket closes that was not opened" if depth < 0 else f"more than {DEEPEST} brackets are nested"
            raise UserError(f"data spec '{spec}': {what}; {REMEDY}")
        if letter == mark and not depth:
            pieces.append("")
        else:
            pieces[-1] += letter
    if depth:
        raise UserError(f"data spec '{spec}': a bracket is not closed; a path with one bracket has to be renamed")
    return pieces


def _bare(text: str) -> str:
    """Return a text without the brackets around the whole of it."""
    if not (text.startswith("[") and text.endswith("]")):
        return text
    depth = 0
    for place, letter in enumerate(text):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if not depth and place < len(text) - 1:
            return text
    return text[1:-1]
