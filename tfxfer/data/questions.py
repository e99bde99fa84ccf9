"""Questions about characters, made from the columns of `glyphs`: script, case, diacritic, number, dots.

A character gets only the questions that it has an answer to. A hash of its name chooses the wording of a question, so
the questions are the same on every machine.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tfxfer.data.splits import position

NO_SCRIPT = ("", "Common", "Inherited", "Unknown")  # values for characters that many scripts share
WORDINGS: dict[str, tuple[str, ...]] = {  # kind of question -> its wordings
    "script": ("which script is it?", "what script is this letter of?", "what is the script?"),
    "case": ("is it a capital or a small letter?", "upper or lower case?", "what case is the letter?"),
    "diacritic": ("which mark is on the letter?", "what is the letter with?", "which diacritic is it?"),
    "number": ("what is its number?", "what number is the sign?", "how much is it worth?"),
    "dots": ("how many dots?", "what is the number of dots?", "how many dots are there?"),
}


class Question(NamedTuple):
    """A question about one character: its kind, its text, and the answer."""

    kind: str
    text: str
    answer: str


def questions_about(facts: Mapping[str, str | int]) -> Iterator[Question]:
    """Yield the questions about a character that have an answer.

    Args:
        facts: "caption" and the columns of `tfxfer.data.builders.facts.facts_of`.

    >>> facts = {"caption": "LATIN SMALL LETTER E WITH ACUTE", "script": "Latin", "case": "lower"}
    >>> facts |= {"diacritic": "acute", "numeric": "", "braille_dots": -1}
    >>> [(question.kind, question.answer) for question in questions_about(facts)]
    [('script', 'Latin'), ('case', 'lower'), ('diacritic', 'acute')]
    """
    for kind, answer in _answers(facts).items():
        if answer:
            wordings = WORDINGS[kind]
            yield Question(kind, wordings[int(position(f"{kind} {facts['caption']}") * len(wordings))], answer)


def _answers(facts: Mapping[str, str | int]) -> dict[str, str]:
    """Return kind -> answer, "" where a character has none. Only letters with case have a question about diacritics."""
    cased = facts["case"] in ("upper", "lower")
    dots = int(facts["braille_dots"])
    return {
        "script": "" if facts["script"] in NO_SCRIPT else str(facts["script"]),
        "case": str(facts["case"]) if cased else "",
        "diacritic": str(facts["diacritic"]) if cased else "",
        "number": str(facts["numeric"]),
        "dots": str(dots) if dots >= 0 else "",
    }
