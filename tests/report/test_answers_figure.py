"""The figure of questions and answers: texts are unchanged, correct and wrong answers differ in colour."""

import io

import fake
import numpy as np
import pytest
from fake import card

from tfxfer.report.figures import answers
from tfxfer.report.figures.answers import COLUMNS
from tfxfer.report.figures.style import CORRECT, WRONG


def texts(figure):
    return [text for axes in figure.axes for text in axes.texts]


def test_texts_are_below_their_images_and_unchanged():
    figure = answers(
        [card(), card(right=False, image=fake.png((1, 2, 3), "RGB", (40, 24))), card(given=[["only one", 1.0]])]
    )
    shown = [text.get_text() for text in texts(figure)]
    assert "what is <b>it</b>? $\\frac" in shown
    assert "$x_{1}$ 90%  (correct)" in shown and "$x_{1}$ 90%  (wrong: red)" in shown
    assert any(text.get_color() == WRONG for text in texts(figure))
    assert any(text.get_color() == CORRECT for text in texts(figure))
    assert not any(text.get_parse_math() for text in texts(figure))
    figure.savefig(io.BytesIO(), format="svg")  # nothing in it is parsed as TeX


@pytest.mark.parametrize("count", [1, COLUMNS, COLUMNS + 1])
def test_every_card_has_an_image_and_its_heat_map(count):
    figure = answers([card() for _ in range(count)])
    images = [len(axes.images) for axes in figure.axes]
    assert sum(images) == 3 * count  # the image, the dimmed image, and the heat map over it


def test_no_cards_no_figure_and_a_heat_map_of_zeros_is_drawn():
    assert answers([]) is None
    answers([card(heat=np.zeros((8, 8)).tolist())]).savefig(io.BytesIO(), format="svg")
