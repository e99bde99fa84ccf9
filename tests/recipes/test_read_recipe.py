"""`--bridge read` as people run it: pictures of text and drawn texts into a language model, and what is refused."""

import json
from types import SimpleNamespace

import here
import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer import predict
from tfxfer.cli import main
from tfxfer.errors import UserError
from tfxfer.models.pooling import Pooling
from tfxfer.recipes.feature import READ_ARMS
from tfxfer.records import Comparison
from tfxfer.tasks.readings import Reading, Readings

pytestmark = pytest.mark.tensorflow
FEW = ["--smoke", "--bridge", "read", "--labels-per-class", "3", "--seeds", "1"]
ANIMALS, TOOLS = ("cat dog cow hen fox owl elk ape".split(), "saw axe nut bolt rake file hoe drill".split())


def lines_of(words, count, seed):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(words, 2)) + f" {i}" for i in range(count)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of pictures of text lines of several sizes, in two classes."""
    from tfxfer.transfer.bridges.render import RenderText

    folder = tmp_path_factory.mktemp("lines")
    for seed, (name, words) in enumerate((("animals", ANIMALS), ("tools", TOOLS))):
        (folder / name).mkdir()
        for i, line in enumerate(lines_of(words, 24, seed)):
            picture = RenderText(32 + 4 * (i % 2), 200 + 10 * (i % 3), 24)([line]).numpy()[0, ..., 0]
            Image.fromarray(picture).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """The folder of a tiny BERT with a vocabulary, as a preset."""
    from tfxfer.models.bert import RESERVED, small_bert

    folder = tmp_path_factory.mktemp("bert")
    pieces = [
        *RESERVED,
        *"abcdefghijklmnopqrstuvwxyz0123456789",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"),
    ]
    small_bert(vocabulary_size=len(pieces), num_layers=1, hidden_dim=32).save_to_preset(str(folder))
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(pictures, language_model, data_dir, tmp_path_factory):
    """Pictures of text, read into a BERT."""
    folder = tmp_path_factory.mktemp("runs") / "read"
    words = [*FEW, "--source", f"preset:{language_model}", "--target", f"folder:{pictures}", "--width", "240"]
    done = here.command(*words, "--run-dir", folder, data_dir=data_dir)
    assert done.returncode == 0, done.stderr + done.stdout
    return folder, done.stdout


def test_pictures_of_text_are_read_into_a_language_model(run):
    folder, printed = run
    comparison = Comparison.load(folder)
    assert {record.arm: record.error for record in comparison.records if record.status == "failed"} == {}
    assert comparison.arms == [
        *("transfer", "random", "with_ngrams", "random_with_ngrams", "read_ngrams", "native", "majority"),
    ]
    assert "0 are blank, 0 are wider than 240 pixels" in " ".join(printed.split())
    (native,) = comparison.select("native", 3)
    assert native.settings["method"].startswith("raw pixels")  # there is no true text
    assert comparison.select("read_ngrams", 3)[0].metrics["accuracy"] > 0.6


def test_the_saved_model_takes_pictures_of_any_size(run, pictures, capsys):
    files = [str(pictures / "animals" / name) for name in ("0.png", "1.png")]
    assert Image.open(files[0]).size != Image.open(files[1]).size
    assert main(predict.work, [str(run[0]), "--json", "--image", *files]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["input"] for row in rows] == files
    model = tfxfer.from_run(run[0])
    image = np.asarray(Image.open(files[1]))[None, ..., None]
    best = model.class_names[int(model.predict(image)[0].argmax())]
    assert rows[1]["top"][0][0] == best


def test_texts_are_drawn_read_and_compared_with_the_true_text(data_dir, tmp_path, capsys):
    file = tmp_path / "words.csv"
    rows = [
        f"{line},{name}" for s, (name, w) in enumerate((("a", ANIMALS), ("t", TOOLS))) for line in lines_of(w, 30, s)
    ]
    file.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    words = [
        *FEW,
        "--source",
        f"csv:{file}",
        "--target",
        f"csv:{file}",
        "--width",
        "240",
        "--run-dir",
        tmp_path / "run",
    ]
    done = here.command(*words, data_dir=data_dir)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "training fresh:text_cnn" in done.stdout
    comparison = Comparison.load(tmp_path / "run")
    assert set(comparison.arms) == {*READ_ARMS, "transfer", "random", "native", "majority"}
    assert all(record.status == "ok" for record in comparison.records)
    assert "n-grams" in comparison.about["arms"]["with_ngrams"]["text"]
    assert "not a competitor" in comparison.about["arms"]["true_text"]["text"]
    assert main(predict.work, [str(tmp_path / "run"), "--json", "--text", "cat dog 1", ""]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--bridge read: letters enter a language model, and --source glyphs/by_face is none; give preset:DIR"),
        ({"source": "fresh:bert"}, "--source fresh:bert is none"),
        ({"source": "names", "layout": "rows"}, "--layout rows: --bridge read reads one line"),
        ({"source": "names", "layer": "x"}, "--layer x: --bridge read"),
    ],
)
def test_what_the_bridge_cannot_do_is_named_before_tensorflow_starts(options, message):
    with pytest.raises(UserError, match=message):
        here.check("feature", bridge="read", **options)


def test_a_script_that_the_reader_has_not_learned_is_refused_before_anything_is_trained(data_dir, tmp_path):
    file = tmp_path / "cyrillic.csv"
    rows = [f"{'кошка собака' if i % 2 else 'пила топор'} {i},{'ab'[i % 2]}" for i in range(40)]
    file.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    words = [*FEW, "--source", "names", "--target", f"csv:{file}", "--run-dir", tmp_path / "run"]
    done = here.command(*words, data_dir=data_dir)
    said = " ".join(done.stderr.split())
    assert done.returncode == 2 and "mostly of a script that the reader has not learned, such as text 1, '" in said
    assert "it reads Latin letters only" in said and "training" not in done.stdout


def reading(monkeypatch, texts, confidence, pictures):
    """Return `Readings` of pictures of text that read these texts with this confidence, and what they say."""
    dataset = tfxfer.load(f"folder:{pictures}")
    task, run = SimpleNamespace(dataset=dataset, key="image"), here.Quiet()
    made = Readings(task, None, None, 240, None, run)
    count = dataset.sizes["validation"]
    found = Reading(
        np.array((texts * count)[:count], "S"), np.array((confidence * count)[:count]), np.zeros(count, bool)
    )
    monkeypatch.setattr(made, "read", lambda dataset, split: found)
    return made, run


def test_blank_pictures_are_refused_and_doubtful_ones_are_said_with_the_worst_file(monkeypatch, pictures):
    made, _ = reading(monkeypatch, [b"", b"", b"a"], [0.0, 0.0, 0.9], pictures)
    with pytest.raises(UserError, match=r"pictures of validation are blank or hold no letter, such as .*\.png; give"):
        made.check()
    made, run = reading(monkeypatch, [b"u", b"o"], [0.7, 0.6], pictures)
    made.check()
    assert "most pictures are read with doubt" in run.said[-1] and "upside down" in run.said[-1]
    assert ".png" in run.said[-1]
    made, run = reading(monkeypatch, [b"u", b"o"], [0.95, 0.99], pictures)
    made.check()
    assert len(run.said) == 1


def test_pooling_is_that_of_the_folder(tmp_path):
    assert Pooling.of(tmp_path) == Pooling("mean", normalised=False)
    (tmp_path / "1_Pooling").mkdir()
    for said, expected in ({"pooling_mode_cls_token": True}, "cls"), ({"pooling_mode_mean_tokens": True}, "mean"):
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(said), encoding="utf-8")
        assert Pooling.of(tmp_path).tokens == expected
    kinds = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Pooling", "Normalize")]
    (tmp_path / "modules.json").write_text(json.dumps(kinds), encoding="utf-8")
    assert Pooling.of(tmp_path).normalised
