"""`tfxfer score`: the table from a source and a target, and what it refuses."""

import json

import pytest

from tfxfer import __main__ as front
from tfxfer import cli
from tfxfer.choose import SCORES
from tfxfer.commands.score import remarks, show

WORDS = {"fruit": ["apple", "pear", "plum", "grape"], "tool": ["HAMMER", "SAW", "DRILL", "FILE"]}


def row(name, value, random, better=True):
    about = {"higher_means": "more", "higher_is_better": better, "seconds": 0.1, "why_not": ""}
    return {"score": name, "value": value, "random": random} | about


def test_ahead_means_better_than_every_draw(capsys):
    rows = [
        row("logme", -0.1, [-0.3, -0.2]),
        row("h_score", 2.0, [1.9, 2.1]),
        row("mmd", 0.1, [0.2, 0.3], better=False),
        row("leep", None, []) | {"why_not": "a reason"},
        row("mutual_knn", 0.1, []) | {"gallery": 1200},
    ]
    first, alike, _ = remarks(rows)
    assert first.strip() == "ahead of all 2 draws of random weights on 2 of 3 scores: logme, mmd"
    assert "among 1,200 examples" in alike
    show(rows)
    text = capsys.readouterr().out
    assert "-0.300 to -0.200" in text and "a reason" in text and "lower is better" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels-per-clas", "5"], "unknown option --labels-per-clas; did you mean '--labels-per-class'"),
        (["--seeds", "0"], "--seeds 0: must be 1 or more"),
        (["--labels-per-class", "0"], "--labels-per-class 0: must be 1 or more"),
        (["--target", "csv:missing.csv"], "missing.csv does not exist"),
    ],
)
def test_a_wrong_request_is_refused_at_once(words, message, capsys):
    assert cli.main(front.work, ["score", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.tensorflow
def test_a_source_and_its_random_weights_are_scored(tmp_path, data_dir, capsys):
    lines = [f"{word} {end},{kind}" for kind, words in WORDS.items() for word in words for end in "abcdefghij"]
    (tmp_path / "words.csv").write_text("\n".join(["text,label", *lines]))
    words = ["--source", "fresh:cnn", "--target", f"csv:{tmp_path / 'words.csv'}", "--labels-per-class", "12"]
    assert cli.main(front.work, ["score", *words, "--seeds", "2", "--json", "--data-dir", str(data_dir)]) == 0
    printed = capsys.readouterr()
    found = {one["score"]: one for one in json.loads(printed.out)}
    assert set(found) == set(SCORES) - {"mmd", "proxy_a_distance"} and "its data are not at hand" in printed.err
    for name, one in found.items():
        low, high = SCORES[name].bounds(2)
        assert all(low - 1e-6 <= value <= high + 1e-6 for value in [one["value"], *one["random"]])
        assert len(one["random"]) == (0 if "other" in SCORES[name].needs else 2)
    assert found["mutual_knn"]["gallery"] == 24
