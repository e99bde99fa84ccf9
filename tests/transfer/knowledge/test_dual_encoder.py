"""The dual encoder: InfoNCE by hand, text towers with their tokenizer inside, training, retrieval and zero-shot."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError, UserError
from tfxfer.evaluate.retrieval import retrieval
from tfxfer.models.bert import learn_word_pieces, small_bert
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.knowledge.contrastive import InfoNCE
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder
from tfxfer.transfer.knowledge.question_batches import TruncationWarning
from tfxfer.transfer.knowledge.text_towers import WordPieces, bert_tower, small_tower

pytestmark = pytest.mark.tensorflow

COLOURS, THINGS = ("red", "green", "blue", "white"), ("cat", "dog", "house", "tree", "car")
NAMES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]


def log_softmax(x, axis):
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def test_the_loss_is_cross_entropy_both_ways():
    k = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    rows, columns = np.diag(log_softmax(k, 1)), np.diag(log_softmax(k, 0))
    np.testing.assert_allclose(InfoNCE()(np.arange(4), k), -(rows + columns).mean() / 2, rtol=1e-5)
    np.testing.assert_allclose(InfoNCE()(np.arange(4), np.zeros((4, 4))), np.log(4), rtol=1e-6)


def test_pairs_of_one_thing_share_the_target():
    k = np.random.default_rng(1).normal(size=(3, 3)).astype("float32")
    by_row = log_softmax(k, 1)
    by_column = log_softmax(k, 0)
    first = (by_row[0, 0] + by_row[0, 2]) / 2 + (by_column[0, 0] + by_column[2, 0]) / 2
    middle = by_row[1, 1] + by_column[1, 1]
    last = (by_row[2, 0] + by_row[2, 2]) / 2 + (by_column[0, 2] + by_column[2, 2]) / 2
    loss = InfoNCE()(np.array([[7], [3], [7]]), k)
    np.testing.assert_allclose(loss, -(first + middle + last) / 6, rtol=1e-5)


def test_the_order_of_pairs_does_not_matter():
    k, ids = np.random.default_rng(2).normal(size=(5, 5)).astype("float32"), np.array([0, 1, 1, 2, 3])
    turned = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(InfoNCE()(ids, k), InfoNCE()(ids[turned], k[turned][:, turned]), rtol=1e-5)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return learn_word_pieces(NAMES * 20, 80, tmp_path_factory.mktemp("pieces") / "vocabulary.txt")


def test_a_bert_tower_encodes_strings_and_padding_changes_nothing(pieces, tmp_path):
    keras.utils.set_random_seed(0)
    backbone = small_bert(len(pieces), 1, 16, 2)
    short, long = bert_tower(backbone, pieces, 6), bert_tower(backbone, pieces, 12)
    texts = tf.constant(["red cat", "Blue TREE"])
    vectors = np.asarray(short.model(texts))
    assert vectors.shape == (2, short.dim) == (2, 16)
    np.testing.assert_allclose(vectors, long.model(texts), atol=1e-5)
    short.model.save(tmp_path / "tower.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "tower.keras")(texts), vectors, atol=1e-6)


def test_word_pieces_start_end_and_are_truncated(pieces):
    token_ids = WordPieces(pieces, 4)(tf.constant(["red cat", "white dog green tree blue car", b"\xff\xfe"]))
    start, end = pieces.index("[CLS]"), pieces.index("[SEP]")
    assert np.asarray(token_ids)[:, 0].tolist() == [start] * 3
    assert np.asarray(token_ids)[0].tolist() == [start, pieces.index("red"), pieces.index("cat"), end]
    assert np.asarray(token_ids)[1, -1] == end


def images(names, noise=0.3, seed=0):
    """4x4 grey images whose left half depends on the colour and whose right half on the thing."""
    rng = np.random.default_rng(5)
    colours = {c: rng.normal(size=(4, 2)) for c in COLOURS}
    things = {t: rng.normal(size=(4, 2)) for t in THINGS}
    drawn = [np.concatenate([colours[n.split()[0]], things[n.split()[1]]], 1) for n in names]
    return (np.stack(drawn) + noise * np.random.default_rng(seed).normal(size=(len(names), 4, 4)))[..., None]


def training(steps, batch_size=128, learning_rate=1e-3):
    return TrainingConfig(steps=steps, batch_size=batch_size, learning_rates=(learning_rate,))


def phi():
    image = keras.Input((4, 4, 1))
    keras.utils.set_random_seed(3)
    return keras.Model(image, keras.layers.Dense(24)(keras.layers.Flatten()(image)), name="phi")


@pytest.fixture(scope="module")
def trained():
    """An encoder trained on 16 names of 20; the other four are new combinations of known words."""
    keras.utils.set_random_seed(0)
    tower = small_tower(learn_vocabulary(NAMES, "words"), 4, dim=32)
    towers = DualEncoder(phi(), tower)
    new = [0, 6, 12, 18]
    known = [name for row, name in enumerate(NAMES) if row not in new] * 6
    before = [np.array(w) for w in towers.image_encoder.get_weights()]
    history = towers.fit(images(known), known, ids=known, training=training(150, 32, 1e-2), jit=False)
    assert history.history["loss"][-1] < np.log(32)
    for now, then in zip(towers.image_encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    return towers, [NAMES[row] for row in new]


def test_new_combinations_of_known_words_are_found_both_ways(trained):
    towers, new = trained
    k = towers.predict(images(NAMES, seed=9), NAMES)
    found = retrieval(k)
    assert found["image_to_text"]["recall_at_1"] > 0.8 and found["text_to_image"]["recall_at_1"] > 0.8
    rows = [NAMES.index(name) for name in new]
    assert (found["image_to_text"]["ranks"][rows] <= 2).all()


def test_the_score_is_that_of_the_predicted_matrix(trained):
    towers, _ = trained
    shown, index = images(NAMES, seed=9), np.repeat(np.arange(20), 2)
    texts = [text for name in NAMES for text in (name, f"a {name}")]
    found = retrieval(towers.predict(shown, texts), np.arange(20), index)
    score = towers.score(shown, texts, index)
    assert len(score) == 10 and all(isinstance(value, float) for value in score.values())
    for direction in ("image_to_text", "text_to_image"):
        for name in ("recall_at_1", "recall_at_5", "recall_at_10", "reciprocal_rank", "median_rank"):
            assert score[f"{direction}_{name}"] == found[direction][name]
    by_colour = towers.score(shown, NAMES, ids=[name.split()[0] for name in NAMES])
    assert by_colour["image_to_text_recall_at_1"] >= towers.score(shown, NAMES)["image_to_text_recall_at_1"]


def test_both_sides_are_models(trained):
    towers, new = trained
    shown = images(new).astype("float32")
    np.testing.assert_allclose(towers.image_side()(shown), towers.encode_images(shown), atol=1e-6)
    np.testing.assert_allclose(towers.text_side()(tf.constant(NAMES)), towers.encode_texts(NAMES), atol=1e-6)


def test_the_image_size_is_saved_where_phi_takes_any(tmp_path):
    image = keras.Input((None, None, 1))
    any_size = keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 2)(image)))
    for size in (None, (4, 5)):
        towers = DualEncoder(any_size, small_tower(["red"], 4, dim=8), image_size=size)
        loaded = DualEncoder.load(towers.save(tmp_path / str(size)))
        assert loaded.image_size == towers.image_size == size
    assert DualEncoder(phi(), small_tower(["red"], 4, dim=8)).image_size == (4, 4)


def test_k_is_the_model_that_is_saved(trained, tmp_path):
    towers, new = trained
    shown = images(new).astype("float32")
    towers.end_to_end().save(tmp_path / "towers.keras")
    again = keras.saving.load_model(tmp_path / "towers.keras")
    k = again({"image": tf.constant(shown), "text": tf.constant(NAMES)})
    np.testing.assert_allclose(k, towers.predict(shown, NAMES), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(towers.predict(towers.features(shown), NAMES), k, rtol=1e-4, atol=1e-4)


def test_vectors_have_length_one_and_features_are_standardised(trained):
    towers, _ = trained
    vectors = towers.encode_images(images(NAMES))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(towers.encode_texts(NAMES), axis=1), 1, rtol=1e-5)
    features = towers.features(images([n for n in NAMES if n not in trained[1]] * 6))
    standard = np.asarray(towers.standardise(features))
    np.testing.assert_allclose(standard.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(standard.std(0), 1, atol=1e-3)


def test_zero_shot_tells_classes_by_their_names(trained):
    towers, _ = trained
    shares = towers.zero_shot(images(NAMES, seed=4), THINGS, [colour + " {}" for colour in COLOURS])
    assert shares.shape == (20, 5)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    right = [THINGS.index(name.split()[1]) for name in NAMES]
    assert np.mean(shares.argmax(1) == right) > 0.8
    with pytest.raises(UserError, match="no place {}"):
        towers.zero_shot(images(NAMES), THINGS, ["a thing"])


def test_a_second_training_from_the_same_weights_is_the_same(pieces):
    keras.utils.set_random_seed(0)
    towers = DualEncoder(phi(), small_tower(learn_vocabulary(NAMES, "words"), 4, dim=8))
    start = [np.array(w) for w in towers.model.get_weights()]
    texts = []
    for _ in range(2):
        towers.model.set_weights(start)
        towers.fit(images(NAMES), NAMES, training=training(10, 8), jit=False)
        texts.append(towers.encode_texts(NAMES))
    np.testing.assert_allclose(*texts, atol=1e-6)


def test_texts_of_one_image_train_as_if_the_image_were_repeated():
    keras.utils.set_random_seed(0)
    towers = DualEncoder(phi(), small_tower(learn_vocabulary(NAMES, "words"), 4, dim=8))
    start = [np.array(w) for w in towers.model.get_weights()]
    shown, image_index = images(NAMES), np.repeat(np.arange(20), 2)
    texts = [text for name in NAMES for text in (name, f"a {name}")]
    vectors = []
    repeated = {"images": towers.features(shown)[image_index], "ids": image_index}
    for inputs in (repeated, {"images": shown, "image_index": image_index}):
        towers.model.set_weights(start)
        towers.fit(texts=texts, **inputs, training=training(10, 8), jit=False)
        vectors.append(towers.encode_texts(texts))
    np.testing.assert_allclose(*vectors, atol=1e-5)
    with pytest.raises(UserError, match="image_index has 0 to 20; the 20 images are 0 to 19"):
        towers.fit(shown, texts[:2], image_index=[0, 20], training=training(1), jit=False)


@pytest.mark.parametrize(
    ("shown", "texts", "ids", "message"),
    [
        (NAMES, NAMES[:-1], None, "20 images and 19 texts are no pairs; say by image_index"),
        (NAMES, NAMES, NAMES[:-1], "20 images and 19 ids; give one id for each image"),
        (NAMES, [*NAMES[:-1], "  "], None, "text 19 is empty"),
        (NAMES[:1], NAMES[:1], None, "at least two different things"),
        (NAMES, NAMES, np.zeros(20), "at least two different things"),
        (NAMES, ["!!!"] * 20, None, "at least two different things are needed, with words in their texts"),
    ],
)
def test_pairs_that_cannot_be_learned_are_named(shown, texts, ids, message):
    towers = DualEncoder(phi(), small_tower(["red"], 4, dim=8))
    with pytest.raises(UserError, match=message):
        towers.fit(images(shown), texts, ids=ids, training=training(1), jit=False)


def test_features_that_are_not_numbers_or_not_of_phi_are_named():
    towers = DualEncoder(phi(), small_tower(["red"], 4, dim=8))
    features = np.zeros((20, 24), "float32")
    features[3, 5] = np.nan
    with pytest.raises(UserError, match="1 images are not finite, first row 3"):
        towers.fit(features, NAMES, training=training(1), jit=False)
    with pytest.raises(UserError, match=r"φ gives features \[N, 24\], not \[2, 7\]"):
        towers.predict(np.zeros((2, 7)), NAMES)


def test_truncated_texts_are_counted_where_they_are_given():
    towers, shown = DualEncoder(phi(), small_tower(["red"], 2, dim=8)), images(NAMES)
    texts = ["red", "red red"] + ["red red red"] * 18
    calls = [
        lambda: towers.fit(shown, texts, training=training(1), jit=False),
        lambda: towers.predict(shown, texts),
        lambda: towers.score(shown, texts),
        lambda: towers.encode_texts(texts),
        lambda: towers.zero_shot(shown, texts),
        lambda: towers.text_tower.encode(texts),
    ]
    for call in calls:
        with pytest.warns(
            TruncationWarning, match="18 of 20 texts are longer than 2 tokens.* greater `length`"
        ) as told:
            call()
        assert [one.filename for one in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        towers.predict(shown, texts[:2])
        warnings.simplefilter("ignore", TruncationWarning)  # as a command does, which counts them itself
        towers.predict(shown, texts)


@pytest.mark.parametrize("jit", [False, True])
def test_a_text_without_a_word_is_zeros_and_spoils_no_training(jit):
    keras.utils.set_random_seed(0)
    towers = DualEncoder(phi(), small_tower(learn_vocabulary(NAMES, "words"), 4, dim=8))
    history = towers.fit(images(NAMES), ["!!!", *NAMES[1:]], training=training(5, 20, 1e-2), jit=jit)
    assert np.isfinite(history.history["loss"][0])
    assert all(np.isfinite(weight).all() for weight in towers.model.get_weights())
    k = towers.predict(images(NAMES), ["!!!", "😀", *NAMES])
    assert np.isfinite(k).all() and not k[:, :2].any() and k[:, 2:].any()


def test_a_second_training_goes_on_from_the_first():
    keras.utils.set_random_seed(0)
    towers = DualEncoder(phi(), small_tower(learn_vocabulary(NAMES, "words"), 4, dim=8))
    towers.fit(images(NAMES), NAMES, training=training(10, learning_rate=1e-2), jit=False)
    before = towers.model.get_weights()
    towers.fit(3 * images(NAMES, seed=1), NAMES[::-1], training=training(1, learning_rate=0.0), jit=False)
    for now, then in zip(towers.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_what_cannot_be_a_tower_is_named(pieces):
    with pytest.raises(UserError, match=r"has no \[MASK\]"):
        WordPieces([piece for piece in pieces if piece != "[MASK]"])
    with pytest.raises(UserError, match="no room for a word"):
        WordPieces(pieces, 2)
    with pytest.raises(UserError, match="knows 90 word pieces, the vocabulary has"):
        bert_tower(small_bert(90, 1, 16, 2), pieces)
    with pytest.raises(UserError, match="at most 8 tokens"):
        bert_tower(small_bert(len(pieces), 1, 16, 2, max_sequence_length=8), pieces, 9)
    with pytest.raises(UserError, match="must give features"):
        image = keras.Input((4, 4, 1))
        DualEncoder(keras.Model(image, keras.layers.Conv2D(2, 3)(image)), small_tower(["red"]))


def test_a_loss_that_is_no_number_stops_the_training():
    towers = DualEncoder(phi(), small_tower(["red"], 4, dim=8))
    towers.text_tower.sequence.layers[-1].kernel.assign(np.full((8, 8), np.nan))
    with pytest.raises(TfxferError, match="the loss became nan in step 1"):
        towers.fit(images(NAMES), NAMES, training=training(3), jit=False, ridge_init=False)
    towers = DualEncoder(phi(), towers.text_tower)
    with pytest.raises(TfxferError, match="the text tower gives vectors that are not finite"):
        towers.fit(images(NAMES), NAMES, training=training(3), jit=False)


def test_the_last_layer_of_g_starts_as_ridge_regression():
    """By W = (Z'Z + λI)⁻¹ Z'F, with one of the L2 penalties; a tiny learning rate keeps it."""
    keras.utils.set_random_seed(3)
    towers, shown = DualEncoder(phi(), small_tower(NAMES, 4, "words", dim=8)), images(NAMES)
    towers.fit(shown, NAMES, training=training(1, learning_rate=1e-12), jit=False)
    z, f = np.asarray(towers.text_tower.body(towers.text_tower.encode(NAMES))), towers.encode_images(shown)
    found = np.asarray(towers.matrix.g_projection.kernel)
    wanted = [np.linalg.solve(z.T @ z + 10.0**power * np.eye(8), z.T @ f) for power in range(-3, 5)]
    assert min(np.abs(found - one).max() for one in wanted) < 1e-4
