"""Panels: their file, the generic rendering, and the panels of the recipes."""

import re
import subprocess
import sys

import fake
import pytest
from reading import Page

from tfxfer import report
from tfxfer.errors import UserError
from tfxfer.recipes.panels.image_ablation import image_ablation_panels
from tfxfer.recipes.panels.ledger import ledger_panel
from tfxfer.recipes.panels.retrieval import retrieval_panels
from tfxfer.recipes.panels.vqa_diagnostics import vqa_panels
from tfxfer.report.panel import Panel, read_panels, write_panels

pytestmark = pytest.mark.drawing


def shown(folder, panels):
    """The page of a run with these panels, and its text on one line."""
    write_panels(folder, panels)
    page = Page(report.write(folder).read_text(encoding="utf-8"))
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a.get("scope") in ("col", "row") for tag, a in page.tags if tag == "th")
    text = re.sub(r"<style>.*?</style>", "", page.source, flags=re.S)
    return page, " ".join(re.sub("<[^>]+>", " ", text).replace("\u00a0", " ").split())


def test_panels_survive_the_disk(tmp_path):
    panels = tuple(fake.panels())
    assert read_panels(tmp_path) == ()
    assert write_panels(tmp_path, panels) == tmp_path / "panels.json"
    assert [panel.title for panel in read_panels(tmp_path)] == [panel.title for panel in panels]
    one = Panel("t", ("a",), ("b",), tables=({"caption": "c", "columns": ["d"], "rows": [[1]]},), folded=True)
    write_panels(tmp_path, [one])
    assert read_panels(tmp_path) == (one,)


@pytest.mark.parametrize("text", ["{", "[1]", '{"panels": [{"title": "t", "colour": 1}]}', '{"panels": [1]}'])
def test_a_file_without_panels_is_named(run_folder, text):
    (run_folder / "panels.json").write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"panels.json: is damaged"):
        report.write(run_folder)


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ({"name": "sankeyy", "arguments": {}}, "no figure 'sankeyy'; did you mean 'sankey'"),
        ({"name": "svg", "arguments": {}}, "no figure 'svg'"),
        ({"name": "sankey", "arguments": {"flow": []}}, "the arguments of the figure 'sankey' do not fit"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_named(run_folder, figure, message):
    write_panels(run_folder, [Panel("t", figures=(figure | {"description": "d"},))])
    with pytest.raises(UserError, match=message):
        report.write(run_folder)


def test_cells_are_formatted_and_numeric_columns_marked(run_folder):
    rows = [["transfer", 1234, -0.25, "50 %"], ["<b>x</b>", None, 2.0, "–"]]
    table = {"caption": "A table", "columns": ["arm", "count", "score", "share"], "rows": rows}
    page, text = shown(run_folder, [Panel("A <i>title</i>", ("One.",), ("Two.",), notes=("Three.",), tables=(table,))])
    assert [[cell.strip() for cell in row] for row in page.tables[2]] == [
        ["arm", "count", "score", "share"],
        ["transfer", "1,234", "−0.250", "50\u00a0%"],
        ["<b>x</b>", "–", "2.000", "–"],
    ]
    assert "A &lt;i&gt;title&lt;/i&gt; One. Two. A table" in text and "Three." in text
    columns = [a for tag, a in page.tags if tag == "th" and a.get("scope") == "col"]
    names = page.tables[0][0] + page.tables[1][0]
    assert [a.get("class") for a in columns[len(names) : len(names) + 4]] == [None, "number", "number", "number"]


def test_all_panels_on_one_page(run_folder):
    page, text = shown(run_folder, fake.panels())
    assert sum(tag == "svg" for tag, _ in page.tags) == 5 + 6
    assert all(len(a["aria-label"]) > 30 for tag, a in page.tags if tag == "svg")
    assert len(page.source.encode()) < 2_000_000
    for word in ("None", "nan", "undefined", "{{", "{'"):
        assert word not in text, word


def test_the_weight_map(run_folder):
    page, text = shown(run_folder, [ledger_panel(**fake.ledger())])
    for part in ("The weight map", "It computes the same.", "block_*/kernel ×2", "3×4", "50.0 %", "moved: 12,000"):
        assert part in text, part
    assert "source:&lt;b&gt;x&lt;/b&gt;" in text and "scalar" in text and "weight_map.json" in text
    assert ("details", {}) in page.tags
    assert ledger_panel(**fake.ledger() | {"proof": ""}).paragraphs[1:] == ()


def test_the_image_ablation_of_captions(run_folder):
    data = fake.captions()
    _, text = shown(run_folder, image_ablation_panels(**data))
    for found in data["measures"].values():
        assert found["sentence"] in text
        for mean in found["means"].values():
            assert f"{mean:.3f}".replace("-", "−") in text
    assert "The most frequent caption is 25 % of all captions." in text and "nats a token" in text
    panels = image_ablation_panels(**data | {"words": []})
    assert [panel.title for panel in panels] == [
        "Image ablation: does the model use its images?",
        "Likelihood of captions under images",
    ]


def test_retrieval(run_folder):
    _, text = shown(run_folder, retrieval_panels(fake.pairs()))
    assert "all 1,234 test images" in text and "all 6,170 texts" in text and "temperature, which is 0.051" in text
    assert "transfer 0.250 0.250 0.250 2.5" in text and "chance 0.125 0.125 0.125 1.2" in text
    for share in ("61 % of the texts", "72 % of the images", "18 % of the images by zero-shot", "33 % by always"):
        assert share in text
    assert "trained with 500 pairs" in text
    assert len(retrieval_panels(fake.pairs() | {"label": None})) == 3


def test_visual_question_answering(run_folder):
    data = fake.answers()
    _, text = shown(run_folder, vqa_panels(data))
    assert data["looking"]["sentence"] in text and data["alone"] in text
    for part in (
        "the 1,234 test questions",
        "Without f·g in K = f·g + h the accuracy is 50 %; with both terms it is 71 %.",
        "The answer of 7 test questions is not in the training split. They count as errors: puce, mauve …",
        "3 test questions are longer",
        "2 test questions have no word",
        "script 1,200 0.700 0.300 0.310 case 34 0.900 – 0.500",
    ):
        assert part in text, part
    rest = vqa_panels(data | {"alone": "", "without": {}, "unseen": 0, "cut": 0, "strange": 0})[0]
    assert len(rest.points) == 2


def test_a_run_without_panels_has_no_such_section(page):
    assert "weight map" not in page.text


def test_panels_need_no_tensorflow():
    names = ("image_ablation", "ledger", "retrieval", "vqa_diagnostics")
    modules = ", ".join(f"tfxfer.recipes.panels.{name}" for name in names)
    code = f"import sys, {modules}\nprint([m for m in ('tensorflow', 'keras', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
