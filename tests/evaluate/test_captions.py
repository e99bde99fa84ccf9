"""Caption metrics: cases by hand, invariances, and pycocoevalcap as an oracle."""

import math

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.evaluate import captions
from tfxfer.evaluate.captions import DocumentFrequencies

WORDS = "a the red blue small cat dog runs on grass with two".split()


def random_texts(seed, images=40, most_references=5):
    rng = np.random.default_rng(seed)

    def text(shortest=1):
        return " ".join(rng.choice(WORDS, rng.integers(shortest, 12)))

    references = [[text() for _ in range(rng.integers(1, most_references + 1))] for _ in range(images)]
    candidates = [r[0] if rng.random() < 0.2 else text(0) for r in references]
    return candidates, references


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(5))
def test_the_same_numbers_as_the_coco_caption_code(seed):
    pytest.importorskip("pycocoevalcap", reason="needs the extra 'oracle': pip install tfxfer[oracle]")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    given, wanted = random_texts(seed)
    found = captions(given, wanted, per_caption=True)
    ids = range(len(given))
    results, truths = {i: [given[i]] for i in ids}, {i: wanted[i] for i in ids}
    bleu, bleus = Bleu(4).compute_score(truths, results, verbose=0)
    rouge, rouges = Rouge().compute_score(truths, results)
    cider, ciders = Cider().compute_score(truths, results)
    for n in range(4):
        assert found[f"bleu_{n + 1}"] == pytest.approx(bleu[n], abs=1e-9)
        np.testing.assert_allclose(found["per_caption"][f"bleu_{n + 1}"], bleus[n], atol=1e-9)
    assert found["rouge_l"] == pytest.approx(rouge, abs=1e-9)
    np.testing.assert_allclose(found["per_caption"]["rouge_l"], rouges, atol=1e-9)
    assert found["cider_d"] == pytest.approx(cider, abs=1e-6)  # what that code calls Cider is CIDEr-D
    np.testing.assert_allclose(found["per_caption"]["cider_d"], ciders, atol=1e-6)


def test_plain_cider_by_hand():
    """Two images with one shared word each: only 1-grams have a weight, cosine 1/√2."""
    found = captions(["cat", "dog"], [["cat fish"], ["dog"]])
    # "cat": vectors (ln 2) and (ln 2, ln 2) -> cosine 1/√2 for n = 1, no bigram in the caption
    assert found["cider"] == pytest.approx(10 * (1 / math.sqrt(2) + 1) / 2 / 4)


def test_a_perfect_caption_has_the_greatest_scores():
    references = [["a red cat runs on grass"], ["two small dogs run"]]
    found = captions([r[0] for r in references], references)
    for name in ("bleu_1", "bleu_4", "rouge_l", "token_f1", "exact_match"):
        assert found[name] == pytest.approx(1, abs=1e-6)
    assert found["cider"] == pytest.approx(10) and found["cider_d"] == pytest.approx(10)
    assert found["identical_share"] == 0.5


def test_the_order_of_images_and_of_references_does_not_matter():
    given, wanted = random_texts(9)
    order = np.random.default_rng(0).permutation(len(given))
    turned = captions([given[i] for i in order], [wanted[i][::-1] for i in order])
    for name, value in captions(given, wanted).items():
        assert turned[name] == pytest.approx(value, abs=1e-12), name


def test_identical_captions_have_a_share_of_one():
    found = captions(["a cat"] * 4, [["a cat"], ["dog"], ["x"], ["y z"]])
    assert found["identical_share"] == 1
    assert found["distinct_1"] == 2 / 8 and found["distinct_2"] == 1 / 4


def test_saved_frequencies_score_a_single_image(tmp_path):
    given, wanted = random_texts(3)
    DocumentFrequencies.of(wanted).save(tmp_path / "df.json")
    kept = DocumentFrequencies.load(tmp_path / "df.json")
    assert kept == DocumentFrequencies.of(wanted)
    whole = captions(given, wanted, per_caption=True)["per_caption"]["cider_d"]
    one = captions(given[5:6], wanted[5:6], frequencies=kept)
    assert one["cider_d"] == pytest.approx(whole[5])
    with pytest.warns(UserWarning, match="CIDEr of one image is 0"):
        assert captions(given[5:6], wanted[5:6])["cider_d"] == 0
    (tmp_path / "df.json").write_text("[]")
    with pytest.raises(UserError, match="not a file of document frequencies"):
        DocumentFrequencies.load(tmp_path / "df.json")


@pytest.mark.parametrize(
    ("given", "wanted", "message"),
    [
        ([], [], "no captions"),
        (["a"], [["a"], ["b"]], "1 captions, but references of 2"),
        (["a", "b"], [["a"], []], r"caption 1 \('b'\) has no reference"),
        (["a"], ["a"], "list of lists"),
    ],
)
def test_what_cannot_be_scored_is_named(given, wanted, message):
    with pytest.raises(UserError, match=message):
        captions(given, wanted)


def test_empty_captions_score_zero_and_do_not_fail():
    found = captions(["", "a cat"], [["a dog"], ["a cat"]], per_caption=True)
    assert all(np.isfinite(values).all() for values in found["per_caption"].values())
    assert found["per_caption"]["rouge_l"][0] == found["per_caption"]["token_f1"][0] == 0
