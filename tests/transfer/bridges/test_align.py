"""`align`: a head that is fitted on labelled images classifies texts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax
from sklearn.preprocessing import normalize

from tfxfer.errors import UserError
from tfxfer.transfer.bridges.align import TwoTowers, image_head, modality_gap, text_classifier
from tfxfer.transfer.bridges.tokens import TextTokens
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder

pytestmark = pytest.mark.tensorflow
COLOURS, THINGS = ("red", "green", "blue", "white"), ("cat", "dog", "house", "tree", "car")
WORDS = [*COLOURS, *THINGS]
NAMES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
LABELS = np.array([THINGS.index(name.split()[1]) for name in NAMES * 6])
DIRECTIONS = np.random.default_rng(5).normal(size=(len(WORDS), 12)).astype("float32")  # of each word


class Towers:
    """Features of an image are the sum of the directions of its words, with noise; a text is the mean of vectors."""

    def __init__(self, word_vectors):
        text = keras.Input((), dtype="string", name="text")
        embedding = keras.layers.Embedding(len(WORDS) + 2, 12)  # 0 is padding, 1 unknown
        x = keras.layers.GlobalAveragePooling1D()(embedding(TextTokens(2, "words", WORDS)(text)))
        embedding.set_weights([np.concatenate([np.zeros((2, 12)), word_vectors])])
        self.text_encoder = keras.Model(text, keras.layers.UnitNormalization()(x))

    def encode_images(self, images):
        return normalize(images)

    def encode_texts(self, texts):
        return self.text_encoder(tf.constant(texts)).numpy()

    def text_side(self):
        return self.text_encoder


def features(names, seed):
    exact = np.array([sum(DIRECTIONS[WORDS.index(word)] for word in name.split()) for name in names])
    return (exact + 0.2 * np.random.default_rng(seed).normal(size=exact.shape)).astype("float32")


@pytest.fixture(scope="module")
def towers():
    return Towers(DIRECTIONS)


@pytest.fixture(scope="module")
def untrained():
    return Towers(np.random.default_rng(9).normal(size=DIRECTIONS.shape))


@pytest.fixture(scope="module")
def head(towers):
    held_out = (features(NAMES, 1), LABELS[:20])
    return image_head(towers, features(NAMES * 6, 0), LABELS, validation=held_out, num_classes=5)


def test_a_dual_encoder_has_the_methods_of_two_towers():
    methods = {name for name in vars(TwoTowers) if not name.startswith("_")}
    assert methods == {"encode_images", "encode_texts", "text_side"} <= set(dir(DualEncoder))


def test_a_head_of_images_classifies_texts(towers, head):
    probabilities = text_classifier(towers, head).predict(tf.constant(NAMES), verbose=0)
    assert probabilities.shape == (20, 5)
    assert np.mean(probabilities.argmax(1) == LABELS[:20]) > 0.9


def test_with_an_untrained_text_encoder_it_does_not(untrained, head):
    probabilities = text_classifier(untrained, head).predict(tf.constant(NAMES), verbose=0)
    assert np.mean(probabilities.argmax(1) == LABELS[:20]) < 0.6


def test_it_is_w_g_plus_b(towers, head):
    logits = towers.encode_texts(NAMES) @ head.W + head.b
    found = text_classifier(towers, head)(tf.constant(NAMES))
    np.testing.assert_allclose(found, softmax(logits, axis=1), atol=1e-4)


def test_a_saved_text_classifier_predicts_the_same(towers, head, tmp_path):
    model = text_classifier(towers, head)
    model.save(tmp_path / "align.keras")
    again = keras.saving.load_model(tmp_path / "align.keras")
    np.testing.assert_allclose(model(tf.constant(NAMES)), again(tf.constant(NAMES)), atol=1e-6)


def test_the_gap_is_the_distance_of_the_means(towers, untrained):
    images = features(NAMES, 2)
    means = normalize(images).mean(0), towers.encode_texts(NAMES).mean(0)
    assert modality_gap(towers, images, NAMES) == pytest.approx(np.linalg.norm(means[0] - means[1]))
    assert modality_gap(towers, images, NAMES) < modality_gap(untrained, images, NAMES) <= 2


def test_labels_that_do_not_fit_are_named(towers):
    with pytest.raises(UserError, match="need features"):
        image_head(towers, features(NAMES, 0), LABELS[:3], strengths=[1e-3])
