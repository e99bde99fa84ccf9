"""The reader's training data: random strings, labels from the atlas, changes that move the labels along."""

from dataclasses import replace

import here
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.config import RunConfig
from tfxfer.sources import reader as training
from tfxfer.sources.reader import ReaderTraining, Strings, column_labels, disturbed, edit_distance, trained_reader
from tfxfer.transfer.bridges.read import ALPHABET
from tfxfer.transfer.bridges.render import RenderText

pytestmark = pytest.mark.tensorflow
SMALL = ReaderTraining(faces=("DejaVuSans",), sizes=(24,), width=96)


def test_strings_are_random_letters_with_their_centres():
    one, same, other = (Strings.drawn(SMALL, 60, seed) for seed in (0, 0, 1))
    assert one.texts == same.texts != other.texts
    np.testing.assert_array_equal(one.images, same.images)
    lengths = (one.letters >= 0).sum(1)
    assert lengths.min() >= 1 and lengths.max() <= 14
    for text, letters in zip(one.texts, one.letters):
        assert text == "".join(ALPHABET[i] for i in letters[letters >= 0])
        assert "  " not in text and text == text.strip()
    np.testing.assert_array_equal(one.images, RenderText(32, 96, 24)(one.texts))  # nothing is cut


def middles(images):
    """Return the middle of the ink of each picture, in pixels from the left."""
    ink = 255 - np.asarray(images, float)[..., 0]
    return (ink.sum(1) * (np.arange(ink.shape[2]) + 0.5)).sum(1) / ink.sum((1, 2))


def test_what_moves_a_letter_moves_its_centre_too():
    images = tf.repeat(RenderText(32, 96, 24)(["  I", "     I"]), 20, 0)
    centres = np.full((40, 48), -1, np.float32)
    centres[:, 0] = middles(images)
    moved, found = disturbed(replace(SMALL, noise=0.0))(images, tf.constant(centres), tf.constant([3, 4]))
    paper = tf.reduce_max(moved, [1, 2, 3], keepdims=True)
    where = middles(255 - (paper - moved))
    assert np.abs(where - centres[:, 0]).max() > 2
    # turning about the left edge shifts what is above or below the middle by less than a pixel
    np.testing.assert_allclose(found[:, 0], where, atol=1.0)


def test_a_column_is_labelled_with_the_letter_in_its_middle():
    letters, centres = tf.constant([[7, 9, -1]]), tf.constant([[5.0, 12.1, 0.0]])
    np.testing.assert_array_equal(column_labels(letters, centres, 5, 99), [[99, 7, 99, 9, 99]])
    assert edit_distance("kitten", "sitting") == 3


def test_a_reader_of_a_few_steps_reads_words_that_it_never_saw(data_dir):
    reader = trained_reader(RunConfig(data_dir=str(data_dir)), here.Quiet(), training.SMOKE)
    text = reader(RenderText(32, 300, 24)(["A quick brown fox, 1987"]))["text"].numpy()[0].decode()
    assert edit_distance(text, "A quick brown fox, 1987") <= 6


def test_a_reader_is_trained_once_and_the_same_again_where_a_byte_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "HELD_OUT", 20)
    tiny = replace(SMALL, steps=4, epoch=2, batch_size=4)

    def weights():
        run = here.Quiet()
        return run, trained_reader(RunConfig(data_dir=str(tmp_path)), run, tiny).get_weights()

    first, expected = weights()
    assert "letters right on 20 random strings that it never saw" in first.said[-1] and len(first.metrics) == 2
    second, kept = weights()
    assert len(second.said) == 1 and "taken from the cache" in second.said[0]
    next(tmp_path.rglob("model.keras")).write_bytes(b"x")
    third, same = weights()
    assert len(third.said) == 2 and "trained in" in third.said[-1]
    for a, b, c in zip(expected, kept, same, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, atol=1e-6)
