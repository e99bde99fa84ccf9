"""The built-in sets: their content, and preparing them in two processes or in one that is killed."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import tfxfer
from tfxfer.data.builders.faces import BASELINE, FONT_SIZE, drawable, face_files
from tfxfer.data.builders.glyphs import TEST_FACES, VALIDATION_FACES
from tfxfer.data.builders.languages import phrases
from tfxfer.data.builders.names import Names
from tfxfer.errors import TfxferError

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def glyphs(data_dir):
    return tfxfer.load("glyphs", data_dir=data_dir)


def column(dataset, key):
    return np.concatenate([dataset.splits[split].column(key) for split in dataset.splits])


def test_every_face_and_thousands_of_characters(glyphs):
    assert {face.decode() for face in column(glyphs, "face")} == set(face_files())
    assert len(glyphs.class_names) > 6000 and sum(glyphs.sizes.values()) > 45_000
    share = {split: size / sum(glyphs.sizes.values()) for split, size in glyphs.sizes.items()}
    assert share == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.02)


def test_captions_are_official_names_and_facts_are_true(glyphs):
    texts = [text.decode() for text in column(glyphs, "text")]
    names = [name.decode() for name in column(glyphs, "caption")]
    assert all(unicodedata.name(text) == name for text, name in zip(texts, names))
    assert all(glyphs.class_names[label] == name for label, name in zip(column(glyphs, "label"), names))
    known = {text: i for i, text in enumerate(texts)}
    row = {key: column(glyphs, key) for key in ("script", "case", "diacritic", "numeric", "braille_dots")}
    for text, key, value in [
        ("ж", "script", b"Cyrillic"),
        ("Ж", "case", b"upper"),
        ("ÿ", "diacritic", b"diaeresis"),
        ("7", "numeric", b"7"),
        ("⠿", "braille_dots", 6),
        ("a", "braille_dots", -1),
    ]:
        assert row[key][known[text]] == value, (text, key)


def test_images_are_black_on_white_and_drawn_as_documented(glyphs):
    split = glyphs.arrays("validation")
    assert (split["image"].min((1, 2, 3)) < 255).all() and split["image"].mean() > 180
    rows = np.flatnonzero(split["face"] == b"DejaVuSerif")[:50]
    font = ImageFont.truetype(face_files()["DejaVuSerif"], FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    agreed = 0
    for i in rows:
        text = split["text"][i].decode()
        left, top, right, bottom = font.getbbox(text, anchor="ls")
        if right - left > 32 or BASELINE + top < 0 or BASELINE + bottom > 32:
            continue
        expected = Image.new("L", (32, 32), 255)
        start = (32 - (right - left)) // 2 - left
        ImageDraw.Draw(expected).text((start, BASELINE), text, font=font, fill=0, anchor="ls")
        np.testing.assert_array_equal(split["image"][i, ..., 0], expected)
        agreed += 1
    assert agreed > 30


def test_characters_with_identical_images_share_a_split(glyphs):
    split_of = {text: split for split in glyphs.splits for text in glyphs.texts(split)}
    for alike in ("AΑА", "XХΧ", "HНΗ"):  # Latin, Greek, Cyrillic
        assert len({split_of[character] for character in alike}) == 1


def test_by_face_holds_faces_out_and_has_every_class_in_train(data_dir):
    dataset = tfxfer.load("glyphs/by_face", data_dir=data_dir)
    faces = {split: set(dataset.splits[split].column("face").tolist()) for split in dataset.splits}
    assert faces["validation"] == {name.encode() for name in VALIDATION_FACES}
    assert faces["test"] == {name.encode() for name in TEST_FACES}
    assert not faces["train"] & (faces["validation"] | faces["test"])
    for split in ("validation", "test"):
        assert set(dataset.labels(split)) <= set(dataset.labels("train"))


@pytest.mark.parametrize("label", ["diacritic", "braille_dots"])
def test_any_fact_can_be_the_label(data_dir, label):
    dataset = tfxfer.load("glyphs", label=label, data_dir=data_dir)
    train = set(dataset.labels("train"))
    assert len(dataset.class_names) > 2 and "" not in dataset.class_names and "-1" not in dataset.class_names
    assert train == set(range(len(dataset.class_names)))
    assert set(dataset.labels("test")) <= train


def test_the_number_of_a_character_is_an_open_label_too(glyphs, data_dir):
    by_number = tfxfer.load("glyphs", label="codepoint", data_dir=data_dir)
    assert by_number.sizes == glyphs.sizes and "labels are open" in by_number.notes[0]


def test_names_have_no_image(data_dir):
    dataset = tfxfer.load("names", data_dir=data_dir)
    drawn = {unicodedata.name(character) for character in drawable()}
    names = {name for split in dataset.splits for name in dataset.texts(split)}
    assert len(names) > 20_000 and not names & drawn
    assert not any("IDEOGRAPH-" in name for name in names)
    assert "EGYPTIAN HIEROGLYPH A001" in names


def test_listed_names_are_not_derived_by_rule(data_dir):
    whole, listed = (tfxfer.load(spec, data_dir=data_dir) for spec in ("names", "names/listed"))
    for split in whole.splits:
        kept = set(listed.texts(split))
        assert kept == {name for name in whole.texts(split) if not name.startswith("HANGUL SYLLABLE")}
    assert 15_000 < sum(listed.sizes.values()) < sum(whole.sizes.values()) - 10_000


def test_languages_share_no_phrase(data_dir):
    dataset = tfxfer.load("languages", data_dir=data_dir)
    owners = {}
    for split in dataset.splits:
        for text, label in zip(dataset.texts(split), dataset.labels(split)):
            assert owners.setdefault(unicodedata.normalize("NFC", text).casefold(), label) == label
    counts = np.bincount(list(owners.values()))
    assert len(counts) >= 20 and counts.min() > 700 and 1000 < counts.mean() < 1500
    assert set("".join(text for text in dataset.texts("test"))) <= drawable() | {" "}


def test_phrases_count_what_they_leave_out():
    rows, left_out = phrases(("de", "en"))
    texts = {row["text"] for row in rows}
    assert "Deutschland" in texts and "Germany" in texts and "Portugal" not in texts
    assert left_out["shared by languages"] > 0


PREPARE = (
    "import sys, time; import tfxfer.data; import tensorflow_datasets as tfds; tfds.disable_progress_bar();"
    "b = tfds.builder('languages/latin', data_dir=sys.argv[1]); print('ready', flush=True);"
    "t = time.time(); b.download_and_prepare(); print(b.info.splits['train'].num_examples)"
)


def start(folder, code=PREPARE):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_two_processes_prepare_one_set_once(tmp_path, data_dir):
    processes = [start(tmp_path), start(tmp_path)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    counts = {out.split()[-1] for out, _ in answers}
    assert counts == {str(tfxfer.load("languages/latin", data_dir=data_dir).sizes["train"])}
    made = sum("downloaded and prepared" in err + out for out, err in answers)
    assert made == 1, "the second must find what the first made"
    assert not list(tmp_path.rglob("*incomplete*"))


SLOW = PREPARE.replace(
    "b = tfds",
    "from tfxfer.data.builders import languages; make = languages.Languages._generate_examples;"
    "languages.Languages._generate_examples = lambda self, rows: ((time.sleep(0.01), e)[1] for e in make(self, rows));"
    "b = tfds",
)


def test_a_killed_preparation_is_done_again(tmp_path, data_dir):
    process = start(tmp_path, SLOW)
    deadline = time.time() + 60
    while not list(tmp_path.rglob("*incomplete*")) and time.time() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.rglob("*incomplete*")), process.communicate(timeout=5)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    (tmp_path / "tfds").symlink_to(tmp_path)  # tfxfer keeps TFDS sets in a folder of that name
    dataset = tfxfer.load("languages/latin", data_dir=tmp_path)
    assert dataset.fingerprint == tfxfer.load("languages/latin", data_dir=data_dir).fingerprint
    assert not list((tmp_path / "languages").rglob("*incomplete*"))


def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(self, rows):
        yield "one", {"text": "one"}
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Names, "_generate_examples", full)
        with pytest.raises(TfxferError, match=r"names/all/1.0.0: the disk is full \(\d+ MiB free"):
            tfxfer.load("names", data_dir=tmp_path)
    assert not list(tmp_path.rglob("*incomplete*"))
    assert tfxfer.load("names", data_dir=tmp_path).sizes["train"] > 1


@pytest.mark.parametrize("missing", ["dataset_info.json", "names-test.tfrecord-00000-of-00001"])
def test_a_folder_with_a_file_missing_is_made_again(tmp_path, data_dir, missing):
    made = tfxfer.load("names", data_dir=data_dir)
    folder = data_dir / "tfds" / "names" / "all" / "1.0.0"
    copy = tmp_path / "tfds" / "names" / "all" / "1.0.0"
    shutil.copytree(folder, copy)
    (copy / missing).unlink()
    with pytest.warns(UserWarning, match="1.0.0: the prepared data are damaged; they are made again"):
        assert tfxfer.load("names", data_dir=tmp_path).fingerprint == made.fingerprint


def test_a_flipped_byte_is_noticed_where_there_is_no_manifest(tmp_path, data_dir):
    tfxfer.load("names", data_dir=data_dir)
    copy = tmp_path / "tfds" / "names" / "all" / "1.0.0"
    shutil.copytree(data_dir / "tfds" / "names" / "all" / "1.0.0", copy)
    (copy / "files.json").unlink()  # prepared by an earlier version
    file = copy / "names-test.tfrecord-00000-of-00001"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(TfxferError, match=r"names/all/1.0.0: the prepared data are damaged; remove this folder"):
        tfxfer.load("names", data_dir=tmp_path)


def test_importing_registers_the_builders_whatever_the_order(data_dir):
    expected = str(tfxfer.load("names", data_dir=data_dir).sizes["test"])
    load = "print(len(tfds.load('names', split='test', data_dir=sys.argv[1], download=False)))"
    ours_first = start(data_dir / "tfds", f"import sys, tfxfer.data; import tensorflow_datasets as tfds; {load}")
    theirs_first = start(data_dir, "import tensorflow_datasets as tfds, tfxfer.data; print(tfds.list_builders())")
    out, err = ours_first.communicate(timeout=120)
    assert out.strip() == expected, err
    assert {"'glyphs'", "'names'", "'languages'"} <= set(
        theirs_first.communicate(timeout=120)[0].strip("[]\n").split(", ")
    )
