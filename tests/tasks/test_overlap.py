"""Splits of a target that overlap are refused before anything trains, or said beside the verdict."""

import csv
import shutil

import here
import pytest
from PIL import Image

import tfxfer
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.errors import UserError
from tfxfer.tasks.captioned_images import check_candidates
from tfxfer.tasks.overlap import check_overlap

pytestmark = pytest.mark.tensorflow


def table(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def texts(folder, shared, of=40):
    """A table whose test split shares some texts, written in capitals, with train."""
    names = ("good", "bad")
    rows = [(f"text {i}", names[i % 2], "train") for i in range(60)]
    rows += [(f"held {i}", names[i % 2], "validation") for i in range(10)]
    rows += [(f"TEXT  {i}" if i < shared else f"new {i}", names[i % 2], "test") for i in range(of)]
    return f"csv:{table(folder / 'texts.csv', ('text', 'label', 'split'), rows)}"


def images(folder, count=24):
    """Images of which no two are the same."""
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", (16, 16), (i * 10, 255 - i * 10, 99)).save(folder / f"{i:02}.png")
    return sorted(folder.iterdir())


def folders(folder):
    """Class folders whose test split is a copy of train under other names."""
    for i, image in enumerate(images(folder / "all")):
        for split in ("train", "test"):
            place = folder / "classes" / split / ("odd" if i % 2 else "even")
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, place / f"{split}{i}.png")
    return f"folder:{folder / 'classes'}"


def captioned(folder, header=("image", "caption", "split"), extra=()):
    """Images with captions of their own; those of the test split are copies of training images."""
    rows = []
    for i, image in enumerate(images(folder / "pictures")):
        shutil.copy(image, image.with_name(f"copy{i}.png"))
        rows.append((f"pictures/{image.name}", f"caption {i}", *extra, "train"))
        rows.append((f"pictures/copy{i}.png", f"other words {i}", *extra, "test"))
    return table(folder / "captions.csv", header, rows)


CASES = {
    "texts": (["feature"], lambda folder: texts(folder, 40), "40 of 40 test examples (100.0 %)", "'TEXT 0'"),
    "texts, structure": (["structure"], lambda folder: texts(folder, 3), "3 of 40 test examples (7.5 %)", "'TEXT 0'"),
    "texts of a decoder": (
        ["structure", "--transfer", "encoder_to_decoder"],
        lambda folder: texts(folder, 40),
        "40 of 40 test examples",
        "'TEXT 0'",
    ),
    "images": (["feature", "--source", "names"], folders, "24 of 24 test examples (100.0 %)", "/test/even/test0.png"),
    "captions": (["captioning"], lambda f: f"captions:{captioned(f)}", "24 of 24 test examples", "copy0.png"),
    "pairs": (["retrieval"], lambda f: f"captions:{captioned(f)}", "24 of 24 test examples", "copy0.png"),
    "questions": (
        ["vqa"],
        lambda f: f"csv:{captioned(f, ('image', 'answer', 'question', 'split'), ('which?',))}",
        "24 of 24 test examples",
        "copy0.png",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_splits_that_overlap_are_refused_before_anything_trains(case, tmp_path):
    words, make, count, first = CASES[case]
    done = here.command(*words, "--target", make(tmp_path), "--run-dir", tmp_path / "run", data_dir=tmp_path / "data")
    said = " ".join(done.stderr.split())
    assert done.returncode == 2 and count in said and first in said and "--allow-overlap" in said, done.stderr
    assert not (tmp_path / "data" / "sources").exists()


@pytest.mark.parametrize(("shared", "allow"), [(0, False), (1, False), (40, True)])
def test_a_small_overlap_and_one_that_is_allowed_are_said_beside_the_verdict(shared, allow, tmp_path):
    spec, run = texts(tmp_path, shared), here.Quiet()
    data = tfxfer.load(spec)
    check_overlap(data, TargetConfig(spec), RunConfig(allow_overlap=allow), run)
    assert (f"  overlap   {shared} of 40 test examples" in data.describe()) == bool(shared)
    assert len(run.said) == bool(shared)
    assert all(f"{shared} of 40 test examples" in one for one in run.said)


def test_candidates_that_hold_the_test_captions_are_refused_with_counts(tmp_path):
    """What a training image is called too is no leak; case and blanks do not hide one."""
    rows = [
        (f"pictures/{image.name}", f"caption {i}", split_of(i)) for i, image in enumerate(images(tmp_path / "pictures"))
    ]
    rows[23] = (rows[23][0], "caption 0", "test")  # as a training image
    data = tfxfer.load(f"captions:{table(tmp_path / 'c.csv', ('image', 'caption', 'split'), rows)}")

    def cautions(texts, **how):
        run = here.Quiet()
        check_candidates(texts, "text:c.txt", data, RunConfig(**how), run)
        return run.said

    assert cautions(["caption 0", "something else"]) == []
    leak = r"1 of 8 test images \(12.5%\) have a caption among the candidates, the first 'caption 16'"
    with pytest.raises(UserError, match=leak):
        cautions(["CAPTION  16", "caption 0"])
    with pytest.raises(UserError, match="2 of 4 validation images"):
        cautions(["caption 12", "caption 13"])
    (said,) = cautions(["caption 16"], allow_overlap=True)
    assert "1 of 8 test images" in said and "could be chosen" in said


def split_of(i):
    return "train" if i < 12 else "validation" if i < 16 else "test"


def test_validation_that_is_train_again_is_refused(tmp_path):
    rows = [(f"text {i}", "ab"[i % 2], split) for split in ("train", "validation") for i in range(20)]
    path = table(tmp_path / "a.csv", ("text", "label", "split"), [*rows, ("new", "a", "test")])
    with pytest.raises(UserError, match=r"20 of 20 validation examples \(100.0 %\) are also in train"):
        check_overlap(tfxfer.load(f"csv:{path}"), TargetConfig(f"csv:{path}"), RunConfig(), here.Quiet())


@pytest.mark.parametrize("spec", ["glyphs", "names", "languages/latin"])
def test_the_splits_of_built_in_sets_do_not_overlap(spec, data_dir):
    found = tfxfer.load(spec, data_dir=data_dir).overlap()
    assert found.share == 0 and found.sentence() == "" and found.test > 1000


def test_splits_that_are_cut_here_do_not_overlap_whatever_is_repeated(tmp_path):
    rows = [(f"{'Text' if i % 3 else 'TEXT'} {i % 30}", "ab"[i % 2]) for i in range(300)]
    assert tfxfer.load(f"csv:{table(tmp_path / 'a.csv', ('text', 'label'), rows)}").overlap().share == 0
