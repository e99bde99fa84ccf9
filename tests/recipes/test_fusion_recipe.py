"""The fusion recipe as people run it: shrunk, through the command, with its panels, its model, and bad input."""

import csv
import json

import here
import numpy as np
import pytest
from PIL import Image

from tfxfer import predict
from tfxfer.cli import main
from tfxfer.errors import UserError
from tfxfer.recipes.fusion import ARMS
from tfxfer.records import Comparison
from tfxfer.report.panel import read_panels

ROWS = [("a.png", "one red", "x"), ("b.png", "two blue", "y"), ("a.png", "red", "x"), ("b.png", "blue", "y")]


def write(folder, rows=ROWS, header=("image", "text", "label")):
    for name, value in (("a.png", 10), ("b.png", 200)):
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(folder / name)
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return f"csv:{folder / 'pairs.csv'}"


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([*ROWS, ("", "red", "x"), ("a.png", " ", "x")], None,
         r"1 of 6 rows have no image and 1 of 6 rows have no text \(the first: row 6\); .*--missing drop"),
        ([row[::2] for row in ROWS], ("image", "label"), "no text column among 'image', 'label'; .*--target-text"),
        ([row[1:] for row in ROWS], ("text", "label"), "no image column among 'text', 'label'; .*--target-image"),
        ([row[:2] for row in ROWS], ("image", "text"), "no label column among .*--target-label"),
        (ROWS[::2], None, "1 class is left"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_fused_is_refused_before_tensorflow_starts(tmp_path, rows, header, message):
    target = write(tmp_path, rows, header or ("image", "text", "label"))
    with pytest.raises(UserError, match=message):
        here.check("fusion", target=target)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "names"}, "names: has no image, text and class in each example; give glyphs"),
        ({"image_encoder": "fresh:cnn"}, "--image-encoder fresh:cnn: has random weights and stays frozen"),
        ({"max_length": 65}, "--max-length 65: the BERT .* 64 positions"),
        ({"head": "gate"}, "--head gate: not one of its values; did you mean 'gated'"),
        ({"steps": 0}, "--steps 0: nothing would be learned"),
    ],
)
def test_other_requests_that_cannot_be(change, message):
    with pytest.raises(UserError, match=message):
        here.check("fusion", **change)


@pytest.mark.tensorflow
def test_rows_that_lack_a_side_are_left_out_where_that_is_asked_for(tmp_path):
    import tfxfer

    spec = write(tmp_path, [*ROWS, ("", "red", "x"), ("a.png", " ", "x")])
    here.check("fusion", target=spec, missing="drop", labels_per_class=(1,))
    found = tfxfer.load(spec, draw_splits=False, data_dir=tmp_path / "data", drop_empty=("image", "text"))
    assert found.sizes["test"] == 4 and any("2 rows without image or text are left out" in n for n in found.notes)


@pytest.mark.tensorflow
def test_a_class_that_is_smaller_than_a_budget_is_named_before_anything_is_trained(tmp_path):
    rows = [(*row, split) for row in ROWS for split in ("train", "validation", "test")]
    target = write(tmp_path, rows, ("image", "text", "label", "split"))
    words = ("--target", target, "--labels-per-class", "2", "9", "--allow-overlap", "--run-dir", tmp_path / "run")
    done = here.command("fusion", *words, data_dir=tmp_path / "data")
    assert done.returncode == 2 and "class 'x' has 2. Ask for fewer" in done.stderr and "source:" not in done.stdout


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """The default experiment, shrunk, with some of its arms; (folder, what was printed)."""
    folder = tmp_path_factory.mktemp("runs") / "fusion"
    left = ("gated", "low_rank", "film", "cross_attention", "native_with_random_image")
    arms = [arm for arm in ARMS if arm not in left]
    words = ("--smoke", "--labels-per-class", "4", "--arms", *arms, "--run-dir", folder)
    done = here.command("fusion", *words, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return folder, " ".join(done.stdout.split()), arms


@pytest.mark.tensorflow
def test_the_run_leaves_what_it_promises(run):
    folder, printed, arms = run
    assert {"report.html", "model.keras", "model.json", "comparison.json"} <= {path.name for path in folder.iterdir()}
    comparison = Comparison.load(folder)
    assert list(comparison.arms) == [arm for arm in arms if arm != "average"]  # it is transfer
    assert not [record.error for record in comparison.records if record.status == "failed"]
    first, *_ = panels = read_panels(folder)
    assert first.title == "Do image and text complement each other?"
    assert printed.index("complementarity: of") < printed.index("fusion:")
    titles = [panel.title for panel in panels]
    assert {"Did fusion help?", "When one side is missing or noisy", "What image and text give to each answer"} <= set(
        titles
    )
    heads = next(panel for panel in panels if panel.title == "Did fusion help?").tables[0]["rows"]
    assert {row[0] for row in heads} == {"transfer", "concatenation"}
    curves = next(panel for panel in panels if panel.title.startswith("When one side"))
    plots = {plot["title"]: plot["accuracy"] for plot in curves.figures[0]["arguments"]["plots"]}
    assert len(set(plots["text missing"]["image_only"])) == 1  # it does not read the text
    page = (folder / "report.html").read_text("utf-8")
    assert "the better single modality" in page and "Shapley" in page


@pytest.mark.tensorflow
def test_the_better_side_is_chosen_on_validation(run):
    comparison = Comparison.load(run[0])
    for record in comparison.select("better_single", 4):
        both = record.settings["validation"]
        assert both[record.settings["chosen"]] == max(both.values())
        (same,) = (r for r in comparison.select(record.settings["chosen"], 4) if r.seed == record.seed)
        np.testing.assert_array_equal(record.probabilities, same.probabilities)


@pytest.mark.tensorflow
def test_the_saved_model_answers_pairs_and_single_sides(run, tmp_path, capsys):
    folder = str(run[0])
    Image.fromarray(np.full((20, 20), 255, np.uint8)).save(tmp_path / "a.png")
    image, text = ["--image", str(tmp_path / "a.png")], ["--text", "SMALL LETTER"]
    answers = []
    for words in ([*image, *text], image, text):
        assert main(predict.work, [folder, *words, "--top", "2", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert all(len(row["top"]) == 2 for row in answers)
    assert [row.get("note", "")[:8] for row in answers] == ["", "no text:", "no image"]
    assert main(predict.work, [folder, *image, "--text", "a", "b"]) == 2
    assert "1 images and 2 texts; give one text for each image" in capsys.readouterr().err
    assert main(predict.work, [folder]) == 2
