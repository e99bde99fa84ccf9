"""The structure recipe as people run it: shrunk, through the command, with its ledger, its report and its model."""

import json
from dataclasses import replace

import here
import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer import predict
from tfxfer.cli import main
from tfxfer.errors import UserError
from tfxfer.recipes.structure import ARMS, StructureConfig, resolved
from tfxfer.records import Comparison
from tfxfer.report.panel import read_panels
from tfxfer.runs import Run
from tfxfer.tasks.classification import load_task

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "structure"
    done = here.command("structure", "--smoke", "--run-dir", folder, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_default_run_leaves_everything_it_promises(run):
    folder, printed = run
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "weight_map.json", "panels.json", "model.keras", "report.html", "comparison.json"} <= names
    comparison = Comparison.load(folder)
    assert comparison.arms == ["transfer", "random", "native", "majority", "scratch"]  # scratch at the greater budget
    assert {record.budget for record in comparison.records if record.arm == "scratch"} == {5}
    assert not [record.error for record in comparison.records if record.status == "failed"]
    assert "transformer_layer_1" in printed and "read by no row" in printed
    assert "the carried blocks give what the source's blocks give" in " ".join(printed.split())


def test_the_plan_can_be_read_without_the_models(run):
    from tfxfer.transfer.structure import WeightMap

    weight_map = WeightMap.from_json(run[0] / "weight_map.json")
    copied = [row for row in weight_map.rows if row.target.path.startswith("body/") or "layer" in row.target.path]
    assert copied and all(row.origins for row in copied)
    assert weight_map.coverage > 0.5  # the rest is the head, which in a smoke run tells many classes apart
    assert "patches/kernel" in {row.target.path for row in weight_map.rows if not row.origins}


def test_the_report_shows_the_map_under_its_equation(run):
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert (
        "M = T(S)" in page and "The weight map: the source of each parameter" in page and "transformer_layer_0" in page
    )
    assert "python -m tfxfer.train structure --config" in page


def test_the_ledger_lists_every_part_of_the_new_model(run):
    panel, _ = read_panels(run[0])
    (ledger,) = panel.tables
    from tfxfer.transfer.structure import WeightMap

    weight_map = WeightMap.from_json(run[0] / "weight_map.json")
    assert panel.title == "The weight map: the source of each parameter" and panel.figures[0]["name"] == "sankey"
    assert 0 < len(ledger["rows"]) <= len(weight_map.rows)
    cells = " ".join(str(cell) for row in ledger["rows"] for cell in row)
    assert "patches/kernel" in cells and "transformer_layer" in cells
    assert any("the carried blocks give what the source's blocks give" in text for text in panel.paragraphs)


def test_arms_start_where_they_say(run):
    """Fewer weights train in a carried body than in a whole one, and equally many with fresh weights in it."""
    trainable = {r.arm: r.trainable for r in Comparison.load(run[0]).records}
    assert trainable["transfer"] == trainable["random"] < trainable["scratch"]


def test_the_saved_model_takes_images(run, tmp_path, capsys):
    file = tmp_path / "a.png"
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(file)
    assert main(predict.work, [str(run[0]), "--json", "--image", str(file)]) == 0
    row = json.loads(capsys.readouterr().out)
    assert 0 < row["top"][0][1] <= 1


@pytest.mark.slow
def test_an_image_cnn_becomes_a_text_cnn(data_dir, tmp_path):
    words = ("structure", "--smoke", "--transfer", "image_cnn_to_text_cnn")
    done = here.process(*words, "--run-dir", tmp_path / "run", data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    comparison = Comparison.load(tmp_path / "run")
    assert comparison.arms == ["transfer", "random", "native", "majority"]
    assert not [record.error for record in comparison.records if record.status == "failed"]


def test_auto_is_what_a_transfer_is_usually_tried_on():
    found = resolved(StructureConfig(transfer="image_cnn_to_text_cnn"))
    columns = found.source.spec, found.target.spec, found.target.label
    assert columns == ("glyphs/by_face", "languages/latin", None)
    own = here.config_of("structure", source="names", target="glyphs/by_face", target_label="case")
    assert resolved(own) == replace(own, arms=resolved(own).arms)
    assert "finetune" not in resolved(own).arms and "finetune" in found.arms
    assert resolved(replace(own, arms=("transfer", "finetune"))).arms == ("transfer", "finetune")
    default = resolved(StructureConfig())
    assert (default.target.label, default.target.leave_out) == ("diacritic", ("none",))
    assert set(default.arms) == set(ARMS) - {"finetune"} and resolved(default) == default


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "folder:nowhere"}, "nowhere"),
        ({"controls_at": (7,)}, "--controls-at"),
        ({"arms": ("random",)}, "'transfer' is the method under study"),
        ({"source_architecture": "keras:MobileNetV2"}, "give it as --source"),
    ],
)
def test_a_request_that_cannot_work_is_refused_before_tensorflow_starts(change, message):
    with pytest.raises(UserError, match=message):
        here.check("structure", **change)


def test_the_wrong_modality_is_refused(data_dir, tmp_path):
    words = ("structure", "--smoke", "--source", "fresh:cnn", "--run-dir", tmp_path / "run")
    done = here.command(*words, data_dir=data_dir)
    assert done.returncode == 2
    assert "makes a model for images out of one for texts" in " ".join(done.stderr.split())


def test_classes_are_left_out_by_name_and_a_wrong_name_is_named(data_dir, tmp_path):
    target = {"target": "glyphs/by_character", "target_label": "case", "data_dir": str(data_dir)}
    this = Run("structure", StructureConfig(run_dir=str(tmp_path / "run")))
    source = tfxfer.source("fresh:bert")

    def load(name):
        config = here.config_of("structure", **target, leave_out=(name,))
        return load_task(config.target, config, source, this)

    assert list(load("none").class_names) == ["lower", "upper"]
    with pytest.raises(UserError, match="has no class 'uper'; did you mean 'upper'"):
        load("uper")
    this.close()
