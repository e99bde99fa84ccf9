"""`tfxfer compare`: 80 columns, JSON, a page that needs nothing, and what is refused at once."""

import json
import shutil
from pathlib import Path

import fake
import pytest
from reading import Page

from tfxfer import __main__ as front
from tfxfer import cli


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on the same 120 test examples."""
    parent, made = tmp_path_factory.mktemp("compare"), []
    for name in ("one", "two"):
        comparison = fake.make(examples=120)
        (parent / name).mkdir()
        comparison.save(parent / name)
        made.append(str(parent / name))
    return made


def test_the_terminal_has_80_columns_and_the_json_all_figures(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = ["compare", *runs, "--arms", "transfer", "native", "--margin", "0.02"]
    assert cli.main(front.work, words) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())  # where lines break depends on the length of the paths
    for part in ("A − B", "Holm", "detects", "McNemar", "margin", "saved", "no dearer", "older tfxfer"):
        assert part in flat
    assert cli.main(front.work, ["compare", *runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["systems"]] == ["A", "B"] and len(found["scores"]) == 2 * 5
    (same,) = found["pairs"]
    assert same["difference"] == same["low"] == same["high"] == 0 and same["detectable"] is None


@pytest.mark.drawing
def test_the_page_is_one_file_with_every_figure(runs, tmp_path, capsys):
    file = tmp_path / "new" / "page.html"
    words = ["compare", runs[0], "--arms", "transfer", "native", "--html", str(file), "--margin", "0.02"]
    assert cli.main(front.work, words) == 0
    page = Page(file.read_text("utf-8"))
    assert page.open == [] and str(file) in capsys.readouterr().err
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form"}
    figures = [a for tag, a in page.tags if tag == "svg"]
    assert len(figures) == 3 and all(a["role"] == "img" and a["aria-label"] for a in figures)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids)) and "Labels saved" in page.text and "McNemar" in page.text
    pairs = next(table for table in page.tables if table[0][0].strip() == "pair")
    assert [row[0].strip() for row in pairs[1:]] == ["A\u00a0−\u00a0B"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--marginn", "1"], "unknown option --marginn; did you mean '--margin'"),
        (["--margin", "0"], "--margin 0: a margin is a number above 0"),
        (["--margin", "nan"], "--margin nan: a margin is a number above 0"),
        (["--level", "95"], "--level 95: must lie between"),
        (["--html", "pages/"], "--html pages/: name a file"),
    ],
)
def test_a_wrong_request_is_refused(words, message, runs, capsys):
    assert cli.main(front.work, ["compare", *runs, *words]) == 2
    assert message in capsys.readouterr().err


def test_a_page_is_not_written_into_a_run(runs, capsys):
    assert cli.main(front.work, ["compare", *runs, "--html", f"{runs[0]}/report.html"]) == 2
    assert "stands in the folder of a run" in capsys.readouterr().err


def test_a_run_takes_a_margin_above_zero_only(capsys):
    assert cli.main(front.work, ["train", "feature", "--margin", "0"]) == 2
    assert "--margin 0.0: a margin is a number above 0, such as 0.01" in capsys.readouterr().err


@pytest.mark.tensorflow
def test_saved_models_are_timed_on_the_same_shown_examples(runs, tmp_path, capsys):
    import keras

    from tfxfer.transfer.classifier import Classifier

    for run in runs:
        shutil.copytree(run, tmp_path / Path(run).name)
        pixels = keras.Input((8, 50, 1), name="image")
        probabilities = keras.layers.Dense(10, "softmax")(keras.layers.Flatten()(pixels))
        Classifier(keras.Model(pixels, probabilities), fake.LANGUAGES).save(tmp_path / Path(run).name)
    words = ["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--inference", "--json"]
    assert cli.main(front.work, words) == 0
    for row in json.loads(capsys.readouterr().out)["costs"]:
        assert row["inference_ms"] > 0 and row["bytes"] > 1000
