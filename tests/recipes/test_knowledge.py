"""The knowledge recipe as people run it: shrunk, through the command, with its diagnostics and its model."""

import json
import os
import subprocess
import sys

import here
import numpy as np
import pytest
from PIL import Image

from tfxfer import predict
from tfxfer.cli import main
from tfxfer.config import KnowledgeConfig
from tfxfer.errors import UserError
from tfxfer.evaluate import __main__ as evaluate
from tfxfer.models.bert import small_bert
from tfxfer.recipes.checks import POSITIONS, check_knowledge
from tfxfer.records import Comparison

pytestmark = pytest.mark.tensorflow


def command(*arguments, data_dir):
    environment = os.environ | {"TFXFER_DATA": str(data_dir), "TF_CPP_MIN_LOG_LEVEL": "3"}
    words = [sys.executable, "-m", "tfxfer.train", "knowledge", "--smoke", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "knowledge"
    done = command("--run-dir", folder, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    return folder, " ".join(done.stdout.split())


@pytest.fixture
def picture(tmp_path):
    pixels = np.full((32, 32), 255, np.uint8)
    pixels[8:24, 14:18] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_the_default_run_leaves_everything_it_promises(run):
    folder, printed = run
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "weight_map.json", "looking.json", "model.keras", "report.html", "comparison.json"} <= names
    comparison = Comparison.load(folder)
    assert set(comparison.arms) == {"transfer", "random", "blind", "shuffled", "neighbour"}
    assert not [record.error for record in comparison.records if record.status == "failed"]
    assert "the decoder went on reading" in printed or "gone on reading before" in printed
    for measure in ("CIDEr-D", "nats a token", "exact match", "token F1"):
        assert f"{measure} (95 % interval) by pairs" in printed


def test_every_arm_answers_in_words_and_is_judged_by_four_measures(run):
    for record in Comparison.load(run[0]).records:
        measures = {"cider_d", "exact_match", "token_f1"} | ({"log_likelihood"} if record.arm != "neighbour" else set())
        assert measures <= set(record.metrics), record.arm
        assert len(record.answers) == 30


def test_it_says_whether_the_model_looks(run):
    folder, printed = run
    told = json.loads((folder / "looking.json").read_text())
    page = (folder / "report.html").read_text(encoding="utf-8")
    for measure in ("cider_d", "log_likelihood"):
        found = told["measures"][measure]
        assert set(found["means"]) == {"pictures", "shuffled", "blank"}
        assert found["sentence"] in printed
        for mean in found["means"].values():
            assert f"{mean:.3f}".replace("-", "−") in page
    share = told["measures"]["cider_d"]["identical_share"]
    assert f"most frequent caption is {share * 100:.0f}\u00a0% of all captions" in page
    assert np.shape(told["matrix"]["values"]) == (12, 12)
    for shown in told["words"]:
        for word in shown["words"]:
            assert np.shape(word["heat"]) == (4, 4)
            assert abs(np.sum(word["heat"]) - 1) < 0.01


def test_the_report_shows_captions_under_the_equation(run):
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert "K = f(X) · g(Y) + h(X, Y)" in page and "python -m tfxfer.train knowledge --config" in page
    shown = Comparison.load(run[0]).examples[0]["true"]
    assert shown in page


def test_the_saved_model_captions_pictures(run, picture, capsys):
    asked = [str(run[0]), "--json", "--image", str(picture), str(picture), "--num-beams", "3", "--max-length", "6"]
    assert main(predict.work, asked) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 2 and rows[0]["captions"] == rows[1]["captions"]
    scores = [score for _, score in rows[0]["captions"]]
    assert len(scores) == 3 and max(scores) < 0
    with np.load(run[0] / "ranking.npz") as kept:
        if not kept["weight"]:
            assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text", "a"], "this model takes image"),
        (["--image", "{picture}", "--num-beams", "0"], "--num-beams 0"),
        (["--image", "{picture}", "--max-length", "2"], "--max-length 2"),
        (["--image", "{picture}", "--max-length", "1000"], "positions for words"),
        (["--image", "nowhere.png"], "there is no such picture"),
    ],
)
def test_questions_that_cannot_be_asked_are_named(run, picture, words, message, capsys):
    assert main(predict.work, [str(run[0]), *(word.format(picture=picture) for word in words)]) == 2
    assert message in capsys.readouterr().err


def test_the_command_that_scores_classes_says_what_it_cannot_score(run, samples, capsys):
    assert main(evaluate.work, [str(run[0]), "--data", f"csv:{samples}/reviews.csv"]) == 2
    assert "this run's task is captions" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:CIDEr of one picture")
def test_a_prefix_a_table_of_captions_and_own_texts(data_dir, samples, tmp_path):
    """Several captions a picture; the language comes from a text file; the picture becomes a prefix."""
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"a {c} {s} on {b}\n" for c in ("red", "blue") for s in ("circle", "square", "cup")
                             for b in ("paper", "sand", "grass", "snow", "stone", "wood")))  # fmt: skip
    done = here.command(
        *(
            "knowledge",
            "--smoke",
            "--source",
            f"text:{texts}",
            "--encoder",
            f"folder:{samples}/shapes",
            "--target",
            f"captions:{samples}/captions/captions.csv",
        ),
        *("--pairs", "4", "--controls-at", "4", "--looking", "prefix", "--ranking", "decoder", "--length", "5"),
        *("--arms", "transfer", "random", "--seeds", "1", "--run-dir", tmp_path / "run"),
        data_dir=data_dir,
    )
    assert done.returncode == 0, done.stderr
    printed = " ".join(done.stdout.split())
    assert "captions have more than 3 word pieces and are cut there" in printed
    comparison = Comparison.load(tmp_path / "run")
    assert not [record.error for record in comparison.records if record.status == "failed"]
    assert any(" · " in example["true"] for example in comparison.examples)
    assert json.loads((tmp_path / "run" / "looking.json").read_text())["words"] == []  # a prefix looks nowhere


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "captions:nowhere.csv"}, "nowhere.csv"),
        ({"reading": "glyfs"}, "glyphs"),
        ({"length": 2}, "--length 2"),
        ({"word_dropout": 1.5}, "--word-dropout 1.5"),
        ({"controls_at": (7,)}, "--controls-at"),
        ({"arms": ("random",)}, "'transfer' is the method under study"),
        ({"source": "preset:nowhere", "source_text": "t"}, "--source-text"),
        ({"encoder": "keras:VGG16"}, "give --download"),
        ({"encoder": "fresh:vit"}, "--encoder fresh:vit"),
        ({"encoder_epochs": 0}, "--encoder-epochs 0"),
        ({"source": "fresh:bert"}, "--source fresh:bert"),
        ({"updates": 0}, "--updates 0"),
        ({"learning_rates": (float("nan"),)}, "--learning-rates nan"),
        ({"length": 500}, "--length 500: the BERT that is trained here has 64 positions"),
        ({"looking": "prefix", "prefix_length": 0}, "--prefix-length 0"),
        ({"looking": "prefix", "prefix_length": 60}, "--length 16 and --prefix-length 60"),
    ],
)
def test_a_request_that_cannot_work_is_refused_before_tensorflow_starts(change, message, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UserError, match=message):
        check_knowledge(KnowledgeConfig(**change))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "glyphs", "--source", "fresh:cnn"], "--source fresh:cnn"),
        (["--target", "languages/latin"], "has no images"),
    ],
)
def test_what_only_the_data_show_is_named_too(data_dir, tmp_path, words, message):
    done = here.command("knowledge", "--smoke", "--run-dir", tmp_path / "run", *words, data_dir=data_dir)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert message in " ".join(done.stderr.split())


def test_the_checks_know_how_many_positions_the_bert_that_is_trained_here_has():
    assert small_bert(50, num_layers=1, hidden_dim=8, num_heads=1).max_sequence_length == POSITIONS
