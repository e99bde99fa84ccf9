"""Every exercise of every lesson: the solution is right, and typical mistakes get their hints."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from tfxfer import teach
from tfxfer.teach.exercise import Function, Number, Shape, WholeNumber

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


def overwrite(value):
    """Change a value in place as far as it can be changed, and everything in it."""
    if isinstance(value, np.ndarray) and value.size:
        value[...] = value.flat[-1]
        value.sort(axis=0)
    if isinstance(value, list | tuple):
        for one in value:
            overwrite(one)
    if isinstance(value, list):
        value.clear()


@pytest.mark.parametrize("number", EXERCISES)
def test_the_solution_is_right_after_an_answer_that_changed_everything_in_place(number):
    """An answer must not change the exercise for the answers that follow."""
    wanted, changed = EXERCISES[number].wanted, SOLUTIONS[number]
    if isinstance(wanted, Function):

        def changed(*arguments):
            result = SOLUTIONS[number](*arguments)
            overwrite(arguments)
            return result

    elif isinstance(wanted, Shape):
        changed = list(SOLUTIONS[number])
    first = teach.check(number, changed)
    overwrite(changed)
    assert first, first
    second = teach.check(number, SOLUTIONS[number])
    assert second, second
    if isinstance(wanted, Function):
        wrong = teach.check(number, lambda *arguments: overwrite(arguments))
        assert "returned None" in wrong.words
        assert teach.check(number, SOLUTIONS[number])
        for i in range(len(EXERCISES[number].mistakes)):
            test_a_typical_mistake_gets_its_hint(number, i)


FUNCTIONS = [number for number, exercise in EXERCISES.items() if isinstance(exercise.wanted, Function)]


@pytest.mark.parametrize("number", FUNCTIONS)
def test_tuples_and_lists_count_alike(number):
    """A function may return a list or a tuple for an array, or numbers for truth values."""

    def as_lists(*arguments):
        result = SOLUTIONS[number](*arguments)
        return result.tolist() if hasattr(result, "tolist") else result

    def as_tuples(*arguments):
        result = as_lists(*arguments)
        return tuple(map(tuple, result)) if np.ndim(result) == 2 else result

    assert teach.check(number, as_lists) and teach.check(number, as_tuples)


@pytest.mark.parametrize("kind", [tuple, list])
def test_07_2_takes_the_two_parts_as_a_pair(kind):
    def pair(W1, W2, g):
        both = SOLUTIONS["07.2"](W1, W2, g)
        return kind([both[: len(W1)], both[len(W1) :].T])

    assert teach.check("07.2", pair)


def test_07_2_with_changed_weights_is_right_when_its_result_is():
    """`W2 /= …` on the arguments is bad style and no reason to refuse the official solution afterwards."""

    def divides_in_place(W1, W2, g):
        W2 /= np.bincount(g, minlength=len(W2))[:, None]
        return np.concatenate([W1[:, g], W2[g].T])

    assert teach.check("07.2", divides_in_place)
    assert teach.check("07.2", SOLUTIONS["07.2"])


@pytest.mark.parametrize("number", [n for n, e in EXERCISES.items() if isinstance(e.wanted, Number | WholeNumber)])
def test_numbers_count_as_text_and_as_numbers(number):
    right = EXERCISES[number].right
    decimals = getattr(EXERCISES[number].wanted, "decimals", None)
    assert teach.check(number, str(right))
    assert teach.check(number, right if decimals is None else round(right, decimals))


@pytest.mark.parametrize("number", ["02.5", "04.4"])
def test_a_choice_of_a_number_counts_as_text_and_as_a_number(number):
    assert teach.check(number, 0) and teach.check(number, "0")


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
def test_a_lesson_has_three_to_seven_exercises_and_asks_them_in_order(lesson):
    own = [number for number in EXERCISES if number[:2] == lesson]
    (source,) = (NOTEBOOKS / "src").glob(f"{lesson}_*.py")
    text = source.read_text("utf-8")
    assert 3 <= len(own) <= 7
    assert re.findall(r'teach\.check\("(\d\d\.\d)"', text) == own
    assert re.findall(r"\*\*(\d\d\.\d)\*\*", text) == own
    assert not re.search(r'teach\.check\("[\d.]+", (?!\.\.\.)', text), "a lesson leaves its exercises open"
