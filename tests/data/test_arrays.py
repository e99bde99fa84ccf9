"""`from_arrays`: what is taken, what it is equal to, and the messages about what cannot be used."""

import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer.errors import UserError

pytestmark = pytest.mark.tensorflow

SPLITS = ("train", "validation", "test")
TEXTS = [f"phrase {i}" for i in range(30)]
LABELS = [i % 2 for i in range(30)]
PIXELS = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 6, 3), np.uint8)


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda values: np.array(values, object)])
def test_lists_and_arrays_equal_a_file_of_the_same_content(tmp_path, data_dir, kind):
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"{t},{c}\n" for t, c in zip(TEXTS, LABELS)))
    plain = tfxfer.load(f"csv:{tmp_path / 't.csv'}", data_dir=data_dir)
    assert tfxfer.from_arrays(texts=kind(TEXTS), labels=kind(LABELS)).fingerprint == plain.fingerprint


def test_images_as_pixels_and_as_files_with_captions_and_splits(tmp_path, data_dir):
    paths = [tmp_path / f"{i}.png" for i in range(30)]
    for path, pixels in zip(paths, PIXELS):
        Image.fromarray(pixels).save(path)
    splits = ["train"] * 20 + ["val"] * 5 + ["test"] * 5
    captions = [[text, f"more {text}"] for text in TEXTS]
    held = tfxfer.from_arrays(images=PIXELS, captions=captions, splits=splits)
    read = tfxfer.from_arrays(images=paths, captions=captions, splits=splits, data_dir=data_dir)
    for split, rows in zip(SPLITS, (slice(0, 20), slice(20, 25), slice(25, 30))):
        for found in (held, read):
            np.testing.assert_array_equal(found.arrays(split)["image"], PIXELS[rows])
            assert found.captions(split) == captions[rows]
    assert held.modality == "image+text" and held.with_at_most(train=3).sizes["train"] == 3
    grey = tfxfer.from_arrays(images=list(PIXELS[..., 0]), labels=LABELS)
    assert grey.image_shape == (6, 6, 1) and grey.class_names == ("0", "1")
    again = tfxfer.from_arrays(images=np.concatenate([PIXELS, PIXELS]), labels=LABELS * 2)
    assert not again.overlap().sentence()  # equal images share a split


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give texts=, images=, captions= or questions="),
        ({"texts": "one"}, "texts= is a str; give a list or array"),
        ({"texts": []}, "the lists are empty"),
        ({"texts": TEXTS, "labels": [0, 1]}, "differ in length: texts 30, labels 2"),
        ({"texts": TEXTS, "splits": ["train"]}, "differ in length: splits 1"),
        ({"texts": [*TEXTS[1:], 3]}, "from_arrays row 29: 'texts' is the number 3"),
        ({"texts": [*TEXTS[1:], b"\xff"]}, "row 29: 'texts' is not UTF-8"),
        ({"texts": TEXTS, "labels": [*LABELS[1:], 0.5]}, "row 29: 'labels' is the number 0.5"),
        ({"texts": TEXTS, "labels": [0] * 30}, "every example is of class '0'"),
        ({"images": PIXELS / 255}, "of type float64; give uint8"),
        ({"images": PIXELS[0, 0]}, r"shape \(6, 3\); give uint8"),
        ({"images": [PIXELS[0], PIXELS[1, 1:]]}, "differ in size; resize them"),
        ({"images": ["nowhere.png"] * 30}, r"images\[0\] 'nowhere.png': cannot be read"),
        ({"images": PIXELS, "captions": [*TEXTS[1:], " "]}, "row 29: 'captions' has no caption"),
    ],
)
def test_what_cannot_be_used_is_named(given, message, data_dir):
    with pytest.raises(UserError, match=message):
        tfxfer.from_arrays(**given, data_dir=data_dir)
