"""Specs and their early checks, which start no TensorFlow."""

import subprocess
import sys

import pytest

from tfxfer.data import spec
from tfxfer.errors import UserError


@pytest.mark.parametrize(
    "text, kind, name, config, split",
    [
        ("glyphs", "glyphs", "glyphs", "by_character", None),
        ("glyphs/by_face", "glyphs", "glyphs", "by_face", None),
        ("names", "names", "names", "all", None),
        ("tfds:mnist", "tfds", "mnist", None, None),
        ("tfds:mnist:3.0.1", "tfds", "mnist:3.0.1", None, None),
        ("tfds:mnist:3.*.*:test[:5%]", "tfds", "mnist:3.*.*", None, "test[:5%]"),
        ("tfds:glue/cola:train+test", "tfds", "glue/cola", None, "train+test"),
        ("csv:C:/data/a.csv", "csv", "C:/data/a.csv", None, None),
    ],
)
def test_parse(text, kind, name, config, split):
    found = spec.parse(text)
    assert (found.kind, found.name, found.config, found.split) == (kind, name, config, split)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is empty"),
        ("glyps", "did you mean 'glyphs'"),
        ("glyphs/by_fcae", "did you mean 'by_face'"),
        ("names/al", "no configuration 'al'; did you mean 'all'"),
        ("fodler:x", "did you mean 'folder'"),
        ("csv:", "nothing follows the colon"),
        ("tfds:mn ist", "tfds:NAME"),
    ],
)
def test_a_wrong_spec_is_answered_with_the_nearest(text, message):
    with pytest.raises(UserError, match=message):
        spec.parse(text)


def test_a_path_without_its_kind_says_so(tmp_path):
    with pytest.raises(UserError, match="folder:"):
        spec.parse(str(tmp_path))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("title,body,stars\nfine,very fine,5\n", encoding="utf-8")
    return path


def test_columns_are_checked_before_anything_else(table, tmp_path):
    assert spec.check(f"csv:{table}", text="title+body", label="stars").kind == "csv"
    with pytest.raises(UserError, match=r"reviews.csv: there is no column 'star' \(label\); did you mean 'stars'"):
        spec.check(f"csv:{table}", label="star")
    with pytest.raises(UserError, match=r"no column 'bodi' \(text\); did you mean 'body'"):
        spec.check(f"csv:{table}", text="title,bodi")
    with pytest.raises(UserError, match="did you mean 'reviews.csv'"):
        spec.check(f"csv:{tmp_path / 'review.csv'}")
    with pytest.raises(UserError, match="is a file, not a folder"):
        spec.check(f"folder:{table}")
    with pytest.raises(UserError, match="no class folders"):
        spec.check(f"folder:{tmp_path}")
    with pytest.raises(UserError, match="a folder has no columns"):
        spec.check(f"folder:{tmp_path}", label="x")
    with pytest.raises(UserError, match="column option 'txt'.*did you mean 'text'"):
        spec.check(f"csv:{table}", txt="title")


def test_caption_and_text_files_are_checked_before_anything_else(tmp_path):
    (tmp_path / "c.csv").write_text("file_name,sentence,kind\na.png,a dog,x\n", encoding="utf-8")
    (tmp_path / "t.txt").write_text("a dog\n", encoding="utf-8")
    assert spec.check(f"captions:{tmp_path / 'c.csv'}", label="kind").kind == "captions"
    assert spec.check(f"text:{tmp_path / 't.txt'}").kind == "text"
    with pytest.raises(UserError, match=r"no column 'sentnce' \(caption\); did you mean 'sentence'"):
        spec.check(f"captions:{tmp_path / 'c.csv'}", caption="sentnce")
    with pytest.raises(UserError, match="images and captions; leave out question='kind'"):
        spec.check(f"captions:{tmp_path / 'c.csv'}", question="kind")
    with pytest.raises(UserError, match="a COCO file has no columns; leave out caption='x'"):
        spec.check(f"coco:{tmp_path / 'c.csv'}", caption="x")
    with pytest.raises(UserError, match="did you mean 'c.csv'"):
        spec.check(f"captions:{tmp_path / 'd.csv'}")
    with pytest.raises(UserError, match="did you mean 'captions'"):
        spec.parse("caption:a.csv")


def test_built_in_labels_are_checked():
    assert spec.check("glyphs", label="script").name == "glyphs"
    with pytest.raises(UserError, match="did you mean 'script'"):
        spec.check("glyphs", label="scrpt")
    with pytest.raises(UserError, match="no labels"):
        spec.check("names", label="script")
    with pytest.raises(UserError, match="text is fixed"):
        spec.check("languages", text="label")


def test_no_download_without_being_asked(tmp_path):
    with pytest.raises(UserError, match="--download"):
        spec.check("tfds:mnist", data_dir=tmp_path)
    assert spec.check("tfds:mnist", data_dir=tmp_path, download=True).name == "mnist"


def test_columns_that_look_like_nothing(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="'a', 'b'"):
        spec.check(f"csv:{path}")


def test_no_tensorflow_is_needed(table):
    code = (
        f"import sys; from tfxfer.data import spec; spec.check('csv:{table}', text='title'); "
        "assert not {'tensorflow', 'tensorflow_datasets', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
