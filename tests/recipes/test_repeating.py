"""The arms of knowledge transfer: what one learns depends on its seed, not on what was trained before it."""

import keras
import numpy as np
import pytest

from tfxfer.arms.captioning import Gallery, CaptioningArm
from tfxfer.config import KnowledgeConfig
from tfxfer.models.bert import masked_lm, small_bert, learn_word_pieces
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.transfer.knowledge import caption_model
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder
from tfxfer.transfer.knowledge.text_towers import bert_tower
from tfxfer.transfer.knowledge.visual_qa import VisualQA

pytestmark = pytest.mark.tensorflow
CAPTIONS = [
    f"{colour} {shape}" for colour in ("red", "green", "blue") for shape in ("square", "circle", "ring", "cross")
]
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return learn_word_pieces(CAPTIONS * 20, 80, tmp_path_factory.mktemp("pieces") / "vocabulary.txt")


def tower(pieces):
    keras.utils.set_random_seed(0)
    return bert_tower(small_bert(len(pieces), 1, 16, 2), pieces, 6)


def repeats(model, train):
    """Whether training from the same weights with one seed ends the same, with another training in between."""
    start = model.get_weights()
    ends = []
    for seed in (1, 0, 1):
        model.set_weights(start)
        train(seed)
        ends.append(model.get_weights())
    same = all(np.array_equal(a, b) for a, b in zip(ends[0], ends[2], strict=True))
    other = any(not np.array_equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    return same and other


def test_two_towers_with_dropout(pieces):
    image = keras.Input((4,))
    towers = DualEncoder(keras.Model(image, keras.layers.Dense(8)(image)), tower(pieces))
    features = np.random.default_rng(0).normal(size=(len(CAPTIONS), 8)).astype("float32")
    assert repeats(
        towers.trained, lambda seed: towers.fit(features, CAPTIONS, steps=4, batch_size=6, seed=seed, jit=False)
    )


def test_answers_with_dropout(pieces):
    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(4, 4, strides=4)(image)
    cnn = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(hidden)))
    qa = VisualQA(cnn, tower(pieces), ["no", "yes"], (8, 8, 1), dim=8, heads=2, dropout=0.5)
    images = np.random.default_rng(0).integers(0, 255, (8, 8, 8, 1)).astype("uint8")
    asked = qa.asked(images, list(range(8)), CAPTIONS[:8], ["no", "yes"] * 4)
    assert repeats(qa.trained, lambda seed: qa.fit(asked, steps=4, batch_size=4, seed=seed))


def test_a_captioning_record(pieces):
    keras.utils.set_random_seed(0)
    language = masked_lm(small_bert(len(pieces), 1, 16, 2), pieces, 8)[0]
    reader = caption_model((2, 2, 3), language, seed=0)[0]
    start = reader.get_weights()
    grids = np.random.default_rng(0).normal(size=(len(CAPTIONS), 2, 2, 3)).astype("float32")
    gallery = Gallery(dict.fromkeys(SPLITS, grids), {split: [[caption] for caption in CAPTIONS] for split in SPLITS})
    config = KnowledgeConfig(pairs=(4,), updates=4, batch_size=4, length=8, learning_rates=(1e-2,), num_beams=1)

    def writer():
        return CaptioningArm(lambda seed: start, reader, WordPieceTokenizer(pieces), gallery.drawn, config)

    alone, after_others = writer()(4, 1).scores, writer()
    after_others(4, 0)
    np.testing.assert_array_equal(after_others(4, 1).scores["log_likelihood"], alone["log_likelihood"])
