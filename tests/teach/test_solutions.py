"""Every exercise of every lesson: its solution is right, its typical mistakes get their hints."""

import re
import runpy
from pathlib import Path

import pytest

from tfxfer import teach
from tfxfer.teach.exercise import Function

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"
EXERCISES = teach.exercises()
SOLUTIONS = {}
for file in sorted((NOTEBOOKS / "solutions").glob("[0-9][0-9]_*.py")):
    SOLUTIONS |= runpy.run_path(str(file))["SOLUTIONS"]
MISTAKES = [(number, i) for number, exercise in EXERCISES.items() for i in range(len(exercise.mistakes))]


def test_each_exercise_has_a_solution():
    assert list(SOLUTIONS) == list(EXERCISES)


@pytest.mark.parametrize("number", EXERCISES)
def test_the_solution_is_right(number):
    feedback = teach.check(number, SOLUTIONS[number])
    assert feedback, feedback


@pytest.mark.parametrize(("number", "i"), MISTAKES)
def test_a_typical_mistake_gets_its_hint(number, i):
    mistake = EXERCISES[number].mistakes[i]
    feedback = teach.check(number, mistake.answer)
    assert (feedback.verdict, feedback.words) == ("not yet", mistake.hint)


@pytest.mark.parametrize("number", EXERCISES)
def test_another_type_is_told_which_is_wanted(number):
    feedback = teach.check(number, object())
    assert feedback.verdict == "other type" and "wants" in feedback.words


@pytest.mark.parametrize("number", EXERCISES)
def test_no_hint_gives_the_answer_away(number):
    exercise = EXERCISES[number]
    if isinstance(exercise.wanted, Function):
        return
    said = [exercise.hint, *(mistake.hint for mistake in exercise.mistakes)]
    answer = str(exercise.right)
    assert not any(re.search(rf"(?<![\w.]){re.escape(answer)}(?![\w.])", words) for words in said)


@pytest.mark.parametrize("lesson", sorted({number[:2] for number in EXERCISES}))
def test_a_lesson_has_three_to_five_exercises_and_asks_them_in_order(lesson):
    own = [number for number in EXERCISES if number[:2] == lesson]
    (source,) = (NOTEBOOKS / "src").glob(f"{lesson}_*.py")
    text = source.read_text("utf-8")
    assert 3 <= len(own) <= 5
    assert re.findall(r'teach\.check\("(\d\d\.\d)"', text) == own
    assert re.findall(r"\*\*(\d\d\.\d)\*\*", text) == own
    assert not re.search(r'teach\.check\("[\d.]+", (?!\.\.\.)', text), "a lesson leaves its exercises open"
