"""The contract that every data set passes, whatever its spec."""

import hashlib
import json

import numpy as np
import pytest

import tfxfer
from tfxfer.errors import UserError

pytestmark = pytest.mark.tensorflow

SPECS = {
    "glyphs": {"keys": {"image", "text", "caption", "label", "script", "face"}, "modality": "image+text"},
    "glyphs?script": {"keys": {"image", "text", "caption", "label"}, "modality": "image+text"},
    "glyphs/by_face": {"keys": {"image", "text", "caption", "label"}, "modality": "image+text"},
    "names": {"keys": {"text"}, "modality": "text"},
    "languages": {"keys": {"text", "label", "kind"}, "modality": "text"},
    "languages/latin": {"keys": {"text", "label", "kind"}, "modality": "text"},
    "emoji": {"keys": {"image", "text", "caption", "label", "concept", "de", "zh"}, "modality": "image+text"},
    "emoji/ja": {"keys": {"image", "text", "caption", "label"}, "modality": "image+text"},
    "languages/other": {"keys": {"text", "label", "kind"}, "modality": "text"},
    "tfds:languages/latin": {"keys": {"text", "label"}, "modality": "text"},
    "tfds:languages/latin:train[:10%]": {"keys": {"text", "label"}, "modality": "text"},
    "folder:shapes": {"keys": {"image", "label"}, "modality": "image"},
    "csv:shapes.csv": {"keys": {"image", "caption", "question", "answer"}, "modality": "image+text"},
    "csv:reviews.csv": {"keys": {"text", "label"}, "modality": "text"},
    "jsonl:reviews.jsonl": {"keys": {"text", "label"}, "modality": "text"},
    "captions:captions/captions.csv": {"keys": {"image", "caption"}, "modality": "image+text"},
    "coco:captions/coco.json": {"keys": {"image", "caption"}, "modality": "image+text"},
    "text:reviews.txt": {"keys": {"text"}, "modality": "text"},
}
SEVERAL_CAPTIONS = ("captions:captions/captions.csv", "coco:captions/coco.json")
NO_SHARED_IMAGES = ("glyphs", "glyphs?script", "glyphs/by_face", "folder:shapes", "csv:shapes.csv", *SEVERAL_CAPTIONS)
NO_SHARED_IMAGES += ("emoji", "emoji/ja")  # two concepts may have one name
NO_SHARED_CHARACTERS = ("glyphs", "glyphs?script")  # elsewhere no text is shared, whatever its case


@pytest.fixture(scope="module")
def loaded(data_dir, samples, tmp_path_factory):
    made = tmp_path_factory.mktemp("made")
    jsonl = made / "reviews.jsonl"
    reviews = tfxfer.load(f"csv:{samples / 'reviews.csv'}", data_dir=data_dir)
    with jsonl.open("w", encoding="utf-8") as file:
        for split in reviews.splits:
            for text, label in zip(reviews.texts(split), reviews.labels(split)):
                file.write(json.dumps({"text": text, "label": int(label)}, ensure_ascii=False) + "\n")
    rows = [text.replace("\n", " ") for split in reviews.splits for text in reviews.texts(split)]
    (made / "reviews.txt").write_text("\n".join(rows), "utf-8")
    cache = {}

    def load(spec, again=False):
        if spec not in cache or again:
            name, _, label = spec.partition("?")
            kind, colon, path = name.partition(":")
            if colon and kind != "tfds":
                path = (made if kind in ("jsonl", "text") else samples) / path
                name = f"{kind}:{path}"
            found = tfxfer.load(name, data_dir=data_dir, **({"label": label} if label else {}))
            if again:
                return found
            cache[spec] = found
        return cache[spec]

    return load


@pytest.fixture(params=SPECS)
def spec(request):
    return request.param


def first_batch(dataset, split="train", **options):
    return {key: value.numpy() for key, value in next(iter(dataset.batches(split, 16, **options))).items()}


def test_keys_types_and_sizes(loaded, spec):
    dataset = loaded(spec)
    assert SPECS[spec]["keys"] <= set(dataset.keys)
    assert dataset.modality == SPECS[spec]["modality"]
    assert set(dataset.sizes) == {"train", "validation", "test"} and min(dataset.sizes.values()) > 0
    batch = first_batch(dataset)
    assert set(batch) == set(dataset.keys)
    if "image" in batch:
        assert batch["image"].dtype == np.uint8 and batch["image"].shape[1:] == dataset.image_shape
        assert batch["image"].std() > 0
    if "label" in batch:
        assert batch["label"].dtype == np.int32
        assert list(dataset.class_names) == sorted(dataset.class_names)
    for key in {"text", "question", "answer", "caption"} & set(batch):
        assert batch[key].dtype == object and all(value.decode("utf-8") for value in batch[key])


def test_captions_of_each_image(loaded, spec):
    dataset = loaded(spec)
    if "caption" not in dataset.keys:
        with pytest.raises(UserError, match="no captions"):
            dataset.captions("train")
        return
    for split in dataset.splits:
        found = dataset.captions(split)
        assert [captions[0] for captions in found] == dataset.texts(split, "caption")
        assert spec in SEVERAL_CAPTIONS or all(len(captions) == 1 for captions in found)
    counts = {len(captions) for captions in dataset.captions("train")}
    assert counts == ({1, 3, 4} if spec in SEVERAL_CAPTIONS else {1})


def test_single_examples_agree_with_batches_and_columns(loaded, spec):
    dataset = loaded(spec)
    batch = first_batch(dataset, "validation")
    for i, example in enumerate(dataset.validation.take(len(next(iter(batch.values()))))):
        for key in batch:
            np.testing.assert_array_equal(example[key].numpy(), batch[key][i])
    if dataset.class_names:
        np.testing.assert_array_equal(dataset.labels("validation")[:16], batch["label"])
        assert dataset.labels("validation").max() < len(dataset.class_names)


def test_loading_again_gives_the_same(loaded, spec):
    dataset, again = loaded(spec), loaded(spec, again=True)
    assert dataset.fingerprint == again.fingerprint
    ones, others = first_batch(dataset, shuffle_seed=3), first_batch(again, shuffle_seed=3)
    for key in ones:
        np.testing.assert_array_equal(ones[key], others[key])


def test_nothing_leaks_between_splits(loaded, spec):
    dataset = loaded(spec)
    seen = {}
    for split in dataset.splits:
        content = set()
        if spec in NO_SHARED_IMAGES:
            content |= {hashlib.sha256(image.tobytes()).digest() for image in dataset.arrays(split)["image"]}
        if spec in NO_SHARED_CHARACTERS:
            content |= set(dataset.texts(split))
        if spec not in NO_SHARED_IMAGES:
            content |= {text.casefold() for text in dataset.texts(split)}
        for other, theirs in seen.items():
            assert not content & theirs, f"{split} and {other} share content"
        seen[split] = content


def test_shuffling_permutes_and_skip_resumes(loaded, spec):
    dataset = loaded(spec)
    key = next(key for key in dataset.keys if key != "image")
    small = dataset.with_at_most(train=100)

    def order(**options):
        return np.concatenate([b[key].numpy() for b in small.batches("train", 16, keys=[key], **options)])

    plain, one, other = order(), order(shuffle_seed=1), order(shuffle_seed=2)
    assert sorted(one.tolist()) == sorted(plain.tolist()) == sorted(other.tolist())
    if len(set(plain.tolist())) > 10:
        assert one.tolist() != plain.tolist() and one.tolist() != other.tolist()
    np.testing.assert_array_equal(order(shuffle_seed=1, skip=1), one[16:])


def test_label_draws_are_nested_and_stratified(loaded, spec):
    dataset = loaded(spec)
    if not dataset.class_names:
        with pytest.raises(UserError, match="no labels"):
            dataset.with_labels(1)
        return
    counts = np.bincount(dataset.labels("train"), minlength=len(dataset.class_names))
    many = min(20, counts[counts > 0].min())
    few = max(1, many // 4)
    small, large = dataset.with_labels(few, seed=5), dataset.with_labels(many, seed=5)
    assert set(small.indices("train")) <= set(large.indices("train"))
    drawn = np.bincount(small.labels("train"), minlength=len(counts))
    assert set(drawn[counts > 0]) == {few} and not drawn[counts == 0].any()
    assert small.sizes["test"] == dataset.sizes["test"]
    assert len({dataset.fingerprint, small.fingerprint, dataset.with_labels(few, seed=6).fingerprint}) == 3
    with pytest.raises(UserError, match="training labels a class were asked for") as caught:
        dataset.with_labels(int(counts.max()) + 1)
    assert any(f"class '{name}' has" in str(caught.value) for name in dataset.class_names)


def test_some_classes_only(loaded):
    dataset = loaded("languages/latin")
    pair = dataset.with_classes(["Turkish", "German"])
    assert pair.class_names == ("German", "Turkish")
    for split in pair.splits:
        names = [pair.class_names[i] for i in pair.labels(split)]
        whole = dict(zip(dataset.texts(split), dataset.labels(split)))
        assert names == [dataset.class_names[whole[text]] for text in pair.texts(split)]
    with pytest.raises(UserError, match="did you mean 'German'"):
        dataset.with_classes(["Germna", "Turkish"])


def test_describe_names_what_matters(loaded):
    text = loaded("glyphs/by_face").describe()
    assert "32 x 32 x 1" in text and "train" in text and loaded("glyphs/by_face").fingerprint in text


def test_bad_requests_name_the_nearest(loaded):
    dataset = loaded("languages/latin")
    with pytest.raises(UserError, match="did you mean 'text'"):
        dataset.batches("train", 8, keys=["txt"])
    with pytest.raises(UserError, match="did you mean 'train'"):
        dataset.batches("trian", 8)
    with pytest.raises(UserError, match="at least 1"):
        dataset.batches("train", 0)
    with pytest.raises(UserError, match="at least 1"):
        dataset.with_labels(0)
    with pytest.raises(UserError, match="grey"):
        loaded("folder:shapes").batches("train", 4, channels=2)
