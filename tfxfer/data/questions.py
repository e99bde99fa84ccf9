"""Questions about characters, made of the facts that `glyphs` holds: which script, case, diacritic, number, dots.

A question is asked only of characters that have an answer to it. Which of a question's wordings a character gets is
decided by a hash of its name, so that everyone's questions are the same.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tfxfer.data.splits import position

NO_SCRIPT = ("", "Common", "Inherited", "Unknown")  # signs that many scripts share have none of their own
WORDINGS: dict[str, tuple[str, ...]] = {  # what is asked for -> ways of asking
    "script": (
        "which script is this?",
        "what script does this character belong to?",
        "in which writing system is it used?",
        "which script is the character from?",
    ),
    "case": (
        "is this letter upper or lower case?",
        "what case is the letter?",
        "which case does this letter have?",
        "is it an upper or a lower case letter?",
    ),
    "diacritic": (
        "which diacritic does the letter carry?",
        "what mark is on this letter?",
        "which diacritic is this?",
        "with which diacritic is the letter written?",
    ),
    "number": (
        "what is its numeric value?",
        "which number is this?",
        "what number does the sign stand for?",
        "how much is it worth as a number?",
    ),
    "dots": (
        "how many dots are raised?",
        "how many braille dots are there?",
        "what is the number of dots?",
        "how many dots does the pattern have?",
    ),
}


class Question(NamedTuple):
    """A question about one character: what it asks for, its words, and the answer."""

    kind: str
    text: str
    answer: str


def questions_about(facts: Mapping[str, str | int]) -> Iterator[Question]:
    """Yield the questions about a character that have an answer.

    Args:
        facts: "caption" and the facts of `tfxfer.data.builders.facts.facts_of`.

    >>> facts = {"caption": "LATIN SMALL LETTER E WITH ACUTE", "script": "Latin", "case": "lower"}
    >>> facts |= {"diacritic": "acute", "numeric": "", "braille_dots": -1}
    >>> [(question.kind, question.answer) for question in questions_about(facts)]
    [('script', 'Latin'), ('case', 'lower'), ('diacritic', 'acute')]
    """
    for kind, answer in _answers(facts).items():
        if answer:
            ways = WORDINGS[kind]
            yield Question(kind, ways[int(position(f"{kind} {facts['caption']}") * len(ways))], answer)


def _answers(facts: Mapping[str, str | int]) -> dict[str, str]:
    """Return kind -> answer, "" where a character has none. Only letters with case are asked for diacritics."""
    cased = facts["case"] in ("upper", "lower")
    dots = int(facts["braille_dots"])
    return {
        "script": "" if facts["script"] in NO_SCRIPT else str(facts["script"]),
        "case": str(facts["case"]) if cased else "",
        "diacritic": str(facts["diacritic"]) if cased else "",
        "number": str(facts["numeric"]),
        "dots": str(dots) if dots >= 0 else "",
    }
