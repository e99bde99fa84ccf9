"""Fused data sets: pairs by key, class and nearest neighbour, mixtures, splits that do not leak, and bad input."""

import csv
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.spec import check
from tfxfer.doctor import examine
from tfxfer.errors import UserError
from tfxfer.tasks.captioned_images import load_target
from tfxfer.tasks.image_text_pairs import image_ids, load_pairs

pytestmark = pytest.mark.tensorflow

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 230), "white": (250, 250, 250)}
SPLITS = ("train", "validation", "test")


class Said:
    """A run that keeps what is said."""

    def __init__(self):
        self.cautions = []

    def say(self, message, **_):
        pass

    def phase(self, name):
        return nullcontext()

    def caution(self, message):
        self.cautions.append(message)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eighty images of four colours: `pictures.csv` with labels and splits, `names.csv` with texts in another order."""
    made = tmp_path_factory.mktemp("fuse")
    random = np.random.default_rng(0)
    pictures, names = [], []
    for i in range(160):
        colour = list(COLOURS)[i % 4]
        pixels = np.clip(np.array(COLOURS[colour]) + random.integers(-25, 26, (8, 8, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(made / f"{i}.png")
        split = ("train", "train", "validation", "test")[i // 4 % 4]
        pictures.append((f"{i}.png", i, colour, split, f"{colour} square"))
        names.append((i, f"number {i} is {colour}", colour, "test" if i < 8 else split))
    write(made / "pictures.csv", "image,id,label,split,caption", pictures)
    write(made / "names.csv", "id,text,label,split", names[::-1])
    return made


def write(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])


@pytest.fixture
def load(folder, data_dir, samples):
    def load(spec, **options):
        return tfxfer.load(
            spec.replace("csv:", f"csv:{folder}/").replace("SAMPLES", str(samples)), data_dir=data_dir, **options
        )

    return load


BOTH = "fuse:csv:pictures.csv+csv:names.csv"


def own(dataset, split):
    """Return the number of each image, by the name of its file."""
    files = dataset.splits[split].files.paths.numpy()[dataset.indices(split)]
    return [int(path.decode().rpartition("/")[2].removesuffix(".png")) for path in files]


def test_pairs_by_key_are_true_and_in_the_stricter_split(load):
    data = load(f"{BOTH}?on=id")
    for split in SPLITS:
        assert [int(text.split()[1]) for text in data.texts(split, "caption")] == own(data, split)
        assert set(data.splits[split].column("pair")) == {b"true"}
    assert set(range(8)) <= set(own(data, "test")) and sum(data.sizes.values()) == 160
    assert "id" in data.keys and "key" not in data.keys
    assert any("8 pairs moved" in note for note in data.notes)
    overlap = examine(data, checks=("overlap",))
    assert not overlap.findings and not data.overlap().share
    assert data.fingerprint == load(f"{BOTH}?on=id").fingerprint != load(f"{BOTH}?on=id=id&b.label=label").fingerprint


def test_a_set_without_splits_follows_the_other_and_several_texts_stay_together(load, folder):
    write(folder / "more.csv", "file,text", [(f"{i}.png", f"{word} {i}") for word in ("a", "b") for i in range(150)])
    data = load("fuse:csv:pictures.csv+csv:more.csv?on=image=file")
    assert data.sizes == {"train": 78, "validation": 36, "test": 36}
    assert data.captions("test")[0] == [f"a {own(data, 'test')[0]}", f"b {own(data, 'test')[0]}"]
    assert {"10 images of" in note for note in data.notes if "have no text" in note} == {True}


def test_equal_images_share_a_split(load, folder):
    (folder / "copy.png").write_bytes((folder / "100.png").read_bytes())
    write(folder / "two.csv", "image,id", [(f"{i}.png", i) for i in range(20, 101)] + [("copy.png", "x")])
    far = [(i, f"n{i}", "validation" if i < 30 else "train") for i in range(20, 101)]
    write(folder / "far.csv", "id,text,split", [*far, ("x", "copied", "test")])
    data = load("fuse:csv:two.csv+csv:far.csv?on=id")
    assert not examine(data, checks=("overlap",)).findings
    assert sorted(data.texts("test", "caption")) == ["copied", "n100"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            f"{BOTH}?on=id=text",
            "no 'id' of csv:.* is a 'text' of .*'0', '1', '2' and 'number .*on=COLUMN_A=COLUMN_B",
        ),
        (f"{BOTH}?on=id=lable", "no column 'lable'.*did you mean 'label'"),
        ("fuse:csv:pictures.csv+csv:names.csv?on=label=label", "4 keys stand several times on both sides.*on=label"),
        ("fuse:csv:names.csv+csv:pictures.csv?on=id", "has no images"),
        ("fuse:csv:pictures.csv+folder:SAMPLES/shapes?on=label", "no class is in both sets: 'blue'"),
        (f"{BOTH}?on=nearest&via=csv:names.csv", "no pairs of images and captions"),
        (f"{BOTH}?on=nearest&via=[{BOTH}?on=label]", "not all of its pairs are true ones"),
        (f"fuse:csv:pictures.csv+[{BOTH}?on=label]?on=id", "not all of its pairs are true ones"),
        (f"{BOTH}?mix=1,1", "share none"),
        (
            "fuse:csv:pictures.csv+[fuse:csv:pictures.csv+folder:SAMPLES/shapes?mix=1,1&size=16]?mix=1,1",
            "8 x 8 x 3 and .* has 16 x 16 x 3.*size=PIXELS",
        ),
    ],
)
def test_what_does_not_match_is_named(load, spec, words):
    with pytest.raises(UserError, match=f"(?s){words}"):
        load(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("fuse:emoji+emoji/de", "write fuse:A"),
        ("fuse:emoji+emoji/de?onn=text", "did you mean 'on'"),
        ("fuse:emoji+emoji/de?on=text&seeed=1", "did you mean 'seed'"),
        ("fuse:emoji+emoji/de+glyphs?on=text", "names 3; join two, and the result with the third"),
        ("fuse:emoji+emojy/de?on=text", "did you mean 'emoji'"),
        ("fuse:emoji+[csv:a.csv?on=text", "not closed"),
        ("fuse:emoji+glyphs?on=text&via=emoji", "via= belongs to on=nearest"),
        ("fuse:emoji+glyphs?on=nearest", "needs via=SPEC"),
        ("fuse:emoji+glyphs?mix=1", "one weight above 0 to each of the 2"),
        ("fuse:emoji+glyphs?mix=heat:1", "mix=temperature"),
        ("fuse:emoji+glyphs?on=text&mix=1,1", "ask for one"),
        ("fuse:names+emoji?on=text", "names has no images"),
        ("fuse:[fuse:[fuse:[fuse:[fuse:[a]+b]+c]+d]+e]+f?mix=1,1", "nested"),
    ],
)
def test_wrong_specs_are_refused_before_anything_is_loaded(spec, words):
    with pytest.raises(UserError, match=words):
        check(spec)
    with pytest.raises(UserError, match="b.text=title"):
        check("fuse:emoji+emoji/de?on=text", text="title")


def test_brackets_hold_paths_with_marks(load, folder):
    (folder / "names.csv").rename(folder / "a+b?.csv")
    try:
        assert load("fuse:csv:pictures.csv+[csv:a+b?.csv]?on=id").sizes["train"] == 72
    finally:
        (folder / "a+b?.csv").rename(folder / "names.csv")


def test_class_level_pairs_are_drawn_by_class_and_split_and_are_no_true_ones(load):
    data, other = load(f"{BOTH}?on=label&seed=1"), load(f"{BOTH}?on=label&seed=2")
    texts = load("csv:names.csv")
    for split in SPLITS:
        for text, label in zip(data.texts(split, "caption"), data.labels(split)):
            assert text in texts.texts(split) and text.endswith(data.class_names[label])
        assert set(data.splits[split].column("pair")) == {b"class"}
    assert data.texts("train", "caption") != other.texts("train", "caption")
    assert data.fingerprint != other.fingerprint and "class-level" in data.notes[0]
    run, target = Said(), TargetConfig(data.name)
    pairs = load_pairs(target, RunConfig(), 8, run, data)
    assert "Every text of an image's class counts as right" in run.cautions[0]
    assert len(set(image_ids(pairs, {"image_size": None, "channels": None})["test"])) == 4
    with pytest.raises(UserError, match="class-level: a caption is compared.*test=first"):
        load_target(target, RunConfig(), Said())


def test_pairs_beside_true_ones_are_learned_from_only(load):
    data = load(f"fuse:csv:pictures.csv+[{BOTH}?on=label]?mix=temperature:1&test=first")
    kinds = {split: set(data.splits[split].column("pair")) for split in SPLITS}
    assert kinds == {"train": {b"true", b"class"}, "validation": {b"true"}, "test": {b"true"}}
    run = Said()
    load_pairs(TargetConfig(data.name), RunConfig(), 2, run, data)
    assert "the scores are of true pairs" in run.cautions[0]


def test_nearest_pairs_have_a_confidence_and_an_expected_precision(load):
    spec = "fuse:csv:pictures.csv+csv:names.csv?on=nearest&via=csv:pictures.csv"
    data = load(spec)
    right = [
        text.endswith(data.class_names[label])
        for text, label in zip(data.texts("test", "caption"), data.labels("test"))
    ]
    confidence = data.splits["test"].column("confidence")
    assert np.mean(right) == 1 and confidence.min() >= 0 and confidence.max() <= 1
    assert "expected precision: 100.0% of 40 held-out pairs" in data.notes[0]
    assert "80 pairs of csv" not in " ".join(data.notes) and "nearest" in data.notes[0]
    with pytest.raises(UserError, match="no pair has a confidence of 1.0; the greatest is"):
        load(f"{spec}&min_confidence=1.0")


def test_mixtures_have_the_counts_asked_for_and_no_leaks(load, folder):
    few = [(f"text {i}", "ab"[i % 4 > 0], ("train", "validation", "test")[i % 3]) for i in range(60)]
    write(folder / "few.csv", "text,label,split", few)
    many = [(f"word {i}", "bc"[i % 2], ("train", "validation", "test")[i % 3]) for i in range(240)]
    write(folder / "many.csv", "text,label,split", [*many, ("TEXT  2", "b", "train")])  # few.csv has it in test
    mixed = load("fuse:csv:few.csv+csv:many.csv?mix=temperature:0.5")
    origins, counts = np.unique(mixed.splits["train"].column("origin"), return_counts=True)
    assert counts.tolist() == [33, 67] and origins[0].endswith(b"few.csv")  # √20 : √80 = 1 : 2
    assert mixed.class_names == ("a", "b", "c") and mixed.sizes["test"] == 100
    assert "1 train examples are left out: they are also in validation or test" in mixed.notes
    assert not mixed.overlap().share and not examine(mixed, checks=("overlap",)).findings
    weighted = load("fuse:csv:few.csv+csv:many.csv?mix=3,1")
    assert np.unique(weighted.splits["train"].column("origin"), return_counts=True)[1].tolist() == [75, 25]
    balanced = load("fuse:csv:few.csv+csv:many.csv?balance=label")
    assert sorted(np.bincount(balanced.labels("train"))) == [33, 33, 34]
    assert len({mixed.fingerprint, weighted.fingerprint, balanced.fingerprint}) == 3


def test_images_of_several_sizes_are_mixed_at_one(load):
    mixed = load("fuse:csv:pictures.csv+folder:SAMPLES/shapes?mix=1,1&size=16")
    assert mixed.image_shape == (16, 16, 3) and not mixed.overlap().share
    alone = load("csv:pictures.csv").arrays("test", (16, 16), 3)["image"]
    np.testing.assert_array_equal(mixed.arrays("test")["image"][: len(alone)], alone)
    files = load("fuse:csv:pictures.csv+folder:SAMPLES/shapes?mix=temperature:1")
    assert files.image_shape is None and set(files.class_names) == {*COLOURS, "circle", "square", "triangle"}
