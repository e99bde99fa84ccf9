"""`check("02.3", answer)` says that the answer is right, gives a hint, or says which type was wanted."""

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from tfxfer.errors import UserError, suggest
from tfxfer.teach import lessons
from tfxfer.teach.exercise import Exercise, Function


@dataclass(frozen=True)
class Feedback:
    """What `check` says about an answer. True when it is right; a notebook shows it in colour.

    Attributes:
        verdict: "right", "not yet", "other type" or "open".
        words: Why the answer is right, or a hint.
        case: For a function: an example on which it does not give the expected result.
    """

    verdict: str
    words: str
    case: str = ""

    def __bool__(self) -> bool:
        return self.verdict == "right"

    def __repr__(self) -> str:
        mark = {"right": "✔ Right.", "not yet": "✘ Not yet.", "other type": "✘ Not yet.", "open": "○ Open."}
        return " ".join(part for part in (mark[self.verdict], self.words, self.case) if part)

    def _repr_html_(self) -> str:
        colour = {"right": "#007a5e", "open": "#59636e"}.get(self.verdict, "#b84a08")
        mark, _, words = repr(self).partition(". ")
        return (
            f'<div style="border-left:4px solid {colour};padding:.3em .8em;background:#f6f8fa;color:#1b1f24">'
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
    """Check an answer to an exercise.

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
        raise UserError(
            f"{number!r} is not the number of an exercise; write lesson and number in quotes, such as '02.3'"
        )
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
    if isinstance(exercise.wanted, Function):
        return _tried(exercise, exercise.wanted, answer)
    if exercise.wanted.same(answer, exercise.right):
        return Feedback("right", exercise.because)
    return Feedback("not yet", _hint(exercise, answer))


def _tried(exercise: Exercise, wanted: Function, answer: Callable) -> Feedback:
    """Call a function with the examples of its exercise."""
    difference = wanted.first_difference(answer, exercise.right)
    if difference is None:
        return Feedback("right", exercise.because)
    case = difference.sentence(answer)
    if difference.error is not None:
        stopped = f"Your function stopped with {type(difference.error).__name__}: {difference.error}."
        return Feedback("not yet", f"{stopped} {exercise.hint}", case)
    if difference.given is None:
        return Feedback("not yet", "Your function returned None. Is its last line a `return`?", case)
    return Feedback("not yet", _hint(exercise, answer), case)


def _hint(exercise: Exercise, answer: Any) -> str:
    made = (mistake.hint for mistake in exercise.mistakes if exercise.makes(mistake, answer))
    return next(made, exercise.hint)


def _shown(answer: Any) -> str:
    text = " ".join(repr(answer).split())
    return text if len(text) <= 40 else text[:39] + "…"
