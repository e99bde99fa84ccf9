"""Parts of a network, and leaving one out: its weights are those of the random control, all others stay."""

import keras
import numpy as np
import pytest

from tfxfer.models.bert import small_bert
from tfxfer.models.fresh import fresh_copy
from tfxfer.models.parts import MOST_BLOCKS, parts_of, without_part

pytestmark = pytest.mark.tensorflow


def deep_cnn(count, seed=0):
    keras.utils.set_random_seed(seed)
    x = images = keras.Input((8, 8, 1))
    for i in range(count):
        x = keras.layers.Conv2D(2, 3, padding="same", name=f"conv{i}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{i}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(3, activation="softmax", name="classes")(x))


def test_a_cnn_has_its_convolutions_and_its_normalisation_and_its_head_is_no_part():
    model = deep_cnn(2)
    found = parts_of(model)
    assert list(found) == ["convolution 1", "convolution 2", "normalisation"]
    named = {name: {model.weights[place].path.split("/")[0] for place in places} for name, places in found.items()}
    assert named == {"convolution 1": {"conv0"}, "convolution 2": {"conv1"}, "normalisation": {"norm0", "norm1"}}
    assert list(parts_of(model, ["conv1/kernel"])) == ["convolution 1"]  # where nothing else is used
    many = list(parts_of(deep_cnn(13)))
    assert many[0] == "convolutions 1 to 2" and len(many) == MOST_BLOCKS + 1


def test_a_transformer_has_embeddings_attention_feed_forward_and_normalisation():
    bert = small_bert(40, num_layers=1, hidden_dim=8, num_heads=2)
    found = parts_of(bert)
    assert list(found) == ["embeddings", "attention", "feed-forward", "normalisation"]
    assert sorted(place for places in found.values() for place in places) == list(range(len(bert.weights)))
    norms = {bert.weights[place].path for place in found["normalisation"]}
    assert "embeddings_layer_norm/gamma" in norms and "transformer_layer_0/self_attention_layer_norm/beta" in norms


def test_a_part_is_left_out_as_in_the_random_control_and_all_else_stays():
    model, random = deep_cnn(2), fresh_copy(deep_cnn(2), 5)
    for weight in model.weights:
        weight.assign(weight + 1.0)
    places = parts_of(model)["convolution 2"]
    without = without_part(model, places, 5)
    for place, weight in enumerate(without.weights):
        expected = random.weights[place] if place in places else model.weights[place]
        assert np.array_equal(weight, expected), weight.path
