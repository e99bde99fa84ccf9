"""f(X)·g(y) beside a decoder's h: a logit for each word from the image as a whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize
from scipy.sparse import issparse
from scipy.special import log_softmax

from tfxfer.errors import UserError
from tfxfer.models.bert import masked_lm, small_bert
from tfxfer.models.cnn import glyph_cnn
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.transfer.knowledge import caption_model
from tfxfer.transfer.knowledge import image_word_logits as module
from tfxfer.transfer.knowledge.caption_decoding import CaptionGenerator
from tfxfer.transfer.knowledge.caption_model import (
    end_to_end,
    feature_map_encoder,
    image_word_logits_of,
    inside,
    new_weight_paths,
)
from tfxfer.transfer.knowledge.image_word_logits import STRENGTH, bags_of_words, fit_image_word_logits

pytestmark = pytest.mark.tensorflow
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "square", "circle"]
MAP = (2, 2, 3)
RNG = np.random.default_rng(0)


@pytest.fixture
def reader():
    set_initializer_seed(0)
    language = masked_lm(small_bert(len(PIECES), 1, 16, 2, 24), PIECES, 8)[0]
    made = caption_model(MAP, language, image_word_logits=True)[0]
    image_word_logits_of(made).f.assign(RNG.normal(size=(3, 16)))
    made.get_layer("causal_decoder").get_layer("head_bias").bias.assign(np.eye(len(PIECES))[0] * -30)  # no beam pads
    return made


def maps_of(count):
    return RNG.normal(size=(count, *MAP)).astype("float32")


def test_logits_are_h_and_fg(reader):
    fg, rows = image_word_logits_of(reader), maps_of(4)
    words = {"token_ids": tf.constant([[2, 5, 7]] * 4), "padding_mask": tf.ones((4, 3), tf.int32)}
    h = reader.get_layer("causal_decoder")({**words, "memory": reader.get_layer("memory")(rows)})
    expected = rows.mean((1, 2)) @ np.asarray(fg.f) @ np.asarray(fg.g).T
    logits = reader({"feature_map": tf.constant(rows), **words})
    np.testing.assert_allclose(logits, np.asarray(h) + expected[:, None], atol=1e-4)


def test_g_is_the_language_models_table_and_f_alone_is_new(reader):
    fg = image_word_logits_of(reader)
    np.testing.assert_array_equal(fg.g, reader.get_layer("causal_decoder").get_layer("token_embedding").embeddings)
    assert fg.f.path in new_weight_paths(reader) and [v.path for v in fg.trainable_variables] == [fg.f.path]


def test_f_starts_at_zero():
    language = masked_lm(small_bert(len(PIECES), 1, 16, 2, 24), PIECES, 8)[0]
    with_fg, without = (caption_model(MAP, language, image_word_logits=each, seed=1)[0] for each in (True, False))
    asked = {"feature_map": maps_of(2), "token_ids": np.array([[2, 5]] * 2), "padding_mask": np.ones((2, 2), "int32")}
    np.testing.assert_array_equal(with_fg(asked), without(asked))
    assert image_word_logits_of(without) is None


def test_a_beams_score_is_the_likelihood_of_its_caption(reader):
    generator, rows = CaptionGenerator(reader, WordPieceTokenizer(PIECES)), maps_of(5)
    found = generator.generate(rows, num_beams=3, max_length=7, num_return_sequences=2)
    for place in (0, 1):
        np.testing.assert_allclose(
            generator.log_likelihood(rows, found.token_ids[:, place]), found.scores[:, place], atol=1e-4
        )


def test_the_saved_model_generates_the_same_captions(reader, tmp_path):
    encoder = feature_map_encoder(glyph_cnn(3))
    language = masked_lm(small_bert(len(PIECES), 1, 16, 2, 24), PIECES, 8)[0]
    made = caption_model((8, 8, 128), language, image_word_logits=True)[0]
    image_word_logits_of(made).f.assign(RNG.normal(size=(128, 16)))
    end_to_end(encoder, made).save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    pictures = RNG.uniform(0, 255, (3, 32, 32, 1)).astype("float32")
    first = CaptionGenerator(made, WordPieceTokenizer(PIECES)).generate(np.asarray(encoder(pictures)), max_length=6)
    kept, network = inside(again)
    second = CaptionGenerator(network, WordPieceTokenizer(PIECES)).generate(np.asarray(kept(pictures)), max_length=6)
    assert first.texts == second.texts
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)


def test_fit_finds_the_least_loss():
    """The oracle writes the loss in NumPy, in double precision, and takes its slopes by differences."""
    g, means, bags = RNG.normal(size=(6, 2)), RNG.normal(size=(20, 3)), RNG.integers(0, 3, (20, 6)).astype(float)

    def loss(flat, strength=2.0):
        f = flat.reshape(3, 2)
        gains = log_softmax(np.log(bags.sum(0) + 0.1) + means @ f @ g.T, axis=1)
        return (-(bags * gains).sum() + strength * (f**2).sum()) / bags.sum()

    best = minimize(loss, np.zeros(6), tol=1e-10)
    found = fit_image_word_logits(g, means, bags, strength=2.0)
    assert loss(found.ravel()) == pytest.approx(best.fun, rel=1e-5)
    np.testing.assert_allclose(found.ravel(), best.x, atol=5e-3)


def test_bags_are_sparse_and_blocks_of_them_give_what_all_at_once_gives(monkeypatch):
    numbers = RNG.integers(0, 40, (50, 7))
    bags = bags_of_words(numbers, 40, ignore=(0, 2))
    dense = np.zeros((50, 40), np.float32)
    for row, words in enumerate(numbers):
        for word in words:
            dense[row, word] += word not in (0, 2)
    assert issparse(bags) and bags.dtype == np.float32
    np.testing.assert_array_equal(bags.toarray(), dense)
    g, means = RNG.normal(size=(40, 3)), RNG.normal(size=(50, 4))
    whole_f = fit_image_word_logits(g, means, dense)
    np.testing.assert_array_equal(fit_image_word_logits(g, means, bags), whole_f)
    monkeypatch.setattr(module, "ELEMENTS", 40 * 8)  # seven blocks, the last of two captions
    by_blocks = fit_image_word_logits(g, means, bags)
    np.testing.assert_allclose(by_blocks, whole_f, atol=1e-3)  # of float32: near its end the loss is flat

    def loss(f):
        gains = log_softmax(np.log(dense.sum(0) + 0.1) + means @ f @ g.T, axis=1)
        return (-(dense * gains).sum() + STRENGTH * (f.astype(float) ** 2).sum()) / dense.sum()

    assert loss(by_blocks) == pytest.approx(loss(whole_f), abs=1e-6)


def test_an_untrained_decoder_captions_by_f_alone(reader):
    pictures = np.concatenate([np.full((20, *MAP), 1.0), np.full((20, *MAP), -1.0)]) + 0.1 * maps_of(40)
    numbers = np.array([[2, 5, 7, 3]] * 20 + [[2, 6, 8, 3]] * 20)  # red square, blue circle
    fg = image_word_logits_of(reader)
    fg.f.assign(
        fit_image_word_logits(
            np.asarray(fg.g), pictures.mean((1, 2)), bags_of_words(numbers, len(PIECES), (0, 2)), strength=0.01
        )
    )
    found = (
        CaptionGenerator(reader, WordPieceTokenizer(PIECES))
        .generate(pictures[[0, -1]].astype("float32"), max_length=4)
        .texts
    )
    said = [set(texts[0].split()) for texts in found]
    assert said[0] and said[0] <= {"red", "square"} and said[1] and said[1] <= {"blue", "circle"}


@pytest.mark.parametrize(
    ("means", "bags", "message"),
    [
        (np.ones((2, 3)), np.zeros((2, 6)), "no caption has a word"),
        (np.full((2, 3), np.nan), np.ones((2, 6)), "a feature is not finite"),
    ],
)
def test_what_cannot_be_learned_from_is_named(means, bags, message):
    with pytest.raises(UserError, match=message):
        fit_image_word_logits(RNG.normal(size=(6, 2)), means, bags)
