"""What a valid rating is: the same checks for the server and for files that are imported."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from tfxfer.errors import UserError, suggest

LOWEST, HIGHEST = 1, 5
TIE = "tie"
LONGEST_NAME = 40
LONGEST_TIME = 24 * 3600 * 1000  # milliseconds on one screen
KEYS = {"key", "item", "shown", "milliseconds", "undo", "scores", "choice"}


def rater_name(given: Any) -> str:
    """Return a rater's name without needless spaces.

    Raises:
        UserError: It is no text, empty, too long, or has characters that cannot be shown.

    >>> rater_name("  Ada   L. ")
    'Ada L.'
    """
    name = " ".join(given.split()) if isinstance(given, str) else ""
    if not 1 <= len(name) <= LONGEST_NAME:
        raise UserError(f"a rater's name has 1 to {LONGEST_NAME} characters")
    if any(unicodedata.category(letter)[0] == "C" for letter in name):
        raise UserError("a rater's name has a character that cannot be shown; type it anew")
    return name


def checked(answer: Any, items: Mapping[str, Sequence[str]], ask: str, scales: Sequence[str]) -> dict[str, Any]:
    """Return a rating as it is kept, after everything in it was checked.

    Args:
        answer: What the page sent, or a file holds: "key" (its own random name), "item", "shown" (the candidates in the
            order shown), "milliseconds", and one of "scores" (candidate -> scale -> 1 to 5), "choice" (a candidate or
            "tie") and "undo" (True).
        items: Item -> its candidates.
        ask: "scales" or "choice".
        scales: The scales that are asked.

    Raises:
        UserError: Something is missing, unknown, or out of range; the message names it.
    """
    if not isinstance(answer, dict):
        raise UserError("a rating is an object")
    unknown = next((name for name in answer if name not in KEYS), None)
    if unknown is not None:
        raise UserError(f"a rating has no '{unknown!s:.40}'; {suggest(unknown, KEYS)}")
    key, item = answer.get("key"), answer.get("item")
    if not isinstance(key, str) or not re.fullmatch(r"[0-9a-f]{16,64}", key):
        raise UserError("a rating's key has 16 to 64 hexadecimal digits")
    if not isinstance(item, str) or item not in items:
        raise UserError(f"there is no item '{item!s:.40}' in this session")
    candidates, time = items[item], answer.get("milliseconds", 0)
    if isinstance(time, bool) or not isinstance(time, int) or not 0 <= time <= LONGEST_TIME:
        raise UserError(f"item {item}: milliseconds must be a whole number from 0 to {LONGEST_TIME}")
    found: dict[str, Any] = {"key": key, "item": item, "milliseconds": time}
    if answer.get("undo") is True:
        return found | {"undo": True}
    given = answer.get("shown")
    if (
        not isinstance(given, list)
        or not all(isinstance(one, str) for one in given)
        or sorted(given) != sorted(candidates)
    ):
        raise UserError(f"item {item}: 'shown' must name each of its {len(candidates)} texts once")
    found["shown"] = given
    if ask == "choice":
        choice = answer.get("choice")
        if choice != TIE and choice not in candidates:
            raise UserError(f"item {item}: the choice '{choice!s:.40}' is none of its texts, and no tie")
        return found | {"choice": choice}
    return found | {"scores": _scores(answer.get("scores"), item, candidates, scales)}


def _scores(given: Any, item: str, candidates: Sequence[str], scales: Sequence[str]) -> dict[str, dict[str, int]]:
    if not isinstance(given, dict) or set(given) != set(candidates):
        raise UserError(f"item {item}: there must be scores for each of its {len(candidates)} texts")
    for own in given.values():
        if not isinstance(own, dict) or set(own) != set(scales):
            raise UserError(f"item {item}: each text has scores for {', '.join(scales)}")
        for name, value in own.items():
            if isinstance(value, bool) or not isinstance(value, int) or not LOWEST <= value <= HIGHEST:
                raise UserError(f"item {item}: {name} is {value!s:.20}; it must be a whole number from 1 to 5")
    return given


def canonical(value: Any) -> str:
    """Return JSON text that the page and Python write alike: sorted keys, no spaces, whole numbers.

    >>> canonical({"b": [1, "é"], "a": True})
    '{"a":true,"b":[1,"é"]}'
    """
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
