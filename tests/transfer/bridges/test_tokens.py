"""The tokens bridge: which weights are trained, and saved models that predict from raw strings and images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.transfer.bridges.tokens import (
    TextTokens,
    encoder_blocks,
    image_features,
    image_to_text_body,
    learn_vocabulary,
    text_to_image_body,
)

pytestmark = pytest.mark.tensorflow
TEXTS = tf.constant(["Österreich", "čau\x00", "", b"\xff\xfeab", "x" * 100_000, "Ваня и Маша"] * 4)
LABELS = np.arange(24) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)


def image_body():
    """A CNN with BatchNorm and dropout: images [B, 16, 16, 3] → features [B, 6]."""
    images = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(6, 3, padding="same", name="conv1")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(0.5)(keras.layers.ReLU(name="relu")(x))
    x = keras.layers.Conv2D(6, 3, name="conv2")(x)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="cnn")


@pytest.fixture(scope="module")
def bert():
    keras_hub = pytest.importorskip("keras_hub")
    return keras_hub.models.BertBackbone(
        vocabulary_size=40,
        num_layers=2,
        num_heads=2,
        hidden_dim=32,
        intermediate_dim=48,
        max_sequence_length=24,
    )


def trainable_report(model):
    """Path, shape and number of parameters of every trainable weight."""
    return [(w.path, tuple(w.shape), int(keras.ops.size(w))) for w in model.trainable_weights]


def fit(model, x, y):
    """Train two steps; return the paths of the weights that moved, without the prefixes of nesting."""
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(x, y, batch_size=len(y), epochs=2, verbose=0)
    after = zip(model.weights, model.get_weights(), before, strict=True)
    return {weight.path for weight, new, old in after if not np.array_equal(new, old)}


def same_weights(model, before):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


HEAD = {"classes/kernel", "classes/bias"}
TEXT_SETS = {
    "none": HEAD,
    "norms": HEAD | {"norm/gamma", "norm/beta"},
    "fpt": HEAD | {"norm/gamma", "norm/beta", "embedding/embeddings"},
}


@pytest.mark.parametrize("trainable", TEXT_SETS)
def test_the_named_set_is_trained_from_text_and_nothing_else(trainable):
    source = image_body()
    before = source.get_weights()
    model = text_to_image_body(source, 3, unit="bytes", trainable=trainable)
    assert {path for path, _, _ in trainable_report(model)} == TEXT_SETS[trainable]
    assert fit(model, TEXTS, LABELS) == TEXT_SETS[trainable]
    assert same_weights(source, before) and source.trainable


def test_all_weights_are_trained_and_the_statistics_move():
    model = text_to_image_body(image_body(), 3, unit="bytes", trainable="all")
    moved = fit(model, TEXTS, LABELS)
    assert {"norm/moving_mean", "conv1/kernel", "conv2/kernel"} <= moved


def test_a_source_that_was_just_trained_is_a_body_too():
    """It is compiled, with metrics that the new model never computes: a run whose source is trained in it has such."""
    source = keras.Sequential([image_body(), keras.layers.Dense(4)])
    source = keras.Model(source.inputs, source.outputs)
    source.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model = text_to_image_body(source, 3, unit="bytes")
    assert fit(model, TEXTS, LABELS)


def test_a_frozen_body_gives_the_same_in_training_and_inference():
    model = text_to_image_body(image_body(), 3, unit="bytes")
    np.testing.assert_array_equal(model(TEXTS, training=True), model(TEXTS, training=False))
    loose = text_to_image_body(image_body(), 3, unit="bytes", trainable="all")
    assert not np.array_equal(loose(TEXTS, training=True), loose(TEXTS, training=False))


def test_a_token_is_a_square_and_tokens_run_row_by_row():
    model = text_to_image_body(image_body(), 3, unit="bytes", patch_size=4, value_range=None)
    grid = keras.Model(model.input, model.get_layer("grid").output)(tf.constant(["abcdefgh"]))[0].numpy()
    table = model.get_layer("embedding").get_weights()[0]
    for place, letter in enumerate(b"abcdefgh"):
        row, column = 4 * (place // 4), 4 * (place % 4)
        patch = grid[row : row + 4, column : column + 4]
        np.testing.assert_array_equal(patch, table[letter].reshape(4, 4, 3))
    np.testing.assert_array_equal(grid[8:12, :4], table[0].reshape(4, 4, 3))  # padding


def test_initial_embeddings_are_in_the_range_of_images():
    model = text_to_image_body(image_body(), 3, unit="bytes", seed=1)
    pixels = keras.Model(model.input, model.get_layer("value_range").output)(TEXTS).numpy()
    assert abs(pixels.mean() - 127.5) < 15 and 50 < pixels.std() < 80
    again = text_to_image_body(image_body(), 3, unit="bytes", seed=1).get_layer("embedding").get_weights()[0]
    np.testing.assert_array_equal(again, model.get_layer("embedding").get_weights()[0])


def test_the_grid_can_be_the_input_behind_an_inner_layer():
    source = image_body()
    model = text_to_image_body(source, 3, unit="bytes", layer="relu", patch_size=2)
    assert model.get_layer("grid").output.shape == (None, 16, 16, 6)
    grid = keras.Model(model.input, model.get_layer("grid").output)(TEXTS)
    expected = keras.ops.mean(source.get_layer("conv2")(grid), (1, 2))
    features = keras.Model(model.input, model.get_layer("body").output)(TEXTS)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_a_body_for_any_size_and_one_that_gives_maps():
    images = keras.Input((None, None, 1))
    body = keras.Model(images, keras.layers.Conv2D(5, 3)(images))
    model = text_to_image_body(body, 4, unit="bytes", image_size=(8, 32))
    assert model.predict(TEXTS, verbose=0).shape == (24, 4)


@pytest.mark.parametrize("unit", ["characters", "words", "bytes"])
def test_a_saved_text_model_predicts_from_raw_strings_and_trains_the_same_weights(unit, tmp_path):
    words = None if unit == "bytes" else learn_vocabulary(["Österreich Ваня и Маша"], unit)
    model = text_to_image_body(image_body(), 3, unit=unit, vocabulary=words)
    fit(model, TEXTS, LABELS)
    before = model.predict(TEXTS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(TEXTS, verbose=0), before)
    assert trainable_report(loaded) == trainable_report(model)


def test_tokens_of_each_unit():
    texts = tf.constant(["Zoë, zoë!", b"\xffz", ""])
    letters = TextTokens(6, "characters", ["z", "o", "ë"])
    assert letters(texts).numpy().tolist() == [[1, 3, 4, 1, 1, 2], [1, 2, 0, 0, 0, 0], [0] * 6]
    words = TextTokens(3, "words", ["zoë"])
    assert words(texts).numpy().tolist() == [[2, 2, 0], [1, 0, 0], [0, 0, 0]]
    raw = TextTokens(4, "bytes")
    assert raw(texts).numpy().tolist() == [[90, 111, 195, 171], [255, 122, 0, 0], [0, 0, 0, 0]]
    assert (letters.size, words.size, raw.size) == (5, 3, 256)


def test_a_vocabulary_is_ordered_by_frequency():
    assert learn_vocabulary(["b b a", "Straße straße C"], "words") == ["b", "straße", "a", "c"]
    assert learn_vocabulary(["abcab", "a"], "characters", size=2) == ["a", "b"]
    assert learn_vocabulary(["a\ud800"], "characters") == ["\ufffd", "a"]
    with pytest.raises(UserError, match="hold no words"):
        learn_vocabulary(["", "!?"], "words")


FPT = {"patches/kernel", "patches/bias", "positions/embeddings"}


@pytest.mark.parametrize("trainable", ["none", "norms", "fpt", "all"])
def test_the_named_set_is_trained_from_images_and_nothing_else(bert, trainable):
    before = bert.get_weights()
    model = image_to_text_body(bert, (16, 16, 3), 4, 4, trainable=trainable)
    trained = {path for path, _, _ in trainable_report(model)}
    norms = {w.path for w in model.weights if "layer_norm" in w.path}
    assert len(norms) == 2 + 2 * 2 * 2  # embeddings, then two for each of two blocks; scale and offset
    expected = {"none": HEAD, "norms": HEAD | norms, "fpt": HEAD | norms | FPT}
    assert trained == expected.get(trainable, {w.path for w in model.trainable_weights})
    moved = fit(model, IMAGES, np.arange(20) % 4)
    assert moved <= trained and len(moved) >= len(trained) - 2  # a key's bias has no gradient in attention
    if trainable == "all":
        assert any("feedforward_output_dense/kernel" in path for path in moved)
    assert same_weights(bert, before)


def test_a_saved_image_model_predicts_the_same_and_trains_the_same_weights(bert, tmp_path):
    model = image_to_text_body(bert, (16, 16, 3), 4, 4)
    before = model.predict(IMAGES, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), before)
    assert [shape for _, shape, _ in trainable_report(loaded)] == [s for _, s, _ in trainable_report(model)]
    assert fit(loaded, IMAGES, np.arange(20) % 4)


def test_the_blocks_compute_what_bert_computes_on_its_own_embeddings(bert):
    ids = np.array([[3, 7, 1, 9, 30], [5, 5, 2, 0, 39]])
    ones, zeros = np.ones_like(ids), np.zeros_like(ids)
    expected = bert.predict({"token_ids": ids, "segment_ids": zeros, "padding_mask": ones}, verbose=0)
    words, positions, segments = (
        bert.get_layer(name).get_weights()[0] for name in ("token_embedding", "position_embedding", "segment_embedding")
    )
    embeddings = words[ids] + positions[:5] + segments[0]
    found = encoder_blocks(bert, 5).predict(embeddings, verbose=0)
    np.testing.assert_allclose(found, expected["sequence_output"], atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "first", "mean"])
def test_features_are_a_hand_made_projection_through_the_blocks(bert, pooling):
    phi = image_features(bert, (16, 16, 3), 4, pooling=pooling, seed=3)
    assert not phi.trainable_weights
    kernel, bias = phi.get_layer("patches").get_weights()
    scaled = IMAGES / 127.5 - 1
    tiles = scaled.reshape(20, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(20, 16, 48)  # row by row
    tokens = tiles @ kernel.reshape(48, 32) + bias + bert.get_layer("position_embedding").get_weights()[0][:16]
    sequence = encoder_blocks(bert, 16).predict(tokens, verbose=0)
    expected = {"last": sequence[:, -1], "first": sequence[:, 0], "mean": sequence.mean(1)}[pooling]
    np.testing.assert_allclose(phi.predict(IMAGES, verbose=0), expected, atol=1e-4)


def test_the_projection_is_orthogonal_with_gain_and_fixed_by_its_seed(bert):
    one, same, other = (image_features(bert, (16, 16, 3), 4, seed=s) for s in (1, 1, 2))
    kernel = one.get_layer("patches").get_weights()[0].reshape(48, 32)
    np.testing.assert_allclose(kernel.T @ kernel, 1.41**2 * np.eye(32), atol=1e-4)
    np.testing.assert_array_equal(one.predict(IMAGES, verbose=0), same.predict(IMAGES, verbose=0))
    assert not np.array_equal(one.predict(IMAGES, verbose=0), other.predict(IMAGES, verbose=0))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"patch_size": 5}, "do not tile an image of 16 x 16"),
        ({"patch_size": 2}, "64 tokens; .* 24 positions"),
        ({"pooling": "lats"}, "did you mean 'last'"),
        ({"trainable": "norm"}, "did you mean 'norms'"),
        ({"num_classes": 1}, "two classes"),
    ],
)
def test_image_options_that_cannot_be_used_are_refused(bert, change, message):
    options = {"image_shape": (16, 16, 3), "patch_size": 4, "num_classes": 3, **change}
    with pytest.raises(UserError, match=message):
        image_to_text_body(bert, **options)


def test_bodies_of_the_wrong_modality_are_refused(bert):
    with pytest.raises(UserError, match="KerasHub text encoder"):
        image_to_text_body(image_body(), (16, 16, 3), 4, 3)
    with pytest.raises(UserError, match="give an image body"):
        text_to_image_body(bert, 3, unit="bytes")


def test_text_options_that_cannot_be_used_are_refused():
    body = image_body()
    for change, message in (
        ({"patch_size": 3}, "do not tile the grid of 16 x 16"),
        ({"unit": "character"}, "did you mean 'characters'"),
        ({"unit": "words"}, "need a vocabulary"),
        ({"layer": "conv"}, "did you mean 'conv"),
        ({"image_size": (32, 32)}, "takes images of 16 x 16, not 32 x 32"),
        ({"trainable": "everything"}, "known: none, norms, fpt, all"),
    ):
        with pytest.raises(UserError, match=message):
            text_to_image_body(body, 3, **{"unit": "bytes", **change})
    anywhere = keras.Input((None, None, 3))
    with pytest.raises(UserError, match="give one with image_size"):
        text_to_image_body(keras.Model(anywhere, keras.layers.Conv2D(2, 3)(anywhere)), 3, unit="bytes")
    dense = keras.Input((7,))
    with pytest.raises(UserError, match="not images"):
        text_to_image_body(keras.Model(dense, keras.layers.Dense(2)(dense)), 3, unit="bytes")


def test_a_body_with_a_path_past_the_entry_is_refused():
    images = keras.Input((8, 8, 2))
    inner = keras.layers.Conv2D(2, 3, padding="same", name="inner")(images)
    body = keras.Model(images, keras.layers.Add()([inner, images]))
    with pytest.raises(UserError, match="another path goes past it"):
        text_to_image_body(body, 3, unit="bytes", layer="inner")
