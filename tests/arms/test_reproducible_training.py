"""The models of knowledge transfer: what one learns depends on its seed, not on what was trained before it."""

from functools import partial

import keras
import numpy as np
import pytest

from tfxfer.arms.captioning import CaptioningArm
from tfxfer.config import CaptionModelConfig, CaptionTrainingConfig, TrainingConfig, VQAHeadConfig
from tfxfer.models.bert import learn_word_pieces, masked_lm, small_bert
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.tasks.captioned_images import CaptionedMaps
from tfxfer.transfer.knowledge import Captioner, DualEncoder, VisualQA, bert_tower

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
        train(seed=seed)
        ends.append(model.get_weights())
    same = all(np.array_equal(a, b) for a, b in zip(ends[0], ends[2], strict=True))
    other = any(not np.array_equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    return same and other


def test_a_dual_encoder_with_dropout(pieces):
    image = keras.Input((4,))
    encoder = DualEncoder(keras.Model(image, keras.layers.Dense(8)(image)), tower(pieces))
    features = np.random.default_rng(0).normal(size=(len(CAPTIONS), 8)).astype("float32")
    training = TrainingConfig(steps=4, batch_size=6)
    assert repeats(encoder.model, partial(encoder.fit, features, CAPTIONS, training=training, jit=False))


def test_visual_question_answering_with_dropout(pieces):
    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(4, 4, strides=4)(image)
    cnn = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(hidden)))
    head = VQAHeadConfig(dim=8, heads=2, dropout=0.5)
    qa = VisualQA(cnn, tower(pieces), ["no", "yes"], (8, 8, 1), head)
    images = np.random.default_rng(0).integers(0, 255, (8, 8, 8, 1)).astype("uint8")
    batch = qa.encode(images, CAPTIONS[:8], ["no", "yes"] * 4)
    assert repeats(qa.model, partial(qa.fit, batch, training=TrainingConfig(steps=4, batch_size=4)))


def test_a_captioning_record(pieces):
    image = keras.Input((2, 2, 3))
    encoder = keras.Model(image, keras.layers.Identity()(image))
    maps = np.random.default_rng(0).normal(size=(len(CAPTIONS), 2, 2, 3)).astype("float32")
    task = CaptionedMaps(dict.fromkeys(SPLITS, maps), {split: [[caption] for caption in CAPTIONS] for split in SPLITS})
    training = CaptionTrainingConfig(steps=4, batch_size=4, max_length=8, learning_rates=(1e-2,))

    def arm():
        keras.utils.set_random_seed(0)
        language_model = masked_lm(small_bert(len(pieces), 1, 16, 2), pieces, 8)[0]
        config = CaptionModelConfig(positions=0)
        captioner = Captioner(encoder, language_model, WordPieceTokenizer(pieces), (2, 2, 3), config)
        captioner.search["num_beams"] = 2
        start = captioner.model.get_weights()
        return CaptioningArm(captioner, lambda seed: start, task.drawn, training, (4, 0), "both")

    alone, after_others = arm()(4, 1), arm()
    after_others(4, 0)
    later = after_others(4, 1)
    np.testing.assert_array_equal(later.scores["log_likelihood"], alone.scores["log_likelihood"])
    assert later.answers == alone.answers
    assert later.settings["weight of f·g"] == alone.settings["weight of f·g"]
