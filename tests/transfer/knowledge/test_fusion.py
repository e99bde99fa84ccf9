"""Heads that join an image and a text: one contract, what padding and a missing side do, and the whole classifier."""

import keras
import numpy as np
import pytest

from tfxfer.config import TrainingConfig
from tfxfer.errors import UserError
from tfxfer.transfer.knowledge.fusion import HEADS, SINGLE, FusionClassifier, HeadTrainer
from tfxfer.transfer.knowledge.fusion.classifier import image_positions, text_tokens
from tfxfer.transfer.knowledge.fusion.heads import make_head
from tfxfer.transfer.knowledge.fusion.training import Sides
from tfxfer.transfer.knowledge.text_towers import small_tower

pytestmark = pytest.mark.tensorflow
SHAPES = ((2, 6), (3, 5))  # (P, E) and (T, G)
PARAMETERS = {  # of C = 4 classes and D = 8 units, counted by hand
    "average": (6 * 8 + 8 + 8 * 4 + 4) + (5 * 8 + 8 + 8 * 4 + 4),
    "concatenation": (11 * 8 + 8) + (8 * 4 + 4),
    "gated": (6 * 8 + 8) + (5 * 8 + 8) + (11 * 8 + 8) + (8 * 4 + 4),
    "low_rank": (6 * 8 + 8) + (5 * 8 + 8) + (8 * 4 + 4),
    "film": (6 * 8 + 8) + 2 * (5 * 8 + 8) + (8 * 4 + 4),
    "cross_attention": (6 * 8 + 8) + (5 * 8 + 8) + 4 * (8 * 8 + 8) + (8 * 4 + 4),
    "image_only": (6 * 8 + 8) + (8 * 4 + 4),
    "text_only": (5 * 8 + 8) + (8 * 4 + 4),
}


def sides(count=5, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(count, *shape)).astype(np.float32) for shape in SHAPES]


def model(name, **options):
    keras.utils.set_random_seed(1)
    inputs = [keras.Input(shape, name=side) for shape, side in zip(SHAPES, ("image", "text"))]
    return keras.Model(inputs, make_head(name, 4, dim=8, **options)(inputs))


@pytest.mark.parametrize("name", [*HEADS, *SINGLE])
def test_every_head_keeps_the_contract(name, tmp_path):
    given, made = sides(), model(name, modality_dropout=0.3)
    assert sum(int(np.prod(weight.shape)) for weight in made.trainable_weights) == PARAMETERS[name]
    logits = np.asarray(made(given))
    assert logits.shape == (5, 4) and np.isfinite(logits).all()
    made.save(tmp_path / "head.keras")
    again = keras.models.load_model(tmp_path / "head.keras")
    np.testing.assert_allclose(np.asarray(again(given)), logits, atol=1e-6)
    image, text = given
    for missing in ([np.zeros_like(image), text], [image, np.zeros_like(text)], [image * 0, text * 0]):
        assert np.isfinite(np.asarray(made(missing))).all()


@pytest.mark.parametrize("name", HEADS)
def test_padding_of_a_text_changes_nothing(name):
    image, text = sides()
    text[:, 2] = 0
    made = model(name)
    inputs = [keras.Input((2, 6)), keras.Input((7, 5))]
    longer = keras.Model(inputs, made.layers[-1](inputs))
    padded = np.concatenate([text[:, :2], np.zeros((5, 5, 5), np.float32)], axis=1)
    np.testing.assert_allclose(np.asarray(longer([image, padded])), np.asarray(made([image, text])), atol=1e-5)


def test_a_head_of_one_side_does_not_read_the_other_and_the_average_is_that_of_both():
    image, text = sides()
    for name, given in (("image_only", [image, text * 3]), ("text_only", [image * 3, text])):
        made = model(name)
        np.testing.assert_allclose(np.asarray(made(given)), np.asarray(made([image, text])), atol=1e-6)
    average = model("average").layers[-1]
    each = [keras.ops.softmax(logits) for logits in average.trained_logits([image, text])]
    np.testing.assert_allclose(np.exp(np.asarray(average([image, text]))), (each[0] + each[1]) / 2, atol=1e-5)


def xor(count=240):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (2, count))
    image, text = sides(count)
    image[:, :, 0], text[:, :, 0] = (4 * bit[:, None] - 2 for bit in bits)
    return Sides(image, text, (bits[0] ^ bits[1]).astype(np.int32))


@pytest.mark.parametrize("name", ["low_rank", "image_only"])
def test_a_head_that_joins_learns_what_neither_side_tells(name):
    data, held = xor(), np.arange(160, 240)
    trainer = HeadTrainer(name, SHAPES, 2, {"dim": 16})
    training = TrainingConfig(steps=120, batch_size=32, learning_rates=(1e-2,))
    loss = trainer.fit(data.take(np.arange(160)), training, 1e-4, seed=0)
    test = data.take(held)
    accuracy = (trainer.log_probabilities(test.image, test.text).argmax(1) == test.labels).mean()
    assert accuracy > 0.95 if name == "low_rank" else accuracy < 0.7
    trainer.model.set_weights(trainer.start(0))
    assert trainer.fit(data.take(np.arange(160)), training, 1e-4, seed=0) == loss  # whatever was trained before


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    maps = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    cnn = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(maps)))
    encoders = image_positions(cnn, (8, 8, 1), 2), text_tokens(small_tower(["red", "blue"], 4, dim=6))
    pixels = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 1)).astype(np.uint8)
    texts, labels = ["red thing", "blue"] * 6, ["warm", "cold"] * 6
    training = TrainingConfig(steps=40, batch_size=4, learning_rates=(3e-2,))
    return FusionClassifier.fit(*encoders, (pixels, texts, labels), training=training, dim=8), pixels, texts, labels


def test_the_classifier_answers_pairs_and_single_sides(classifier, tmp_path):
    made, pixels, texts, labels = classifier
    assert made.score(pixels, texts, labels)["accuracy"] == 1 and made.class_names == ("cold", "warm")
    again = FusionClassifier.load(made.save(tmp_path))
    for given in ((pixels, texts), (pixels, None), (None, texts), (pixels, [*texts[:-1], None])):
        np.testing.assert_allclose(again.predict(*given), made.predict(*given), atol=1e-6)
    without = made.predict(None, texts)
    np.testing.assert_allclose(without.sum(1), 1, atol=1e-5)
    assert (without.argmax(1) == made.predict(pixels, texts).argmax(1)).all()  # the text tells the class


def test_pairs_that_do_not_fit_are_refused(classifier):
    made, pixels, texts, _ = classifier
    with pytest.raises(UserError, match="neither images nor texts"):
        made.predict(None, None)
    with pytest.raises(UserError, match="12 images and 1 texts"):
        made.predict(pixels, texts[:1])
    with pytest.raises(UserError, match="'hot' is none of the 2 classes"):
        made.score(pixels[:1], texts[:1], ["hot"])
