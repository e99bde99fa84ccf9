"""What a row may give as text, class, path or answer: one rule for CSV and JSON, and the message when it is broken.

CSV has strings only. JSON also has numbers, lists and objects. Written as text they would become classes and sentences
that nobody meant, so they are refused. Whole numbers, true and false are classes and answers.
"""

import re
import unicodedata
from collections import Counter
from typing import Any

from tfxfer.errors import UserError

_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape half of a character, UTF-8 cannot hold it
_SENTENCES = ("text", "question", "caption")  # roles whose values are not names
_REMEDIES = {  # role -> what to do about a list or an object
    "label": "one class a row: write its name",
    "answer": "write the answer as a string",
    "caption": "one caption a row; a file with lists of captions is read by captions:PATH",
    "image": "write the path of the image as a string",
    "split": "write train, validation or test",
}


def class_name(text: str) -> str:
    """Return the form under which two class names are the same: NFC, without blanks at the ends.

    >>> class_name(" Cafe" + chr(0x301)) == "Caf" + chr(0xE9)
    True
    """
    return unicodedata.normalize("NFC", text.strip())


def cell(role: str, value: Any, place: str, column: str) -> str:
    """Return what a row gives for a role, as a string.

    Args:
        role: "text", "label", "image", "question", "answer", "caption", "split", or "key", by which sets are joined.
        value: A string, or any value of JSON but null.
        place: File and row for the message.
        column: Name of the column for the message.

    Returns:
        The string; a class in the form of `class_name`, a path without blanks at its ends; of several answers the
        commonest, the first of equals.

    Raises:
        UserError: naming place, column and remedy.

    >>> cell("answer", ["yes", "no", "Yes"], "t.jsonl row 1", "answers")
    'yes'
    """
    if role == "answer" and isinstance(value, list):
        value = commonest(answers_of(value, place, column))
    if role in ("label", "answer", "key") and not isinstance(value, str):
        value = _plain(role, value, place, column)
    if not isinstance(value, str):
        raise UserError(f"{place}: '{column}' is {_shown(value)}; {_REMEDIES.get(role, 'write the text in quotes')}")
    refuse_unusable(value, f"{place}: '{column}'", name=role not in _SENTENCES)
    if role in ("label", "key"):
        return class_name(value)
    return value.strip() if role == "image" else value


def captions_of(value: Any, place: str, column: str) -> list[str]:
    """Return the captions that a row gives: one string, or a list of strings. Errors as for `cell`."""
    if not isinstance(value, list):
        return [cell("caption", value, place, column)]
    for i, caption in enumerate(value):
        if not isinstance(caption, str):
            raise UserError(f"{place}: '{column}'[{i}] is {_shown(caption)}; write each caption as a string")
        refuse_unusable(caption, f"{place}: '{column}'[{i}]", name=False)
    return value


def refuse_unusable(text: str, place: str, *, name: bool) -> None:
    """Refuse half of a surrogate pair and, in names of classes and files, NUL; `place` begins the message."""
    if name and "\0" in text:
        raise UserError(f"{place} holds a NUL character; remove it")
    found = _SURROGATE.search(text)
    if found:
        raise UserError(
            f"{place} holds half of an escaped character (\\u{ord(found[0]):x}); write both halves of the pair, or the "
            "character itself"
        )


def answers_of(value: list[Any], place: str, column: str) -> list[str]:
    """Return the answers that several people gave: strings, or objects with "answer". Errors as for `cell`."""
    if not value:
        raise UserError(f"{place}: '{column}' is an empty list; write an answer or remove the row")
    found: list[Any] = [one.get("answer") if isinstance(one, dict) else one for one in value]
    if all(type(one) is str and one.isascii() and "\0" not in one for one in found):  # there may be millions
        return found
    return [cell("answer", one, place, column) for one in found]


def commonest(answers: list[str]) -> str:
    """Return the commonest of several answers, in its first spelling; case does not count.

    >>> commonest(["no", "Yes", "yes "])
    'Yes'
    """
    alike = [" ".join(text.casefold().split()) for text in answers]
    return answers[alike.index(Counter(alike).most_common(1)[0][0])]


def _plain(role: str, value: Any, place: str, column: str) -> Any:
    """Return a whole number, true or false as a string; other values as they are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not value.is_integer():
            what = "class" if role == "label" else "answer"
            raise UserError(
                f"{place}: '{column}' is the number {value}; a {what} is a name or a whole number: write it in quotes "
                f"if it is a {what}, and put measured values into classes"
            )
        return str(int(value))
    return str(value) if isinstance(value, int) else value


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object {…}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else f"the number {value!r:.20}"
