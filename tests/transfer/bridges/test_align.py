"""`align`: a head that saw labelled pictures only tells the classes of texts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.transfer.bridges.align import gap, on_text, picture_head
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder
from tfxfer.transfer.knowledge.text_towers import small_tower

COLOURS, THINGS = ("red", "green", "blue", "white"), ("cat", "dog", "house", "tree", "car")
NAMES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
LABELS = np.array([THINGS.index(name.split()[1]) for name in NAMES * 6])


def features(names, seed):
    """Features in which each word has a direction of its own, with noise."""
    rng = np.random.default_rng(5)
    of = {word: rng.normal(size=12) for word in (*COLOURS, *THINGS)}
    exact = np.array([of[name.split()[0]] + of[name.split()[1]] for name in names])
    return (exact + 0.2 * np.random.default_rng(seed).normal(size=exact.shape)).astype("float32")


def make(seed=0):
    keras.utils.set_random_seed(seed)
    image = keras.Input((12,))
    phi = keras.Model(image, keras.layers.Identity()(image))
    return DualEncoder(phi, small_tower(learn_vocabulary(NAMES, "words"), 4, dim=32))


@pytest.fixture(scope="module")
def towers():
    made = make()
    made.fit(features(NAMES * 6, 0), NAMES * 6, NAMES * 6, steps=150, batch_size=32, learning_rate=1e-2, jit=False)
    return made


@pytest.fixture(scope="module")
def head(towers):
    return picture_head(
        towers, features(NAMES * 6, 0), LABELS, validation=(features(NAMES, 1), LABELS[:20]), num_classes=5
    )


def test_a_head_of_pictures_tells_texts(towers, head):
    shares = on_text(towers, head).predict(tf.constant(NAMES), verbose=0)
    assert shares.shape == (20, 5)
    assert np.mean(shares.argmax(1) == LABELS[:20]) > 0.9


def test_without_the_bridge_it_does_not(head):
    shares = on_text(make(1), head).predict(tf.constant(NAMES), verbose=0)  # a text tower that was never trained
    assert np.mean(shares.argmax(1) == LABELS[:20]) < 0.6


def test_it_is_w_g_plus_b(towers, head):
    logits = towers.text_vectors(NAMES) @ head.W + head.b
    powers = np.exp(logits - logits.max(1, keepdims=True))
    expected = powers / powers.sum(1, keepdims=True)
    np.testing.assert_allclose(on_text(towers, head)(tf.constant(NAMES)), expected, atol=1e-4)


def test_a_saved_text_classifier_answers_the_same(towers, head, tmp_path):
    model = on_text(towers, head)
    model.save(tmp_path / "align.keras")
    again = keras.saving.load_model(tmp_path / "align.keras")
    np.testing.assert_allclose(model(tf.constant(NAMES)), again(tf.constant(NAMES)), atol=1e-6)


def test_training_narrows_the_gap(towers):
    assert 0 <= gap(towers, features(NAMES, 2), NAMES) < gap(make(), features(NAMES, 2), NAMES) <= 2


def test_labels_that_do_not_fit_are_named(towers):
    with pytest.raises(UserError, match="need features"):
        picture_head(towers, features(NAMES, 0), LABELS[:3], strengths=[1e-3])
