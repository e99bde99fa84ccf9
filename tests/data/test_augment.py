"""Augmentation: labels stay true, draws follow from the seed, the other splits are not touched."""

import numpy as np
import pytest

from tfxfer.data.augment.policy import EDITS, Setting, parsed, refuse, refuse_names
from tfxfer.errors import UserError

PHRASES = ["the quick brown fox jumps over", "Guten Morgen alle zusammen", "日本語", "one"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images:randaugmnet", "did you mean 'images:randaugment'?"),
        ("image:flip", "there is no 'image:flip'"),
        ("images:flip:0.5", "has no strength"),
        ("text:typing:2", "a number from 0 to 0.5"),
        ("text:typing:nan", "is no strength"),
        ("text:typing:0", "at least one above 0"),
        ("text:typing:0.1,0.1", "different strengths"),
        ("rendered:0,1+text:typing:0.1,0.2,0.3", "same number of strengths"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_remedy(text, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        parsed(text)


def test_levels_have_one_strength_each():
    levels = parsed("images:shift:0.1,0+images:flip").levels
    assert list(map(str, levels)) == ["images:flip", "images:shift:0.1+images:flip"]
    assert str(parsed("+".join(EDITS)).of("pairs")) == "pairs:1"


@pytest.mark.parametrize(
    ("text", "setting", "reason"),
    [
        ("images:flip", Setting("glyphs", glyphs=True), "a mirrored d is a b"),
        ("images:randaugment", Setting("glyphs", glyphs=True), "other characters"),
        ("images:mixup", Setting("pairs", "caption", ("images", "pairs")), "no caption of its own"),
        ("images:flip", Setting("pairs", "answer", ("images", "pairs")), "use pairs"),
        ("text:typing", Setting("pairs", "caption", ("images", "pairs")), "errors into the texts"),
        ("rendered", Setting("text"), "none is drawn here"),
        ("text:swap", Setting("images"), "there are only images"),
        ("images:flip", Setting("drawn"), "there are only texts"),
        ("pairs", Setting("images"), "try images:standard"),
    ],
)
def test_what_would_break_labels_is_refused_with_the_reason(text, setting, reason):
    with pytest.raises(UserError, match=reason):
        refuse(parsed(text), setting, text)


def test_classes_named_after_sides_or_colours_forbid_mirrors_and_other_colours():
    refuse_names(parsed("images:standard+images:colour"), ("cat", "dog"), "")
    with pytest.raises(UserError, match="a class is 'left arrow'"):
        refuse_names(parsed("images:standard"), ("left arrow", "cat"), "images:standard")
    with pytest.raises(UserError, match="a class is 'Red'"):
        refuse_names(parsed("images:randaugment"), ("Red", "cat"), "images:randaugment")


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["deletion", "swap", "casing", "typing"])
def test_edited_texts_follow_from_the_seed_and_are_never_empty(name):
    from tfxfer.data.augment.texts import edited_texts

    first, again, other = (edited_texts(PHRASES * 5, name, 0.5, np.random.default_rng(s)) for s in (0, 0, 1))
    assert first == again != other
    assert first != PHRASES * 5 and all(text.strip() for text in first)
    if name == "casing":
        assert [text.casefold() for text in first] == [text.casefold() for text in PHRASES * 5]
    if name == "swap":
        assert [sorted(text.split()) for text in first] == [sorted(text.split()) for text in PHRASES * 5]


@pytest.mark.tensorflow
@pytest.mark.parametrize(("name", "layer"), [("deletion", "RandomDeletion"), ("swap", "RandomSwap")])
def test_words_are_edited_as_kerashub_edits_them(name, layer):
    import keras_hub

    from tfxfer.data.augment.texts import edited_texts

    rng = np.random.default_rng(3)
    wanted = getattr(keras_hub.layers, layer)(rate=0.3, dtype="string", seed=7)
    expected = [" ".join(wanted(text.split(), rng=rng)) for text in PHRASES[:2]]
    assert edited_texts(PHRASES[:2], name, 0.3, np.random.default_rng(3)) == expected


def some_images(count=12, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, channels)).astype(np.uint8)


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["shift", "flip", "crop", "mixup", "cutmix"])
def test_images_are_edited_as_keras_edits_them(name):
    import keras

    from tfxfer.data.augment.images import edited_images, mixed_images

    images, shares = some_images(), np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    layers = keras.layers
    wanted = {
        "shift": lambda: layers.RandomTranslation(0.2, 0.2, fill_mode="nearest", seed=5),
        "flip": lambda: layers.RandomFlip("horizontal", seed=5),
        "crop": lambda: layers.RandomZoom((-0.2, 0.0), fill_mode="nearest", seed=5),
        "mixup": lambda: layers.MixUp(0.2, seed=5),
        "cutmix": lambda: layers.CutMix(0.2, seed=5),
    }[name]()
    if name in ("mixup", "cutmix"):
        found = wanted({"images": images.astype(np.float32), "labels": shares}, training=True)
        expected, labels = found["images"], mixed_images(images, shares, name, 0.2, 5)[1]
        np.testing.assert_allclose(labels, found["labels"], atol=1e-6)
        np.testing.assert_allclose(labels.sum(1), 1, atol=1e-5)
        made = mixed_images(images, shares, name, 0.2, 5)[0]
    else:
        expected, made = wanted(images.astype(np.float32), training=True), edited_images(images, name, 0.2, 5)
    np.testing.assert_allclose(made, np.asarray(expected), atol=0.51)  # pixels are whole numbers


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("name", "channels"),
    [("standard", 3), ("colour", 1), ("colour", 3), ("rotate", 1), ("blur", 1), ("randaugment", 1)],
)
def test_edited_images_follow_from_the_seed(name, channels):
    from tfxfer.data.augment.images import edited_images

    images = some_images(channels=channels)
    first, again, other = (edited_images(images, name, 0.4, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == images.shape and first.dtype == np.uint8
    assert (first != other).any() and (first != images).any()


@pytest.mark.tensorflow
def test_a_blur_leaves_the_edges_of_white_paper_white():
    from tfxfer.data.augment.images import edited_images

    assert edited_images(np.full((9, 8, 8, 1), 255, np.uint8), "blur", 2.0, 0).min() == 255


@pytest.mark.tensorflow
def test_characters_stay_whole():
    from tfxfer.data.augment.images import moved_within

    paper = np.full((30, 12, 12, 1), 255, np.uint8)
    paper[:, 1:9, 3:12] = np.random.default_rng(0).integers(0, 200, (30, 8, 9, 1))  # it touches the right edge
    found = moved_within(paper, 0.5, 0)
    np.testing.assert_array_equal(np.sort(found.reshape(30, -1)), np.sort(paper.reshape(30, -1)))
    ink = found[..., 0] < 255
    assert ink.any(2).argmax(1).min() == 0 and ink.any(2).argmax(1).max() == 4  # 1 upwards, 3 downwards
    assert set(ink.any(1).argmax(1)) == {0, 1, 2, 3}


def a_dataset(**columns):
    from tfxfer.data.dataset import Dataset
    from tfxfer.data.rows import Rows

    splits = {split: Rows.of({name: value.copy() for name, value in columns.items()}) for split in
              ("train", "validation", "test")}  # fmt: skip
    return Dataset("made", ("a", "b", "c"), splits, "abc")


@pytest.mark.tensorflow
@pytest.mark.parametrize("policy", ["images:shift", "images:standard+images:cutmix"])
def test_copies_have_the_labels_of_their_examples_and_no_other_split(policy):
    from tfxfer.data.augment.copies import SHARES, Augmentation

    labels = (np.arange(12) % 3).astype(np.int32)
    data = a_dataset(image=some_images(), label=labels)
    how, reading = Augmentation(parsed(policy), 3), {"image_size": None, "channels": 3}
    one, same, other = (how.copies(data, "image", reading, seed) for seed in (0, 0, 1))
    assert list(one.splits) == ["train"] and one.sizes["train"] == 36
    np.testing.assert_array_equal(one.arrays("train")["image"], same.arrays("train")["image"])
    assert one.fingerprint == same.fingerprint != other.fingerprint != data.fingerprint
    assert len(np.unique(one.arrays("train")["image"].reshape(3, -1), axis=0)) == 3  # each copy is another one
    np.testing.assert_array_equal(data.arrays("test")["image"], some_images())
    np.testing.assert_array_equal(data.arrays("train")["image"], some_images())
    if how.policy.mixes:
        np.testing.assert_allclose(one.arrays("train")[SHARES].sum(1), 1, atol=1e-5)
    else:
        np.testing.assert_array_equal(one.labels("train"), np.tile(labels, 3))
    assert how.copies(data, "image", reading, 0, draws=96).sizes["train"] == 84  # with the examples: one for each draw


@pytest.mark.tensorflow
def test_pairs_stay_true():
    """No image is mirrored under a text that says left, none changes in colour under one that names it."""
    from tfxfer.data.augment.copies import Augmentation

    half = np.zeros((40, 20, 20, 3), np.uint8)
    half[:, :, :10] = 200
    sides = ["a cup on the LEFT of a plate"] * 20 + ["a red and grey wall"] * 20
    copies = np.stack(Augmentation(parsed("pairs"), 4).images(half, 0, sides)).astype(int)
    mirrored = copies[..., :4, :].mean((2, 3, 4)) < copies[..., -4:, :].mean((2, 3, 4))
    assert not mirrored[:, :20].any() and 0.25 < mirrored[:, 20:].mean() < 0.75
    letters = np.stack(Augmentation(parsed("pairs"), 4, characters=True).images(half, 0, sides)).astype(int)
    assert (letters[..., :4, :].mean((2, 3, 4)) > letters[..., -4:, :].mean((2, 3, 4))).all()
    plain = np.full((20, 8, 8, 3), (200, 30, 30), np.uint8)
    told = np.stack(Augmentation(parsed("pairs"), 4).images(plain, 0, ["a red wall"] * 10 + ["a wall"] * 10))
    np.testing.assert_array_equal(told[:, :10], np.broadcast_to(plain[:10], told[:, :10].shape))
    assert (told[:, 10:] != plain[10:]).any((2, 3, 4)).mean() > 0.9
