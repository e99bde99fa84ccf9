"""Questions about characters, made of the facts that `glyphs` holds: which script, case, diacritic, number, dots.

A question is asked only of characters that have an answer to it. Which of a question's wordings a character gets is
decided by a hash of its name, so that everyone's questions are the same.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tfxfer.data.splits import position

NO_SCRIPT = ("", "Common", "Inherited", "Unknown")  # signs that many scripts share have none of their own
WORDINGS: dict[str, tuple[str, ...]] = {  # what is asked for -> ways of asking
    "script": ("which script is it?", "what script is this letter of?", "what is the script?"),
    "case": ("is it a capital or a small letter?", "upper or lower case?", "what case is the letter?"),
    "diacritic": ("which mark is on the letter?", "what is the letter with?", "which diacritic is it?"),
    "number": ("what is its number?", "what number is the sign?", "how much is it worth?"),
    "dots": ("how many dots?", "what is the number of dots?", "how many dots are there?"),
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
