"""The similarity matrix and the retrieved images: every drawn mark is in the numbers."""

import xml.etree.ElementTree as tree

import numpy as np
import pytest
from fake import png
from matplotlib.offsetbox import AnnotationBbox

from tfxfer.report import svg
from tfxfer.report.figures import retrieved_images, similarity_matrix
from tfxfer.report.figures.images import decoded

K = np.array([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.5, 0.0, 4.0]])
IMAGES = [png(value) for value in (0, 100, 255)]
TEXTS = ["LATIN SMALL LETTER A", "$dollar$ <sign>", "x" * 90]


def frames(figure):
    return [patch for patch in figure.axes[0].patches if not patch.get_fill()]


def cells(figure):
    return [patch for patch in figure.axes[0].patches if patch.get_fill()]


def images(figure):
    return [artist for artist in figure.axes[0].artists if isinstance(artist, AnnotationBbox)]


def test_every_pair_is_a_cell_and_the_greatest_of_a_row_has_the_strongest_colour():
    figure = similarity_matrix(K, IMAGES, TEXTS)
    alpha = np.array([patch.get_alpha() for patch in cells(figure)]).reshape(3, 3)
    assert (alpha.argmax(1) == K.argmax(1)).all() and (alpha.argmin(1) == K.argmin(1)).all()
    assert alpha[0, 0] == alpha[2, 2]  # each row has its own scale
    assert len(images(figure)) == 3
    found = figure.axes[0].collections[0].get_offsets()
    assert found.tolist() == [[0, 0], [2, 1], [2, 2]]


def test_correct_pairs_are_framed():
    places = [(round(p.get_y() + 0.44), round(p.get_x() + 0.44)) for p in frames(similarity_matrix(K, IMAGES, TEXTS))]
    assert places == [(0, 0), (1, 1), (2, 2)]
    shared = np.array([[1, 0, 0], [0, 1, 1], [0, 1, 1]], bool)
    assert len(frames(similarity_matrix(K, IMAGES, TEXTS, shared))) == 5


def test_a_constant_k_has_one_colour():
    alpha = {patch.get_alpha() for patch in cells(similarity_matrix(np.ones((3, 3)), IMAGES, TEXTS))}
    assert len(alpha) == 1


QUERIES = [
    {"text": TEXTS[0], "rank": 2, "found": [{"png": IMAGES[0], "right": False}, {"png": IMAGES[1], "right": True}]},
    {"text": TEXTS[1], "rank": 1234, "found": [{"png": IMAGES[2], "right": False}]},
]


def test_correct_images_are_framed_and_the_rank_of_missed_ones_is_named():
    figure = retrieved_images(QUERIES)
    assert len(images(figure)) == 3 and len(frames(figure)) == 1
    assert frames(figure)[0].get_x() == pytest.approx(1.05)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == [TEXTS[0], TEXTS[1] + "\n(correct image: rank 1,234)"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["✓"]


@pytest.mark.parametrize("make", [lambda: similarity_matrix(K, IMAGES, TEXTS), lambda: retrieved_images(QUERIES)])
def test_their_svg_is_well_formed(make):
    text = svg.inline(make(), "pairs", "the description")
    root = tree.fromstring(text)
    assert root.attrib["aria-label"] == "the description"
    texts = "".join(root.itertext())
    assert "$dollar$ <sign>" in texts and "x" * 90 not in texts
    assert "http" not in {
        value[:4] for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")
    }


@pytest.mark.parametrize(
    ("given", "shape"), [(png(7), (8, 8)), (png((1, 2, 3), "RGB"), (8, 8, 3)), (png(1, "1"), (8, 8))]
)
def test_images_of_any_mode_are_decoded(given, shape):
    assert decoded(given).shape == shape
