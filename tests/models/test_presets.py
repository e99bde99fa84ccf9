"""`preset:` models: folders of Hugging Face have the outputs that they have there, and image models take 0..255."""

import json

import keras
import keras_hub
import numpy as np
import pytest
from architectures import HEADS, bert, vit
from scipy.special import erf, expit
from written import folder

import tfxfer
from tfxfer.errors import UserError
from tfxfer.models import load_model
from tfxfer.models.fresh import fresh_copy, fresh_language_model
from tfxfer.transfer.structure import encoder_to_vision, vision_to_encoder

pytestmark = pytest.mark.tensorflow
IDS = np.array([[3, 7, 1, 0, 5], [9, 2, 8, 4, 4]])
TYPES = np.array([[0, 0, 1, 1, 1], [0, 1, 0, 1, 0]])
ACTIVATIONS = {
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * expit(x),
}
MEAN, DEVIATION = [0.4, 0.5, 0.6], [0.2, 0.3, 0.5]


# === Text encoders ===


def by_hand(tensors, config, types, first_position=0):
    """The forward pass of Hugging Face's BERT in NumPy: token ids IDS → [B, T, D]."""

    def dense(x, name):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def normed(x, name):
        z = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + config["layer_norm_eps"])
        return z * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def heads(x, name):
        return dense(x, name).reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)  # [B, heads, T, d]

    x = tensors["embeddings.word_embeddings.weight"][IDS] + tensors["embeddings.token_type_embeddings.weight"][types]
    x = x + tensors["embeddings.position_embeddings.weight"][first_position : first_position + IDS.shape[1]]
    x = normed(x, "embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        q, k, v = (heads(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
        weights = np.exp(q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1]))
        seen = (weights / weights.sum(-1, keepdims=True)) @ v
        seen = dense(seen.transpose(0, 2, 1, 3).reshape(x.shape), f"{layer}.attention.output.dense")
        x = normed(x + seen, f"{layer}.attention.output.LayerNorm")
        inner = ACTIVATIONS[config["hidden_act"]](dense(x, f"{layer}.intermediate.dense"))
        x = normed(x + dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return x


def encoded(model, types=TYPES):
    given = {"token_ids": IDS, "padding_mask": np.ones_like(IDS), "segment_ids": types}
    out = model({name: given[name] for name in model.input}, training=False)
    return np.asarray(out["sequence_output"] if isinstance(out, dict) else out)


@pytest.mark.parametrize(("hidden_act", "epsilon"), [("gelu", 1e-12), ("gelu_new", 1e-5), ("relu", 0.1), ("silu", 0.1)])
def test_a_bert_has_the_activation_and_epsilon_of_its_config(tmp_path, hidden_act, epsilon):
    tensors, config = bert()
    config |= {"hidden_act": hidden_act, "layer_norm_eps": epsilon}
    model = tfxfer.source(f"preset:{folder(tmp_path / 'bert', tensors, config)}")
    expected = by_hand(tensors, config, TYPES)
    np.testing.assert_allclose(encoded(model), expected, atol=2e-6)
    if hidden_act != "relu":
        return
    model.save(tmp_path / "bert.keras")
    np.testing.assert_allclose(encoded(load_model(tmp_path / "bert.keras")), expected, atol=2e-6)
    for fresh in (fresh_copy(model, 0), fresh_language_model(model, 0)):
        fresh.set_weights(model.get_weights())
        np.testing.assert_allclose(encoded(fresh), expected, atol=2e-6)
    back = vision_to_encoder(encoder_to_vision(model, (8, 8, 3), 4).apply(), like=model).apply()
    assert (back.hidden_act, back.layer_norm_eps) == (hidden_act, epsilon)


def test_a_roberta_adds_its_token_type(tmp_path):
    tensors, config = bert()
    tensors["embeddings.token_type_embeddings.weight"] = tensors["embeddings.token_type_embeddings.weight"][:1]
    config |= {"model_type": "roberta", "hidden_dropout_prob": 0.1, "hidden_act": "relu", "layer_norm_eps": 0.01}
    named = {f"roberta.{name}": tensor for name, tensor in tensors.items()}
    model = tfxfer.source(f"preset:{folder(tmp_path / 'roberta', named, config)}")
    expected = by_hand(tensors, config, np.zeros_like(IDS), first_position=2)
    np.testing.assert_allclose(encoded(model), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("position_embedding_type", "relative_key"), ("hidden_act", "quick_gelu"), ("is_decoder", True)],
)
def test_a_setting_that_kerashub_cannot_honour_is_refused(tmp_path, setting, value):
    tensors, config = bert()
    with pytest.raises(UserError, match=f"config.json has {setting} = {value}"):
        tfxfer.source(f"preset:{folder(tmp_path / 'bert', tensors, config | {setting: value})}")


# === Image models ===


def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("float32")


@pytest.mark.parametrize(
    ("told", "right"),
    [
        ({"image_mean": MEAN, "image_std": DEVIATION}, lambda x: (x / 255 - MEAN) / DEVIATION),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5}, lambda x: x / 127.5),
        ({"do_rescale": False, "image_mean": [100.0] * 3, "image_std": [50.0] * 3}, lambda x: (x - 100) / 50),
    ],
    ids=["mean and deviation", "factor", "no factor"],
)
def test_a_hugging_face_image_model_gets_the_values_of_its_image_processor(tmp_path, told, right):
    place = folder(tmp_path / "vit", *vit())
    (place / "preprocessor_config.json").write_text(json.dumps(told))
    model = tfxfer.source(f"preset:{place}")
    bare = keras_hub.models.Backbone.from_preset(str(place))
    expected = bare(right(pictures()), training=False)
    np.testing.assert_allclose(model(pictures(), training=False), expected, atol=1e-5)
    assert not np.allclose(bare(pictures(), training=False), expected, atol=0.1)


def test_an_image_model_that_does_not_name_its_values_is_refused_until_they_are_said(tmp_path):
    place = folder(tmp_path / "vit", *vit())
    with pytest.raises(UserError, match="preprocessor_config.json .* --rescale"):
        tfxfer.source(f"preset:{place}")
    model = tfxfer.source(f"preset:{place}", rescale="1/127.5,-1")
    expected = keras_hub.models.Backbone.from_preset(str(place))(pictures() / 127.5 - 1, training=False)
    np.testing.assert_allclose(model(pictures(), training=False), expected, atol=1e-5)
    assert vision_to_encoder(model, 40).apply().output.shape == (None, 4, 8)


@pytest.mark.parametrize("file", ["image_converter.json", "preprocessor.json"])
def test_a_kerashub_image_model_gets_the_values_of_its_image_converter(tmp_path, file):
    backbone = keras_hub.models.VGGBackbone([1, 1], [4, 4], image_shape=(16, 16, 3))
    backbone.save_to_preset(str(tmp_path))
    scale, offset = [0.01, 0.02, 0.03], [-0.4, -0.5, -0.6]
    told = keras.saving.serialize_keras_object(keras_hub.layers.ImageConverter(scale=scale, offset=offset))
    (tmp_path / file).write_text(json.dumps({"config": {"image_converter": told}} if "pre" in file else told))
    expected = backbone(pictures() * scale + offset, training=False)
    np.testing.assert_allclose(tfxfer.source(f"preset:{tmp_path}")(pictures(), training=False), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "rescale", "message"),
    [
        ("file:a.keras", "255/", "give SCALE or SCALE,OFFSET"),
        ("file:a.keras", "0", "give SCALE"),
        ("file:a.keras", "1,2,3", "give SCALE"),
        ("file:a.keras", "nan", "give SCALE"),
        ("fresh:cnn", "1/255", "rescales its images itself"),
    ],
)
def test_a_rescaling_that_cannot_be_used_is_named(tmp_path, monkeypatch, spec, rescale, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.keras").touch()
    with pytest.raises(UserError, match=message):
        tfxfer.source(spec, rescale=rescale)


def test_square_images_without_a_channel_axis_get_one(tmp_path):
    layers = [keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    digits = keras.Sequential(layers)
    digits.save(tmp_path / "digits.keras")
    grey = pictures().repeat(2, 1).repeat(2, 2)[:, :28, :28, :1]
    model = tfxfer.source(f"file:{tmp_path}/digits.keras", rescale="1/255")
    assert model.input_shape == (None, 28, 28, 1)
    np.testing.assert_allclose(model(grey), digits(grey[..., 0] / 255), atol=1e-6)
