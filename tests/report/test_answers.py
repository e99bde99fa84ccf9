"""The figure of questions and answers: its words are shown as they are, right and wrong told apart."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tfxfer.report.figures import answers
from tfxfer.report.figures.answers import COLUMNS, RIGHT, WRONG


def png(shape):
    buffer = io.BytesIO()
    Image.fromarray(np.full(shape, 200, np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def card(right=True, shape=(32, 32), **changes):
    given = [["$x_{1}$", 0.9], ["teal", 0.06], ["a very long answer that goes on and on", 0.04]]
    plain = {"png": png(shape), "heat": np.eye(8).tolist(), "question": "what is <b>it</b>? $\\frac", "true": "red"}
    return plain | {"given": given, "right": right} | changes


def texts(figure):
    return [text for axes in figure.axes for text in axes.texts]


def test_words_stand_below_their_pictures_as_they_are():
    figure = answers([card(), card(right=False, shape=(24, 40, 3)), card(given=[["only one", 1.0]])])
    said = [text.get_text() for text in texts(figure)]
    assert "what is <b>it</b>? $\\frac" in said
    assert "$x_{1}$ 90%  (right)" in said and "$x_{1}$ 90%  (wrong: red)" in said
    assert any(text.get_color() == WRONG for text in texts(figure))
    assert any(text.get_color() == RIGHT for text in texts(figure))
    assert not any(text.get_parse_math() for text in texts(figure))
    figure.savefig(io.BytesIO(), format="svg")  # nothing in it is read as TeX


@pytest.mark.parametrize("count", [1, COLUMNS, COLUMNS + 1])
def test_every_card_has_a_picture_and_its_places(count):
    figure = answers([card() for _ in range(count)])
    images = [len(axes.images) for axes in figure.axes]
    assert sum(images) == 3 * count  # the picture, the same again, and the places over it


def test_no_cards_no_figure_and_a_heat_of_nothing_is_drawn():
    assert answers([]) is None
    answers([card(heat=np.zeros((8, 8)).tolist())]).savefig(io.BytesIO(), format="svg")
