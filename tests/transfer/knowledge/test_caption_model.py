"""The network of a captioner: its decoder, its training batches, its captions and likelihoods."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxfer
from tfxfer.errors import UserError
from tfxfer.models.bert import masked_lm, small_bert
from tfxfer.models.cnn import article_cnn, glyph_cnn
from tfxfer.models.decoder import decoder_blocks
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.transfer.knowledge import caption_model
from tfxfer.transfer.knowledge.callbacks import PretrainedScale
from tfxfer.transfer.knowledge.caption_decoding import CaptionGenerator
from tfxfer.transfer.knowledge.caption_model import (
    end_to_end,
    feature_map_encoder,
    inside,
    new_weight_paths,
    resized_encoder,
)
from tfxfer.transfer.knowledge.caption_training import (
    CaptionExamples,
    SmoothedCrossEntropy,
    caption_batches,
    compile_caption_model,
)

pytestmark = pytest.mark.tensorflow
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "square", "circle", "big", "##ger", "a"]
MAP = (2, 3, 4)


@pytest.fixture(scope="module")
def words():
    return WordPieceTokenizer(PIECES)


@pytest.fixture(scope="module")
def language():
    keras.utils.set_random_seed(0)
    return masked_lm(small_bert(len(PIECES), 2, 16, 2, 24), PIECES, 8)[0]


def maps_of(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *MAP)).astype("float32")


# WordPieceTokenizer


def test_texts_come_back_from_their_numbers(words):
    numbers, cut = words.encode(["A red square", "bigger", ""], 6)
    assert numbers.tolist() == [[2, 11, 5, 7, 3, 0], [2, 9, 10, 3, 0, 0], [2, 3, 0, 0, 0, 0]]
    assert words.decode(numbers) == ["a red square", "bigger", ""]
    assert words.group_pieces(numbers[1]) == [[9, 10]] and not cut


def test_long_texts_are_cut_before_their_end_token_and_counted(words):
    numbers, cut = words.encode(["red red red red red", "red"], 4)
    assert numbers.tolist() == [[2, 5, 5, 3], [2, 5, 3, 0]] and cut == 1


def test_emoji_and_other_scripts_are_unknown_words_and_no_error(words):
    numbers, _ = words.encode(["🦊 красный red"], 8)
    assert numbers[0].tolist() == [2, 1, 1, 5, 3, 0, 0, 0]


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(UserError, match="has no tokenizer"):
        WordPieceTokenizer.from_folder(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    assert WordPieceTokenizer.from_folder(tmp_path).vocabulary == PIECES


def test_a_vocabulary_without_special_tokens_is_refused():
    with pytest.raises(UserError, match=r"has no \[UNK\], \[CLS\]"):
        WordPieceTokenizer(["[PAD]", "red"])


# The network


@pytest.mark.parametrize("prefix_length", [0, 3])
def test_the_language_models_weights_are_in_the_decoder_and_the_rest_is_new(language, prefix_length):
    network, weight_map = caption_model(MAP, language, prefix_length=prefix_length)
    block = network.get_layer("causal_decoder").get_layer("decoder_layer_1")
    place = "transformer_layer_1/feedforward_intermediate_dense/kernel"
    theirs = next(v for v in language.variables if v.path.endswith(place))
    np.testing.assert_array_equal(block._feedforward_intermediate_dense.kernel, theirs)
    assert block.activation is language.backbone.get_layer("transformer_layer_1").activation
    norm = network.get_layer("causal_decoder").get_layer("head_norm")
    assert norm.epsilon == language.masked_lm_head.layer_norm_epsilon
    new = new_weight_paths(network)
    carried = {row.target.path for row in weight_map.rows if row.origins}
    assert not new & carried
    assert {v.path for v in network.trainable_variables} == new | carried


@pytest.mark.parametrize("prefix_length", [0, 3])
def test_the_likelihood_depends_on_the_image(language, words, prefix_length):
    network, _ = caption_model(MAP, language, prefix_length=prefix_length)
    numbers, _ = words.encode(["a red square"] * 2, 6)
    gains = CaptionGenerator(network, words).log_likelihood(maps_of(2) * 30, numbers)
    assert abs(gains[0] - gains[1]) > 1e-6


def patches():
    """A transformer whose patches are cut by a convolution: a map before the first token, and none of what it sees."""
    x = keras.Input((16, 16, 3))
    tokens = keras.layers.Reshape((16, 8))(keras.layers.Conv2D(8, 4, strides=4)(x))
    seen = keras.layers.MultiHeadAttention(2, 4)(tokens, tokens)
    return keras.Model(x, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(seen)), name="patches")


def flat(*before):
    return keras.Sequential([keras.Input((8, 8, 1)), *before, keras.layers.Flatten(), keras.layers.Dense(2)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]),
        flat,
        lambda: flat(keras.layers.Rescaling(1 / 255)),
        lambda: flat(keras.layers.BatchNormalization()),
        lambda: tfxfer.source("fresh:vit", num_classes=3, input_shape=(16, 16, 1)),
        patches,
    ],
    ids=["vectors", "flat", "rescaled", "normalised", "vit", "patches"],
)
def test_a_model_without_maps_is_refused(make):
    with pytest.raises(UserError, match="has no .*maps.* give a convolutional image model"):
        feature_map_encoder(make())


def test_the_last_map_is_found_in_models_of_every_form():
    cnn = article_cnn(3, (16, 16, 3))
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    maps = np.asarray(feature_map_encoder(cnn)(pictures))
    assert maps.shape == (2, 2, 2, 128)
    x = keras.Input((16, 16, 3))
    nested = keras.Model(x, keras.layers.Dense(4)(cnn(keras.layers.Rescaling(1.0)(x))))
    for model in (nested, keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Rescaling(1.0), cnn])):
        np.testing.assert_allclose(feature_map_encoder(model)(pictures), maps, atol=1e-6)


def test_a_map_that_the_side_does_not_divide_is_averaged_all_the_same():
    maps = np.random.default_rng(0).normal(size=(2, 7, 7, 1)).astype("float32")
    x = keras.Input((7, 7, 1))
    conv = keras.layers.Conv2D(1, 1, kernel_initializer="ones")
    encoder = feature_map_encoder(keras.Model(x, conv(x)))
    found = np.asarray(resized_encoder(encoder, (7, 7, 1), 4)(maps))
    assert found.shape == (2, 4, 4, 1)
    edges = [0, 2, 4, 6, 7]
    for i in range(4):
        for j in range(4):
            mean = maps[:, edges[i] : edges[i + 1], edges[j] : edges[j + 1]].mean((1, 2))
            np.testing.assert_allclose(found[:, i, j], mean, atol=1e-6)
    assert resized_encoder(encoder, (7, 7, 1)).output.shape == (None, 7, 7, 1)


def test_the_saved_model_generates_the_same_captions(language, words, tmp_path):
    encoder = feature_map_encoder(glyph_cnn(3))
    network, _ = caption_model((8, 8, 128), language)
    model = end_to_end(encoder, network)
    model.save(tmp_path / "m.keras")
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 1)).astype("float32")
    again = keras.models.load_model(tmp_path / "m.keras")
    maps = np.asarray(encoder(pictures))
    first = CaptionGenerator(network, words).generate(maps, num_beams=2, max_length=6)
    kept, inner = inside(again)
    second = CaptionGenerator(inner, words).generate(np.asarray(kept(pictures)), num_beams=2, max_length=6)
    assert first.texts == second.texts
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)


# Training


def examples(words):
    captions = [["a red square", "red square"], ["a blue circle"], ["big circle"]]
    return CaptionExamples.of(maps_of(3) * 3, captions, words, 6)


def test_all_captions_of_an_image_are_examples(words):
    taught = examples(words)
    assert taught.image_index.tolist() == [0, 0, 1, 2] and len(taught.token_ids) == 4
    rows = list(caption_batches(taught, words, 3, seed=0))
    (inputs, targets, weights), *_ = rows
    np.testing.assert_array_equal(inputs["feature_map"], taught.images[[0, 0, 1]])
    np.testing.assert_array_equal(inputs["token_ids"], taught.token_ids[:3, :-1])
    np.testing.assert_array_equal(targets, taught.token_ids[:3, 1:])
    assert weights.numpy().sum() == (taught.token_ids[:3, 1:] != 0).sum()
    assert any((taught.token_ids == words.end_id).sum(1) == 1)  # the end is learned


def test_hidden_words_are_inputs_only_and_the_same_for_a_seed(words):
    taught = examples(words)
    draw = [list(caption_batches(taught, words, 4, seed=s, word_dropout=0.5, steps=8)) for s in (1, 1, 2)]
    read = [np.concatenate([inputs["token_ids"] for inputs, _, _ in rows]) for rows in draw]
    np.testing.assert_array_equal(read[0], read[1])
    assert (read[0] != read[2]).any()
    hidden = read[0] == words.mask_id
    usual = hidden | (read[0] > words.mask_id)
    assert 0.3 < hidden[usual].mean() < 0.7
    assert not any((targets.numpy() == words.mask_id).any() for _, targets, _ in draw[0])


def test_the_loss_is_the_smoothed_cross_entropy():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(2, 3, 5)).astype("float32"), rng.integers(0, 5, (2, 3))
    weights = np.array([[1, 1, 0], [1, 0, 0]], "float32")
    oracle = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2, reduction="none")
    each = oracle(np.eye(5)[targets], logits)
    ours = SmoothedCrossEntropy(0.2)(targets, logits, sample_weight=weights)
    np.testing.assert_allclose(ours, (each * weights).numpy().sum() / weights.sum(), rtol=1e-5)


@pytest.mark.parametrize(("scale", "frozen", "moves"), [(1.0, 0, True), (0.0, 0, False), (1.0, 9, False)])
def test_pretrained_weights_learn_at_their_own_rate(language, words, scale, frozen, moves):
    network, _ = caption_model(MAP, language)
    new = new_weight_paths(network)
    before = {v.path: v.numpy() for v in network.trainable_variables}
    optimizer = compile_caption_model(network, sorted(new), smoothing=0.1, jit=False)
    callback, optimizer.learning_rate = PretrainedScale(optimizer, scale, frozen), 0.01
    for step, (inputs, targets, weights) in enumerate(caption_batches(examples(words), words, 4, seed=0, steps=3)):
        callback.on_train_batch_begin(step)
        network.train_on_batch(inputs, targets, weights)
    changed = {v.path for v in network.trainable_variables if (before[v.path] != v.numpy()).any()}
    assert changed & new
    assert bool(changed - new) == moves


def test_it_learns_the_captions_of_three_images(words):
    keras.utils.set_random_seed(1)
    model = masked_lm(small_bert(len(PIECES), 1, 16, 2, 24), PIECES, 8)[0]
    network, _ = caption_model(MAP, model)
    taught = CaptionExamples.of(maps_of(3) * 3, [["a red square"], ["a blue circle"], ["bigger circle"]], words, 6)
    optimizer = compile_caption_model(network, sorted(new_weight_paths(network)), smoothing=0.0, jit=False)
    optimizer.learning_rate = 0.01
    network.fit(caption_batches(taught, words, 3, seed=0, steps=120), verbose=0)
    generator = CaptionGenerator(network, words)
    found = generator.generate(taught.images, max_length=8).texts
    assert [texts[0] for texts in found] == ["a red square", "a blue circle", "bigger circle"]
    swapped = taught.images[[1, 2, 0]]
    assert (
        generator.log_likelihood(taught.images, taught.token_ids) > generator.log_likelihood(swapped, taught.token_ids)
    ).all()


# Generation


def test_a_beams_score_is_the_likelihood_of_its_caption(language, words):
    network, _ = caption_model(MAP, language)
    generator, rows = CaptionGenerator(network, words), maps_of(5)
    found = generator.generate(rows, num_beams=3, max_length=7, num_return_sequences=2)
    assert np.shape(found.texts) == (5, 2) and found.token_ids.shape == (5, 2, 7)
    for place in (0, 1):
        np.testing.assert_allclose(
            generator.log_likelihood(rows, found.token_ids[:, place]), found.scores[:, place], atol=1e-4
        )
    assert (found.scores[:, 0] >= found.scores[:, 1]).all()


def test_attention_maps_follow_the_keys_and_the_image(language, words):
    """Attention sums to 1, sharpens with the keys, and moves when the picture does."""
    network, _ = caption_model(MAP, language, cross_attention="copied")
    numbers, _ = words.encode(["a red square"], 6)
    attention = CaptionGenerator(network, words).attention_maps(maps_of(1)[0], numbers[0])
    assert attention.shape == (5, 2, 3)
    np.testing.assert_allclose(attention.sum((1, 2)), 1, rtol=1e-5)
    for block in decoder_blocks(network.get_layer("causal_decoder")):  # small fresh keys attend everywhere alike
        block._cross_attention_layer._key_dense.kernel.assign(40 * block._cross_attention_layer._key_dense.kernel)
    sharp = CaptionGenerator(network, words).attention_maps(maps_of(1)[0], numbers[0])
    np.testing.assert_allclose(sharp.sum((1, 2)), 1, rtol=1e-5)
    assert np.abs(sharp - attention).max() > 1e-2
    other = CaptionGenerator(network, words).attention_maps(maps_of(1)[0][::-1], numbers[0])
    assert np.abs(sharp - other).max() > 1e-2


def test_no_images_give_no_captions(language, words):
    network, _ = caption_model(MAP, language)
    found = CaptionGenerator(network, words).generate(np.zeros((0, *MAP), "float32"), max_length=5)
    assert found.texts == [] and found.token_ids.shape == (0, 1, 5)


def test_a_map_that_is_not_finite_is_named(language, words):
    network, _ = caption_model(MAP, language)
    maps = maps_of(3)
    maps[1] = np.nan
    with pytest.raises(UserError, match="image 1 has no caption, and 0 others"):
        CaptionGenerator(network, words).generate(maps, max_length=5)


def test_longer_captions_than_positions_are_refused(language, words):
    network, _ = caption_model(MAP, language)
    with pytest.raises(UserError, match="has 24 positions for words"):
        CaptionGenerator(network, words).generate(maps_of(1), max_length=25)


def test_the_logits_are_the_decoders(language):
    network, _ = caption_model(MAP, language)
    ids = tf.constant([[2, 5, 7]])
    memory = network.get_layer("memory")(maps_of(1))
    decoder = network.get_layer("causal_decoder")
    expected = decoder({"token_ids": ids, "padding_mask": tf.ones_like(ids), "memory": memory})
    given = network({"feature_map": tf.constant(maps_of(1)), "token_ids": ids, "padding_mask": tf.ones_like(ids)})
    np.testing.assert_allclose(given, expected, atol=1e-6)
