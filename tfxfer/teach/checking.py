"""`check("02.3", answer)`: right, or a hint, or which type was wanted."""

import importlib
import pkgutil
import re
from dataclasses import dataclass
from html import escape
from typing import Any

from tfxfer.errors import UserError, suggest
from tfxfer.teach import lessons
from tfxfer.teach.exercise import Exercise, Function


@dataclass(frozen=True)
class Feedback:
    """What an answer is worth. True when it is right; shows its words in a notebook.

    Attributes:
        verdict: "right", "not yet", "other type" or "open".
        words: What to say to the learner.
    """

    verdict: str
    words: str

    def __bool__(self) -> bool:
        return self.verdict == "right"

    def __repr__(self) -> str:
        mark = {"right": "✔ Right.", "not yet": "✘ Not yet.", "other type": "✘ Not yet.", "open": "○ Open."}
        return f"{mark[self.verdict]} {self.words}"

    def _repr_html_(self) -> str:
        colour = {"right": "#007a5e", "open": "#59636e"}.get(self.verdict, "#b84a08")
        mark, _, words = repr(self).partition(". ")
        return (
            f'<div style="border-left:4px solid {colour};padding:.3em .8em">'
            f'<b style="color:{colour}">{mark}.</b> {escape(words)}</div>'
        )


def exercises(lesson: str | None = None) -> dict[str, Exercise]:
    """Return number -> exercise, of all lessons or of one, such as "02".

    Raises:
        UserError: There is no such lesson.
    """
    known = {module.name.removeprefix("lesson_") for module in pkgutil.iter_modules(lessons.__path__)}
    if lesson is not None and lesson not in known:
        raise UserError(f"there is no lesson '{lesson}'; {suggest(lesson, sorted(known))}")
    found: dict[str, Exercise] = {}
    for number in sorted(known) if lesson is None else [lesson]:
        found |= importlib.import_module(f"tfxfer.teach.lessons.lesson_{number}").EXERCISES
    return found


def check(number: str, answer: Any = ...) -> Feedback:
    """Look at an answer to an exercise.

    Args:
        number: Lesson and exercise, such as "02.3".
        answer: The learner's answer; `...` stands for none yet.

    Returns:
        A `Feedback`: true when the answer is right, else with a hint.

    Raises:
        UserError: There is no such exercise.

    >>> check("02.1", "many")
    ✘ Not yet. This exercise wants a whole number, such as 12; 'many' is a str.
    """
    if not isinstance(number, str) or not re.fullmatch(r"\d\d\.\d+", number):
        raise UserError(f"{number!r} is no exercise; write lesson and number in quotes, such as '02.3'")
    known = exercises(number[:2])
    if number not in known:
        raise UserError(f"there is no exercise '{number}'; {suggest(number, known)}")
    exercise = known[number]
    if answer is ...:
        return Feedback("open", "Put your answer in the place of the three dots, and run the cell again.")
    if not exercise.wanted.accepts(answer):
        words = f"This exercise wants {exercise.wanted.words}; {_shown(answer)} is a {type(answer).__name__}."
        return Feedback("other type", words)
    return _judged(exercise, answer)


def _judged(exercise: Exercise, answer: Any) -> Feedback:
    try:
        if exercise.wanted.same(answer, exercise.right):
            return Feedback("right", exercise.because)
        for mistake in exercise.mistakes:
            if exercise.makes(mistake, answer):
                return Feedback("not yet", mistake.hint)
    except Exception as error:
        if not isinstance(exercise.wanted, Function):
            raise
        return Feedback("not yet", f"Your function stopped with {type(error).__name__}: {error}. {exercise.hint}")
    return Feedback("not yet", exercise.hint)


def _shown(answer: Any) -> str:
    text = " ".join(repr(answer).split())
    return text if len(text) <= 40 else text[:39] + "…"
