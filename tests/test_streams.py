"""Streams end when their last batch was read, as tf.data's tuner is off in a data set's; their order is drawn."""

import numpy as np
import pytest
import tensorflow as tf

import tfxfer
from tfxfer.streams import prompt, shuffled

pytestmark = pytest.mark.tensorflow


def test_the_same_elements_come_without_the_tuner():
    stream = tf.data.Dataset.range(10).batch(4)
    assert prompt(stream).options().autotune.enabled is False
    np.testing.assert_array_equal(
        np.concatenate(list(prompt(stream).as_numpy_iterator())), np.arange(10), err_msg="elements changed"
    )


@pytest.mark.parametrize("spec, key", [("languages/latin", "text"), ("glyphs/by_character", "image")])
def test_streams_of_a_data_set_have_no_tuner(spec, key, data_dir):
    data = tfxfer.load(spec, data_dir=data_dir)
    for stream in (data.batches("test", 8, keys=(key,)), data.test, data.batches("train", 8, shuffle_seed=1)):
        assert stream.map(lambda row: row[key]).options().autotune.enabled is False


def orders(stream):
    return [[int(x) for x in stream] for _ in range(2)]


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("anew", [True, False])
def test_the_order_is_tensorflows_under_the_seed_0_and_no_other_seed_moves_it(seed, anew):
    rows = tf.data.Dataset.range(50)
    tf.random.set_seed(0)
    theirs = orders(rows.shuffle(20, seed=seed, reshuffle_each_iteration=anew))
    tf.random.set_seed(7)
    ours = orders(shuffled(rows, 20, seed, anew=anew))
    assert ours == theirs and sorted(ours[0]) == list(range(50))
    assert (ours[0] == ours[1]) is not anew


def test_a_shuffled_stream_keeps_its_structure_and_length():
    rows = tf.data.Dataset.from_tensor_slices({"text": ["a", "b", "c"], "pair": ([1, 2, 3], [[0.5], [1.5], [2.5]])})
    mixed = shuffled(rows, 3, 1)
    assert mixed.element_spec == rows.element_spec and mixed.cardinality() == 3
    assert sorted(row["text"].numpy() for row in mixed) == [b"a", b"b", b"c"]
