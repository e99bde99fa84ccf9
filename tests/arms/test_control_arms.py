"""What control arms of several recipes have in common, and a run whose transfer arm fails."""

import csv

import here
import numpy as np
import pytest
from PIL import Image
from sklearn.preprocessing import normalize

import tfxfer
from tfxfer.arms.captioning import CaptioningArm
from tfxfer.arms.contrastive import ContrastiveArm
from tfxfer.arms.vqa import VQAArm
from tfxfer.baselines.captions import neighbour_consensus
from tfxfer.errors import TfxferError
from tfxfer.models.tokenizer import NEEDED, WordPieceTokenizer
from tfxfer.records import Comparison
from tfxfer.tasks.captioned_images import CaptionedMaps, captions_by_image
from tfxfer.tasks.derangement import deranged
from tfxfer.transfer.knowledge.captioner import caption_measures
from tfxfer.transfer.knowledge.closed_form import word_pairs

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_nothing_stays_in_its_place(count):
    for seed in range(20):
        order = deranged(count, seed)
        assert sorted(order) == list(range(count))
        assert count < 2 or not (order == np.arange(count)).any()


@pytest.mark.parametrize(
    ("recipe", "arm", "other"),
    [("captioning", CaptioningArm, "neighbour"), ("vqa", VQAArm, "prior"), ("retrieval", ContrastiveArm, "anchors")],
)
def test_a_transfer_that_fails_leaves_a_report_of_the_others(recipe, arm, other, data_dir, tmp_path, monkeypatch):
    def diverge(*_):
        raise TfxferError("the loss became NaN")

    monkeypatch.setattr(arm, "train", diverge)
    run = tmp_path / "run"
    words = ("--smoke", "--fresh", "--arms", "transfer", "random", other, "--seeds", "1", "--run-dir", run)
    if recipe == "vqa":
        words = tuple(word for word in words if word != "random")
    done = here.command(recipe, *words, data_dir=data_dir)
    assert "Traceback" not in done.stderr
    status = {record.arm: record.status for record in Comparison.load(run).records}
    assert status["transfer"] == "failed" and status[other] == "ok"
    assert (run / "report.html").exists() and not (run / "model.keras").exists()
    assert "no model is saved" in (run / "log.txt").read_text("utf-8")


def test_unknown_words_are_not_all_the_same_word():
    """[UNK] is what a model says that knows no better; it must not be right where people wrote a rare word."""
    words = WordPieceTokenizer([*NEEDED, "a", "zebra"])
    wanted = [["a xylophone"], ["猫"], ["A  Zebra"]]
    found = caption_measures(["a [UNK]", "[UNK]", "a zebra"], wanted, words)
    assert found["exact_match"].tolist() == [0, 0, 1]
    assert found["token_f1"].tolist() == [0.5, 0, 1]


def test_controls_take_away_one_thing():
    maps = {split: np.random.default_rng(0).normal(size=(5, 2, 2, 3)) for split in ("train", "validation", "test")}
    task = CaptionedMaps(maps, {split: [[f"{split} {i}"] for i in range(5)] for split in maps})
    blind, shuffled = task.blind(), task.shuffled(0)
    mean = maps["train"].mean(0)
    assert all((rows == mean).all() and len(rows) == 5 for rows in blind.maps.values())
    assert blind.captions == task.captions and shuffled.maps is task.maps
    assert sorted(shuffled.captions["train"]) == sorted(task.captions["train"])
    assert all(new != own for new, own in zip(shuffled.captions["train"], task.captions["train"]))
    assert {split: shuffled.captions[split] for split in ("validation", "test")} == {
        split: task.captions[split] for split in ("validation", "test")
    }


def test_consensus_of_neighbours_is_the_caption_that_is_most_like_all_others():
    said = ["dog runs in grass", "dog runs in snow", "dog runs", "old red house", "house with a red door", "house"]
    words = WordPieceTokenizer([*NEEDED, "now", *{word for text in said for word in text.split()}])
    maps = {"train": np.eye(2)[[0, 0, 0, 1, 1, 1]].reshape(6, 1, 1, 2), "validation": np.eye(2).reshape(2, 1, 1, 2)}
    maps["train"] = maps["train"] + 0.01 * np.arange(12).reshape(6, 1, 1, 2)
    given = {"train": [[text, text + " now"] for text in said], "validation": [["dog runs"], ["house"]]}
    task = CaptionedMaps(maps | {"test": maps["validation"]}, given | {"test": given["validation"]})
    found = neighbour_consensus(task, words)
    fitted = word_pairs().fit([text for each in given["train"] for text in each])
    near, k = normalize(maps["train"].mean((1, 2))), found.settings["images"]
    for asked, answer in zip(np.eye(2), found.answers):
        own = [text for i in np.argsort(-(near @ asked), kind="stable")[:k] for text in given["train"][i]]
        rows = normalize(fitted.transform(own)).toarray()
        means = [np.mean([a @ b for j, b in enumerate(rows) if j != i]) for i, a in enumerate(rows)]
        assert answer == own[int(np.argmax(means))]


def test_a_smaller_draw_of_captioned_images_is_part_of_a_greater_one():
    maps = {"train": np.arange(9.0).reshape(9, 1, 1, 1)}
    task = CaptionedMaps(maps, {"train": [[str(i)] for i in range(9)]})
    few, more = task.drawn(3, 1), task.drawn(6, 1)
    assert more.captions["train"][:3] == few.captions["train"]
    assert [int(text) for (text,) in more.captions["train"]] == more.maps["train"].ravel().tolist()
    assert few.captions != task.drawn(3, 2).captions


def test_rows_of_a_table_about_one_image_are_one_example(tmp_path):
    rows = [("image", "caption")]
    for i in range(20):
        Image.fromarray(np.full((8, 8, 3), 10 * i, np.uint8)).save(tmp_path / f"{i}.png")
        rows += [(f"{i}.png", f"image {i} in words {k}" if (i, k) != (3, 1) else "") for k in range(3)]
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    table = tfxfer.load(f"csv:{tmp_path}/table.csv", image="image", caption="caption")
    images, captions = {}, {}
    for split in table.sizes:
        places, said = captions_by_image(table, split)
        for place, texts in zip(places, said):
            number = int(texts[0].split()[1])
            assert all(int(text.split()[1]) == number for text in texts)
            captions[number] = texts
            images[number] = int(table.arrays(split)["image"][place].max()) // 10
    assert images == {i: i for i in range(20)}
    assert {i: len(texts) for i, texts in captions.items()} == {i: 2 if i == 3 else 3 for i in range(20)}
