"""A language model's blocks as an image encoder, and back: the blocks compute the same, and the ledger lists them."""

import keras
import keras_hub
import numpy as np
import pytest
from small_models import randomise

from tfxfer.errors import UserError
from tfxfer.models.bert import small_bert
from tfxfer.transfer.bridges.patches import encoder_blocks
from tfxfer.transfer.structure.transforms.vision import encoder_to_vision, vision_to_encoder

pytestmark = pytest.mark.tensorflow

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def bert():
    return randomise(small_bert(60, num_layers=2, hidden_dim=16, num_heads=2, max_sequence_length=20))


@pytest.fixture(scope="module")
def vit():
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    return randomise(keras_hub.models.ViTBackbone(image_shape=(16, 16, 3), patch_size=4, **sizes))


def test_blocks_compute_the_same_on_the_same_embeddings(bert):
    vision = encoder_to_vision(bert, (16, 16, 1), 4, pooling=None).apply()
    inside = keras.Model(vision.input, vision.get_layer("body").output)
    embeddings = keras.Model(vision.input, vision.get_layer("embeddings").output)(IMAGES)
    np.testing.assert_allclose(inside(IMAGES), encoder_blocks(bert, 16)(embeddings), atol=1e-5)
    np.testing.assert_allclose(vision(IMAGES), inside(IMAGES), atol=1e-6)


def test_the_same_as_the_tokens_bridge_with_the_same_projection(bert):
    from tfxfer.transfer.bridges.patches import image_features

    ours, bridge = encoder_to_vision(bert, (16, 16, 1), 4).apply(), image_features(bert, (16, 16, 1), 4)
    bridge.get_layer("patches").set_weights(ours.get_layer("patches").get_weights())
    np.testing.assert_allclose(ours(IMAGES), bridge(IMAGES), atol=1e-5)


def test_the_ledger_lists_copied_new_and_unused_tensors(bert):
    weight_map = encoder_to_vision(bert, (16, 16, 1), 4, num_classes=3)
    text = str(weight_map)
    assert weight_map.unmatched["target"] == []
    assert weight_map.unmatched["source"] == [
        "token_embedding/embeddings",
        "segment_embedding/embeddings",
        "pooled_dense/kernel",
        "pooled_dense/bias",
    ]
    fresh = {row.target.path for row in weight_map.rows if not row.origins}
    assert fresh == {"patches/kernel", "patches/bias", "classes/kernel", "classes/bias"}
    assert "made without a source" in text and 0.9 < weight_map.coverage < 1


def test_the_source_is_unchanged_and_the_target_is_random_before(bert):
    before = bert.get_weights()
    weight_map = encoder_to_vision(bert, (16, 16, 1), 4, trainable="all")
    kernel = "transformer_layer_0/self_attention_layer/query/kernel"
    target = {v.path: v for v in weight_map.target.model.variables}[kernel]
    source = {v.path: v for v in bert.variables}[kernel]
    assert not np.allclose(target, source)
    weight_map.apply()
    np.testing.assert_array_equal(target, source)
    for weight in weight_map.target.model.weights:
        weight.assign(keras.ops.zeros_like(weight))
    for old, new in zip(before, bert.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_new_weights_depend_on_the_seed(bert):
    first, again, other = (encoder_to_vision(bert, (16, 16, 1), 4, 3, seed=seed).apply() for seed in (1, 1, 2))
    for name in ("patches", "classes"):
        a, b, c = (model.get_layer(name).get_weights()[0] for model in (first, again, other))
        np.testing.assert_array_equal(a, b)
        assert not np.allclose(a, c)
    rows = first.get_layer("patches").get_weights()[0].reshape(16, 16)
    np.testing.assert_allclose(rows @ rows.T, 1.41**2 * np.eye(16), atol=1e-4)  # orthogonal, gain 1.41


def test_more_patches_than_positions_interpolate_the_positions(bert):
    weight_map = encoder_to_vision(bert, (32, 32, 1), 4, pooling=None)  # 64 patches, 20 positions
    row = weight_map.row("positions/embeddings")
    assert [step.name for step in row.steps] == ["interpolate"]
    table = weight_map.apply().get_layer("positions").get_weights()[0]
    source = bert.get_layer("position_embedding").get_weights()[0]
    assert table.shape == (64, 16) and source.min() <= table.min() and table.max() <= source.max()


@pytest.mark.parametrize(("trainable", "names"), [("none", {"classes"}), ("norms", {"classes", "body"})])
def test_the_requested_weights_train(bert, trainable, names):
    model = encoder_to_vision(bert, (16, 16, 1), 4, 3, trainable=trainable).apply()
    assert {layer.name for layer in model.layers if layer.trainable_weights} == names
    whole = encoder_to_vision(bert, (16, 16, 1), 4, 3, trainable="all").apply()
    assert len(whole.trainable_weights) > len(
        encoder_to_vision(bert, (16, 16, 1), 4, 3, trainable="fpt").apply().trainable_weights
    )


def test_the_target_is_saved_and_read_as_one_file(bert, tmp_path):
    model = encoder_to_vision(bert, (16, 16, 1), 4, 3).apply()
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras")(IMAGES), model(IMAGES), atol=1e-6)


def test_after_both_directions_every_block_is_in_its_place(bert):
    vision = encoder_to_vision(bert, (16, 16, 1), 4).apply()
    back = vision_to_encoder(vision, like=bert)
    model = back.apply()
    assert back.unmatched["target"] == []
    theirs = {v.path: v for v in bert.variables}
    carried = [row.target.path for row in back.rows if row.origins]
    assert len(carried) == 35  # of each of two blocks 16, two of the embeddings' norm, and the positions
    for variable in model.variables:
        if variable.path in carried:
            np.testing.assert_array_equal(variable, theirs[variable.path])
    inputs = {"token_ids": np.ones((2, 20), int), "segment_ids": np.zeros((2, 20), int)}
    assert model(inputs | {"padding_mask": np.ones((2, 20), int)})["sequence_output"].shape == (2, 20, 16)


def test_vit_blocks_compute_the_same_on_tokens_as_on_patches(vit):
    """On the ViT's patch embeddings without the class token, the text encoder's blocks compute the same as ViT's."""
    text = vision_to_encoder(vit, vocabulary_size=40).apply()
    embeddings = np.random.default_rng(0).normal(size=(2, 16, 16)).astype(np.float32)
    x = keras.Input((16, 16))
    y = x
    for layer in text.layers:
        if layer.name.startswith("transformer_layer_") or layer.name == "ln":
            y = layer(y)
    np.testing.assert_allclose(
        keras.Model(x, y)(embeddings), vit.get_layer("vit_encoder")(embeddings, training=False), atol=1e-5
    )
    table = vit.get_layer("vit_patching_and_embedding").position_embedding.get_weights()[0]
    np.testing.assert_array_equal(text.get_layer("position_embedding").get_weights()[0], table[1:])


def test_padding_does_not_change_the_other_tokens_of_a_text_encoder_made_of_a_vit(vit):
    text = vision_to_encoder(vit, vocabulary_size=40).apply()
    ids = np.arange(16)[None] + 1
    mask = (np.arange(16) < 10).astype(int)[None]
    padded = np.where(mask, ids, 0)
    first = text({"token_ids": ids, "padding_mask": mask})[:, :10]
    np.testing.assert_allclose(first, text({"token_ids": padded, "padding_mask": mask})[:, :10], atol=1e-5)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda b, v: encoder_to_vision(b, (15, 16, 1), 4), "do not tile"),
        (lambda b, v: encoder_to_vision(b, (16, 16, 1), 4, 3, pooling=None), "needs pooled tokens"),
        (lambda b, v: encoder_to_vision(b, (16, 16, 1), 4, pooling="median"), "pooling='median' is unknown"),
        (lambda b, v: encoder_to_vision(b, (16, 16, 1), 4, trainable="some"), "trainable='some' is unknown"),
        (lambda b, v: encoder_to_vision(v, (16, 16, 1), 4), "images enter a KerasHub text encoder"),
        (lambda b, v: vision_to_encoder(v), "needs a vocabulary"),
        (lambda b, v: vision_to_encoder(b, 40), "made from a target of encoder_to_vision or a KerasHub ViTBackbone"),
    ],
)
def test_invalid_arguments_are_refused(bert, vit, call, problem):
    with pytest.raises(UserError, match=problem):
        call(bert, vit)
