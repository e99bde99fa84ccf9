"""Items that cannot be used are refused together or left out; images are found under other spellings of their names."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.preflight import check_rows
from tfxfer.data.spec import check
from tfxfer.errors import UserError
from tfxfer.recipes.checks import check_target

pytestmark = pytest.mark.tensorflow

SPLITS = ("train", "validation", "test")


@pytest.fixture
def folder(tmp_path):
    """Forty images beside a table."""
    for i in range(40):
        Image.new("RGB", (6, 6), (6 * i, 0, 0)).save(tmp_path / f"{i:02}.png")
    return tmp_path


def table(folder, rows, header=("image", "text", "label"), name="t.csv"):
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return f"csv:{folder / name}"


def rows_of(count=40):
    return [(f"{i:02}.png", f"phrase {i}", "ab"[i % 2]) for i in range(count)]


def test_all_bad_items_are_refused_together_or_left_out(folder, data_dir):
    rows = rows_of()
    rows[3] = ("gone.png", "x", "a")
    rows[5] = (*rows[5][:2], " ")
    rows[7] = ("07.png", "x", "a", "more")
    rows[9] = ("", "x", "a")
    (folder / "11.png").write_bytes(b"no image")
    (folder / "13.png").write_bytes((folder / "13.png").read_bytes()[:40])
    spec = table(folder, rows)
    with pytest.raises(UserError) as refused:
        tfxfer.load(spec, data_dir=data_dir)
    message = str(refused.value)
    assert message.startswith("6 of 40 images and rows cannot be used:") and "… and 1 more" in message
    listed = Path(message.partition("all of them: ")[2].splitlines()[0]).read_text("utf-8")
    for row, why in (
        (5, "image 'gone.png': is not in"),
        (7, "'label' is empty"),
        (9, "4 values for 3 columns"),
        (11, "'image' is empty"),
        (13, "image '11.png': not an image"),
        (15, "image '13.png': not an image"),
    ):
        assert f"t.csv row {row}: {why}" in listed
    found = tfxfer.load(spec, data_dir=data_dir, bad_items="skip")
    assert sum(found.sizes.values()) == 34 and found.notes[-1].startswith("6 of 40 images and rows are left out (e.g. ")
    clean = table(folder, [row for i, row in enumerate(rows) if i not in (3, 5, 7, 9, 11, 13)], name="clean.csv")
    assert tfxfer.load(clean, data_dir=data_dir).fingerprint == found.fingerprint
    with pytest.raises(UserError, match="bad_items='skp': did you mean 'skip'"):
        tfxfer.load(spec, data_dir=data_dir, bad_items="skp")


def test_class_folders_and_empty_texts(folder, data_dir):
    for i in range(40):
        (folder / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (folder / f"{i:02}.png").rename(folder / "photos" / "ab"[i % 2] / f"{i:02}.png")
    (folder / "photos" / "a" / "00.png").write_bytes(b"")
    with pytest.raises(UserError, match="1 of 40 images cannot be used:\na/00.png: zero bytes"):
        tfxfer.load(f"folder:{folder / 'photos'}", data_dir=data_dir)
    assert sum(tfxfer.load(f"folder:{folder / 'photos'}", data_dir=data_dir, bad_items="skip").sizes.values()) == 39
    lines = [{"text": f"t {i}", "label": "ab"[i % 2]} for i in range(30)] + [{"text": " ", "label": "a"}, {"text": "x"}]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(UserError, match="t.jsonl row 32: 'label' is missing"):
        tfxfer.load(f"jsonl:{folder / 't.jsonl'}", data_dir=data_dir)
    found = tfxfer.load(f"jsonl:{folder / 't.jsonl'}", data_dir=data_dir, bad_items="skip")
    assert sum(found.sizes.values()) == 30 and found.notes[0].startswith("2 of 32 rows are left out")


def test_names_are_found_in_other_spellings_and_folders(folder, data_dir):
    plain = tfxfer.load(table(folder, rows_of()), data_dir=data_dir)
    expected = {split: plain.arrays(split)["image"] for split in SPLITS}
    for i in range(40):
        (folder / "images" / "abc"[i % 3]).mkdir(parents=True, exist_ok=True)
        (folder / f"{i:02}.png").rename(folder / "images" / "abc"[i % 3] / f"{i:02}.PNG")
    spellings = ["images\\{}\\{}.PNG", " {}/{}.png", "/home/somebody/{}/{}.png", "./images/{}/{}", "x/{}/{}.png "]
    rows = [(spellings[i % 5].format("abc"[i % 3], f"{i:02}"), *rest) for i, (_, *rest) in enumerate(rows_of())]
    found = tfxfer.load(table(folder, rows), data_dir=data_dir)
    for split in SPLITS:
        np.testing.assert_array_equal(found.arrays(split)["image"], expected[split])
    Image.new("RGB", (6, 6)).save(folder / "images" / "b" / "00.PNG")
    with pytest.raises(
        UserError, match="image '00.png': is it images/a/00.PNG and images/b/00.PNG in .*Write the folder"
    ):
        tfxfer.load(table(folder, rows_of()), data_dir=data_dir)
    with pytest.raises(UserError, match=rf"is not in {folder}/images/c, nor in a folder in it; put it there, or name"):
        tfxfer.load(table(folder, rows_of()), data_dir=data_dir, image_dir="images/c")


def test_photographs_of_telephones(folder, data_dir):
    first, second = (Image.new("RGB", (32, 16), colour) for colour in ("red", "blue"))
    first.save(folder / "phone.jpg", format="MPO", save_all=True, append_images=[second])
    first.save(folder / "web.jfif", format="JPEG")
    rows = [("phone.jpg", "x", "a"), ("web.jfif", "y", "b"), *rows_of()]
    found = tfxfer.load(table(folder, rows), data_dir=data_dir)
    shown = {t: i for s in SPLITS for t, i in zip(found.texts(s), found.arrays(s, image_size=(16, 32))["image"])}
    np.testing.assert_allclose(shown["x"][8, 16], [254, 0, 0], atol=2)
    (folder / "c" / "a").mkdir(parents=True)
    (folder / "web.jfif").rename(folder / "c" / "a" / "web.jfif")
    with pytest.raises(UserError, match="1 distinct examples are too few"):  # it is an image
        tfxfer.load(f"folder:{folder / 'c'}", data_dir=data_dir)


ROWS = [("text", "label"), *((f"number {i}, of all", "ab"[i % 2]) for i in range(30))]


@pytest.mark.parametrize("mark", ",;\t|")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_dialects_of_csv(tmp_path, data_dir, mark, end):
    quoted = end.join(mark.join(f'"{value}"' if mark in value else value for value in row) for row in ROWS)
    expected = tfxfer.from_arrays(texts=[t for t, _ in ROWS[1:]], labels=[c for _, c in ROWS[1:]])
    path = tmp_path / "t.csv"
    for header in ("text", "text in a sentence, or two")[: 1 if mark == "," else 2]:
        content = quoted.replace("text", header, 1)
        for written in (content, f"sep={mark}{end}{content}"):
            path.write_bytes(written.encode())
            found = tfxfer.load(f"csv:{path}", text=header, data_dir=data_dir)
            assert [found.texts(s) for s in SPLITS] == [expected.texts(s) for s in SPLITS]
    path.write_bytes((quoted + end + mark.join("abc")).encode())
    with pytest.raises(UserError, match="t.csv row 32: 3 values for 2 columns"):
        tfxfer.load(f"csv:{path}", data_dir=data_dir)


def test_columns_that_are_not_in_use_may_be_nameless_or_alike(tmp_path, data_dir):
    content = "v1,v2,,,\n" + "".join(f'{"ham" if i % 3 else "spam"},"call {i}, now",,,\n' for i in range(30))
    (tmp_path / "spam.csv").write_text(content)
    found = tfxfer.load(f"csv:{tmp_path / 'spam.csv'}", label="v1", text="v2", data_dir=data_dir)
    assert found.class_names == ("ham", "spam") and "call 0, now" in [t for s in SPLITS for t in found.texts(s)]
    (tmp_path / "spam.csv").write_text(content.replace("v1,v2,,,", "v1,v2,v2,,"))
    with pytest.raises(UserError, match="spam.csv row 1: two columns are called 'v2'; rename one"):
        check(f"csv:{tmp_path / 'spam.csv'}", label="v1", text="v2")


def test_rows_are_checked_before_anything_is_trained(folder, data_dir):
    config = RunConfig(data_dir=str(data_dir))
    for rows, message in (
        ([("gone.png", *rest) for _, *rest in rows_of()], "40 of 40 rows cannot be used"),
        ([(*row[:2], "") for row in rows_of()], "'label' is empty"),
        (rows_of(2), "2 rows are too few"),
        (rows_of()[::2], "every example is of class 'a'"),
    ):
        with pytest.raises(UserError, match=message):
            check_target(TargetConfig(table(folder, rows)), config, "image", "text", "label")
    spec = table(folder, [(*row, "trian") for row in rows_of()], ("image", "text", "label", "split"))
    with pytest.raises(UserError, match="no split is called 'trian'; did you mean 'train'"):
        check_rows(check(spec), {}, data_dir)
    spec = table(folder, [(*row, "test") for row in rows_of()], ("image", "text", "label", "split"))
    with pytest.raises(UserError, match="no example is in split 'train', only in test"):
        check_rows(check(spec), {}, data_dir)
    some = table(folder, [("gone.png", "x", "a"), *rows_of()])
    check_target(TargetConfig(some, bad_items="skip"), config, "image", "text", "label")
    with pytest.raises(UserError, match="image_dir='nowhere': is no folder"):
        check_target(TargetConfig(some, image_dir="nowhere"), config, "image", "text", "label")
