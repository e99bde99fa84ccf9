from dataclasses import replace

import numpy as np
import pytest

from tfxfer import evaluate
from tfxfer.evaluate.comparison import budget_words
from tfxfer.experiment import with_verdicts
from tfxfer.records import Comparison, Record

N, CLASSES = 600, 4
LABELS = np.random.default_rng(0).integers(0, CLASSES, N).astype(np.int32)


def record(arm, budget, seed, accuracy, **more):
    """A record whose predictions are right for exactly `accuracy` of the examples."""
    rng = np.random.default_rng([len(arm), budget or 0, seed])
    right = rng.permutation(N) < round(accuracy * N)
    predicted = np.where(right, LABELS, (LABELS + 1) % CLASSES)
    return Record(arm, budget, seed, probabilities=np.eye(CLASSES, dtype=np.float32)[predicted], **more)


def failed(arm, budget, seed, error="the loss became NaN"):
    return Record(arm, budget, seed, status="failed", error=error)


def compare(*records):
    return Comparison("demo", tuple("abcd"), LABELS, tuple(records))


def usual(transfer=(0.4, 0.7), random=(0.3, 0.5), native=(0.6, 0.9), seeds=3):
    rows = []
    for arm, accuracies in {"transfer": transfer, "random": random, "native": native}.items():
        for budget, accuracy in zip((5, 50), accuracies):
            rows += [record(arm, budget, s, accuracy + 0.01 * s) for s in range(1 if arm == "native" else seeds)]
    return compare(*rows)


def test_summary_rows_hold_the_plain_means():
    c = compare(
        *(record("transfer", 5, s, a, trainable=100, seconds=s) for s, a in enumerate((0.4, 0.5, 0.6))),
        record("random", 5, 0, 0.3),
        failed("random", 5, 1),
        failed("scratch", None, 0),
    )
    transfer, random, scratch = evaluate.summary(c)
    assert transfer["score"] == pytest.approx(0.5)
    assert (transfer["seeds"], transfer["failed"], transfer["trainable"], transfer["seconds"]) == (
        3,
        0,
        100,
        1.0,
    )
    assert (transfer["score"], transfer["low"], transfer["high"]) == evaluate.interval(c.correct("transfer", 5))
    assert (random["seeds"], random["failed"], random["errors"]) == (1, 1, ["the loss became NaN"])
    assert (scratch["arm"], scratch["score"], scratch["low"], scratch["seeds"]) == (
        "scratch",
        None,
        None,
        0,
    )


def test_the_interval_of_a_ratio_stays_a_share():
    """A score by image may lie above 1, and few seeds make a wide interval."""
    scores = [{"question_accuracy": np.full(N, mean)} for mean in (0.995, 1.0)]
    records = [Record("transfer", 5, seed, scores=each, answers=["x"] * N) for seed, each in enumerate(scores)]
    records[0].scores["question_accuracy"][0] = 1.4
    c = Comparison("demo", (), LABELS, tuple(records), measures=("question_accuracy",))
    (row,) = evaluate.summary(c)
    assert row["high"] == 1.0 and row["low"] < 0.99


def test_verdicts_cover_every_other_arm_and_budget_and_name_the_primary_one():
    rows = evaluate.verdicts(usual())
    assert [(r["b"], r["budget"]) for r in rows] == [
        ("random", 5),
        ("random", 50),
        ("random", "pooled"),
        ("native", 5),
        ("native", 50),
        ("native", "pooled"),
    ]
    assert [r["b"] for r in rows if r["role"] == "primary"] == ["random"]
    primary = next(r for r in rows if r["role"] == "primary")
    assert primary["budgets"] == [5, 50]
    assert primary["difference"] == pytest.approx((0.1 + 0.2) / 2)
    assert [r["word"] for r in rows] == ["helped"] * 3 + ["hurt"] * 3


def test_pooling_averages_each_examples_difference_over_budgets():
    c = usual()
    row = evaluate.verdicts(c, against="random")[-1]
    a, b = (np.mean([c.correct(arm, n) for n in (5, 50)], axis=0) for arm in ("transfer", "random"))  # [S, N]
    by_hand = evaluate.verdict(a, b)
    assert (row["low"], row["high"]) == (by_hand.low, by_hand.high)


def test_another_subject_against_one_arm():
    rows = evaluate.verdicts(usual(), subject="native", against="transfer")
    assert {(r["a"], r["b"], r["role"]) for r in rows} == {("native", "transfer", "secondary")}


def test_seeds_are_paired_by_number_and_a_failed_one_is_left_out():
    c = compare(
        *(record("transfer", 5, s, a) for s, a in enumerate((0.4, 0.5, 0.9))),
        failed("random", 5, 2),
        *(record("random", 5, s, a) for s, a in enumerate((0.3, 0.4))),
    )
    (row,) = evaluate.verdicts(c)
    assert (row["seeds_a"], row["seeds_b"], row["role"]) == (2, 2, "primary")
    assert row["difference"] == pytest.approx(0.1)


def test_a_budget_at_which_an_arm_failed_is_not_pooled():
    c = compare(
        *(record("transfer", n, s, 0.6) for n in (5, 20, 50) for s in range(2)),
        *(record("random", n, s, 0.4) for n in (5, 20) for s in range(2)),
        failed("random", 50, 0),
    )
    primary = evaluate.verdicts(c)[-1]
    assert primary["budgets"] == [5, 20]
    assert "averaged over 5 and 20 labels a class" in evaluate.headline(c)


def test_headline_of_the_default_story():
    text = evaluate.headline(usual())
    assert text.startswith(
        "Transfer helped: +0.150 accuracy over random weights, averaged over 5 and 50 labels a class (95 % interval"
    )
    assert "By budget: helped at every budget." in text
    assert "The native baseline is better than transfer by 0.190 (95 % interval +0.1" in text


def test_headline_lists_budgets_that_differ():
    first, second = evaluate.story(usual(transfer=(0.5, 0.5), random=(0.3, 0.5), native=()))
    assert first.startswith("Transfer helped")
    assert second == "By budget: helped at 5 labels a class; no evidence at 50 labels a class."


def test_headline_when_transfer_hurts_and_is_better_than_the_native_arm():
    text = evaluate.headline(usual(transfer=(0.3, 0.4), random=(0.5, 0.6), native=(0.2, 0.2)))
    assert text.startswith("Transfer hurt: −0.200 accuracy against random weights")
    assert "Transfer is better than the native baseline by 0.160" in text


def test_headline_names_budgets_that_contradict_the_average():
    text = evaluate.headline(usual(transfer=(0.6, 0.8), native=(0.3, 0.9)))
    assert "Transfer is better than the native baseline by 0.110" in text
    assert text.endswith("; at 50 labels a class the native baseline is better.")


def renamed(c, arm, about=None):
    """The comparison with another name for its native arm."""
    records = tuple(replace(r, arm=arm) if r.arm == "native" else r for r in c.records)
    return replace(c, records=records, about=about or {})


@pytest.mark.parametrize(
    ("arm", "about", "phrase"),
    [
        ("neighbour", {}, "The nearest-neighbour baseline"),
        ("prior", {}, "The most frequent answer to each question"),
        ("majority", {}, "Always predicting the most frequent class"),
        (
            "neighbour",
            {"arms": {"neighbour": {"phrase": "the caption of the nearest image"}}},
            "The caption of the nearest image",
        ),
        ("ours", {"arms": {"ours": {"phrase": "our method", "role": "baseline"}}}, "Our method"),
    ],
)
def test_a_better_baseline_is_named_and_transfer_did_not_hurt(arm, about, phrase):
    text = evaluate.headline(renamed(usual(native=(0.9, 0.95)), arm, about))
    assert f"{phrase} is better than transfer by 0.3" in text and "hurt" not in text


def test_a_naive_baseline_that_is_worse_is_not_mentioned():
    assert "most frequent class" not in evaluate.headline(renamed(usual(native=(0.1, 0.1)), "majority"))
    equal = renamed(usual(native=(0.41, 0.71)), "majority")
    assert "No evidence of a difference between transfer and always predicting" in evaluate.headline(equal)


def test_headline_names_the_fully_trained_networks_and_how_long_they_trained():
    whole = [replace(record("scratch", 50, s, 0.2), settings={"epochs": 8}) for s in range(3)]
    last = evaluate.story(replace(usual(), records=(*usual().records, *whole)))[-1]
    assert last.startswith("At 50 labels a class: +0.") and "over scratch (transfer is better)" in last
    assert last.endswith("which trained for 8 epochs; longer training may change that.")


def test_fine_tuning_that_is_better_is_named():
    whole = [record("finetune", 50, s, 0.9) for s in range(3)]
    last = evaluate.story(replace(usual(), records=(*usual().records, *whole)))[-1]
    assert last.startswith("At 50 labels a class: −0.") and last.endswith("against finetune (finetune is better).")


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([record("transfer", 5, 0, 0.5)], "the arm 'random' was not run"),
        (
            [failed("transfer", 5, 0, "disk full"), record("random", 5, 0, 0.5)],
            "'transfer' failed: disk full",
        ),
        ([record("transfer", 5, 0, 0.5), record("random", 20, 0, 0.5)], "no budget and seed"),
    ],
)
def test_headline_gives_the_reason_for_no_verdict(records, reason):
    assert reason in evaluate.headline(compare(*records))


def test_no_seed_complete_at_every_budget():
    c = compare(
        record("transfer", 5, 0, 0.6),
        failed("transfer", 20, 0),
        failed("transfer", 5, 1),
        record("transfer", 20, 1, 0.6),
        *(record("random", n, s, 0.3) for n in (5, 20) for s in range(2)),
    )
    assert evaluate.headline(c).startswith("No overall verdict: no seed")
    assert [r["budget"] for r in evaluate.verdicts(c)] == [5, 20]


def test_one_budget_of_all_labels():
    c = compare(record("transfer", None, 0, 0.7), record("random", None, 0, 0.4))
    (sentence,) = evaluate.story(c)
    assert "over random weights, at all labels (95 %" in sentence
    assert sentence.startswith("No evidence that transfer helped or hurt: +0.300")
    assert "1 seed, so no verdict: seeds may differ by more" in sentence


def test_budget_words():
    assert budget_words([5, 1000, None]) == "5 and 1,000 labels a class and all labels"


def test_seeds_that_share_a_source_are_one_row_of_the_interval():
    """Nine seeds over three sources of which one is lucky: the interval is that of three means, with t(2)."""
    luck = (0.0, 0.02, 0.1)
    rows = [record("transfer", 5, seed, 0.5 + luck[seed % 3]) for seed in range(9)]
    rows += [record("random", 5, seed, 0.42) for seed in range(9)]
    one, several = (replace(compare(*rows), source_seeds=n) for n in (1, 3))
    (alone,), (spread,) = evaluate.verdicts(one), evaluate.verdicts(several)
    assert alone["difference"] == pytest.approx(spread["difference"])
    assert alone["word"] == "helped" and spread["word"] == "no evidence"
    half = 4.303 * np.std(luck, ddof=1) / np.sqrt(3)
    assert spread["high"] - spread["low"] > 1.95 * half
    assert "9 seeds over 3 trained sources" in evaluate.headline(several)
    assert "9 seeds," in evaluate.headline(one)
    narrow, wide = (evaluate.summary(c)[0] for c in (one, several))
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]


def test_a_contrast_is_judged_beside_transfer():
    rows = [record(arm, 5, s, a) for arm, a in (("transfer", 0.5), ("closed", 0.7), ("fresh", 0.4)) for s in range(3)]
    about = {"arms": {"closed": {"phrase": "the closed form"}, "fresh": {"phrase": "random features"}}}
    c = replace(compare(*rows, record("random", 5, 0, 0.4)), contrasts=(("closed", "fresh"), ("closed", "absent")))
    c = replace(c, about=about)
    assert "The closed form helped: +0.300 accuracy over random features" in evaluate.headline(c)
    pairs = {(row["a"], row["b"]) for row in with_verdicts(c).verdicts}
    assert pairs == {("transfer", "random"), ("transfer", "closed"), ("transfer", "fresh"), ("closed", "fresh")}
