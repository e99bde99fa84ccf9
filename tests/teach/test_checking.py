"""Exercises that answer: right, a hint, or which type was wanted."""

import math

import numpy as np
import pytest

from tfxfer import teach
from tfxfer.errors import UserError
from tfxfer.teach import checking
from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, Shape, WholeNumber

NUMBER = Exercise(Number(decimals=2), 0.5, "Because.", "Think.", (Mistake(2, "That is its inverse."),))
WHOLE = Exercise(WholeNumber(), 12, "Because.", "Think.")
CHOICE = Exercise(Choice(("helped", "no evidence")), "no evidence", "Because.", "Think.")
DIGIT = Exercise(Choice(("0", "300", "3000")), "0", "Because.", "Think.")
SHAPE = Exercise(Shape(), (32, 10), "Because.", "Think.", (Mistake((10, 32), "The axes are swapped."),))
ROUNDED = Exercise(Number(decimals=3), 0.12375, "Because.", "Think.")
TWICE = Exercise(
    Function(),
    ((([1, 2],), [2, 4]), (([0.5],), [1.0])),
    "Because.",
    "Think.",
    (Mistake(lambda x: np.asarray(x) ** 2, "That is the square."),),
)


@pytest.fixture
def asked(monkeypatch):
    """Ask an exercise of this file as "02.1"."""

    def ask(exercise, answer):
        monkeypatch.setattr(checking, "exercises", lambda lesson=None: {"02.1": exercise})
        return teach.check("02.1", answer)

    return ask


@pytest.mark.parametrize(
    ("exercise", "answer", "verdict"),
    [
        (NUMBER, 0.5, "right"),
        (NUMBER, 0.505, "right"),
        (NUMBER, 0.495, "right"),
        (NUMBER, np.float32(0.5), "right"),
        (NUMBER, 0.52, "not yet"),
        (NUMBER, math.nan, "other type"),
        (NUMBER, True, "other type"),
        (NUMBER, "0.5", "right"),
        (NUMBER, " 1/2 ", "right"),
        (NUMBER, "half", "other type"),
        (NUMBER, "1/0", "other type"),
        (NUMBER, 0.51, "not yet"),
        (NUMBER, np.array(0.5), "right"),
        (NUMBER, None, "other type"),
        (NUMBER, ..., "open"),
        (WHOLE, 12, "right"),
        (WHOLE, 12.0, "right"),
        (WHOLE, "12", "right"),
        (WHOLE, "1,200", "not yet"),
        (WHOLE, np.int64(12), "right"),
        (WHOLE, 13, "not yet"),
        (WHOLE, 12.5, "other type"),
        (WHOLE, np.True_, "other type"),
        (CHOICE, " No Evidence ", "right"),
        (CHOICE, "helped", "not yet"),
        (DIGIT, 0, "right"),
        (DIGIT, "0", "right"),
        (DIGIT, np.int64(3000), "not yet"),
        (DIGIT, False, "other type"),
        (CHOICE, "hurt", "other type"),
        (SHAPE, [32, 10.0], "right"),
        (SHAPE, np.array([32, 10]), "right"),
        (SHAPE, ("32", "10"), "right"),
        (SHAPE, np.array(32), "not yet"),
        (SHAPE, (32, 10, 1), "not yet"),
        (SHAPE, 320, "other type"),
        (TWICE, lambda x: 2 * np.asarray(x), "right"),
        (TWICE, lambda x: np.asarray(x) + 1, "not yet"),
        (TWICE, lambda x: 2 * np.asarray(x)[None], "not yet"),
        (TWICE, 4, "other type"),
    ],
)
def test_an_answer_gets_its_verdict(asked, exercise, answer, verdict):
    feedback = asked(exercise, answer)
    assert feedback.verdict == verdict
    assert bool(feedback) == (verdict == "right")


def test_right_answers_learn_why(asked):
    assert repr(asked(NUMBER, 0.5)) == "✔ Right. Because."


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        (NUMBER, 2, "That is its inverse."),
        (NUMBER, 3, "Think."),
        (SHAPE, [10, 32], "The axes are swapped."),
        (TWICE, lambda x: [one * one for one in x], "That is the square."),
    ],
)
def test_typical_mistakes_get_their_own_hint(asked, exercise, answer, hint):
    assert asked(exercise, answer).words == hint


def test_another_type_is_named_with_what_is_wanted(asked):
    assert asked(SHAPE, "big").words == "This exercise wants a shape, such as (32, 10); 'big' is a str."
    assert asked(CHOICE, "x" * 90).words.endswith("xx… is a str.")


@pytest.mark.parametrize("printed", [0.124, "0.124", 0.12375, 0.1237, 0.1238])
def test_a_number_counts_at_the_decimals_that_the_lesson_prints(asked, printed):
    assert asked(ROUNDED, printed)


@pytest.mark.parametrize("other", [0.12, 0.123, 0.125, 12.375])
def test_a_number_that_is_rounded_to_something_else_does_not_count(asked, other):
    assert not asked(ROUNDED, other)


def test_a_function_that_stops_is_no_crash(asked):
    feedback = asked(TWICE, lambda x: 1 / 0)
    assert feedback.words == "Your function stopped with ZeroDivisionError: division by zero. Think."
    assert feedback.case == "The call was: x = [1, 2]."


def test_a_forgotten_return_gets_its_own_hint(asked):
    def forgets(x):
        x * 2

    feedback = asked(TWICE, forgets)
    assert feedback.words == "Your function returned None. Is its last line a `return`?"
    assert feedback.case == "The call was: x = [1, 2]."


def test_a_wrong_function_is_shown_the_input_and_the_shapes(asked):
    feedback = asked(TWICE, lambda x: np.ones((1, 2)))
    assert feedback.words == "Think."
    assert feedback.case == "Called with x = [1, 2], it returned shape (1, 2); expected is shape (2,)."
    assert repr(feedback).endswith(f"Think. {feedback.case}")
    assert asked(TWICE, lambda x: x[0]).case == (
        "Called with x = [1, 2], it returned a single number; expected is shape (2,)."
    )


def test_a_wrong_function_with_the_right_shape_is_shown_its_values(asked):
    assert asked(TWICE, lambda x: np.asarray(x) + 1).case == "Called with x = [1, 2], it returned [2, 3]."


def test_long_inputs_are_cut_and_arrays_show_their_shape(asked):
    long = Exercise(Function(), (((np.arange(60.0).reshape(20, 3), "a|b"), 0),), "Because.", "Think.")
    case = asked(long, lambda table, text: [1, 2]).case
    assert case.startswith("Called with table = [[0.0, 1.0, 2.0],") and "… (shape (20, 3)), text = 'a|b', it" in case
    assert len(case) < 200


@pytest.mark.parametrize("given", [[[1, 2], [3]], "text", object(), {"a": 1}])
def test_a_function_may_return_anything(asked, given):
    assert asked(TWICE, lambda x: given).verdict == "not yet"


def test_the_result_may_be_a_list_a_tuple_or_an_array(asked):
    for kind in (list, tuple, np.array):
        assert asked(TWICE, lambda x, kind=kind: kind([2 * one for one in x]))


def test_a_function_that_changes_its_arguments_does_not_change_the_exercise(asked):
    def destroys(x):
        x.clear()
        return [0, 0]

    assert not asked(TWICE, destroys)
    assert asked(TWICE, lambda x: [2 * one for one in x])


def test_in_a_notebook_words_are_escaped(asked):
    html = asked(NUMBER, "<b>half</b>")._repr_html_()
    assert "&lt;b&gt;half" in html and "<b>half" not in html


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("2.3", "is not the number of an exercise"),
        (2.3, "is not the number of an exercise"),
        ("02.99", "no exercise '02.99'"),
        ("77.1", "no lesson '77'"),
    ],
)
def test_an_unknown_exercise_is_named(number, words):
    with pytest.raises(UserError, match=words):
        teach.check(number, 1)
