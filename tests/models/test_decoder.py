"""The causal decoder: incremental and parallel logits agree, and both agree with Hugging Face."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.generate import GenerationConfig, greedy
from tfxfer.generate.beam_search import beam_search
from tfxfer.models.decoder import causal_decoder, check_visual_input, incremental_decoder
from tfxfer.models.train_sets import parse
from tfxfer.transfer.structure.train_set import changed

pytestmark = pytest.mark.tensorflow

SIZES = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "max_sequence_length": 20}
WORDS, START, END = 30, 1, 2


def randomised(model, seed=0, scale=0.4):
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed_generator" not in variable.path:
            value = rng.normal(0, scale, variable.shape)
            variable.assign(1 + 0.1 * value if variable.path.endswith("gamma") else value)
    return model


@pytest.fixture(scope="module")
def decoder():
    return randomised(causal_decoder(WORDS, memory_dim=12, **SIZES))


@pytest.fixture(scope="module")
def memory():
    return np.random.default_rng(1).normal(size=(64, 5, 12)).astype(np.float32)


def all_at_once(decoder, tokens, memory):
    return decoder({"token_ids": tokens, "padding_mask": np.ones_like(tokens), "memory": memory}).numpy()


@pytest.mark.parametrize("adapters", [False, True])
def test_one_token_at_a_time_as_all_at_once(decoder, memory, adapters):
    if adapters:
        decoder = randomised(changed(decoder, parse("adapter:3")))
    tokens = np.random.default_rng(2).integers(0, WORDS, (64, 9)).astype(np.int32)
    step, cache, context = incremental_decoder(decoder, tf.constant(memory), 1, 9)
    found = []
    for position in range(9):
        logits, cache = step(tf.constant(tokens[:, position : position + 1]), tf.constant(position), cache, context)
        found.append(logits[..., 0].numpy().T)
    np.testing.assert_allclose(np.stack(found, 1), all_at_once(decoder, tokens, memory), atol=1e-4)


def test_later_tokens_and_other_images_change_nothing(decoder, memory):
    tokens = np.random.default_rng(3).integers(0, WORDS, (64, 9)).astype(np.int32)
    other = tokens.copy()
    other[:, 6:] = (other[:, 6:] + 1) % WORDS
    a, b = (all_at_once(decoder, t, memory) for t in (tokens, other))
    np.testing.assert_allclose(a[:, :6], b[:, :6], atol=1e-5)
    assert np.abs(a[:, 6:] - b[:, 6:]).max() > 0.01
    swapped = all_at_once(decoder, tokens, memory[::-1])
    assert np.abs(a - swapped).max() > 0.01  # the memory matters


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_a_beam_over_the_cache_is_a_beam_without_one(decoder, memory, penalty):
    config = GenerationConfig(START, END, num_beams=3, max_length=8, length_penalty=penalty, num_return_sequences=3)
    step, cache, context = incremental_decoder(decoder, tf.constant(memory), 3, 8)

    def whole(tokens, position, cache):
        """All tokens so far through the model again, at every step."""
        history = tf.where(tf.range(8) == position, tokens[..., None], cache)
        flat = tf.reshape(history, [-1, 8])
        logits = decoder(
            {"token_ids": flat, "padding_mask": tf.ones_like(flat), "memory": tf.repeat(memory, 3, axis=0)}
        )
        return tf.reshape(tf.gather(logits, position, axis=1), [64, 3, WORDS]), history

    a = beam_search(step, cache, 64, config, in_place=True, vocabulary_first=True, context=context)
    b = beam_search(whole, tf.zeros([64, 8], tf.int32), 64, config)
    np.testing.assert_array_equal(a.tokens, b.tokens)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)


def test_greedy_over_the_cache_takes_the_most_probable_token(decoder, memory):
    step, cache, context = incremental_decoder(decoder, tf.constant(memory), 1, 6)
    found = greedy(
        step,
        cache,
        64,
        GenerationConfig(START, END, max_length=6),
        in_place=True,
        vocabulary_first=True,
        context=context,
    ).tokens.numpy()[:, 0]
    logits = all_at_once(decoder, found, memory)
    ended = np.cumsum(found == END, 1)
    for position in range(5):
        running = ended[:, position] == 0
        np.testing.assert_array_equal(found[running, position + 1], logits[running, position].argmax(-1))


def test_the_memory_is_projected_once_an_image(decoder, memory):
    """Cross-attention's keys [B, H, d, M] and values [B, H, M, d] are shared by the hypotheses."""
    _, cache, context = incremental_decoder(decoder, tf.constant(memory), 3, 8)
    assert [tuple(t.shape) for t in tf.nest.flatten(context)] == [(64, 2, 8, 5), (64, 2, 5, 8)] * 2
    assert [tuple(t.shape) for t in tf.nest.flatten(cache)] == [(64, 2, 8, 8 * 3), (64, 2, 8 * 3, 8)] * 2


def test_rows_of_padding_are_finite_and_change_no_others(decoder, memory):
    tokens = np.random.default_rng(4).integers(0, WORDS, (64, 9)).astype(np.int32)
    there = np.ones_like(tokens)
    there[::2] = 0
    found = decoder({"token_ids": tokens, "padding_mask": there, "memory": memory}).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[1::2], all_at_once(decoder, tokens, memory)[1::2], atol=1e-5)


def test_decoding_a_batch_of_no_images(decoder, memory):
    step, cache, context = incremental_decoder(decoder, tf.constant(memory[:0]), 3, 8)
    config = GenerationConfig(START, END, num_beams=3, max_length=8)
    assert beam_search(step, cache, 0, config, in_place=True, vocabulary_first=True, context=context).tokens.shape == (
        0,
        1,
        8,
    )


def test_it_is_saved_and_read_as_one_file(decoder, memory, tmp_path):
    decoder.save(tmp_path / "d.keras")
    again = keras.models.load_model(tmp_path / "d.keras")
    tokens = np.ones((64, 4), np.int32)
    np.testing.assert_allclose(all_at_once(again, tokens, memory), all_at_once(decoder, tokens, memory), atol=1e-6)


def test_a_decoder_without_visual_input_is_refused():
    tokens, memory = keras.Input((None,), dtype="int32", name="token_ids"), keras.Input((None, 16), name="memory")
    x = keras.layers.Embedding(WORDS, 16)(tokens)
    x = keras_hub.layers.TransformerDecoder(32, 2, name="decoder_layer_0")(x)
    text_only = keras.Model({"token_ids": tokens, "memory": memory}, keras.layers.Dense(WORDS)(x), name="text_only")
    with pytest.raises(UserError, match="'decoder_layer_0' has no cross-attention"):
        check_visual_input(text_only)
    with pytest.raises(UserError, match="no decoder blocks"):
        check_visual_input(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))


def test_sizes_that_do_not_fit_are_refused(decoder, memory):
    with pytest.raises(UserError, match="3 heads do not divide"):
        causal_decoder(WORDS, hidden_dim=16, num_heads=3)
    with pytest.raises(UserError, match="has 20 positions"):
        incremental_decoder(decoder, tf.constant(memory), 4, 21)


# === The same weights in Hugging Face's decoder ===


@pytest.fixture(scope="module")
def twins(decoder):
    """A random Hugging Face decoder with cross-attention, and ours with its weights."""
    torch = pytest.importorskip("torch", reason="needs the extra 'oracle': pip install tfxfer[oracle]")
    transformers = pytest.importorskip("transformers", reason="needs the extra 'oracle'")
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=20,
        is_decoder=True,
        add_cross_attention=True,
    )
    torch.manual_seed(0)
    theirs = transformers.BertLMHeadModel(config).eval()
    rng = np.random.default_rng(5)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            drawn = torch.tensor(rng.normal(0, 0.4, parameter.shape), dtype=torch.float32)
            parameter.copy_(1 + 0.1 * drawn if name.endswith("LayerNorm.weight") else drawn)
    ours = causal_decoder(WORDS, intermediate_dim=64, **SIZES)
    from tfxfer.transfer.structure import plan

    arrays = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    plan(arrays, ours, hugging_face_rules()).apply()
    return theirs, ours


def hugging_face_rules():
    layer = "bert.encoder.layer.*."
    heads_out, heads_in = ["transpose", "reshape"], ["transpose", "reshape"]
    rules = []
    for part, name in (("self_attention", "attention"), ("cross_attention", "crossattention")):
        for one in ("query", "key", "value"):
            rules += [
                (f"{layer}{name}.self.{one}.weight", f"decoder_layer_*/{part}/{one}/kernel", heads_out),
                (f"{layer}{name}.self.{one}.bias", f"decoder_layer_*/{part}/{one}/bias", "reshape"),
            ]
        rules += [
            (f"{layer}{name}.output.dense.weight", f"decoder_layer_*/{part}/attention_output/kernel", heads_in),
            (f"{layer}{name}.output.dense.bias", f"decoder_layer_*/{part}/attention_output/bias", "copy"),
            *norm(f"{layer}{name}.output.LayerNorm", f"decoder_layer_*/{part}_layer_norm"),
        ]
    top = "cls.predictions."
    return [
        *rules,
        *dense(f"{layer}intermediate.dense", "decoder_layer_*/feedforward_intermediate_dense"),
        *dense(f"{layer}output.dense", "decoder_layer_*/feedforward_output_dense"),
        *norm(f"{layer}output.LayerNorm", "decoder_layer_*/feedforward_layer_norm"),
        ("bert.embeddings.word_embeddings.weight", "token_embedding/embeddings", "copy"),
        ("bert.embeddings.position_embeddings.weight", "position_embedding/embeddings", "copy"),
        ("bert.embeddings.token_type_embeddings.weight", "segment_embedding/embeddings", "copy"),
        *norm("bert.embeddings.LayerNorm", "embeddings_layer_norm"),
        *dense(f"{top}transform.dense", "head_dense"),
        *norm(f"{top}transform.LayerNorm", "head_norm"),
        (f"{top}bias", "head_bias/bias", "copy"),
    ]


def dense(theirs, ours):
    return [(f"{theirs}.weight", f"{ours}/kernel", "transpose"), (f"{theirs}.bias", f"{ours}/bias", "copy")]


def norm(theirs, ours):
    return [(f"{theirs}.weight", f"{ours}/gamma", "copy"), (f"{theirs}.bias", f"{ours}/beta", "copy")]


@pytest.mark.oracle
def test_logits_are_those_of_hugging_face(twins):
    import torch

    theirs, ours = twins
    rng = np.random.default_rng(6)
    tokens, memory = rng.integers(0, WORDS, (8, 12)), rng.normal(size=(8, 5, 16)).astype(np.float32)
    with torch.no_grad():
        wanted = theirs(torch.tensor(tokens), encoder_hidden_states=torch.tensor(memory)).logits.numpy()
    np.testing.assert_allclose(all_at_once(ours, tokens.astype(np.int32), memory), wanted, atol=1e-4)


@pytest.mark.oracle
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("lean", [-3.0, 0.0, 3.0], ids=["late ends", "ends", "early ends"])
def test_beams_are_those_of_hugging_face(twins, penalty, early_stopping, lean):
    """Whether sentences end early, late or not at all."""
    compare(twins, lean, GenerationConfig(START, END, 0, 4, 14, length_penalty=penalty, early_stopping=early_stopping))


@pytest.mark.oracle
def test_beams_with_more_conditions_are_those_of_hugging_face(twins):
    """Hugging Face counts the tokens before the end for `min_length`; here the end is one of them."""
    compare(twins, 3.0, GenerationConfig(START, END, 0, 4, 14, min_length=9), min_length=8)
    compare(twins, 0.0, GenerationConfig(START, END, 0, 4, 14, no_repeat_ngram_size=2), no_repeat_ngram_size=2)
    compare(twins, 0.0, GenerationConfig(START, END, 0, 4, 14, num_return_sequences=4), num_return_sequences=4)


def compare(twins, lean, config, **more):
    """64 random memories, the end token's bias moved by `lean`: the same tokens and scores."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    theirs, ours = twins
    memory = np.random.default_rng(7).normal(size=(64, 5, 16)).astype(np.float32)
    bias = theirs.state_dict()["cls.predictions.bias"].numpy().copy()
    old = ours.get_layer("head_bias").bias.numpy()
    bias[END] = old[END] + lean
    wrapped = with_encoder(theirs, torch.tensor(bias))
    found = wrapped.generate(
        encoder_outputs=BaseModelOutput(torch.tensor(memory)),
        num_beams=config.num_beams,
        max_length=config.max_length,
        length_penalty=config.length_penalty,
        early_stopping=config.early_stopping,
        decoder_start_token_id=START,
        eos_token_id=END,
        pad_token_id=0,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **more,
    )

    @tf.function
    def searched(memory):
        step, cache, context = incremental_decoder(ours, memory, config.num_beams, config.max_length)
        return beam_search(step, cache, 64, config, in_place=True, vocabulary_first=True, context=context)

    ours.get_layer("head_bias").bias.assign(bias)
    mine = searched(tf.constant(memory))
    ours.get_layer("head_bias").bias.assign(old)
    rows, wanted = 64 * config.num_return_sequences, found.sequences.numpy()
    wanted = np.pad(wanted, [(0, 0), (0, config.max_length - wanted.shape[1])])
    ended = np.cumsum(wanted == END, 1) - (wanted == END) > 0
    wanted = np.where(
        ended, config.pad_id, wanted
    )  # Hugging Face takes a pad_token_id of 0 for none, and fills with END
    np.testing.assert_array_equal(mine.tokens.numpy().reshape(rows, -1), wanted)
    np.testing.assert_allclose(mine.scores.numpy().reshape(rows), found.sequences_scores.numpy(), atol=1e-4)


def with_encoder(decoder, bias):
    """Hugging Face's `generate` for memories wants a whole encoder-decoder; its encoder never runs."""
    import torch
    from transformers import VisionEncoderDecoderModel, ViTConfig, ViTModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    picture = ViTModel(ViTConfig(image_size=4, patch_size=2, **sizes), add_pooling_layer=False)
    whole = VisionEncoderDecoderModel(encoder=picture, decoder=decoder).eval()
    with torch.no_grad():
        whole.decoder.cls.predictions.bias.copy_(bias)
    return whole
