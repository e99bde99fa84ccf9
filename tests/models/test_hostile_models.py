"""Saved models and weights that ask for more than they bring, and damaged checkpoints of a training."""

import json
import logging
import random
import resource
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.errors import TfxferError, UserError
from tfxfer.fit import train
from tfxfer.models import load_model
from tfxfer.models.saved import _variable_bytes
from tfxfer.sources.pretrain import kept_record
from tfxfer.transfer.structure.checkpoints import WeightsH5

pytestmark = pytest.mark.tensorflow


def small(units=3):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])


def test_a_huge_layer_is_refused_before_it_takes_memory(tmp_path):
    path = tmp_path / "model.keras"
    small().save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = parts["config.json"].replace(b'"units": 3', b'"units": 10000000000')
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"model.keras: its layers would take 200,000,000,000 bytes"):
        load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 50_000  # KiB
    x = keras.Input((2,))
    keras.Model(x, keras.layers.Dense(2)(x))  # nothing of the refused model is made later


def test_loading_draws_no_random_numbers_and_gives_the_same_model(tmp_path):
    path, model = tmp_path / "model.keras", small()
    model.save(path)
    random.seed(1)
    wanted = random.random()
    random.seed(1)
    assert _variable_bytes(path) == 4 * model.count_params()
    assert random.random() == wanted
    np.testing.assert_array_equal(load_model(path).get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize("name", ["a.weights.h5", "a.h5"])
def test_changed_bytes_of_weights_in_h5_give_no_other_error(tmp_path, name):
    path = tmp_path / name
    small().save_weights(path) if "weights" in name else small().save(path)
    whole, draw = path.read_bytes(), random.Random(0)
    for i in range(60):
        changed = bytearray(whole[: draw.randrange(len(whole))] if i % 6 == 0 else whole)
        for _ in range(min(1 + i % 30, len(changed))):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            source = WeightsH5(path)
            for tensor in source.names():
                source.read(tensor)
        except TfxferError as error:
            assert name in str(error)


def test_a_heap_of_names_in_which_the_library_would_search_for_ever_is_refused(tmp_path):
    """The first object of free space gets the size 0."""
    path = tmp_path / "a.weights.h5"
    small().save_weights(path)
    whole = bytearray(path.read_bytes())
    heap = whole.index(b"GCOL")
    place = heap + 16
    while int.from_bytes(whole[place : place + 2], "little"):
        place += 16 + -(-int.from_bytes(whole[place + 8 : place + 16], "little") // 8) * 8
    whole[place + 8 : place + 16] = bytes(8)
    path.write_bytes(whole)
    with pytest.raises(UserError, match="the names in it are damaged"):
        WeightsH5(path)


def test_a_damaged_checkpoint_of_a_training_begins_anew_with_a_note(tmp_path, caplog):
    x, y = np.random.default_rng(0).random((8, 4), np.float32), np.zeros((8, 3), np.float32)
    checkpoint = tmp_path / "unfinished.npz"

    def trained():
        model = small()
        model.set_weights([np.ones((4, 3)), np.zeros(3)])
        model.compile("sgd", "mse")
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
        history = train(model, lambda epoch, skip: data.skip(skip), 1, checkpoint=checkpoint)
        return model.get_weights()[0], history

    first, _ = trained()
    whole = checkpoint.read_bytes()
    with np.load(checkpoint) as file:
        np.savez(tmp_path / "other.npz", **{**file, "place": np.array('{"epoch": "x"}')})
    for content in (b"", whole[: len(whole) // 2], b"[]", (tmp_path / "other.npz").read_bytes()):
        checkpoint.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            weights, history = trained()
        assert history.resumed_at is None
        np.testing.assert_array_equal(weights, first)
    assert caplog.text.count("the training begins anew") == 4
    checkpoint.write_bytes(whole)
    assert trained()[1].resumed_at == (1, 0)


def test_a_source_record_of_something_else_is_trained_again(tmp_path):
    assert kept_record(tmp_path) is None
    for content in (
        "",
        "[]",
        "5",
        json.dumps({"sha256": 5, "history": []}),
        json.dumps({"sha256": "a"}),
        "[" * 100_000,
    ):
        (tmp_path / "source.json").write_text(content)
        assert kept_record(tmp_path) is None
