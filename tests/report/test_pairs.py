"""K as a picture and what a text finds: nothing is drawn that the numbers do not say."""

import base64
import io
import json
import re
import xml.etree.ElementTree as tree

import numpy as np
import pytest
from matplotlib.offsetbox import AnnotationBbox
from PIL import Image
from reading import Page

from tfxfer import report
from tfxfer.report import svg
from tfxfer.report.figures.pairs import decoded, gallery, heat

K = np.array([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.5, 0.0, 4.0]])


def png(value, mode="L"):
    buffer = io.BytesIO()
    Image.new(mode, (8, 8), value).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURES = [png(value) for value in (0, 100, 255)]
TEXTS = ["LATIN SMALL LETTER A", "$dollar$ <sign>", "x" * 90]


def frames(figure):
    return [patch for patch in figure.axes[0].patches if not patch.get_fill()]


def cells(figure):
    return [patch for patch in figure.axes[0].patches if patch.get_fill()]


def pictures(figure):
    return [artist for artist in figure.axes[0].artists if isinstance(artist, AnnotationBbox)]


def test_every_pair_is_a_cell_and_the_greatest_of_a_row_the_strongest():
    figure = heat(K, PICTURES, TEXTS)
    alpha = np.array([patch.get_alpha() for patch in cells(figure)]).reshape(3, 3)
    assert (alpha.argmax(1) == K.argmax(1)).all() and (alpha.argmin(1) == K.argmin(1)).all()
    assert alpha[0, 0] == alpha[2, 2]  # rows are shaded by themselves
    assert len(pictures(figure)) == 3
    found = figure.axes[0].collections[0].get_offsets()
    assert found.tolist() == [[0, 0], [2, 1], [2, 2]]


def test_right_pairs_are_framed():
    places = [(round(p.get_y() + 0.44), round(p.get_x() + 0.44)) for p in frames(heat(K, PICTURES, TEXTS))]
    assert places == [(0, 0), (1, 1), (2, 2)]
    shared = np.array([[1, 0, 0], [0, 1, 1], [0, 1, 1]], bool)
    assert len(frames(heat(K, PICTURES, TEXTS, shared))) == 5


def test_a_k_that_says_nothing_is_drawn_evenly():
    alpha = {patch.get_alpha() for patch in cells(heat(np.ones((3, 3)), PICTURES, TEXTS))}
    assert len(alpha) == 1


QUERIES = [
    {"text": TEXTS[0], "rank": 2, "found": [{"png": PICTURES[0], "right": False}, {"png": PICTURES[1], "right": True}]},
    {"text": TEXTS[1], "rank": 1234, "found": [{"png": PICTURES[2], "right": False}]},
]


def test_right_pictures_are_framed_and_missed_ones_told():
    figure = gallery(QUERIES)
    assert len(pictures(figure)) == 3 and len(frames(figure)) == 1
    assert frames(figure)[0].get_x() == pytest.approx(1.05)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == [TEXTS[0], TEXTS[1] + "\n(right one: place 1,234)"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["✓"]


@pytest.mark.parametrize("make", [lambda: heat(K, PICTURES, TEXTS), lambda: gallery(QUERIES)])
def test_they_are_well_formed_on_a_page(make):
    text = svg.inline(make(), "pairs", "what it shows")
    root = tree.fromstring(text)
    assert root.attrib["aria-label"] == "what it shows"
    words = "".join(root.itertext())
    assert "$dollar$ <sign>" in words and "x" * 90 not in words
    assert "http" not in {
        value[:4] for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")
    }


def ways(value):
    each = {"recall@1": value, "recall@5": value, "recall@10": value, "median rank": 10 * value}
    return {"image_to_text": each, "text_to_image": each}


TOLD = {
    "matrix": {"k": K.tolist(), "right": np.eye(3).tolist(), "pictures": PICTURES, "texts": TEXTS},
    "gallery": QUERIES,
    "test": 1234,
    "texts": 6170,
    "temperature": 0.051,
    "ways": {"budget": 500, "arms": {"transfer": ways(0.25), "guessing": ways(0.125)}},
    "label": {"texts": 0.61, "pictures": 0.72, "zero_shot": 0.18, "majority": 0.33, "classes": 17, "gap": 0.4},
}


def test_a_page_tells_what_texts_find(run_folder):
    (run_folder / "pairs.json").write_text(json.dumps(TOLD), encoding="utf-8")
    page = Page(report.write(run_folder).read_text(encoding="utf-8"))
    assert page.open == []
    said = " ".join(re.sub("<[^>]+>", " ", page.source).replace("\u00a0", " ").split())
    assert "all 1,234 test pictures" in said and "among all 6,170" in said and "ended at 0.051" in said
    assert "0.250 0.250 0.250 2 0.250 0.250 0.250 2" in said and "guessing 0.125" in said
    for share in ("61 % of the texts", "72 % of the pictures", "18 % of the pictures when", "33 % by always"):
        assert share in said
    assert all(a.get("scope") in ("col", "row", "colgroup") for tag, a in page.tags if tag == "th")


def test_a_page_without_classes_says_nothing_of_a_head(run_folder):
    (run_folder / "pairs.json").write_text(json.dumps(TOLD | {"label": None}), encoding="utf-8")
    source = report.write(run_folder).read_text(encoding="utf-8")
    assert "What does a text find?" in source and "fitted on pictures" not in source


@pytest.mark.parametrize(
    ("given", "shape"), [(png(7), (8, 8)), (png((1, 2, 3), "RGB"), (8, 8, 3)), (png(1, "1"), (8, 8))]
)
def test_pictures_of_any_kind_are_read(given, shape):
    assert decoded(given).shape == shape
