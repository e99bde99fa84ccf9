from dataclasses import replace

import numpy as np
import pytest

from tfxfer import evaluate
from tfxfer.evaluate.comparison import budget_words
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
    """By picture, a score may lie above 1, and few seeds make a wide interval."""
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
    assert "every budget says the same: helped." in text
    assert "The native baseline is still better than transfer, by 0.190 (95 % interval" in text


def test_headline_lists_budgets_that_differ():
    first, second = evaluate.story(usual(transfer=(0.5, 0.5), random=(0.3, 0.5), native=()))
    assert first.startswith("Transfer helped")
    assert second == "Taken one by one: helped at 5 labels a class; no evidence at 50 labels a class."


def test_headline_is_as_plain_when_transfer_hurts_or_beats_the_native_arm():
    text = evaluate.headline(usual(transfer=(0.3, 0.4), random=(0.5, 0.6), native=(0.2, 0.2)))
    assert text.startswith("Transfer hurt: −0.200 accuracy against random weights")
    assert "Transfer also beats the native baseline, by 0.160" in text


def test_headline_tells_budgets_that_contradict_the_average():
    text = evaluate.headline(usual(transfer=(0.6, 0.8), native=(0.3, 0.9)))
    assert "Transfer also beats the native baseline, by 0.110" in text
    assert text.endswith("; at 50 labels a class the native baseline is better.")


def test_headline_tells_when_the_nearest_caption_is_better():
    """Captioning has a plain baseline of another name, and it must not be passed over."""
    c = usual(native=(0.9, 0.95))
    told = replace(c, records=[replace(r, arm="neighbour") if r.arm == "native" else r for r in c.records])
    text = evaluate.headline(told)
    assert "The caption of the nearest training picture is still better than transfer, by " in text


def test_headline_names_the_networks_trained_whole_and_how_long_they_trained():
    whole = [replace(record("scratch", 50, s, 0.2), settings={"epochs": 8}) for s in range(3)]
    last = evaluate.story(replace(usual(), records=(*usual().records, *whole)))[-1]
    assert last.startswith("At 50 labels a class: +0.") and "over scratch (helped)" in last
    assert last.endswith("which trained for 8 epochs; longer training may change that.")


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([record("transfer", 5, 0, 0.5)], "the arm 'random' was not run"),
        (
            [failed("transfer", 5, 0, "disk full"), record("random", 5, 0, 0.5)],
            "'transfer' failed: disk full",
        ),
        ([record("transfer", 5, 0, 0.5), record("random", 20, 0, 0.5)], "no budget and seed"),
    ],
)
def test_headline_says_why_there_is_no_verdict(records, says):
    assert says in evaluate.headline(compare(*records))


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
    assert "1 seed, so the luck of the seed is not in the interval" in sentence


def test_budget_words():
    assert budget_words([5, 1000, None]) == "5 and 1,000 labels a class and all labels"
