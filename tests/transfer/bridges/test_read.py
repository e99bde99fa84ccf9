"""The `read` bridge: ink, decoding, gradients, saving, and what a reader can never give back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.models import load_model
from tfxfer.transfer.bridges.read import ReadText, TrimTokens, readable_form, to_ink, unreadable
from tfxfer.transfer.bridges.render import RenderText

pytestmark = pytest.mark.tensorflow


def posteriors(*columns, letters="abl "):
    """Return [1, T, A + 1]: each column is {letter: probability}, the rest of it is blank."""
    rows = [[column.get(letter, 0.0) for letter in letters] for column in columns]
    return tf.constant([[[*row, 1 - sum(row)] for row in rows]], tf.float32)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ([{"a": 1}, {}, {"b": 1}], "ab"),
        ([{"l": 0.9}, {"l": 0.9}], "ll"),  # two narrow letters in neighbouring columns
        ([{"l": 0.55}, {"l": 0.55}], "l"),  # one on the edge of two columns
        ([{"l": 0.45}, {"l": 0.45}, {"a": 0.3}], "l"),
        ([{"l": 0.3, "b": 0.25}, {}, {"a": 0.4}], "l"),  # there is a letter, whichever it is
        ([{" ": 1}, {"a": 1}, {" ": 1}, {" ": 1}, {"b": 1}, {" ": 1}], "a b"),
        ([{}, {"a": 0.2}], ""),
    ],
)
def test_columns_become_letters(columns, text):
    reader = ReadText("abl ")
    assert reader.decode(posteriors(*columns)).numpy()[0].decode() == text


def test_confidence_is_the_mean_probability_of_what_was_read():
    reader = ReadText("abl ")
    sure = reader.confidence(posteriors({"a": 0.9}, {"b": 0.1}, {"l": 0.5, "a": 0.2})).numpy()
    np.testing.assert_allclose(sure, [0.7])
    assert reader.confidence(posteriors({}, {"a": 0.3})).numpy() == [0]


def test_pictures_of_any_height_channels_and_paper_become_the_same_ink():
    small = RenderText(32, 100, 20)(["Über"])
    ink = to_ink(small)
    assert ink.shape == (1, 32, 100, 1) and float(tf.reduce_max(ink)) == 1 and float(tf.reduce_min(ink)) == 0
    grey = 60 + tf.cast(small, tf.float32) * 0.6  # pale ink on grey paper
    np.testing.assert_allclose(to_ink(tf.repeat(grey, 3, -1)), ink, atol=1e-5)
    large = to_ink(np.repeat(np.repeat(small, 2, 1), 2, 2)[:, :, :198])
    assert large.shape == (1, 32, 100, 1)  # 99 wide at a height of 32, filled up to whole columns
    assert np.abs(large - ink).mean() < 0.05
    assert not np.asarray(to_ink(np.full((1, 32, 20, 1), 230, np.uint8))).any()  # blank paper


def test_a_saved_reader_reads_the_same_and_is_differentiable(tmp_path):
    keras.utils.set_random_seed(0)
    reader = ReadText("abc ", (4, 4, 4, 8))
    model = reader.model()
    images = RenderText(32, 60, 20)(["ab", "c"])
    expected = model(images)
    assert expected["posteriors"].shape == (2, 15, 5) and expected["text"].dtype == tf.string
    np.testing.assert_allclose(tf.reduce_sum(expected["posteriors"], -1), 1, atol=1e-5)
    model.save(tmp_path / "reader.keras")
    again = load_model(tmp_path / "reader.keras")(images)
    np.testing.assert_array_equal(again["posteriors"], expected["posteriors"])
    np.testing.assert_array_equal(again["text"], expected["text"])
    pixels = tf.Variable(tf.cast(images, tf.float32))
    with tf.GradientTape() as tape:
        letter = tf.reduce_sum(reader(pixels)["posteriors"][..., 0])
    assert float(tf.reduce_max(tf.abs(tape.gradient(letter, pixels)))) > 0


def test_an_alphabet_without_letters_or_with_one_twice_is_refused():
    for alphabet in ("", "aba"):
        with pytest.raises(UserError, match="each once"):
            ReadText(alphabet)


def test_what_cannot_be_read_is_counted_after_composing():
    assert readable_form("e\u0301te\u0301\u00a0\u200b") == "été"
    assert unreadable("été été ’–€ Łódź, Ț ş") == []
    assert unreadable("a日本ж") == ["日", "本", "ж"]


def test_padding_is_cut_to_the_longest_text_of_a_batch():
    assert TrimTokens()(tf.constant([[1, 2, 0, 0], [3, 0, 0, 0]])).shape == (2, 2)
    assert TrimTokens()(tf.zeros([2, 4], tf.int32)).shape == (2, 1)
