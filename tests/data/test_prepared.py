"""Sets that TensorFlow Datasets prepared: held in memory or streamed, the examples are the same."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import tfxfer
from tfxfer.data import prepared, readable_errors
from tfxfer.errors import UserError

pytestmark = pytest.mark.tensorflow

ROWS = 60


class Photos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Random images of varying size, some transparent; no validation split."""

    VERSION = tfds.core.Version("1.0.0")
    SIDE = None

    def _info(self):
        features = {
            "photo": tfds.features.Image(shape=(self.SIDE, self.SIDE, 3)),
            "kind": tfds.features.ClassLabel(names=["plum", "fig"]),
            "weight": np.float32,
            "words": tfds.features.Sequence(tfds.features.Text()),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features), description="x")

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, ROWS), "test": self._generate_examples(ROWS, ROWS + 10)}

    def _generate_examples(self, start, stop):
        for i in range(start, stop):
            rng = np.random.default_rng(i)
            shape = (self.SIDE or 6 + i % 3, self.SIDE or 8, 3)
            image = rng.integers(0, 256, shape, dtype=np.uint8)
            yield i, {"photo": image, "kind": i % 2, "weight": 9 + i % 3, "words": ["a"]}


class SquarePhotos(Photos, skip_registration=True):
    """The same, all of one size."""

    SIDE = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    tfds.disable_progress_bar()
    for builder in (Photos, SquarePhotos):
        builder(data_dir=root / "tfds").download_and_prepare()
    return root


def load(folder, name="photos", **options):
    return tfxfer.load(f"tfds:{name}", data_dir=folder, **options)


def test_a_stream_and_a_table_hold_the_same(folder, monkeypatch):
    table = load(folder, "square_photos")
    monkeypatch.setattr(prepared, "MAX_BYTES_IN_MEMORY", 0)
    stream = load(folder, "square_photos")
    assert type(table.splits["train"]) is not type(stream.splits["train"])
    assert table.sizes == stream.sizes and table.fingerprint == stream.fingerprint
    assert table.image_shape == stream.image_shape == (8, 8, 3)
    for split in table.splits:
        ones, others = table.arrays(split), stream.arrays(split)
        for key in ones:
            np.testing.assert_array_equal(ones[key], others[key])
    for one, other in zip(table.train, stream.train, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        assert one["label"] == other["label"]


def test_a_stream_of_varying_sizes(folder):
    dataset = load(folder)
    assert dataset.class_names == ("fig", "plum") and dataset.image_shape is None
    assert set(dataset.keys) == {"image", "label"}
    assert dataset.sizes["test"] == 10 and dataset.sizes["train"] + dataset.sizes["validation"] == ROWS
    batch = next(iter(dataset.batches("validation", 4, image_size=(5, 5))))
    assert batch["image"].shape == (min(4, dataset.sizes["validation"]), 5, 5, 3)


def test_streamed_subsets_keep_images_and_labels_together(folder):
    dataset = load(folder)
    whole = {example["image"].numpy().tobytes(): dataset.class_names[example["label"]] for example in dataset.train}
    for part in (dataset.with_labels(5, seed=2), dataset.with_at_most(train=20), dataset.with_classes(["plum", "fig"])):
        found = [(e["image"].numpy().tobytes(), part.class_names[e["label"]]) for e in part.train]
        assert len(found) == part.sizes["train"]
        assert all(whole[image] == name for image, name in found)


def test_a_shuffled_stream_resumes_exactly(folder):
    dataset = load(folder)
    options = {"image_size": (6, 8), "shuffle_seed": 7}
    batches = [b["image"].numpy() for b in dataset.batches("train", 8, **options)]
    resumed = [b["image"].numpy() for b in dataset.batches("train", 8, skip=2, **options)]
    for one, other in zip(batches[2:], resumed, strict=True):
        np.testing.assert_array_equal(one, other)
    plain = [b["image"].numpy() for b in dataset.batches("train", 8, image_size=(6, 8))]
    assert not np.array_equal(plain[0], batches[0])
    assert sorted(i.tobytes() for b in plain for i in b) == sorted(i.tobytes() for b in batches for i in b)


def test_columns_and_splits_can_be_named(folder):
    assert load(folder, label="weight").class_names == ("9.0", "10.0", "11.0")
    both = load(folder, name="photos:train+test")
    assert sum(both.sizes.values()) == ROWS + 10
    with pytest.raises(UserError, match="there is no column 'knid' .*did you mean 'kind'"):
        load(folder, label="knid")
    with pytest.raises(UserError, match="no split 'trian'"):
        load(folder, name="photos:trian")


def test_examples_without_a_label_are_named(tmp_path, monkeypatch):
    def generate(self, start, stop):
        for i in range(start, stop):
            image = np.full((8, 8, 3), i, np.uint8)
            yield i, {"photo": image, "kind": i % 2 if start == 0 else -1, "weight": 0, "words": []}

    with monkeypatch.context() as patch:
        patch.setattr(SquarePhotos, "_generate_examples", generate)
        SquarePhotos(data_dir=tmp_path / "tfds").download_and_prepare()
    with pytest.raises(UserError, match=r"class 'no label \(-1\)' is in test \(10 examples\) but not in train"):
        load(tmp_path, "square_photos")
    assert sum(load(tmp_path, "square_photos:train").sizes.values()) == ROWS


def test_what_is_not_prepared_is_not_downloaded(folder):
    with pytest.raises(UserError, match=r"'mnist' is not prepared in .*--download \(or download=True\)"):
        load(folder, "mnist")


def test_prepared_images_replaced_after_loading_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "MAX_BYTES_IN_MEMORY", 0)
    root = tmp_path / "data"
    shutil.copytree(folder / "tfds" / "photos", root / "tfds" / "photos")
    data = load(root)
    records = sorted(root.rglob("*train.tfrecord*"))
    swapped = b"".join(
        reversed(list(map(framed, tf.data.TFRecordDataset(list(map(str, records))).as_numpy_iterator())))
    )
    records[0].write_bytes(swapped)
    with pytest.raises(UserError, match="the prepared data were changed after they were loaded"), readable_errors(data):
        list(data.batches("train", 8, image_size=(8, 8)))


def framed(record):
    """Return a record as a TFRecord file holds it, with its checksums."""
    with tempfile.NamedTemporaryFile() as file:
        with tf.io.TFRecordWriter(file.name) as writer:
            writer.write(record)
        return Path(file.name).read_bytes()


@pytest.mark.parametrize("file", ["features.json", "*.tfrecord*"])
def test_a_built_in_set_of_which_a_byte_changed_is_made_again_with_a_warning(file, data_dir, tmp_path):
    spec = "languages/latin"
    first = tfxfer.load(spec, data_dir=data_dir)  # writes the hashes of the files
    shutil.copytree(data_dir / "tfds" / "languages" / "latin", tmp_path / "tfds" / "languages" / "latin")
    damaged = next(tmp_path.rglob(file))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.warns(UserWarning, match="the prepared data are damaged; they are made again"):
        assert tfxfer.load(spec, data_dir=tmp_path).fingerprint == first.fingerprint
