"""`Captioner`: images and captions in, captions out; it uses its images, is saved, and names what it cannot use."""

import warnings

import keras
import numpy as np
import pytest

from tfxfer.config import CaptionModelConfig, CaptionTrainingConfig
from tfxfer.errors import UserError
from tfxfer.fit import WeightsAt
from tfxfer.models import load_model
from tfxfer.models.bert import masked_lm, small_bert
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.transfer.knowledge import Captioner
from tfxfer.transfer.knowledge.caption_candidates import CandidatePool
from tfxfer.transfer.knowledge.caption_model import new_weight_paths
from tfxfer.transfer.knowledge.closed_form import ClosedFormCaptioner
from tfxfer.transfer.knowledge.image_word_logits import bags_of_words, fit_image_word_logits

pytestmark = pytest.mark.tensorflow
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bright", "dark", "left", "right", "side", "a"]


def pictures(count=60, seed=0):
    """Pictures whose left or right is lit, brightly or not, and what they are called: two captions each.

    Brightness shows in the mean of a map, the side only in its positions.
    """
    rng = np.random.default_rng(seed)
    left, bright = rng.random((2, count)) < 0.5
    images = rng.integers(0, 40, (count, 16, 16, 1))
    images[left, :, :8] += 60
    images[~left, :, 8:] += 60
    images[bright] *= 2
    called = [("left" if one else "right", "bright" if two else "dark") for one, two in zip(left, bright)]
    return images.astype(np.uint8), [[f"a {light} {side} side", f"{side} side {light}"] for side, light in called]


@pytest.fixture(scope="module")
def words():
    return WordPieceTokenizer(PIECES)


def tiny(words, seed=0, **how):
    keras.utils.set_random_seed(seed)
    x = keras.Input((16, 16, 1))
    hidden = keras.layers.Conv2D(8, 4, strides=4, activation="relu")(
        keras.layers.Rescaling(1 / 255)(x)
    )  # 4 x 4 positions
    cnn = keras.Model(x, keras.layers.Dense(3)(keras.layers.Flatten()(hidden)))
    language = masked_lm(small_bert(len(PIECES), 1, 16, 2, 24), PIECES, 8)[0]
    return Captioner(cnn, language, words, (16, 16, 1), CaptionModelConfig(**how))


def how(steps=10, **change):
    """The arguments of `fit`."""
    plain = {"learning_rates": (1e-2,), "max_length": 8, "word_dropout": 0.0, "label_smoothing": 0.0}
    return {"training": CaptionTrainingConfig(steps=steps, **plain | change), "jit": False}


def test_it_captions_unseen_images_and_uses_them(words, tmp_path):
    captioner = tiny(words)
    images, captions = pictures()
    captioner.fit(images, captions, **how(300))
    unseen, truth = pictures(20, seed=1)
    told = captioner.predict(unseen, max_length=8)
    assert np.mean([one[0] in wanted for one, wanted in zip(told.texts, truth)]) > 0.9
    own = captioner.log_likelihood(unseen, [each[0] for each in truth], 8)
    other = captioner.log_likelihood(unseen[:, :, ::-1], [each[0] for each in truth], 8)
    assert np.mean(own > other + 0.1) > 0.9
    looked = captioner.attention_maps(unseen[0], truth[0][0], 8)
    assert looked.shape == (5, 4, 4)
    np.testing.assert_allclose(looked.sum((1, 2)), 1, rtol=1e-5)
    captioner.save(tmp_path)
    given = {"image": unseen[:3], "token_ids": np.full((3, 4), words.start_id), "padding_mask": np.ones((3, 4), int)}
    kept = load_model(tmp_path / "model.keras")(given)
    np.testing.assert_allclose(kept, captioner.end_to_end()(given), atol=1e-5)


def test_a_prefix_trains_too_and_has_no_attention(words):
    captioner = tiny(words, conditioning="prefix", prefix_length=2, image_word_logits=False)
    images, captions = pictures(20)
    assert np.isfinite(captioner.fit(images, captions, **how(5)).history["loss"][0])
    assert np.shape(captioner.predict(images[:3], num_beams=2, num_return_sequences=2).texts) == (3, 2)
    with pytest.raises(UserError, match="with a prefix has no cross-attention"):
        captioner.attention_maps(images[0], captions[0][0])


def test_the_same_seed_trains_the_same_and_a_second_training_goes_on(words):
    images, captions = pictures(20)
    first, second = tiny(words), tiny(words)
    losses = [one.fit(images, captions, **how()).history["loss"][0] for one in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    before = first.encoder.get_weights()
    assert first.fit(images[:10], captions[:10], **how()).history["loss"][0] < losses[0]
    for old, new in zip(before, first.encoder.get_weights()):
        np.testing.assert_array_equal(old, new)  # the scale stays that of the first pictures


@pytest.mark.parametrize("frozen", [1.0, 0.0])
def test_a_frozen_decoder_learns_with_its_new_weights_alone(words, frozen):
    captioner = tiny(words)
    new = new_weight_paths(captioner.model)
    before = {v.path: v.numpy() for v in captioner.model.trainable_variables}
    captioner.fit(*pictures(20), **how(4, freeze_decoder_fractions=(frozen,)))
    changed = {v.path for v in captioner.model.trainable_variables if (before[v.path] != v.numpy()).any()}
    assert changed & new and bool(changed - new) == (not frozen)


def test_weights_within_a_training_are_kept_and_change_nothing(words):
    """Through several parts of one training; with a constant rate, those after 3 steps are of a training of 3."""
    images, captions = pictures(20)
    held = {"validation": (images[:5], captions[:5])}
    plain, watched, short = tiny(words), tiny(words), tiny(words)
    at = WeightsAt(watched.model, (3, 6))
    plain.fit(images, captions, **how(6), **held)
    watched.fit(images, captions, **how(6), **held, callbacks=[at])
    assert list(at.kept) == [3, 6]
    for one, other in zip(plain.model.get_weights(), watched.model.get_weights()):
        np.testing.assert_array_equal(one, other)
    once = {"num_validations": 1, "schedule": "constant"}
    watched = tiny(words)
    at = WeightsAt(watched.model, (3,))
    watched.fit(images, captions, **how(6, **once), **held, callbacks=[at])
    short.fit(images, captions, **how(3, **once), **held)
    for one, other in zip(at.kept[3], short.model.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_captions_that_are_cut_are_counted_where_they_are_given(words):
    captioner = tiny(words)
    images, captions = pictures(10)
    both = [each[0] for each in captions]  # of four words
    calls = [
        (lambda: captioner.fit(images, captions, **how(1, max_length=5)), "10 of 20 captions are longer"),
        (lambda: captioner.log_likelihood(images, both, 5), "10 of 10 captions are longer than 5 tokens"),
        (lambda: captioner.terms(images, both, 5), "10 of 10"),
        (
            lambda: captioner.attention_maps(images[0], both[0], 5),
            "1 of 1 captions .* at most 24",
        ),
    ]
    for call, message in calls:
        with pytest.warns(UserWarning, match=message) as told:
            call()
        assert [one.filename for one in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        captioner.log_likelihood(images, both, 6)


@pytest.mark.parametrize("with_f_g", [True, False])
def test_the_terms_of_a_token_add_up_to_its_logit(words, with_f_g):
    captioner = tiny(words, image_word_logits=with_f_g)
    images, captions = pictures(20)
    captioner.fit(images, captions, **how(5))
    texts = [each[0] if i % 2 else "a side" for i, each in enumerate(captions)]
    fg, h = captioner.terms(images, texts, 8)
    numbers, _ = words.encode(texts, 8)
    there = (numbers != words.pad_id).astype(int)
    k = captioner.end_to_end()({"image": images, "token_ids": numbers, "padding_mask": there})
    logits = np.take_along_axis(np.asarray(k)[:, :-1], numbers[:, 1:, None], 2)[..., 0]
    np.testing.assert_allclose(fg + h, logits * there[:, 1:], atol=1e-4)
    assert fg.shape == (20, 7) and np.any(h) and np.any(fg) == with_f_g


def test_half_precision_trains_generates_and_is_loaded_too(words, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        captioner = tiny(words)
        images, captions = pictures(20)
        assert captioner.end_to_end().output.dtype == "float32"
        assert np.isfinite(captioner.fit(images, captions, **how()).history["loss"][0])
        texts = [each[0] for each in captions]
        found = captioner.log_likelihood(images, texts, 8)
        assert found.dtype == np.float32 and np.isfinite(found).all()
        generated = captioner.predict(images[:3], num_beams=2, max_length=8)
        assert np.shape(generated.texts) == (3, 1)
        np.testing.assert_allclose(captioner.attention_maps(images[0], texts[0], 8).sum((1, 2)), 1, rtol=2e-2)
        assert all(np.isfinite(term).all() for term in captioner.terms(images, texts, 8))
        captioner.save(tmp_path)
    finally:
        keras.config.set_dtype_policy(before)
    loaded = Captioner.load(tmp_path).predict(images[:3], num_beams=2, max_length=8)
    assert loaded.texts == generated.texts
    np.testing.assert_allclose(loaded.scores, generated.scores, rtol=1e-6)  # single precision would differ by 1e-3
    assert keras.config.dtype_policy().name == before.name


@pytest.mark.parametrize(
    ("captions", "change", "message"),
    [
        (["a side"] * 3, {}, "4 images and captions for 3"),
        (["a side", " ", "a side", "a side"], {}, "image 1 has no caption"),
        ([["a side"], [], ["a side"], ["a side"]], {}, "image 1 has no caption"),
        (["a side"] * 4, {"max_length": 99}, "has 24 positions for words"),
        (["a side"] * 4, {"unfreeze_encoder_fraction": 1.5}, "unfreeze_encoder_fraction 1.5: is a fraction"),
        (["a side"] * 4, {"freeze_decoder_fractions": (-0.1,)}, "freeze_decoder_fractions -0.1: is a fraction"),
        (["a side"] * 4, {"steps": 0}, "steps 0: nothing would be learned"),
    ],
)
def test_what_cannot_be_learned_is_named(words, captions, change, message):
    with pytest.raises(UserError, match=message):
        tiny(words).fit(pictures(4)[0], captions, training=CaptionTrainingConfig(**change))


def test_images_that_are_not_finite_are_named(words):
    captioner = tiny(words)
    images = pictures(3)[0].astype(np.float32)
    images[1, 2, 3] = np.nan
    with pytest.raises(UserError, match="image 1 has values that are not finite, as have 0 others"):
        captioner.predict(images)
    with pytest.raises(UserError, match="there are no images"):
        captioner.predict(images[:0])


def test_a_vocabulary_of_another_model_is_refused():
    with pytest.raises(UserError, match="knows 11 word pieces, the tokenizer 12"):
        tiny(WordPieceTokenizer([*PIECES, "more"]))


def test_validation_keeps_the_best_weights(words):
    images, captions = pictures(40)
    captioner, rows = tiny(words), []
    held = (images[:10], captions[:10])
    history = captioner.fit(images, captions, validation=held, **how(30, num_validations=3), on_validation=rows.append)
    scores = history.history["validation"]
    assert [row["step"] for row in rows] == [10, 20, 30] and scores == [row["validation"] for row in rows]
    found = captioner.caption_likelihoods(held[0], held[1], 8)
    assert found.mean() == pytest.approx(max(scores), abs=1e-4)


def test_ranking_by_both_terms_is_saved(words, tmp_path):
    images, captions = pictures(60)
    captioner = tiny(words)
    captioner.fit(images, captions, **how(60))
    weight = captioner.fit_ranking(images, captions, (images[:20], captions[:20]))
    captioner.weight = weight or 1.0  # λ = 0 would rank nothing
    captioner.save(tmp_path)
    again = Captioner.load(tmp_path)
    first, second = (one.predict(images[:5], max_length=8, num_return_sequences=3) for one in (captioner, again))
    assert first.texts == second.texts and np.shape(first.texts) == (5, 3)
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)


def test_retrieved_and_generated_captions_are_ranked_together_and_saved(words, tmp_path):
    images, captions = pictures(60)
    captioner = tiny(words)
    with pytest.raises(UserError, match="call `fit_candidates` first"):
        captioner.predict(images[:2], candidates=["left side dark", "right side dark"])
    captioner.fit(images, captions, **how(2))
    beta = captioner.fit_candidates(images, captions, (images[:20], captions[:20]), max_length=8)
    assert captioner.pool.beta == beta and set(captioner.pool.texts) == {text for each in captions for text in each}
    captioner.pool.beta = 0.0  # f·g alone: whatever the decoder thinks, the best caption is a retrieved one
    unseen, truth = pictures(20, seed=1)
    found = captioner.predict(unseen, max_length=8, num_return_sequences=5)
    assert np.mean([row[0] in wanted for row, wanted in zip(found.texts, truth)]) > 0.8
    assert all(len(set(row)) == 5 for row in found.texts)  # the decoder's copies of candidates come last
    assert captioner.tokenizer.decode(found.token_ids[:, 0]) == [row[0] for row in found.texts]
    own = ["side left bright", "side right bright", "side left dark", "side right dark"]
    asked = captioner.predict(unseen, candidates=own, max_length=8)
    chosen = [
        (row[0], wanted[1]) for row, wanted in zip(asked.texts, truth) if row[0] in own
    ]  # else: the decoder's own
    assert len(chosen) > 10 and np.mean([set(text.split()) == set(one.split()) for text, one in chosen]) > 0.8
    alone = captioner.predict(unseen, candidates=[], max_length=8)
    captioner.save(tmp_path)
    again = Captioner.load(tmp_path)
    assert again.predict(unseen, max_length=8, num_return_sequences=5).texts == found.texts
    pool, captioner.pool = captioner.pool, None
    assert captioner.predict(unseen, max_length=8).texts == alone.texts
    captioner.pool = pool
    with pytest.raises(UserError, match="1 different captions leave nothing to choose"):
        captioner.predict(unseen, candidates=["a side", "a side"])


def test_the_weight_of_the_decoder_is_what_validation_finds_best(words):
    """Where f·g knows nothing, a decoder that knows gets a weight; one that is always wrong gets none."""
    captions = pictures(12)[1]
    maps = np.random.default_rng(0).normal(size=(24, 4))
    closed_form, maps = ClosedFormCaptioner(1.0).fit(maps[:12], captions), maps[12:]
    texts = closed_form.candidates
    pool = CandidatePool(closed_form, texts, retrieved=len(texts))
    good = np.array([[1.0 * (text in own) for text in texts] for own in captions])
    beams = [[texts[0]]] * len(maps)

    def worth(answers):
        return np.array([float(answer in own) for answer, own in zip(answers, captions)])

    def right(maps, rows):
        return np.array([[good[i, texts.index(text)] for text in row] for i, row in enumerate(rows)])

    assert pool.choose(maps, beams, right, worth) > 0
    assert pool.choose(maps, beams, lambda maps, rows: -right(maps, rows), worth) == 0


def test_f_of_f_g_starts_at_the_fit_of_its_own_words(words):
    """Arms of an experiment share a captioner; one with other word embeddings g needs another f."""
    images, captions = pictures(20)
    captioner, other = tiny(words), tiny(words, seed=5)
    start = [weight.copy() for weight in other.model.get_weights()]
    still = how(1, learning_rates=(1e-12,))
    captioner.fit(images, captions, **still)
    own = np.asarray(captioner.model.get_layer("image_word_logits").f)
    captioner.model.set_weights(start)
    captioner.fit(images, captions, **still)
    fg = captioner.model.get_layer("image_word_logits")
    rows = captioner.encode(images).maps.mean((1, 2))
    token_ids = words.encode([text for each in captions for text in each], 8)[0]
    bags = bags_of_words(token_ids, len(PIECES), (words.pad_id, words.start_id))
    np.testing.assert_allclose(fg.f, fit_image_word_logits(np.asarray(fg.g), np.repeat(rows, 2, 0), bags), atol=1e-4)
    assert np.abs(own - np.asarray(fg.f)).max() > 1e-2


def test_an_unfrozen_encoder_trains_in_the_last_steps_and_the_given_one_stays(words):
    captioner, images = tiny(words), pictures(20)
    locked = captioner.encoder
    before = [weight.copy() for weight in locked.get_weights()]
    history = captioner.fit(*images, **how(20, unfreeze_encoder_fraction=0.5), seed=1)
    assert len(history.history["loss"]) == 2 and np.isfinite(history.history["loss"]).all()
    assert captioner.encoder is not locked
    for old, same in zip(before[:2], locked.get_weights()[:2]):  # the kernel and bias of the convolution
        np.testing.assert_array_equal(old, same)
    for old, new in zip(before[:2], captioner.encoder.get_weights()[:2]):
        assert 0 < np.abs(old - new).max() < 20 * 1e-2 * 0.1 * 1.1  # Adam's steps at a tenth of the rate
    scales = [model.get_layer("standardise").get_weights() for model in (locked, captioner.encoder)]
    np.testing.assert_array_equal(*scales)
    # captions are generated from the trained maps
    given = {"image": images[0][:3], "token_ids": np.full((3, 4), words.start_id), "padding_mask": np.ones((3, 4), int)}
    maps = {"feature_map": captioner.encode(images[0][:3]).maps} | {
        name: given[name] for name in ("token_ids", "padding_mask")
    }
    np.testing.assert_allclose(captioner.end_to_end()(given), captioner.model(maps), atol=1e-5)
    assert np.abs(captioner.encode(images[0][:3]).maps - locked(images[0][:3])).max() > 1e-4


def test_all_steps_may_train_the_encoder_and_a_second_training_freezes_it_again(words):
    captioner, images = tiny(words), pictures(20)
    assert len(captioner.fit(*images, **how(unfreeze_encoder_fraction=1.0)).history["loss"]) == 1
    kernel = captioner.encoder.get_weights()[0].copy()
    captioner.fit(*images, **how())
    np.testing.assert_array_equal(kernel, captioner.encoder.get_weights()[0])


def test_few_images_get_the_captions_of_many(words):
    captioner, images = tiny(words), pictures(101)
    captioner.fit(*images, **how(60))
    all_at_once = captioner.predict(images[0], max_length=6)
    for some in (slice(0, 1), slice(0, 3), slice(100, 101)):  # the last is in a second batch
        few = captioner.predict(images[0][some], max_length=6)
        assert few.texts == all_at_once.texts[some]
        np.testing.assert_allclose(few.scores, all_at_once.scores[some], atol=1e-5)
