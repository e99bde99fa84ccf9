"""The retrieval recipe as people run it: shrunk, through the command, with its report and models that can be asked."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfxfer import predict, train
from tfxfer.arms.contrastive import Pairs, anchors, native
from tfxfer.cli import main
from tfxfer.config import RetrievalConfig
from tfxfer.data.images import read_image
from tfxfer.errors import UserError
from tfxfer.recipes.checks import check_retrieval
from tfxfer.recipes.panels.retrieval import guessing
from tfxfer.records import Comparison

ARMS = {"transfer", "random", "random_g", "shuffled", "anchors", "native"}


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """The default experiment, shrunk; (folder, what was printed)."""
    folder = tmp_path_factory.mktemp("runs") / "retrieval"
    environment = os.environ | {"TFXFER_DATA": str(data_dir), "TF_CPP_MIN_LOG_LEVEL": "3"}
    words = [sys.executable, "-m", "tfxfer.train", "retrieval", "--smoke", "--run-dir", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return folder, " ".join(done.stdout.split())


@pytest.fixture(scope="module")
def several(data_dir, samples, tmp_path_factory):
    """Pictures with several captions each, in this process, with few arms."""
    folder = tmp_path_factory.mktemp("runs") / "several"
    head, *rows = (samples / "captions" / "captions.csv").read_text(encoding="utf-8").splitlines()
    rows = [f"{samples / 'captions' / 'pictures'}/{row},{'test' if row < '05' else 'train'}" for row in rows]
    (folder.parent / "c.csv").write_text("\n".join([f"{head},split", *rows]) + "\n", encoding="utf-8")
    words = ["--target", f"captions:{folder.parent / 'c.csv'}", "--pictures", "fresh:cnn"]
    words += ["--arms", "transfer", "random_f", "random_g", "anchors", "native", "--image-size", "24", "--length", "6"]
    words += ["--data-dir", str(data_dir), "--run-dir", str(folder), "--smoke"]
    assert main(train.work, ["retrieval", *words]) == 0
    return folder


def test_the_default_run_leaves_everything_it_promises(run):
    folder, printed = run
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "report.html", "log.txt", "comparison.json", "pairs.json"} <= names
    assert {"model.keras", "finder.keras", "dual_encoder.keras", "model.json"} <= names
    comparison = Comparison.load(folder)
    assert set(comparison.arms) == ARMS and comparison.unit == "pairs"
    assert not [record.error for record in comparison.records if record.status == "failed"]
    assert {r.budget for r in comparison.records if r.arm == "shuffled"} == {16}
    assert "are longer than 16 word pieces" in printed and "of unseen texts" in printed


def test_both_directions_are_told_with_what_guessing_reaches(run):
    ways = json.loads((run[0] / "pairs.json").read_text(encoding="utf-8"))["ways"]
    assert set(ways["arms"]) == ARMS | {"guessing"} and ways["budget"] == 16
    comparison = Comparison.load(run[0])
    told = ways["arms"]["transfer"]["text_to_image"]
    means = [record.metrics["text_to_image_recall_at_5"] for record in comparison.select("transfer", 16)]
    assert told["recall@5"] == pytest.approx(np.mean(means))
    assert told["recall@1"] <= told["recall@5"] <= told["recall@10"] and told["median rank"] >= 1
    assert ways["arms"]["guessing"]["image_to_text"]["recall@5"] == pytest.approx(0.1)


def test_the_report_shows_k_the_gallery_and_the_head_on_texts(run):
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert "K = f(X) · g(Y)" in page and "python -m tfxfer.train retrieval --config" in page
    for heading in ("What does a text find?", "Both ways", "K itself", "Can a head that was fitted on pictures read"):
        assert heading in page
    assert page.count("<svg") >= 5 and "picture finds text" in page and "guessing" in page


def test_a_picture_is_answered_with_texts_and_a_text_with_pictures(run, tmp_path, capsys):
    Image.new("L", (40, 20), 200).save(tmp_path / "a.png")
    assert main(predict.work, [str(run[0]), "--json", "--image", str(tmp_path / "a.png")]) == 0
    assert main(predict.work, [str(run[0]), "--json", "--top", "2", "--text", "LATIN SMALL LETTER A", "", "🙂"]) == 0
    pictures, *texts = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(pictures["top"]) == 3 and pictures["top"][0][0].isupper()
    known = json.loads((run[0] / "model.json").read_text(encoding="utf-8"))["also"]["text"]["class_names"]
    assert len(known) == 50 and all(len(row["top"]) == 2 and row["top"][0][0] in known for row in texts)


def test_the_saved_models_are_one_and_the_same_k(several, samples):
    """The picture's answers, the text's answers and both towers together give the same K, up to its softmax."""
    import tensorflow as tf

    from tfxfer.models import load_model

    about = json.loads((several / "model.json").read_text(encoding="utf-8"))
    files = about["also"]["text"]["class_names"]  # the test pictures, by their files
    shown = tf.stack([read_image(file, tuple(about["image_size"]), about["channels"]) for file in files])
    texts = about["class_names"]
    k = np.asarray(load_model(several / "dual_encoder.keras")({"image": shown, "text": tf.constant(texts)}))
    for name, given, rows in (("model", shown, k), ("finder", tf.constant(texts), k.T)):
        found = np.log(np.asarray(load_model(several / f"{name}.keras")(given)))
        rows = rows - np.log(np.exp(rows).sum(1, keepdims=True))
        np.testing.assert_allclose(found, rows, atol=1e-3)


def test_every_caption_of_a_picture_counts(several):
    comparison = Comparison.load(several)
    assert {record.status for record in comparison.records} == {"ok"}
    told = json.loads((several / "pairs.json").read_text(encoding="utf-8"))
    assert told["texts"] > told["test"] == len(comparison.labels)
    assert told["test"] == 5 and " · " in comparison.examples[1]["true"]
    assert told["label"] is None
    assert "texts are longer than 6 word pieces" in (several / "log.txt").read_text(encoding="utf-8")


CAPTIONS = [["a", "b"], ["c"], ["d", "e", "f"]]


@pytest.fixture
def pairs():
    """Three pictures with two, one and three texts in every split."""
    splits = ("train", "validation", "test")
    features = np.eye(3, dtype="float32")
    return Pairs(*(dict.fromkeys(splits, each) for each in (features, CAPTIONS, np.arange(3))))


def test_a_picture_finds_any_of_its_texts_and_each_text_its_picture(pairs):
    k = np.array([[0, 5, 1, 2, 0, 0], [3, 4, 2, 0, 0, 0], [9, 0, 0, 0, 0, 8]], float)
    of_pictures, of_texts = pairs.ranks(k, "test")
    assert of_pictures.tolist() == [1, 3, 2] and of_texts.tolist() == [3, 1, 1, 3, 3, 1]
    score = pairs.score(k, "test")
    np.testing.assert_allclose(score["image_to_text_recall_at_1"], [1, 0, 0])
    np.testing.assert_allclose(score["text_to_image_recall_at_1"], [0.5, 1, 1 / 3])
    np.testing.assert_allclose(score["recall_at_1"], [0.75, 0.5, 1 / 6])
    np.testing.assert_allclose(score["text_to_image_reciprocal_rank"], [(1 / 3 + 1) / 2, 1, (1 / 3 + 1 / 3 + 1) / 3])
    outcome = pairs.outcome(k, {})
    assert outcome.answers == ["b", "b", "a"] and outcome.settings["median_ranks"] == [2, 2]


def test_a_smaller_draw_is_part_of_a_greater_one_and_shuffling_moves_whole_pictures(pairs):
    one, two = pairs.drawn(1, 5), pairs.drawn(2, 5)
    assert two.captions["train"][:1] == one.captions["train"] and len(one.features["train"]) == 1
    mixed = pairs.shuffled(0)
    assert sorted(mixed.captions["train"]) == sorted(CAPTIONS)
    assert all(new != own for new, own in zip(mixed.captions["train"], CAPTIONS))
    assert mixed.captions["test"] == CAPTIONS and pairs.owners("train").tolist() == [0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("arm", [anchors, native])
def test_arms_without_a_text_tower_find_what_the_texts_say(arm):
    words = ("red", "green", "blue", "white")
    captions = [[f"a {word} thing", f"something {word}"] for word in words for _ in range(5)]
    rng = np.random.default_rng(0)
    features = np.repeat(np.eye(4), 5, 0) + 0.05 * rng.normal(size=(20, 4))
    ids = np.repeat(np.arange(4), 5)
    splits = ("train", "validation", "test")
    found = arm(Pairs(*(dict.fromkeys(splits, each) for each in (features.astype("float32"), captions, ids))))
    assert found.scores["recall_at_1"].mean() == 1


def test_guessing_is_what_a_random_order_reaches():
    rng = np.random.default_rng(0)
    firsts = np.array([np.flatnonzero(rng.permutation(30) < 3)[0] + 1 for _ in range(20_000)])
    told = guessing(30, 3)
    for k in (1, 5, 10):
        assert told[f"recall@{k}"] == pytest.approx(np.mean(firsts <= k), abs=0.01)
    assert told["median rank"] == pytest.approx(np.median(firsts), abs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "--batch-size must be 2 or more: with one pair"),
        ({"pairs": (1, 50)}, "--pairs and --batch-size must be 2 or more"),
        ({"length": 2}, "--length 2: leaves no room"),
        ({"temperature": 0.001}, "--temperature 0.001"),
        ({"controls_at": (7,)}, r"--controls-at \[7\]: must be among --pairs"),
        ({"arms": ("random",)}, "'transfer' is the method under study"),
        ({"updates": 0}, "--updates 0: must be above 0"),
        ({"texts": "fresh:bert"}, "--texts fresh:bert: give a data set of texts"),
        ({"pictures": "fresh:cnn", "pictures_label": "x"}, "is a trained model; leave it out"),
        ({"target": "captions:nowhere.csv"}, "nowhere.csv does not exist"),
        ({"target_caption": "x"}, "its caption is fixed"),
    ],
)
def test_a_request_that_cannot_be_met_is_named_before_anything_starts(options, message):
    with pytest.raises(UserError, match=message):
        check_retrieval(RetrievalConfig(**options))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "names"], "pairs need pictures and captions"),
        (["--target", "csv:{empty}"], "no picture with a text"),
        (["--target", "captions:{samples}/captions/captions.csv", "--pairs", "900"], "--pairs 900"),
    ],
    ids=["texts alone", "empty texts", "more pairs than there are"],
)
def test_data_that_cannot_be_used_is_named(words, message, data_dir, samples, tmp_path, capsys):
    rows = "".join(f"{samples}/captions/pictures/{i:02}.png,\n" for i in range(12))
    (tmp_path / "empty.csv").write_text("image,caption\n" + rows, encoding="utf-8")
    words = [word.format(samples=samples, empty=tmp_path / "empty.csv") for word in words]
    options = ["--texts-max", "64", "--texts-epochs", "1", "--pictures", "fresh:cnn", "--data-dir", str(data_dir)]
    assert main(train.work, ["retrieval", *words, *options, "--run-dir", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
