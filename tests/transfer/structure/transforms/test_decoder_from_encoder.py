"""BERT → decoder (Rothe et al. 2020): everything is copied except cross-attention; visual input is required."""

import os
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest
from small_models import randomise

from tfxfer.errors import UserError
from tfxfer.models.bert import small_bert
from tfxfer.models.decoder import causal_decoder
from tfxfer.transfer.structure.transforms.decoder import encoder_to_decoder

pytestmark = pytest.mark.tensorflow

TOKENS = np.random.default_rng(0).integers(0, 60, (2, 7)).astype(np.int32)
ONES = np.ones_like(TOKENS)


@pytest.fixture(scope="module")
def language_model():
    backbone = small_bert(60, num_layers=2, hidden_dim=16, num_heads=2, max_sequence_length=20)
    return randomise(keras_hub.models.BertMaskedLM(backbone, preprocessor=None))


def logits(decoder, memory):
    return decoder({"token_ids": TOKENS, "padding_mask": ONES, "memory": memory}).numpy()


def silence_cross_attention(decoder):
    """Make cross-attention add zero and its norm the identity on normalised values."""
    for variable in decoder.variables:
        if "/cross_attention/attention_output/" in variable.path:
            variable.assign(keras.ops.zeros_like(variable))


def of_one_block(language_model):
    """Return the language model with its first block only."""
    backbone = small_bert(60, num_layers=1, hidden_dim=16, num_heads=2, max_sequence_length=20)
    for target in backbone.variables:
        if "seed_generator" not in target.path:
            target.assign(next(v for v in language_model.backbone.variables if v.path == target.path))
    made = keras_hub.models.BertMaskedLM(backbone, preprocessor=None)
    made.masked_lm_head.set_weights(language_model.masked_lm_head.get_weights())
    return made


def test_without_the_memory_the_last_token_has_berts_output(language_model):
    """At the last position the causal mask hides nothing. If cross-attention adds zero, a block is BERT's plus one more
    norm, which is the identity for scale 1 and offset 0."""
    backbone = language_model.backbone
    for variable in backbone.variables:
        if variable.path.endswith("self_attention_layer_norm/gamma"):
            variable.assign(keras.ops.ones_like(variable))
        if variable.path.endswith("self_attention_layer_norm/beta"):
            variable.assign(keras.ops.zeros_like(variable))
    source = of_one_block(language_model)
    decoder = encoder_to_decoder(source).apply()
    silence_cross_attention(decoder)
    place = np.full((2, 1), 6)
    inputs = {"token_ids": TOKENS, "segment_ids": 0 * TOKENS, "padding_mask": ONES, "mask_positions": place}
    wanted = np.asarray(source(inputs))[:, 0]
    np.testing.assert_allclose(logits(decoder, np.zeros((2, 3, 16)))[:, 6], wanted, atol=1e-4)


def test_a_prefix_of_words_is_read_as_bert_reads_them(language_model):
    """At the last position nothing is hidden: with a prefix of word embeddings, a decoder computes the same as BERT."""
    source = of_one_block(language_model)
    decoder = encoder_to_decoder(source, prefix_length=3).apply()
    inputs = {"token_ids": TOKENS, "segment_ids": 0 * TOKENS, "padding_mask": ONES}
    wanted = np.asarray(source({**inputs, "mask_positions": np.full((2, 1), 6)}))[:, 0]
    prefix = np.asarray(source.backbone.get_layer("token_embedding").embeddings)[TOKENS[:, :3]]
    given = {"token_ids": TOKENS[:, 3:], "padding_mask": ONES[:, 3:], "memory": prefix}
    np.testing.assert_allclose(np.asarray(decoder(given))[:, -1], wanted, atol=2e-5)
    assert decoder.get_layer("head_norm").epsilon == source.masked_lm_head.layer_norm_epsilon


def test_all_is_copied_except_cross_attention(language_model):
    weight_map = encoder_to_decoder(language_model, memory_dim=12)
    assert weight_map.unmatched == {"target": [], "source": ["pooled_dense/kernel", "pooled_dense/bias"]}
    fresh = {row.target.path for row in weight_map.rows if not row.origins}
    assert fresh == {row.target.path for row in weight_map.rows if "/cross_attention" in row.target.path}
    decoder = weight_map.apply()
    source = {v.path: np.asarray(v) for v in language_model.variables}
    for row in weight_map.rows:
        if row.origins:
            value = next(v for v in decoder.variables if v.path == row.target.path)
            np.testing.assert_array_equal(value, source[row.origins[0].path])


def test_cross_attention_may_be_copied_from_self_attention(language_model):
    weight_map = encoder_to_decoder(language_model, "copied")
    assert weight_map.coverage == 1.0
    row = weight_map.row("decoder_layer_1/cross_attention/query/kernel")
    assert row.origins[0].path == "transformer_layer_1/self_attention_layer/query/kernel"
    other = encoder_to_decoder(language_model, "copied", memory_dim=12)
    fresh = {row.target.path.split("/", 1)[1] for row in other.rows if not row.origins}
    assert fresh == {"cross_attention/key/kernel", "cross_attention/value/kernel"}
    other.apply()


def test_outputs_depend_on_the_memory_and_a_backbone_alone_is_enough(language_model):
    decoder = encoder_to_decoder(language_model.backbone, memory_dim=12, seed=3).apply()
    rng = np.random.default_rng(1)
    a, b = (logits(decoder, rng.normal(size=(2, 3, 12)).astype(np.float32)) for _ in range(2))
    assert a.shape == (2, 7, 60) and np.abs(a - b).max() > 1e-3
    assert not any("head_dense" in v.path for v in decoder.variables)


def test_new_cross_attention_depends_on_the_seed(language_model):
    paths = "decoder_layer_0/cross_attention/query/kernel", "decoder_layer_1/cross_attention/query/kernel"
    drawn = []
    for seed in (1, 1, 2):
        decoder = encoder_to_decoder(language_model, seed=seed).apply()
        drawn.append([next(np.asarray(v) for v in decoder.variables if v.path == path) for path in paths])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2]) and not np.allclose(drawn[0][0], drawn[0][1])


def test_a_target_without_visual_input_is_refused(language_model):
    """transformers#4680: a decoder without cross-attention trains, and never reads the image."""
    tokens = keras.Input((None,), dtype="int32", name="token_ids")
    x = keras.layers.Embedding(60, 16, name="token_embedding")(tokens)
    x = keras_hub.layers.TransformerDecoder(32, 2, name="decoder_layer_0")(x)
    blind = keras.Model({"token_ids": tokens}, x, name="blind")
    with pytest.raises(UserError, match="blind has no visual input: 'decoder_layer_0' has no cross-attention"):
        encoder_to_decoder(language_model, target=blind)


def test_a_user_decoder_is_filled(language_model):
    sizes = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 64, "max_sequence_length": 20}
    mine = causal_decoder(60, memory_dim=5, **sizes)
    weight_map = encoder_to_decoder(language_model, target=mine)
    assert weight_map.apply() is mine


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [({"cross_attention": "none"}, "cross_attention='none' is unknown"), ({"encoder": "cnn"}, "text encoder")],
)
def test_invalid_arguments_are_refused(language_model, arguments, problem):
    encoder = language_model
    if arguments.pop("encoder", None):
        encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(UserError, match=problem):
        encoder_to_decoder(encoder, **arguments)


@pytest.mark.slow
def test_minilm_becomes_a_decoder():
    folder = os.environ.get("TFXFER_TEST_BERT")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set TFXFER_TEST_BERT to the folder of a BERT")
    bert = keras_hub.models.Backbone.from_preset(folder)
    weight_map = encoder_to_decoder(bert, memory_dim=128)
    decoder = weight_map.apply()
    assert 0.85 < weight_map.coverage < 0.95
    memory = np.random.default_rng(0).normal(size=(2, 49, 128)).astype(np.float32)
    assert np.isfinite(logits(decoder, memory)).all()
