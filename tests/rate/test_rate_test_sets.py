"""The test examples of real data, loaded again: images beside their texts, and data that have changed."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import rated
from PIL import Image

import tfxfer
from tfxfer import __main__ as front
from tfxfer import cli
from tfxfer.config import TargetConfig
from tfxfer.rate.database import Session, session_path
from tfxfer.rate.systems import RatedRun
from tfxfer.rate.test_set import load_test_set
from tfxfer.records import Record

pytestmark = pytest.mark.tensorflow
COLUMNS = ("image", "caption", "question", "answer", "label", "split")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of coloured images; a test example is known by its colour and its size."""
    folder = tmp_path_factory.mktemp("shapes")
    rows = []
    for n, (name, colour) in enumerate((name, colour) for colour in rated.COLOURS for name in rated.SHAPES):
        pixels = np.full((40 + n, 160, 3), rated.COLOURS[colour], np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
        split = ("train", "validation", "test", "test")[n % 4]
        rows.append((f"{n}.png", f"a {colour} {name}", "which colour is it?", colour, colour, split))
    path = folder / "shapes.csv"
    write(path, rows)
    return path, rows


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def colour_of(image):
    mean = rated.pixels(image).reshape(-1, 3).mean(0)
    return min(rated.COLOURS, key=lambda name: abs(mean - rated.COLOURS[name]).sum())


def test_captions_are_shown_with_their_images_and_changed_data_are_refused(table, tmp_path, capsys):
    from tfxfer.tasks.captioned_images import one_per_caption

    path, rows = table
    columns = {"image": "image", "caption": "caption"}
    _, references = one_per_caption(tfxfer.load(f"csv:{path}", **columns), "test", 0)
    true = [one for (one,) in references]
    folder = rated.run(tmp_path / "one")
    replace(rated.comparison(true=true)).save(folder)
    (folder / "config.yaml").write_text(
        f"recipe: captioning\ntarget: csv:{path}\ntarget_image: image\ntarget_caption: caption\n", "utf-8"
    )
    words = ["rate", str(folder), "--arms", "transfer", "neighbour", "--checks", "1"]
    assert cli.main(front.work, [*words, "--export", str(tmp_path / "page.html")]) == 0
    assert "12 items: there are no more test examples" in capsys.readouterr().err
    session = Session(session_path(folder))
    assert len(session.items) == 13
    for item in session.items:
        assert item.references == (true[item.row],) and colour_of(session.image(item.id)[0]) in true[item.row]
    session.close()
    assert [row[5] for row in rows if row[1] in true] == ["test"] * 12
    changed = [(*row[:1], row[1].replace("a ", "one "), *row[2:]) for row in rows]
    write(path, changed)
    assert cli.main(front.work, [*words, "--session", "again", "--export", str(tmp_path / "other.html")]) == 2
    assert "its data have changed since the run: test example" in capsys.readouterr().err
    write(path, rows)


def test_questions_and_classes(table, tmp_path):
    path, rows = table
    test = [row for row in rows if row[5] == "test"]
    folder = rated.run(tmp_path / "vqa", recipe="vqa", labels=np.zeros(12, np.int32), examples=())
    target = TargetConfig(f"csv:{path}", max_test=0)
    found = load_test_set(RatedRun.load(folder), target, None, False)
    assert found.questions == ["which colour is it?"] * 12
    for (answer,), image in zip(found.references, found.encoded(range(12))):
        assert colour_of(image) == answer
    names = tuple(sorted(rated.COLOURS))
    labels = np.array([names.index(row[4]) for row in test], np.int32)
    answers = np.eye(4, dtype=np.float32)[labels] * 0.9 + 0.025
    records = (Record("transfer", 5, 0, metrics={"accuracy": 1.0}, probabilities=answers),)
    classes = rated.run(
        tmp_path / "classes", class_names=names, labels=labels, records=records, examples=(), measures=("accuracy",)
    )
    run = RatedRun.load(classes)
    found = load_test_set(run, TargetConfig(f"csv:{path}", image="image", label="label"), None, False)
    assert run.system("transfer", None, None, "x").texts == [one for (one,) in found.references]
    assert colour_of(found.encoded([3])[0]) == found.references[3][0]
