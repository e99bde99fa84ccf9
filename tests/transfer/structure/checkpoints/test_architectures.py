"""Tables of rules: complete models, compared with KerasHub's conversion, and targets that KerasHub does not convert."""

import keras
import keras_hub
import numpy as np
import pytest
from architectures import HEADS, INNER, LENGTH, WIDTH, WORDS, bert, distilbert, gpt2, resnet, vit
from written import folder, unchanged, weights_of

from tfxfer.errors import UserError
from tfxfer.transfer.structure import plan
from tfxfer.transfer.structure.checkpoints import ModelFolder, Safetensors
from tfxfer.transfer.structure.checkpoints.choosing import table_rules
from tfxfer.transfer.structure.weight_map.sources import KerasSource, tensors_of

pytestmark = pytest.mark.tensorflow
hub = keras_hub.models
SMALL = {
    "vocabulary_size": WORDS,
    "num_heads": HEADS,
    "hidden_dim": WIDTH,
    "intermediate_dim": INNER,
    "max_sequence_length": LENGTH,
}


def mapped(source, target, rules=(), **options):
    """Return the plan with the rules that come with the source, the caller's own first."""
    return plan(source, target, rules or None, **options)


WHOLE = {
    "bert": (bert, hub.BertBackbone),
    "distilbert": (distilbert, hub.DistilBertBackbone),
    "vit": (vit, hub.ViTBackbone),
    "gpt2": (gpt2, hub.GPT2Backbone),
    "resnet18": (lambda: resnet(18), hub.ResNetBackbone),
    "resnet50": (lambda: resnet(50), hub.ResNetBackbone),
}


@pytest.mark.parametrize("name", WHOLE)
def test_complete_models_get_the_same_weights_as_from_kerashub(tmp_path, name):
    make, kind = WHOLE[name]
    folder(tmp_path / name, *make())
    theirs = kind.from_preset(str(tmp_path / name))
    ours = kind.from_preset(str(tmp_path / name), load_weights=False)
    weight_map = mapped(f"hf:{tmp_path / name}", ours)
    assert weight_map.coverage == 1 and not weight_map.unmatched["target"]
    weight_map.apply()
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        if not one.path.endswith("seed_generator_state"):
            np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("names", [("weight", "bias"), ("gamma", "beta")])
def test_old_and_new_tensor_names_are_known(tmp_path, prefix, names):
    folder(tmp_path / "m", *bert(prefix=prefix, names=names), shards=2)
    assert mapped(f"hf:{tmp_path / 'm'}", hub.BertBackbone(num_layers=2, **SMALL)).coverage == 1


@pytest.mark.parametrize("prefix", ["", "distilbert."])
def test_distilbert_without_its_prefix(tmp_path, prefix):
    folder(tmp_path / "m", *distilbert(prefix=prefix))
    assert mapped(f"hf:{tmp_path / 'm'}", hub.DistilBertBackbone(num_layers=2, **SMALL)).coverage == 1


def test_fewer_layers_take_the_first_and_list_the_unread_tensors(tmp_path):
    tensors, config = bert(layers=3)
    folder(tmp_path / "m", tensors, config)
    weight_map = mapped(f"hf:{tmp_path / 'm'}", hub.BertBackbone(num_layers=2, **SMALL))
    model = weight_map.apply()
    kernel = model.get_layer("transformer_layer_1").variables[0].numpy()  # query [D, heads, d]
    np.testing.assert_array_equal(
        kernel.reshape(WIDTH, WIDTH), tensors["encoder.layer.1.attention.self.query.weight"].T
    )
    assert len(weight_map.unmatched["source"]) == 16
    assert all(name.startswith("encoder.layer.2.") for name in weight_map.unmatched["source"])


def test_more_layers_than_the_source_has_are_kept_and_refused(tmp_path):
    folder(tmp_path / "m", *bert(layers=1))
    model = hub.BertBackbone(num_layers=2, **SMALL)
    before = weights_of(model)
    weight_map = mapped(f"hf:{tmp_path / 'm'}", model)
    with pytest.raises(UserError, match="16 tensors of bert_backbone.* would stay as they are"):
        weight_map.apply()
    assert unchanged(model, before)
    weight_map.apply(allow="transformer_layer_1/**")


def own_text_model(layers=2, length=LENGTH):
    """Return a user's classifier with KerasHub's layers, under other names."""
    tokens = keras.Input((length,), dtype="int32")
    x = keras_hub.layers.TokenAndPositionEmbedding(WORDS, length, WIDTH, name="words")(tokens)
    for i in range(layers):
        x = keras_hub.layers.TransformerEncoder(INNER, HEADS, name=f"block_{'abc'[i]}")(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, keras.layers.Dense(3, name="classes")(x), name="own")


def test_user_models_with_the_same_layers(tmp_path):
    tensors, config = bert(layers=3)
    folder(tmp_path / "m", tensors, config)
    source = f"hf:{tmp_path / 'm'}"
    weight_map = mapped(source, own_text_model(), [(None, "classes/*", "fresh")])
    assert "blocks in their order" in weight_map.explain("block_b/self_attention_layer/query/kernel")
    model = weight_map.apply()
    for i, name in enumerate(("block_a", "block_b")):
        kernel = model.get_layer(name).variables[0].numpy().reshape(WIDTH, WIDTH)
        np.testing.assert_array_equal(kernel, tensors[f"encoder.layer.{i}.attention.self.query.weight"].T)


def test_shorter_texts_take_the_first_positions(tmp_path):
    tensors, config = bert(layers=2)
    folder(tmp_path / "m", tensors, config)
    weight_map = mapped(f"hf:{tmp_path / 'm'}", own_text_model(length=5), [(None, "classes/*", "fresh")])
    positions = weight_map.apply().get_layer("words").position_embedding.variables[0].numpy()
    np.testing.assert_array_equal(positions, tensors["embeddings.position_embeddings.weight"][:5])
    with pytest.raises(UserError, match="position_embeddings.*the target is \\[20, 8\\].*'interpolate' resizes"):
        mapped(f"hf:{tmp_path / 'm'}", own_text_model(length=20), [(None, "classes/*", "fresh")])


def test_other_image_sizes_resize_the_grid_of_positions(tmp_path):
    tensors, config = vit(side=16)
    folder(tmp_path / "m", tensors, config)
    sizes = {"num_layers": 2, "num_heads": HEADS, "hidden_dim": WIDTH, "mlp_dim": INNER, "patch_size": (8, 8)}
    weight_map = mapped(f"hf:{tmp_path / 'm'}", hub.ViTBackbone(image_shape=(32, 32, 3), **sizes))
    path = "vit_patching_and_embedding/position_embedding/embeddings"
    assert weight_map.row(path).operation.startswith("interpolate") and weight_map.coverage == 1
    table = {v.path: v for v in weight_map.apply().variables}[path].numpy()
    old = tensors["vit.embeddings.position_embeddings"][0]
    np.testing.assert_array_equal(table[0], old[0])  # the class token's
    # the middle of the grid: two by two places of the larger one average to the smaller one's average
    np.testing.assert_allclose(table[1:].mean(0), old[1:].mean(0), atol=1e-5)


def test_a_vit_fits_encoders_that_normalise_first(tmp_path):
    tensors, config = vit(layers=1, prefix="")
    folder(tmp_path / "m", tensors, config)
    pieces = keras.Input((5, WIDTH))
    block = keras_hub.layers.TransformerEncoder(
        INNER, HEADS, activation="gelu", normalize_first=True, layer_norm_epsilon=1e-6
    )
    own = keras.Model(pieces, block(pieces))
    mapped(f"hf:{tmp_path / 'm'}", own).apply()
    sizes = {"num_layers": 1, "num_heads": HEADS, "hidden_dim": WIDTH, "mlp_dim": INNER, "patch_size": (8, 8)}
    whole = hub.ViTBackbone(image_shape=(16, 16, 3), **sizes)
    mapped(f"hf:{tmp_path / 'm'}", whole).apply()
    x = np.random.default_rng(0).normal(size=(3, 5, WIDTH)).astype(np.float32)
    theirs = whole.get_layer("vit_encoder").encoder_layers[0](x)
    np.testing.assert_allclose(own(x), theirs, atol=1e-5)


def test_torchvisions_names_need_no_config(tmp_path):
    folder(tmp_path / "m", *resnet(18))
    source = tmp_path / "m" / "model.safetensors"
    model = hub.ResNetBackbone([64], [7], [64, 128], [2, 2], [1, 2], "basic_block")  # the lower half
    weight_map = mapped(str(source), model)
    assert weight_map.coverage == 1
    assert all(n.startswith(("layer3", "layer4", "fc", "bn1.num")) for n in weight_map.unmatched["source"])
    other = own_text_model()
    assert table_rules({"source": Safetensors(source)}, tensors_of(KerasSource(other))) == []


def test_keras_applications_resnet_is_filled_and_its_outputs_differ_as_stated(tmp_path):
    tensors, config = resnet(50)
    folder(tmp_path / "m", tensors, config)
    model = keras.applications.ResNet50(weights=None, classes=5, input_shape=(32, 32, 3))
    weight_map = mapped(f"hf:{tmp_path / 'm'}", model)
    assert weight_map.preserves == "no" and not weight_map.unmatched["target"]
    assert "v1.5 in the second: outputs differ" in " ".join(str(weight_map).split())
    model = weight_map.apply()
    kernel = model.get_layer("conv4_block3_2_conv").kernel.numpy()
    np.testing.assert_array_equal(kernel, tensors["layer3.2.conv2.weight"].transpose(2, 3, 1, 0))
    assert not model.get_layer("conv4_block3_2_conv").bias.numpy().any()
    norm = model.get_layer("conv3_block1_0_bn")
    np.testing.assert_array_equal(norm.moving_variance.numpy(), tensors["layer2.0.downsample.1.running_var"])
    np.testing.assert_array_equal(model.get_layer("predictions").kernel.numpy(), tensors["fc.weight"].T)


def test_half_precision_is_read_into_float32(tmp_path):
    import ml_dtypes

    tensors, config = bert(layers=1)
    folder(tmp_path / "m", {name: value.astype(ml_dtypes.bfloat16) for name, value in tensors.items()}, config)
    model = mapped(f"hf:{tmp_path / 'm'}", hub.BertBackbone(num_layers=1, **SMALL)).apply()
    expected = tensors["embeddings.word_embeddings.weight"].astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(model.get_layer("token_embedding").embeddings.numpy(), expected)


# Bad input: each is refused, and the target is unchanged.


def two_towers():
    @keras.saving.register_keras_serializable("tests")
    class Tower(keras.layers.Layer):
        def build(self, shape):
            self.block = keras_hub.layers.TransformerEncoder(INNER, HEADS, name="transformer_layer_0")
            self.block.build(shape)
            self.built = True

        def call(self, x):
            return self.block(x)

    x = keras.Input((5, WIDTH))
    return keras.Model(x, Tower(name="right")(Tower(name="left")(x)), name="towers")


def plain():
    x = keras.Input((WIDTH,))
    return keras.Model(x, keras.layers.Dense(3, name="classes")(x), name="plain")


def bert_model(**sizes):
    return hub.BertBackbone(num_layers=2, **(SMALL | sizes))


BAD = {
    "no layers": (bert, {}, plain, "is Hugging Face's BERT, and the target has no layers of KerasHub's TransformerEnc"),
    "heads": (bert, {}, lambda: bert_model(num_heads=4), "has 4 attention heads, and config.json has 2; build"),
    "width": (bert, {}, lambda: bert_model(hidden_dim=16), "8, 8. cannot be reshaped to .16, 2, 8.: other number"),
    "towers": (bert, {}, two_towers, "blocks in 2 places: 'left', 'right'; plan onto one part of it"),
    "unknown": (bert, {"model_type": "llama"}, bert_model, "calls the model 'llama', for which there is no table"),
    "no type": (bert, {"model_type": 3}, bert_model, "calls the model '', for which there is no table"),
    "other names": (gpt2, {"model_type": "bert"}, bert_model, "should be Hugging Face's BERT, but has none of its"),
}


@pytest.mark.parametrize("case", BAD)
def test_sources_and_targets_without_a_table_are_refused(tmp_path, case):
    make, changed, target, problem = BAD[case]
    tensors, config = make()
    folder(tmp_path / "m", tensors, config | changed)
    model = target()
    before = weights_of(model)
    source = ModelFolder(tmp_path / "m")
    with pytest.raises(UserError, match=problem):
        plan(source, model).apply()
    assert unchanged(model, before)


def test_one_part_of_the_target_can_be_chosen(tmp_path):
    folder(tmp_path / "m", *bert(layers=1))
    towers = two_towers()
    assert mapped(f"hf:{tmp_path / 'm'}", towers.get_layer("left")).coverage == 1


def test_two_folders_at_once_need_rules(tmp_path):
    folder(tmp_path / "m", *bert(layers=2))
    source = ModelFolder(tmp_path / "m")
    targets = tensors_of(KerasSource(bert_model()))
    with pytest.raises(UserError, match="a and b each come with rules"):
        table_rules({"a": source, "b": source}, targets)
    assert table_rules({"a": source, "b": source}, targets, given=True) == []
    rules = table_rules({"a": source, "b": KerasSource(plain())}, targets)
    assert rules and all(one.startswith("a:") for rule in rules for one in rule.sources)


def test_unsupported_settings_of_the_config_are_reported(tmp_path):
    tensors, config = bert(layers=2)
    folder(tmp_path / "m", tensors, config | {"hidden_act": "relu"})
    weight_map = mapped(f"hf:{tmp_path / 'm'}", bert_model())
    assert "config.json has hidden_act=relu: outputs differ unless" in " ".join(str(weight_map).split())


def test_a_file_that_changes_between_plan_and_apply_does_not_change_the_target(tmp_path):
    tensors, config = bert(layers=2)
    folder(tmp_path / "m", tensors, config)
    model = bert_model()
    before = weights_of(model)
    weight_map = mapped(f"hf:{tmp_path / 'm'}", model)
    folder(tmp_path / "m", tensors | {"more": np.zeros(3, np.float32)}, config)
    with pytest.raises(Exception, match="has changed since it was opened"):
        weight_map.apply()
    assert unchanged(model, before)


def test_values_that_are_not_finite_do_not_change_the_target(tmp_path):
    tensors, config = bert(layers=2)
    tensors["encoder.layer.1.output.dense.bias"][3] = np.nan
    folder(tmp_path / "m", tensors, config)
    model = bert_model()
    before = weights_of(model)
    with pytest.raises(Exception, match="encoder.layer.1.output.dense.bias.*not finite"):
        mapped(f"hf:{tmp_path / 'm'}", model).apply()
    assert unchanged(model, before)
