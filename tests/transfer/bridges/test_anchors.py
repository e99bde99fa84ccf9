"""Anchors: relative representations by hand, their invariances, and pairs found without training."""

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.evaluate.retrieval import retrieval
from tfxfer.transfer.bridges.anchors import Anchors

RNG = np.random.default_rng(0)
IMAGES, TEXTS = RNG.normal(size=(9, 4)), RNG.normal(size=(9, 6))
NEW_IMAGES, NEW_TEXTS = RNG.normal(size=(3, 4)), RNG.normal(size=(5, 6))


def relative(x, anchors, k, p):
    """One row written out: cosines, the k greatest, a power, length 1."""
    cosines = [x @ a / np.linalg.norm(x) / np.linalg.norm(a) for a in anchors]
    least = sorted(cosines)[-k]
    kept = np.array([max(c, 0) ** p if c >= least else 0 for c in cosines])
    return kept / np.linalg.norm(kept)


@pytest.mark.parametrize(("k", "p", "centre"), [(2, 1, False), (4, 3.5, False), (20, 2, True)])
def test_k_is_the_formula_written_out(k, p, centre):
    pairs = Anchors(IMAGES, TEXTS, k=k, p=p, centre=centre)
    mean, text_mean = IMAGES.mean(0) * centre, TEXTS.mean(0) * centre
    for b, x in enumerate(NEW_IMAGES):
        for c, y in enumerate(NEW_TEXTS):
            r = relative(x - mean, IMAGES - mean, min(k, 9), p)
            s = relative(y - text_mean, TEXTS - text_mean, min(k, 9), p)
            np.testing.assert_allclose(pairs.predict(NEW_IMAGES, NEW_TEXTS)[b, c], r @ s, atol=1e-5)


def test_only_k_of_a_row_are_kept_and_its_length_is_one():
    vectors = Anchors(IMAGES, TEXTS, k=2, centre=False).encode_images(IMAGES)
    assert ((vectors > 0).sum(1) <= 2).all()
    assert (vectors.argmax(1) == np.arange(9)).all()  # an anchor is most similar to itself
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_rotating_and_scaling_one_side_changes_nothing():
    turn = np.linalg.qr(RNG.normal(size=(4, 4)))[0] * 7
    plain, turned = Anchors(IMAGES, TEXTS, k=5), Anchors(IMAGES @ turn, TEXTS, k=5)
    np.testing.assert_allclose(
        plain.predict(NEW_IMAGES, NEW_TEXTS), turned.predict(NEW_IMAGES @ turn, NEW_TEXTS), atol=1e-5
    )


def test_the_order_of_anchors_does_not_matter():
    order = RNG.permutation(9)
    np.testing.assert_allclose(
        Anchors(IMAGES, TEXTS, k=3).predict(NEW_IMAGES, NEW_TEXTS),
        Anchors(IMAGES[order], TEXTS[order], k=3).predict(NEW_IMAGES, NEW_TEXTS),
        atol=1e-5,
    )


def test_blocks_change_nothing(monkeypatch):
    pairs = Anchors(IMAGES, TEXTS, k=3)
    whole = pairs.encode_texts(NEW_TEXTS)
    monkeypatch.setattr("tfxfer.transfer.bridges.anchors.BLOCK", 18)
    np.testing.assert_allclose(whole, pairs.encode_texts(NEW_TEXTS), atol=1e-6)


def world(count, seed):
    """Objects with five latent variables, observed through two unrelated maps."""
    latent = np.random.default_rng(seed).normal(size=(count, 5))
    image_map, text_map = np.random.default_rng(1).normal(size=(5, 12)), np.random.default_rng(2).normal(size=(5, 30))
    return np.tanh(latent @ image_map / 2), latent @ text_map + 40


def test_unseen_pairs_are_found_with_correct_anchors_only():
    images, texts = world(400, 3)
    unseen = world(100, 4)
    right = retrieval(Anchors(images, texts, k=40, p=4).predict(*unseen))["image_to_text"]["recall_at_5"]
    wrong = retrieval(Anchors(images, np.roll(texts, 1, 0), k=40, p=4).predict(*unseen))["image_to_text"]["recall_at_5"]
    assert right > 0.7 and wrong < 0.15


def test_rows_of_zeros_have_no_similarity():
    pairs = Anchors(IMAGES, TEXTS, centre=False)
    assert not pairs.predict(np.zeros((1, 4)), NEW_TEXTS).any()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((IMAGES, TEXTS[:8]), {}, "9 images and 8 texts do not make pairs"),
        ((IMAGES, TEXTS), {"k": 0}, "k of 1 or more"),
        ((IMAGES, TEXTS), {"p": 0.0}, "p above 0"),
        ((IMAGES[:0], TEXTS[:0]), {}, "at least one row"),
        ((np.full((9, 4), np.inf), TEXTS), {}, "image features are not finite in 9 of 9 rows"),
    ],
)
def test_anchors_that_cannot_be_used_are_named(arguments, options, message):
    with pytest.raises(UserError, match=message):
        Anchors(*arguments, **options)


def test_features_of_another_width_are_named():
    with pytest.raises(UserError, match="text features are 4 wide, the anchors' 6"):
        Anchors(IMAGES, TEXTS).encode_texts(IMAGES)
