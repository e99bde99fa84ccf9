"""Visual question answering: the terms of K against NumPy, batches of pairs, training, and the saved model."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxfer
from tfxfer.config import TrainingConfig, VQAHeadConfig
from tfxfer.errors import UserError
from tfxfer.evaluate.vqa import vqa
from tfxfer.models import load_model
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.knowledge import VisualQA, small_tower
from tfxfer.transfer.knowledge.answer_head import VQAHead
from tfxfer.transfer.knowledge.question_batches import (
    TruncationWarning,
    batches,
    question_order,
    truncated_and_unknown,
)
from tfxfer.transfer.knowledge.text_towers import bert_tower
from tfxfer.transfer.knowledge.visual_qa import pooled_encoder

pytestmark = pytest.mark.tensorflow

QUESTIONS = ["is it bright?", "is the left side bright?", "what is it?"]
ANSWERS = ("bright", "dark", "no", "yes")


def examples(count=64, seed=0):
    """Grey images of which the left or the whole is bright, with questions whose answers depend on both sides."""
    rng = np.random.default_rng(seed)
    bright, left = rng.random(count) < 0.5, rng.random(count) < 0.5
    images = rng.integers(0, 60, (count, 16, 16, 1))
    images[bright] += 120
    images[left, :, :8] += 70
    texts, answers = QUESTIONS * count, []
    for i in range(count):
        answers += ["yes" if bright[i] else "no", "yes" if left[i] else "no", "bright" if bright[i] else "dark"]
    return images.astype(np.uint8), texts, answers, np.repeat(np.arange(count), len(QUESTIONS)).tolist()


def training(steps, batch_size=8, learning_rate=3e-3):
    return TrainingConfig(steps=steps, batch_size=batch_size, learning_rates=(learning_rate,))


def tiny(h="cross_attention", train_encoder=False, answers=ANSWERS, seed=0):
    keras.utils.set_random_seed(seed)
    x = keras.Input((16, 16, 1))
    hidden = keras.layers.Conv2D(8, 4, strides=4, activation="relu")(keras.layers.Rescaling(1 / 255)(x))  # 4 x 4
    cnn = keras.Model(x, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(hidden)))
    tower = small_tower(learn_vocabulary(QUESTIONS, "words"), 8, "words", 16)
    head = VQAHeadConfig(h or "bilinear", dim=32, heads=2)
    return VisualQA(cnn, tower, answers, (16, 16, 1), head, train_encoder=train_encoder)


def test_the_terms_are_the_equation():
    """K[b, a] = mean over positions m of f(x_m)·g_a(y) + h_a(x_m, y), with NumPy, for FiLM."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 5, 6), (2, 4, 7)))
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    image_index, question_index = np.array([2, 0, 0]), np.array([1, 0, 1])
    k = VQAHead(4, "film", dim=8)
    fg, h = (np.asarray(term) for term in k(x, y, mask, image_index, question_index, return_terms=True))
    w = {v.path.split("/", 1)[1]: np.asarray(v) for v in k.weights}
    words = np.stack([y[q][mask[q]].mean(0) for q in question_index])  # [B, E]
    f = np.maximum(x @ w["f/kernel"] + w["f/bias"], 0)[image_index]  # [B, M, 8]
    g = np.maximum(words @ w["g_hidden/kernel"] + w["g_hidden/bias"], 0) @ w["g/kernel"] + w["g/bias"]
    g = g[:, None, :, None] * w["g_answers/kernel"][None, None]  # [B, 1, 8, A]
    np.testing.assert_allclose(fg, np.einsum("bmd,bxda->ba", f, g) / 5, atol=1e-5)
    seen = (x @ w["h/seen/kernel"] + w["h/seen/bias"])[image_index]
    scale, shift = (words @ w[f"h/{n}/kernel"] + w[f"h/{n}/bias"] for n in ("scale", "shift"))
    hidden = np.maximum((1 + scale[:, None]) * seen + shift[:, None], 0)
    hidden = np.maximum(hidden @ w["h/mix/kernel"] + w["h/mix/bias"], 0)
    np.testing.assert_allclose(h, (hidden @ w["h_answers/kernel"]).mean(1), atol=1e-5)
    np.testing.assert_allclose(k(x, y, mask, image_index, question_index), fg + h, atol=1e-6)
    np.testing.assert_allclose(k(x, y, mask, image_index, question_index, without="h"), fg, atol=1e-6)
    np.testing.assert_allclose(k(x, y, mask, image_index, question_index, without="dot"), h, atol=1e-6)


def test_padding_of_a_question_changes_nothing():
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 5, 6), (2, 4, 7)))
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], bool)
    other = np.where(mask[..., None], y, 99.0).astype(np.float32)
    for h in (None, "film", "cross_attention"):
        k = VQAHead(3, h, dim=8, heads=2)
        np.testing.assert_allclose(k(x, y, mask), k(x, other, mask), atol=1e-5)


@pytest.mark.parametrize("h", [None, "film", "cross_attention"])
def test_it_learns_from_both_sides_and_its_file_predicts_alike(h, tmp_path):
    images, texts, answers, image_index = examples()
    qa = tiny(h)
    qa.fit(images, texts, answers, image_index, training=training(100, 48, 2e-2))
    batch = qa.encode(*examples(40, seed=1))
    assert (qa.logits(batch).argmax(1) == batch.labels).mean() > 0.75  # about half by the questions alone
    asked = [*QUESTIONS, "какой? 🙂"]
    few = qa.encode(images[:4], asked)
    predicted = qa.predict(few)
    np.testing.assert_allclose(predicted.probabilities, keras.ops.softmax(qa.logits(few)), atol=1e-6)
    assert predicted.texts == [qa.answers[i] for i in qa.logits(few).argmax(1)]
    model = load_model(qa.save(tmp_path) / "model.keras")
    given = model({"image": tf.constant(images[:4]), "question": tf.constant(asked)})
    np.testing.assert_allclose(given, predicted.probabilities, atol=1e-5)
    loaded = VisualQA.load(tmp_path)
    fg, term = loaded.logits(few, without="h"), loaded.logits(few, without="dot")
    np.testing.assert_allclose(keras.ops.softmax(fg + term), given, atol=1e-5)
    assert np.any(term) == (h is not None)
    maps = loaded.attention_maps(few)
    assert maps.shape == (4, 4, 4) and maps.min() >= 0
    np.testing.assert_allclose(maps.sum((1, 2)), 1, atol=1e-4)
    np.testing.assert_array_equal(maps, qa.attention_maps(few))


@pytest.mark.parametrize("h", [None, "film", "cross_attention"])
def test_words_work_together_not_turns_the_answer_whatever_is_asked_for(h):
    """ "is there no disc?" needs image, disc and no at once; words that only add up cannot answer it."""
    things, keys = ("disc", "square", "star", "cross"), np.eye(4, dtype=np.float32)[:, None, None]  # [4, 1, 1, 4]
    texts = [f"is there {word} {thing}?" for word in ("a", "no") for thing in things]
    image_index, asked = (place.ravel() for place in np.indices((4, len(texts))))
    there = [(asked[i] % 4 == image_index[i]) == (asked[i] < 4) for i in range(len(asked))]
    keras.utils.set_random_seed(0)
    seen = keras.Sequential([keras.Input((1, 1, 4)), keras.layers.Conv2D(4, 1, use_bias=False)])
    seen.set_weights([np.eye(4, dtype=np.float32)[None, None]])
    tower = small_tower(learn_vocabulary(texts, "words"), 6, "words", 32)
    qa = VisualQA(seen, tower, ["no", "yes"], (1, 1, 4), VQAHeadConfig(h or "bilinear", dim=32, heads=2, dropout=0.0))
    given = qa.encode(keys, [texts[i] for i in asked], np.where(there, "yes", "no").tolist(), image_index)
    qa.fit(given, training=training(300, 32, 2e-2))
    assert (qa.logits(given).argmax(1) == given.labels).mean() == 1.0


def test_a_second_training_goes_on_from_the_first():
    qa = tiny()
    images, *rest = examples(16)
    qa.fit(images, *rest, training=training(3))
    before = qa.model.get_weights()
    qa.fit(images // 4, *rest, training=training(1, learning_rate=0.0))
    for now, then in zip(qa.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_truncated_questions_are_counted_where_they_are_given():
    qa, images = tiny(), examples(1)[0]
    long, index = ["what is it?", "is it " * 5, "is it " * 5], [0, 0, 0]
    calls = [
        lambda: qa.encode(images, long, image_index=index),
        lambda: qa.fit(images, long, ["dark"] * 3, index, training=training(1)),
        lambda: qa.predict(images, long, index),
        lambda: qa.score(images, long, ["dark"] * 3, index),
    ]
    for call in calls:
        with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than 8 tokens") as told:
            call()
        assert [one.filename for one in told if one.category is TruncationWarning] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", TruncationWarning)
        qa.encode(images, long, image_index=index)


def test_the_encoder_trains_when_it_is_asked_to_and_not_otherwise():
    images, *rest = examples(16)
    for trains in (False, True):
        qa = tiny(train_encoder=trains)
        before = [np.array(w) for w in qa.image_encoder.get_weights()]
        qa.fit(images, *rest, training=training(3))
        changed = [not np.allclose(a, b) for a, b in zip(before, qa.image_encoder.get_weights(), strict=True)]
        assert any(changed) == trains


def test_batches_hold_the_given_pairs():
    qa = tiny()
    batch = qa.encode(*examples(20))
    rows = question_order(batch.image_index, 4 * 45, seed=3).reshape(4, 45)
    assert sorted(question_order(batch.image_index, 60, seed=1).tolist()) == list(range(60))  # each once before twice
    for row, (inputs, labels) in zip(rows, batches(batch, rows), strict=True):
        assert len(inputs["token_ids"]) == 3 and len(inputs["images"]) == 20  # of 45 pairs: each once
        images = tf.gather(inputs["images"], inputs["image_index"])
        np.testing.assert_array_equal(images, batch.images[batch.image_index[row]])
        token_ids = tf.gather(inputs["token_ids"], inputs["question_index"])
        np.testing.assert_array_equal(token_ids, batch.token_ids[batch.question_index[row]])
        np.testing.assert_array_equal(labels, batch.labels[row])


def test_a_batch_trains_as_the_questions_in_it_do():
    ends = []
    for encoded in (True, False):
        qa, given = tiny(), examples(8)
        qa.fit(*([qa.encode(*given)] if encoded else given), training=training(3), seed=5)
        ends.append(qa.model.get_weights())
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(UserError, match="a QuestionBatch holds questions"):
        qa.fit(qa.encode(*given), given[1])


def test_answers_that_are_no_class_are_never_trained_on_and_count_as_errors():
    images, texts, answers, image_index = examples(8)
    qa = tiny()
    with pytest.raises(UserError, match="none of the questions has an answer"):
        qa.fit(images, texts, ["maybe"] * len(texts), image_index)
    batch = qa.encode(images, texts, ["maybe", *answers[1:]], image_index)
    assert batch.labels[0] == -1
    qa.fit(batch, training=training(2))  # no label −1 reaches the loss
    correct = np.array(qa.predict(batch).texts) == np.array(["maybe", *answers[1:]])
    score = qa.score(images, texts, ["maybe", *answers[1:]], image_index)
    assert not correct[0] and score["accuracy"] == pytest.approx(correct.mean())


def test_the_score_is_that_of_the_predicted_answers_by_kind():
    images, texts, answers, image_index = examples(8)
    qa = tiny()
    found = vqa(qa.predict(images, texts, image_index).texts, answers)
    score = qa.score(images, texts, answers, image_index)
    assert score["accuracy_yes/no"] == found["by_kind"]["yes/no"]["accuracy"]
    assert score["accuracy_other"] == found["by_kind"]["other"]["accuracy"]
    assert score["balanced_accuracy"] == found["balanced_accuracy"]


def test_by_default_a_question_is_about_the_image_of_its_row():
    qa, images = tiny(), examples(3)[0]
    np.testing.assert_array_equal(qa.encode(images, QUESTIONS).image_index, [0, 1, 2])
    given = qa.predict(images, QUESTIONS, [0, 1, 2]).probabilities
    np.testing.assert_array_equal(qa.predict(images, QUESTIONS).probabilities, given)


def test_the_steps_may_be_given_in_epochs():
    qa, given = tiny(), examples(4)
    qa.fit(*given, training=TrainingConfig(steps=0, epochs=2, batch_size=5))
    assert int(qa.model.optimizer.iterations) == 6  # 12 questions are 3 batches of 5
    with pytest.raises(UserError, match="nothing would be trained"):
        qa.fit(*given, training=TrainingConfig(steps=0))


def test_fine_maps_are_averaged_to_eight_by_eight():
    cnn = tfxfer.source("fresh:cnn", num_classes=3, input_shape=(64, 64, 1), seed=0)
    assert pooled_encoder(cnn, (64, 64, 1)).output.shape == (None, 8, 8, 128)
    assert pooled_encoder(cnn, (32, 32, 1)).output.shape == (None, 8, 8, 128)
    inside = keras.Sequential([keras.Input((64, 64, 1)), keras.layers.Rescaling(1.0), cnn])  # a model within a model
    grid = pooled_encoder(inside, (64, 64, 1))
    x = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 1)).astype(np.float32)
    np.testing.assert_allclose(grid(x), pooled_encoder(cnn, (64, 64, 1))(x), atol=1e-5)
    dense = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1.0), keras.layers.Flatten()])
    with pytest.raises(UserError, match="has no .*maps"):
        pooled_encoder(dense, (8, 8, 1))


def test_truncated_and_unknown_questions_are_counted():
    tower = small_tower(learn_vocabulary(QUESTIONS, "words"), 4, "words", 8)
    texts = ["what is it?", "is the left side bright?", "какого цвета?", "🙂🙂", "is it bright? 🙂"]
    truncated, unknown = truncated_and_unknown(tower.tokenizer, texts)
    assert truncated.tolist() == [False, True, False, False, False]
    assert unknown.tolist() == [False, False, True, True, False]


def test_a_bert_encodes_the_question(tmp_path):
    from tfxfer.models.bert import small_bert

    pieces = "[PAD] [UNK] [CLS] [SEP] [MASK] what is it ? left".split()
    tower = bert_tower(small_bert(len(pieces), num_layers=1, hidden_dim=16, num_heads=2), pieces, 8)
    qa = VisualQA(tiny().image_encoder, tower, ["a", "b"], (16, 16, 1), VQAHeadConfig(dim=16, heads=2))
    images = examples(2)[0]
    logits = qa.logits(qa.encode(images, ["what is it?", "🙂", "left"], image_index=[0, 0, 1]))
    assert logits.shape == (3, 2) and np.isfinite(logits).all()
    loaded = VisualQA.load(qa.save(tmp_path))
    np.testing.assert_array_equal(
        loaded.logits(loaded.encode(images, ["what is it?", "🙂"])), qa.logits(qa.encode(images, ["what is it?", "🙂"]))
    )
    np.testing.assert_allclose(
        loaded.text_tower.model(tf.constant(["left"])), tower.model(tf.constant(["left"])), atol=1e-6
    )
    truncated, unknown = truncated_and_unknown(tower.tokenizer, ["what is it?", "🙂", "what is it it it it it"])
    assert truncated.tolist() == [False, False, True] and unknown.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VQAHead(3, "filme"), "h='filme' is unknown"),
        (lambda: VQAHead(3, None, dot=False), "leave nothing of K"),
        (lambda: VQAHead(0), "there is no answer"),
        (lambda: VQAHead(3, "cross_attention", dim=8, heads=3), "do not divide"),
        (lambda: VQAHead(3)(np.zeros((1, 2, 3)), np.zeros((1, 2, 3)), without="g"), "there is no such term"),
        (lambda: tiny(answers=["yes"]), "at least two are needed"),
        (lambda: tiny().encode(examples(2)[0], ["is it?"] * 3), "2 images and 3 questions are no pairs"),
        (lambda: tiny().encode(examples(2)[0], ["is it?", "what?"], image_index=[0]), "2 questions and 1 entries"),
        (lambda: tiny().encode(examples(2)[0], ["is it?"], image_index=[2]), "the 2 images are 0 to 1"),
        (lambda: tiny().encode(examples(2)[0], ["is it?"], ["yes", "no"], [0]), "1 questions and 2 answers"),
        (lambda: tiny().encode(examples(2)[0], [" "], image_index=[0]), "is empty"),
        (lambda: tiny().encode(examples(2)[0], [], image_index=[]), "there are no texts"),
        (lambda: tiny().predict(examples(2)[0]), "there are no questions"),
    ],
)
def test_what_cannot_be_built_or_asked_is_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
