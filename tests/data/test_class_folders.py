"""Class folders: which folders are splits, which are classes, and what is left out with a note; no TensorFlow."""

import os

import pytest

from tfxfer.data import spec
from tfxfer.data.class_folders import files_under, find_class_folders
from tfxfer.errors import UserError


@pytest.fixture
def tree(tmp_path):
    """Make files under a folder; their contents are not looked at here."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return tmp_path

    return make


def found(root):
    """Return split -> names of its class folders, and the notes."""
    folders, notes = find_class_folders(root)
    splits = {}
    for folder in folders:
        splits.setdefault(folder.split, []).append(folder.path.name)
    return splits, notes


def both(*tops):
    return [f"{top}/{name}/1.jpg" for top in tops for name in ("cat", "dog")]


@pytest.mark.parametrize(
    "tops, splits",
    [
        (["seg_train/seg_train", "seg_test/seg_test"], ["test", "train"]),
        (["training_set/training_set", "test_set/test_set"], ["test", "train"]),
        (["TrainSet", "val2017"], ["train", "validation"]),
        (["train", "validate"], ["train", "validation"]),
        (["train/images", "test-images/images"], ["test", "train"]),
        (["train", "eval"], ["train", "validation"]),
        (["train", "dev", "eval"], ["test", "train", "validation"]),
        (["train"], ["train"]),
    ],
)
def test_splits_are_known_by_their_pattern(tree, tops, splits):
    assert found(tree(*both(*tops))) == ({split: ["cat", "dog"] for split in splits}, [])


def test_what_stands_in_no_class_folder_is_noted(tree):
    root = tree(*both("train"), "test/1.jpg", "test/2.jpg", "pred/pred/3.jpg", "train/stray.png", "loose.png")
    splits, notes = found(root)
    assert splits == {"train": ["cat", "dog"]}
    assert notes == [
        "1 images beside the class folders are left out (e.g. loose.png)",
        "'pred' has no class folders: its 1 images are left out",
        "'test' has no class folders: its 2 images are left out; test is cut from train",
        "1 images beside the class folders are left out (e.g. train/stray.png)",
    ]


def test_folders_named_like_splits_can_be_classes(tree):
    classes = ["bus", "test_tube", "train"]
    root = tree(*(f"{name}/{i}.jpg" for name in classes for i in range(2)), "bus/red/1.jpg", "train/images/3.jpg")
    with pytest.raises(UserError, match=r"bus: is not named like a split, but stands beside test_tube, train"):
        found(root)
    (root / "train" / "images" / "3.jpg").rename(root / "train" / "3.jpg")
    assert found(root) == ({"": classes}, [])
    assert found(tree("bus/images/1.jpg", "test_tube/images/1.jpg"))[0] == {"": classes}


def test_hidden_folders_are_passed_over_at_every_depth(tree):
    files = ["cat/1.jpg", "dog/.ipynb_checkpoints/1-checkpoint.jpg", "dog/__MACOSX/1.jpg", "dog/in/2.jpg"]
    root = tree(*files, ".ipynb_checkpoints/1.jpg", "dog/in/.thumbnails/3.jpg", "bird/.ipynb_checkpoints/1.jpg")
    assert found(root)[0] == {"": ["bird", "cat", "dog"]}
    assert [path.name for path in files_under(root)] == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize(
    "names, message",
    [
        (both("train", "test", "extra"), r"extra: is not named like a split, but stands beside test, train"),
        ([*both("train"), "more/1.jpg"], r"more: is not named like a split, but stands beside train"),
        (both("berlin", "paris"), r"berlin, paris hold the same folders \(cat, dog\).*Name splits train"),
        (both("a/a", "b/b"), r"a, b hold the same folders \(cat, dog\)"),
        ([f"{c}/{s}/1.jpg" for c in ("cat", "dog") for s in ("train", "test")], r"hold the same folders \(test, train"),
        (both("archive"), r"holds only the folder 'archive', and in it cat, dog; give folder:.*archive if"),
        (both("archive/train", "archive/test"), r"in it test, train; give folder:.*archive if"),
        (both("train", "training"), r"train, training are all named like split 'train'"),
        (["train/1.jpg", "test/1.jpg"], r"test, train are named like splits and hold no class folders"),
        (["cat/notes.txt", "dog/notes.txt"], r"no class folders with images under cat, dog"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_before_anything_else(tree, names, message):
    with pytest.raises(UserError, match=message):
        spec.check(f"folder:{tree(*names)}")


def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    for path, what in [(tmp_path / "a.csv", "a pipe"), ("/dev/zero", "a device"), ("/proc/self/status", "the kernel")]:
        for kind in ("csv", "jsonl", "captions", "coco", "text"):
            with pytest.raises(UserError, match=what):
                spec.check(f"{kind}:{path}")


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "~nobody-of-this-name/a", "x" * 300 + "/a"])
def test_paths_that_no_file_can_have_do_not_exist(path):
    for kind in ("csv", "folder", "text"):
        with pytest.raises(UserError, match="does not exist"):
            spec.check(f"{kind}:{path}")
    with pytest.raises(UserError, match="unknown data set"):
        spec.parse(path)
