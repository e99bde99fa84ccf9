"""K over a picture's places and a question: its terms against NumPy, its pairs, its learning, and its file."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxfer
from tfxfer.errors import UserError
from tfxfer.models import load_model
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.knowledge import VisualQA, small_tower
from tfxfer.transfer.knowledge.answer_head import VQAHead, looks_of, terms_of
from tfxfer.transfer.knowledge.question_batches import batches, question_order, truncated_and_unknown
from tfxfer.transfer.knowledge.text_towers import bert_tower
from tfxfer.transfer.knowledge.visual_qa import pooled_encoder

QUESTIONS = ["is it bright?", "is the left side bright?", "what is it?"]
ANSWERS = ("bright", "dark", "no", "yes")


def pictures(count=64, seed=0):
    """Grey pictures of which the left or the whole is bright, with questions whose answers depend on both sides."""
    rng = np.random.default_rng(seed)
    bright, left = rng.random(count) < 0.5, rng.random(count) < 0.5
    images = rng.integers(0, 60, (count, 16, 16, 1))
    images[bright] += 120
    images[left, :, :8] += 70
    picture, texts, answers = [], [], []
    for i in range(count):
        picture += [i, i, i]
        texts += QUESTIONS
        answers += ["yes" if bright[i] else "no", "yes" if left[i] else "no", "bright" if bright[i] else "dark"]
    return images.astype(np.uint8), picture, texts, answers


def tiny(h="cross_attention", train_encoder=False, answers=ANSWERS, seed=0):
    keras.utils.set_random_seed(seed)
    x = keras.Input((16, 16, 1))
    hidden = keras.layers.Conv2D(8, 4, strides=4, activation="relu")(keras.layers.Rescaling(1 / 255)(x))  # 4 x 4 places
    cnn = keras.Model(x, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(hidden)))
    tower = small_tower(learn_vocabulary(QUESTIONS, "words"), 8, "words", 16)
    return VisualQA(cnn, tower, answers, (16, 16, 1), h=h, dim=32, heads=2, train_encoder=train_encoder)


def test_the_terms_are_the_equation():
    """K[b, a] = mean over places m of f(x_m)·g_a(y) + h_a(x_m, y), with NumPy, for FiLM."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 5, 6), (2, 4, 7)))
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    picture, question = np.array([2, 0, 0]), np.array([1, 0, 1])
    k = VQAHead(4, "film", dim=8)
    fg, h = (np.asarray(term) for term in k(x, y, mask, picture, question, return_terms=True))
    w = {v.path.split("/", 1)[1]: np.asarray(v) for v in k.weights}
    words = np.stack([y[q][mask[q]].mean(0) for q in question])  # [B, E]
    f = np.maximum(x @ w["f/kernel"] + w["f/bias"], 0)[picture]  # [B, M, 8]
    g = np.maximum(words @ w["g_hidden/kernel"] + w["g_hidden/bias"], 0) @ w["g/kernel"] + w["g/bias"]
    g = g[:, None, :, None] * w["g_answers/kernel"][None, None]  # [B, 1, 8, A]
    np.testing.assert_allclose(fg, np.einsum("bmd,bxda->ba", f, g) / 5, atol=1e-5)
    seen = (x @ w["h/seen/kernel"] + w["h/seen/bias"])[picture]
    scale, shift = (words @ w[f"h/{n}/kernel"] + w[f"h/{n}/bias"] for n in ("scale", "shift"))
    hidden = np.maximum((1 + scale[:, None]) * seen + shift[:, None], 0)
    hidden = np.maximum(hidden @ w["h/mix/kernel"] + w["h/mix/bias"], 0)
    np.testing.assert_allclose(h, (hidden @ w["h_answers/kernel"]).mean(1), atol=1e-5)
    np.testing.assert_allclose(k(x, y, mask, picture, question), fg + h, atol=1e-6)
    np.testing.assert_allclose(k(x, y, mask, picture, question, without="h"), fg, atol=1e-6)
    np.testing.assert_allclose(k(x, y, mask, picture, question, without="dot"), h, atol=1e-6)


def test_padding_of_a_question_changes_nothing():
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 5, 6), (2, 4, 7)))
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], bool)
    other = np.where(mask[..., None], y, 99.0).astype(np.float32)
    for h in (None, "film", "cross_attention"):
        k = VQAHead(3, h, dim=8, heads=2)
        np.testing.assert_allclose(k(x, y, mask), k(x, other, mask), atol=1e-5)


@pytest.mark.parametrize("h", [None, "film", "cross_attention"])
def test_it_learns_from_both_sides_and_its_file_answers_alike(h, tmp_path):
    images, *rest = pictures()
    qa = tiny(h)
    asked = qa.asked(images, *rest)
    qa.fit(asked, steps=100, batch_size=48, learning_rate=2e-2, jit=False)
    unseen = qa.asked(*pictures(40, seed=1))
    assert (qa.logits(unseen).argmax(1) == unseen.labels).mean() > 0.75  # about half by the questions alone
    qa.model().save(tmp_path / "model.keras")
    model = load_model(tmp_path / "model.keras")
    said = [*QUESTIONS, "какой? 🙂"]
    few = {"image": tf.constant(images[:4]), "question": tf.constant(said)}
    wanted = keras.ops.softmax(qa.logits(qa.asked(images[:4], [0, 1, 2, 3], said)))
    given = np.asarray(model(few))
    np.testing.assert_allclose(given, wanted, atol=1e-5)
    fg, term = (np.asarray(part) for part in terms_of(model)(few))
    np.testing.assert_allclose(keras.ops.softmax(fg + term), given, atol=1e-5)
    assert np.any(term) == (h is not None)
    looks = np.asarray(looks_of(model)(few))
    assert looks.shape == (4, 16) and looks.min() >= 0
    np.testing.assert_allclose(looks.sum(1), 1, atol=1e-4)


@pytest.mark.parametrize("h", [None, "film", "cross_attention"])
def test_words_work_together_not_turns_the_answer_whatever_is_asked_for(h):
    """ "is there no disc?" needs picture, disc and no at once; words that only add up cannot answer it."""
    things, keys = ("disc", "square", "star", "cross"), np.eye(4, dtype=np.float32)[:, None, None]  # [4, 1, 1, 4]
    texts = [f"is there {word} {thing}?" for word in ("a", "no") for thing in things]
    picture, asked = (place.ravel() for place in np.indices((4, len(texts))))
    there = [(asked[i] % 4 == picture[i]) == (asked[i] < 4) for i in range(len(asked))]
    keras.utils.set_random_seed(0)
    seen = keras.Sequential([keras.Input((1, 1, 4)), keras.layers.Conv2D(4, 1, use_bias=False)])
    seen.set_weights([np.eye(4, dtype=np.float32)[None, None]])
    tower = small_tower(learn_vocabulary(texts, "words"), 6, "words", 32)
    qa = VisualQA(seen, tower, ["no", "yes"], (1, 1, 4), h=h, dim=32, heads=2, dropout=0.0)
    given = qa.asked(keys, picture, [texts[i] for i in asked], np.where(there, "yes", "no").tolist())
    qa.fit(given, steps=300, batch_size=32, learning_rate=2e-2)
    assert (qa.logits(given).argmax(1) == given.labels).mean() == 1.0


def test_a_second_training_goes_on_from_the_first():
    qa = tiny()
    images, *rest = pictures(16)
    qa.fit(qa.asked(images, *rest), steps=3, batch_size=8)
    before = qa.trained.get_weights()
    qa.fit(qa.asked(images // 4, *rest), steps=1, batch_size=8, learning_rate=0.0)
    for now, then in zip(qa.trained.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_questions_that_are_cut_are_counted():
    qa = tiny()
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 8 tokens"):
        qa.asked(pictures(1)[0], [0, 0, 0], ["what is it?", "is it " * 5, "is it " * 5])


def test_the_encoder_trains_when_it_is_asked_to_and_not_otherwise():
    images, *rest = pictures(16)
    for trains in (False, True):
        qa = tiny(train_encoder=trains)
        before = [np.array(w) for w in qa.grid.get_weights()]
        qa.fit(qa.asked(images, *rest), steps=3, batch_size=8, jit=False)
        changed = [not np.allclose(a, b) for a, b in zip(before, qa.grid.get_weights(), strict=True)]
        assert any(changed) == trains


def test_batches_hold_the_pairs_that_were_asked():
    images, picture, texts, answers = pictures(20)
    qa = tiny()
    asked = qa.asked(images, picture, texts, answers)
    rows = question_order(asked.picture, 4 * 45, seed=3).reshape(4, 45)
    assert sorted(question_order(asked.picture, 60, seed=1).tolist()) == list(range(60))  # each once before any twice
    for at, (given, labels) in zip(rows, batches(asked, rows), strict=True):
        assert len(given["tokens"]) == 3 and len(given["sight"]) == 20  # of 45 pairs: each once
        np.testing.assert_array_equal(tf.gather(given["sight"], given["picture"]), asked.sight[asked.picture[at]])
        np.testing.assert_array_equal(tf.gather(given["tokens"], given["question"]), asked.numbers[asked.question[at]])
        np.testing.assert_array_equal(labels, asked.labels[at])


def test_answers_that_are_no_class_teach_nothing():
    images, picture, texts, answers = pictures(8)
    qa = tiny()
    with pytest.raises(UserError, match="none of the questions has an answer"):
        qa.fit(qa.asked(images, picture, texts, ["maybe"] * len(texts)))
    asked = qa.asked(images, picture, texts, ["maybe", *answers[1:]])
    assert asked.labels[0] == -1
    qa.fit(asked, steps=2, batch_size=8, jit=False)  # no label −1 reaches the loss


def test_fine_maps_are_averaged_to_eight_by_eight():
    cnn = tfxfer.source("fresh:cnn", num_classes=3, input_shape=(64, 64, 1), seed=0)
    assert pooled_encoder(cnn, (64, 64, 1)).output.shape == (None, 8, 8, 128)
    assert pooled_encoder(cnn, (32, 32, 1)).output.shape == (None, 8, 8, 128)
    inside = keras.Sequential([keras.Input((64, 64, 1)), keras.layers.Rescaling(1.0), cnn])  # a model within a model
    grid = pooled_encoder(inside, (64, 64, 1))
    x = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 1)).astype(np.float32)
    np.testing.assert_allclose(grid(x), pooled_encoder(cnn, (64, 64, 1))(x), atol=1e-5)
    dense = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1.0), keras.layers.Flatten()])
    with pytest.raises(UserError, match="has no maps"):
        pooled_encoder(dense, (8, 8, 1))


def test_what_of_a_question_is_read_is_counted():
    tower = small_tower(learn_vocabulary(QUESTIONS, "words"), 4, "words", 8)
    texts = ["what is it?", "is the left side bright?", "какого цвета?", "🙂🙂", "is it bright? 🙂"]
    cut, strange = truncated_and_unknown(tower.tokens, texts)
    assert cut.tolist() == [False, True, False, False, False]
    assert strange.tolist() == [False, False, True, True, False]


def test_a_bert_reads_the_question():
    from tfxfer.models.bert import small_bert

    pieces = "[PAD] [UNK] [CLS] [SEP] [MASK] what is it ? left".split()
    tower = bert_tower(small_bert(len(pieces), num_layers=1, hidden_dim=16, num_heads=2), pieces, 8)
    qa = VisualQA(tiny().grid, tower, ["a", "b"], (16, 16, 1), dim=16, heads=2)
    images = pictures(2)[0]
    logits = qa.logits(qa.asked(images, [0, 0, 1], ["what is it?", "🙂", "left"]))
    assert logits.shape == (3, 2) and np.isfinite(logits).all()
    cut, strange = truncated_and_unknown(tower.tokens, ["what is it?", "🙂", "what is it it it it it"])
    assert cut.tolist() == [False, False, True] and strange.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VQAHead(3, "filme"), "h='filme' is unknown"),
        (lambda: VQAHead(3, None, dot=False), "leave nothing of K"),
        (lambda: VQAHead(0), "there is no answer"),
        (lambda: VQAHead(3, "cross_attention", dim=8, heads=3), "do not divide"),
        (lambda: VQAHead(3)(np.zeros((1, 2, 3)), np.zeros((1, 2, 3)), without="g"), "there is no such term"),
        (lambda: tiny(answers=["yes"]), "fewer than two"),
        (lambda: tiny().asked(pictures(2)[0], [0], ["is it?", "what?"]), "are no pairs"),
        (lambda: tiny().asked(pictures(2)[0], [0], [" "]), "is empty"),
    ],
)
def test_what_cannot_be_built_or_asked_is_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
