"""An image CNN in 1-D: outputs are preserved exactly where the docstring states it."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import batch, cnn, gated, nested, randomise, residual_cnn

from tfxfer.errors import UserError
from tfxfer.models.cnn import article_cnn, glyph_cnn
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.structure import WeightMap
from tfxfer.transfer.structure.transforms.text_cnn import image_cnn_to_text_cnn

pytestmark = pytest.mark.tensorflow
layers = keras.layers
LETTERS = list("abcdefgh ")
TEXTS = keras.ops.convert_to_tensor(["abc", "", "a cab, a bag", "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh"])


def to_text(model, **options):
    return image_cnn_to_text_cnn(model, LETTERS, **{"num_classes": 3, "first": "projection", **options})


def on_line(text_model, lines):
    """Return the features of sequences [B, W, C] in place of pixels, without embedding and head."""
    start, end = text_model.get_layer("channels").output, text_model.get_layer("classes").input
    return np.asarray(keras.Model(start, end)(lines))


def features(model, images):
    last = model.layers[-1]
    return np.asarray(keras.Model(model.input, last.input)(images))


def alike(ours, theirs, tolerance=1e-5):
    assert ours.shape == theirs.shape and np.abs(theirs).max() > 0
    assert np.abs(ours - theirs).max() <= tolerance * max(1, np.abs(theirs).max())


def valid(height, width, first, window, stride, depth, flat, gate):
    """Return layers without padding, with the options drawn by hypothesis."""
    x = inputs = keras.Input((height, width, 2), name="image")
    x = layers.Conv2D(first, window, strides=(1, stride), activation="relu", name="conv")(x)
    x = layers.BatchNormalization(axis=3, name="norm")(x)
    if depth:
        x = layers.DepthwiseConv2D((2, 3), depth_multiplier=2, activation="tanh", name="depthwise")(x)
        x = layers.SeparableConv2D(3, (1, 2), depth_multiplier=2, name="separable")(x)
    x = layers.MaxPooling2D((2, 2), name="pool")(x)
    if gate:
        g = layers.Reshape((1, 1, x.shape[-1]))(layers.GlobalAveragePooling2D()(x))
        x = layers.Multiply()([x, layers.Conv2D(x.shape[-1], 1, activation="sigmoid", name="gate")(g)])
    x = layers.Flatten()(x) if flat else layers.GlobalMaxPooling2D()(x)
    x = layers.Dense(4, activation="relu", name="hidden")(x)
    return keras.Model(inputs, layers.Dense(5, name="old_classes")(x), name="valid")


@given(
    st.integers(5, 8), st.integers(11, 16), st.integers(1, 4), st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 2), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=12, deadline=None, derandomize=True)
def test_an_image_of_equal_rows_gives_the_features_of_one_row(h, w, first, window, stride, depth, flat, gate, seed):
    model = randomise(valid(h, w, first, window, stride, depth, flat, gate), seed)
    text = to_text(model, length=w, kernels="sum").apply()
    lines = np.random.default_rng(seed).normal(size=(3, w, 2)).astype(np.float32)
    alike(on_line(text, lines), features(model, np.repeat(lines[:, None], h, 1)))


@given(st.integers(9, 40), st.integers(0, 99))
@settings(max_examples=5, deadline=None, derandomize=True)
def test_an_image_of_one_row_gives_the_features_of_the_row_with_padding_too(width, seed):
    model = randomise(glyph_cnn(4, filters=(2, 3, 4, 5)), seed)
    text = to_text(model, length=width, kernels="centre").apply()
    row = np.random.default_rng(seed).uniform(0, 255, (2, 1, width, 1)).astype(np.float32)
    ink = 1 - row[:, 0] / 255  # what the model's first layer makes of pixels
    alike(on_line(text, ink), features(model, row))


def test_a_residual_cnn_is_converted():
    model = randomise(residual_cnn(side=7))
    text = to_text(model, length=7, kernels="centre").apply()
    one_row = randomise(residual_cnn(side=None))
    lines = np.random.default_rng(0).normal(size=(3, 7, 2)).astype(np.float32)
    alike(on_line(text, lines), features(one_row, lines[:, None]))


def test_a_text_shorter_or_longer_than_the_image_resizes_the_flat_head():
    """A map that is constant over positions gives the same outputs for any number of positions."""
    model = randomise(article_cnn(3, (8, 8, 2), (2,), 4))
    for length in (8, 20):
        weight_map = to_text(model, length=length)
        text = weight_map.apply()
        kernel = np.asarray(text.get_layer("hidden").kernel).reshape(length // 2, 2, 4)
        whole = np.asarray(model.get_layer("hidden").kernel).reshape(4, 4, 2, 4)
        np.testing.assert_allclose(kernel.sum(0), whole.sum((0, 1)), atol=1e-4)
    np.testing.assert_allclose(to_text(model, length=8).apply().get_layer("hidden").kernel, whole.sum(0).reshape(8, 4))


@pytest.mark.parametrize("kernels", ["sum", "mean", "centre"])
def test_the_height_is_reduced_as_given(kernels):
    model = randomise(cnn(side=8))
    text = to_text(model, length=8, kernels=kernels).apply()
    kernel = model.get_layer("conv2").kernel.numpy()
    expected = kernel[1] if kernels == "centre" else getattr(kernel, kernels)(0)
    np.testing.assert_allclose(text.get_layer("conv2").kernel, expected, atol=1e-6)
    for weight in ("gamma", "beta", "moving_mean", "moving_variance"):
        ours, theirs = (getattr(one.get_layer("norm1"), weight).numpy() for one in (text, model))
        np.testing.assert_array_equal(ours, theirs)


def test_the_first_layer_is_new_where_embeddings_have_other_channels_than_images():
    model = randomise(glyph_cnn(4, filters=(2, 3, 4, 5)))
    before = [value.copy() for value in model.get_weights()]
    weight_map = to_text(model, first="fresh", embedding_dim=1)  # as many as the image has channels
    text = weight_map.apply()
    fresh = {row.target.path for row in weight_map.rows if row.steps[0].name == "fresh"}
    assert fresh == {"embedding/embeddings", "conv1/kernel", "classes/kernel", "classes/bias"}
    assert "embeddings have other channels than images" in weight_map.explain("conv1/kernel")
    assert not any(row.keeps for row in weight_map.rows) and weight_map.preserves == "no"
    assert {origin.path for origin in weight_map.unread} == {"conv1/kernel", "classes/kernel", "classes/bias"}
    assert text(TEXTS).shape == (4, 3)
    np.testing.assert_allclose(np.asarray(text(TEXTS)).sum(-1), 1, atol=1e-5)
    assert all(map(np.array_equal, before, model.get_weights()))
    again = to_text(model, first="fresh", embedding_dim=1).apply()
    other = to_text(model, first="fresh", embedding_dim=1, seed=1).apply()
    assert all(map(np.array_equal, text.get_weights(), again.get_weights()))
    assert not np.array_equal(text.get_layer("conv1").kernel, other.get_layer("conv1").kernel)


def test_a_fully_convolutional_cnn_reads_texts_of_any_length():
    model = randomise(glyph_cnn(4, filters=(2, 3, 4, 5)))
    short, long = (to_text(model, first="fresh", length=length).apply() for length in (16, 64))
    assert all(map(np.array_equal, short.get_weights(), long.get_weights()))


def test_a_nested_cnn_and_one_without_a_head_are_converted():
    assert to_text(nested(), length=6).apply()(TEXTS).shape == (4, 3)
    model = cnn()
    body = keras.Model(model.input, model.get_layer("conv2").output)
    text = to_text(body, length=6)
    assert text.apply()(TEXTS).shape == (4, 3) and not text.unread


@pytest.mark.parametrize(("unit", "vocabulary"), [("words", ["a", "cab"]), ("bytes", None)])
def test_tokens_are_words_or_bytes_too(unit, vocabulary):
    weight_map = image_cnn_to_text_cnn(cnn(), vocabulary, unit=unit, num_classes=2, length=6)
    assert weight_map.apply()(TEXTS).shape == (4, 2)


def test_it_is_saved_loaded_and_learns(tmp_path):
    texts = ["a cab", "a bag", "a face", "had a", "head", "be"] * 8
    labels = np.array([0, 0, 0, 1, 1, 1] * 8)
    vocabulary = learn_vocabulary(texts)
    model = glyph_cnn(4, filters=(4, 4, 8, 8))
    text = image_cnn_to_text_cnn(model, vocabulary, num_classes=2, length=12).apply()
    text.compile("adam", "sparse_categorical_crossentropy")
    inputs = keras.ops.convert_to_tensor(texts)
    losses = text.fit(inputs, labels, epochs=12, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    text.save(tmp_path / "text.keras")
    loaded = keras.models.load_model(tmp_path / "text.keras")
    np.testing.assert_allclose(loaded(inputs), text(inputs), atol=1e-6)


def test_the_plan_can_be_saved_and_read():
    model = randomise(article_cnn(3, (8, 8, 2), (2,), 4))
    weight_map = to_text(model, length=20)
    values = [value.copy() for value in weight_map.apply().get_weights()]
    again = WeightMap.from_json(weight_map.to_json(), model, weight_map.target.model).apply()
    assert all(map(np.array_equal, values, again.get_weights()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetB0"])
def test_models_of_keras_applications_are_converted(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=7)
    weight_map = to_text(model, length=64, first="fresh")
    assert weight_map.coverage > 0.95
    assert np.isfinite(weight_map.apply()(TEXTS)).all()


def image(middle, name="image"):
    inputs = keras.Input((8, 8, 2), name="image")
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(middle(inputs))), name=name)


def line():
    inputs = keras.Input((4, 3))
    return keras.Model(inputs, layers.Dense(2)(inputs), name="line")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (cnn, {"kernels": "max"}, "kernels='max' is unknown"),
        (cnn, {"first": "frehs"}, "first='frehs' is unknown; did you mean 'fresh'"),
        (cnn, {"num_classes": 1}, "num_classes=1: give an integer from 2"),
        (cnn, {"length": 0}, "length=0: give an integer from 1"),
        (cnn, {"embedding_dim": 2.5}, "embedding_dim=2.5"),
        (cnn, {"unit": "chars"}, "unit 'chars' is unknown"),
        (line, {}, "line does not have images"),
        (lambda: article_cnn(3, (16, 16, 1), (2, 2, 2)), {"length": 4}, "layer 'pool3' .MaxPooling1D. cannot take"),
        (
            lambda: image(layers.Permute((2, 1, 3), name="turn")),
            {},
            "'turn' is a Permute, which has no 1-D",
        ),
        (lambda: image(lambda x: keras.ops.flip(x, 1)), {}, "is a Flip, which has no 1-D counterpart"),
        (lambda: image(layers.PReLU(name="slopes")), {}, "'slopes' is a PReLU, which has no 1-D counterpart"),
        (
            lambda: image(lambda x: layers.Concatenate(axis=1, name="tall")([x, x])),
            {},
            "'tall' works along the height of images",
        ),
        (
            lambda: image(layers.DepthwiseConv2D(3, name="deep")),
            {"first": "fresh"},
            "'deep' reads the image and is",
        ),
        (lambda: image(layers.UpSampling2D(interpolation="bilinear", name="up")), {}, "'up' interpolates between"),
        (lambda: image(layers.Lambda(lambda x: x, name="mine")), {}, "'mine' is a Lambda"),
        (lambda: "cnn", {}, "give a Keras model"),
    ],
)
def test_unsupported_models_and_options_are_errors_that_name_the_layer(model, options, message):
    with pytest.raises(UserError, match=message):
        to_text(model(), **options)


def test_gates_and_other_convolutions_are_converted():
    assert "get_item" in {layer.name.rstrip("_0123456789") for layer in gated().operations}
    with pytest.raises(UserError, match="is a GetItem, which has no 1-D counterpart"):
        to_text(gated(), length=8)
    model = randomise(image(layers.Conv2DTranspose(3, (1, 2), strides=(1, 2), name="up")))
    text = to_text(model, length=8).apply()
    lines = batch(model)[:, 0]
    alike(on_line(text, lines), features(model, np.repeat(lines[:, None], 8, 1)))
