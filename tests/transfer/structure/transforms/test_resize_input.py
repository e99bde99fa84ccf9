"""Image models at other sizes: exact at the same size, and consistent with resized images at others."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import batch, branches, cnn, gated, nested, randomise, residual_cnn, same

from tfxfer.errors import UserError
from tfxfer.models.cnn import article_cnn, glyph_cnn
from tfxfer.transfer.structure import WeightMap
from tfxfer.transfer.structure.transforms.image_size import resize_input

pytestmark = pytest.mark.tensorflow
properties = settings(max_examples=8, deadline=None, derandomize=True)
layers = keras.layers
sides, seeds = st.integers(2, 7), st.integers(0, 99)


def random_images(model, n=3, seed=0, sides=None):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *(sides or model.input_shape[1:3]), model.input_shape[3])).astype(np.float32)


def resized(images, sides):
    return tf.image.resize(images, sides, "bilinear").numpy()


def head(height, width, norm=False, dropout=False):
    """A dense layer on a flattened image."""
    inputs = keras.Input((height, width, 2))
    x = layers.Flatten()(inputs) if not dropout else layers.Dropout(0.5)(layers.Reshape((height * width * 2,))(inputs))
    x = layers.BatchNormalization(name="norm")(x) if norm else x
    return keras.Model(inputs, layers.Dense(3, name="dense")(x))


def vit(height=4, width=6, patch=2, class_token=False, table=0):
    """Patches → tokens with positions → attention → features of every token."""
    import keras_hub

    inputs = keras.Input((height, width, 3))
    x = layers.Conv2D(4, patch, patch, name="patches")(inputs)
    x = layers.Reshape((height // patch * (width // patch), 4), name="tokens")(x)
    if class_token:
        x = layers.Concatenate(axis=1)([x[:, :1] * 0.0, x])
    positions = keras_hub.layers.PositionEmbedding(max(table, x.shape[1]), name="positions")
    x = layers.Add(name="placed")([x, positions(x)])
    x = layers.Add()([x, layers.MultiHeadAttention(2, 3)(x, x)])
    return keras.Model(inputs, x, name="vit")


@pytest.mark.parametrize("build", [cnn, residual_cnn, branches, gated, nested, vit, lambda: vit(class_token=True)])
def test_at_the_same_size_it_is_an_exact_copy(build):
    model = randomise(build())
    weight_map = resize_input(model, model.input_shape[1:])
    copy = weight_map.apply()
    assert weight_map.preserves == "yes" and weight_map.verify(batch(model)).absolute == 0
    same(model, copy, batch(model), tolerance=0)
    copy.set_weights([0 * value for value in copy.get_weights()])
    assert any(np.any(value) for value in model.get_weights())  # nothing is shared


SAME_SIZE = {
    "cnn": lambda width, side, more: cnn(width, more, side=side),
    "residual cnn": lambda width, side, more: residual_cnn(width, more, side=side),
    "transformer": lambda width, side, more: vit(2 * width, 2 * side, class_token=more % 2 == 0),
}


@pytest.mark.parametrize("kind", SAME_SIZE)
@given(st.integers(1, 5), st.integers(2, 6), st.integers(1, 5), seeds)
@properties
def test_for_random_sizes_nothing_is_interpolated_at_the_same_size(kind, width, side, more, seed):
    model = randomise(SAME_SIZE[kind](width, side, more), seed)
    weight_map = resize_input(model, model.input_shape[1:])
    copy = weight_map.apply()
    assert weight_map.preserves == "yes"
    same(model, copy, batch(model, seed=seed), tolerance=1e-5)


@given(sides, sides, st.integers(0, 5), st.integers(0, 5), st.booleans(), seeds)
@properties
def test_a_flat_head_gives_equal_outputs_on_enlarged_images(height, width, taller, wider, dropout, seed):
    model = randomise(head(height, width, dropout=dropout), seed)
    new = (height + taller, width + wider)
    weight_map = resize_input(model, new)
    large = weight_map.apply()
    images = random_images(model, seed=seed)
    ours, theirs = np.asarray(large(resized(images, new))), np.asarray(model(images))
    assert np.abs(ours - theirs).max() <= 1e-5 * max(1, np.abs(theirs).max())
    assert weight_map.verify(resized(images, new), source_inputs=images).kept
    assert weight_map.preserves == ("yes" if not taller + wider else f"if patches are resized to {list(new)}, linear")


def test_a_flat_head_on_shrunk_images_is_the_least_squares_solution():
    """Least squares: no other kernel gives a smaller difference, summed over images with independent pixels."""
    model = randomise(head(5, 6))
    weight_map = resize_input(model, (3, 4))
    small = weight_map.apply()
    assert weight_map.preserves == "no"
    eye = np.eye(60, dtype=np.float32).reshape(60, 5, 6, 2)
    read = resized(eye, (3, 4)).reshape(60, -1)
    best = np.linalg.lstsq(read, model.get_layer("dense").kernel.numpy(), rcond=None)[0]
    np.testing.assert_allclose(small.get_layer("dense").kernel, best, atol=1e-4)


def test_a_transposed_map_is_resized_although_shapes_are_equal():
    model = randomise(head(2, 4))
    turned = resize_input(model, (4, 2)).apply()
    assert turned.get_layer("dense").kernel.shape == model.get_layer("dense").kernel.shape
    assert not np.allclose(turned.get_layer("dense").kernel, model.get_layer("dense").kernel)


def test_norms_of_flat_maps_are_interpolated():
    model = randomise(head(3, 4, norm=True))
    large = resize_input(model, (6, 8)).apply()
    for old, new in zip(model.get_layer("norm").weights, large.get_layer("norm").weights):
        grid = resized(old.numpy().reshape(1, 3, 4, 2), (6, 8))
        np.testing.assert_allclose(new.numpy().reshape(1, 6, 8, 2), grid, atol=1e-6)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.booleans(), seeds)
@properties
def test_positions_are_interpolated_over_the_grid_of_patches(rows, columns, new_rows, new_columns, class_token, seed):
    table = rows * columns + 3 if seed % 2 else 0  # a table with more places than there are patches
    model = randomise(vit(2 * rows, 2 * columns, class_token=class_token, table=table), seed)
    other = resize_input(model, (2 * new_rows, 2 * new_columns)).apply()
    old, new = (one.get_layer("positions").weights[0].numpy() for one in (model, other))
    if (rows, columns) == (new_rows, new_columns):
        np.testing.assert_array_equal(new, old)
        return
    first = int(class_token)
    np.testing.assert_array_equal(new[:first], old[:first])
    grid = old[first : first + rows * columns].reshape(1, rows, columns, 4)
    np.testing.assert_allclose(new[first:], resized(grid, (new_rows, new_columns)).reshape(-1, 4), atol=1e-5)
    np.testing.assert_array_equal(other.get_layer("patches").kernel, model.get_layer("patches").kernel)


def test_keras_hubs_vision_transformer_is_resized():
    import keras_hub

    model = keras_hub.models.ViTBackbone((4, 6, 3), 2, 1, 2, 4, 8, use_patch_bias=False)
    for variable in model.variables:
        if "position" in variable.path:
            variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    weight_map = resize_input(model, (4, 6))
    weight_map.apply()
    assert weight_map.verify(random_images(model)).absolute == 0
    other = resize_input(model, (8, 6, 3)).apply()
    (old,), (new,) = ([v.numpy() for v in one.variables if "position" in v.path] for one in (model, other))
    np.testing.assert_array_equal(new[0], old[0])
    np.testing.assert_allclose(new[1:], resized(old[1:].reshape(1, 2, 3, 4), (4, 3)).reshape(-1, 4), atol=1e-6)
    assert other(random_images(other)).shape == (3, 13, 4)


def test_text_bodies_that_read_images_are_resized():
    from tfxfer.models.bert import small_bert
    from tfxfer.transfer.bridges.tokens import image_to_text_body

    model = image_to_text_body(small_bert(50, 1, 8, 2, 16), (8, 8, 1), 4, 3)
    weight_map = resize_input(model, (8, 8))
    weight_map.apply()
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 16, 1), np.uint8)
    assert weight_map.verify(images[:, :, :8]).absolute == 0
    wide = resize_input(model, (8, 16)).apply()
    assert wide(images).shape == (2, 3) and wide.input.dtype == "uint8"
    assert [v.path for v in wide.trainable_variables] == [v.path for v in model.trainable_variables]


@pytest.mark.parametrize("sides", [(8, 56), (None, None), (8, None)])
def test_a_fully_convolutional_model_is_reused_at_another_width(sides):
    model = glyph_cnn(5, filters=(2, 3, 4, 5))
    randomise(model)
    model.get_layer("classes").activation = keras.activations.linear
    weight_map = resize_input(model, sides)
    other = weight_map.apply()
    assert other.input_shape[1:] == (*sides, 1) and weight_map.preserves == "yes"
    same(model, other, np.random.default_rng(0).uniform(0, 255, (2, 8, 56, 1)).astype(np.float32))
    narrow = resize_input(other, (8, 8)).apply()
    same(model, narrow, np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)).astype(np.float32))


def test_a_padded_image_of_constant_maps_gives_the_same_features():
    """The article's CNN with a flat head: an image of one colour has the same maps away from the edges."""
    model = article_cnn(3, (8, 8, 1), (2, 3), 4)
    weight_map = resize_input(model, (16, 24))
    large = weight_map.apply()
    assert large.get_layer("hidden").kernel.shape == (4 * 6 * 3, 4)
    before = np.asarray(model.get_layer("hidden").kernel).reshape(4, 3, 4).sum(0)
    after = np.asarray(large.get_layer("hidden").kernel).reshape(24, 3, 4).sum(0)
    np.testing.assert_allclose(after, before, atol=1e-5)  # the output for a constant map


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
def test_models_of_keras_applications_are_resized(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=7)
    weight_map = resize_input(model, (64, 64))
    weight_map.apply()
    assert weight_map.verify(random_images(model)).absolute == 0
    other = resize_input(model, (96, 160)).apply()
    assert other(random_images(other, 2)).shape == (2, 7)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(other.get_weights(), model.get_weights()))


def test_the_plan_can_be_saved_and_read():
    model = randomise(vit(class_token=True))
    weight_map = resize_input(model, (8, 8), "cubic")
    first = [value.copy() for value in weight_map.apply().get_weights()]
    again = WeightMap.from_json(weight_map.to_json(), model, weight_map.target.model).apply()
    assert all(map(np.array_equal, first, again.get_weights()))


def line():
    inputs = keras.Input((4, 3))
    return keras.Model(inputs, layers.Dense(2)(inputs), name="line")


def two():
    inputs = [keras.Input((4, 4, 1)), keras.Input((4, 4, 1))]
    return keras.Model(inputs, layers.Add()(inputs), name="two")


def reshaped():
    inputs = keras.Input((4, 4, 2))
    return keras.Model(inputs, layers.Reshape((2, 16), name="odd")(inputs))


def hub():
    import keras_hub

    return keras_hub.models.ViTBackbone((4, 6, 3), 2, 1, 2, 4, 8)


def spatial():
    inputs = keras.Input((4, 4, 2))
    return keras.Model(inputs, layers.PReLU(name="slopes")(inputs))


@pytest.mark.parametrize(
    ("model", "sides", "message"),
    [
        (cnn, (8, 8, 3), "has images of 2 channels, not 3"),
        (cnn, (8,), "give .height, width. in pixels"),
        (cnn, 8, "give .height, width. in pixels"),
        (cnn, (8, 0), "give .height, width. in pixels"),
        (cnn, (8, 8.0), "give .height, width. in pixels"),
        (cnn, (None, None), "layer 'hidden' .Dense. cannot take"),
        (line, (8, 8), "line does not have images"),
        (two, (8, 8), "two does not have images"),
        (lambda: branches(side=6), (2, 2), "layer 'left' .Conv2D. cannot take .None, 2, 2, 2."),
        (reshaped, (6, 6), "Reshape 'odd' reshapes .4, 4, 2. to .2, 16.; the shape for .6, 6, 2. is ambiguous"),
        (spatial, (6, 6), "'slopes/alpha' is .4, 4, 2., and .6, 6, 2. at the new size"),
        (hub, (5, 6), "patches of .2, 2. do not tile images of .5, 6."),
        (lambda: branches(side=(4, 6)), (6, 4), "'classes/kernel' is .*the layout of its axes is unknown"),
        (branches, (8, 8), "'classes/kernel' is .*the layout of its axes is unknown"),
    ],
)
def test_unsupported_models_and_options_are_errors_that_name_the_layer(model, sides, message):
    with pytest.raises(UserError, match=message):
        resize_input(model(), sides)


def test_an_unknown_method_is_refused():
    with pytest.raises(UserError, match="method='bilinear' is unknown"):
        resize_input(cnn(), (8, 8), "bilinear")
