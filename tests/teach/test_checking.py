"""Exercises that answer: right, a hint, or which type was wanted."""

import math

import numpy as np
import pytest

from tfxfer import teach
from tfxfer.errors import UserError
from tfxfer.teach import checking
from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, Shape, Whole

NUMBER = Exercise(Number(0.01), 0.5, "Because.", "Think.", (Mistake(2, "That is its inverse."),))
WHOLE = Exercise(Whole(), 12, "Because.", "Think.")
CHOICE = Exercise(Choice(("helped", "no evidence")), "no evidence", "Because.", "Think.")
SHAPE = Exercise(Shape(), (32, 10), "Because.", "Think.", (Mistake((10, 32), "Turned round."),))
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
        (NUMBER, np.float32(0.5), "right"),
        (NUMBER, 0.52, "not yet"),
        (NUMBER, math.nan, "other type"),
        (NUMBER, True, "other type"),
        (NUMBER, "0.5", "other type"),
        (NUMBER, ..., "open"),
        (WHOLE, 12, "right"),
        (WHOLE, 12.0, "right"),
        (WHOLE, np.int64(12), "right"),
        (WHOLE, 13, "not yet"),
        (WHOLE, 12.5, "other type"),
        (WHOLE, np.True_, "other type"),
        (CHOICE, " No Evidence ", "right"),
        (CHOICE, "helped", "not yet"),
        (CHOICE, "hurt", "other type"),
        (SHAPE, [32, 10.0], "right"),
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
        (SHAPE, [10, 32], "Turned round."),
        (TWICE, lambda x: [one * one for one in x], "That is the square."),
    ],
)
def test_typical_mistakes_get_their_own_hint(asked, exercise, answer, hint):
    assert asked(exercise, answer).words == hint


def test_another_type_is_named_with_what_is_wanted(asked):
    assert asked(SHAPE, "big").words == "This exercise wants a shape, such as (32, 10); 'big' is a str."
    assert asked(CHOICE, "x" * 90).words.endswith("xx… is a str.")


def test_a_function_that_stops_is_no_crash(asked):
    feedback = asked(TWICE, lambda x: 1 / 0)
    assert feedback.words == "Your function stopped with ZeroDivisionError: division by zero. Think."


def test_in_a_notebook_words_are_escaped(asked):
    html = asked(NUMBER, "<b>half</b>")._repr_html_()
    assert "&lt;b&gt;half" in html and "<b>half" not in html


@pytest.mark.parametrize(
    ("number", "words"),
    [("2.3", "is no exercise"), (2.3, "is no exercise"), ("02.99", "no exercise '02.99'"), ("77.1", "no lesson '77'")],
)
def test_an_unknown_exercise_is_named(number, words):
    with pytest.raises(UserError, match=words):
        teach.check(number, 1)
