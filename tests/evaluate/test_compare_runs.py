"""`tfxfer.compare_runs`: the same interval as every verdict, refusals that name the difference, and what it adds."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

import tfxfer
from tfxfer.errors import DamagedFile, UserError
from tfxfer.evaluate import verdict
from tfxfer.evaluate.holm import holm, with_adjusted
from tfxfer.evaluate.label_efficiency import crossings
from tfxfer.evaluate.mcnemar import mcnemar
from tfxfer.evaluate.split_rows import SplitRows
from tfxfer.records import Comparison, Record

N, CLASSES = 200, tuple("abcd")
LABELS = np.random.default_rng(0).integers(0, 4, N).astype(np.int32)
ROWS = SplitRows(*(np.arange(start, start + n, dtype=np.uint64) for start, n in ((0, 500), (1000, 50), (2000, N))))
BUDGETS = (5, 20, 80)


def record(arm, budget, seed, share, luck):
    """A record that is right for about `share` of the examples, the same easy ones for every arm."""
    rng = np.random.default_rng([luck, budget, seed])
    hard = np.random.default_rng(1).random(N) * 0.8 + rng.random(N) * 0.2
    given = np.where(hard < share, LABELS, (LABELS + 1) % 4)
    return Record(arm, budget, seed, seconds=2.0, trainable=9, probabilities=np.eye(4, dtype=np.float32)[given])


def comparison(shares, luck=0, seeds=3, arms=("transfer", "random"), **changes):
    rows = [
        record(arm, n, s, share - 0.1 * (arm == "random"), luck)
        for arm in arms
        for n, share in zip(BUDGETS, shares)
        for s in range(seeds)
    ]
    return Comparison("a → b", CLASSES, LABELS, tuple(rows), examples=({"index": 3, "true": "b"},), **changes)


def saved(folder, made, rows=ROWS):
    folder.mkdir()
    made.save(folder)
    if rows is not None:
        rows.save(folder)
    return folder


@pytest.fixture
def two(tmp_path):
    """A run that needs a quarter of the labels of another."""
    return (
        saved(tmp_path / "few", comparison((0.5, 0.7, 0.8), 1)),
        saved(tmp_path / "many", comparison((0.3, 0.5, 0.7), 2)),
    )


def test_a_difference_is_that_of_verdict_on_the_same_scores(two):
    found = tfxfer.compare_runs(*two)
    (row,) = found.pairs
    arms = [np.mean([Comparison.load(run).correct("transfer", n) for n in BUDGETS], 0) for run in two]  # [S, N]
    expected = verdict(*arms, names=("A", "B"))
    assert {name: row[name] for name in expected.to_dict()} == {**expected.to_dict(), "alike": row["alike"]}
    assert row["outcome"] == "A is better" and 0 < row["detectable"] < 0.2 and found.examples == N
    assert [one["budget"] for one in found.by_budget] == list(BUDGETS)
    for one, n in zip(found.by_budget, BUDGETS):
        a, b = (Comparison.load(run).correct("transfer", n)[0] for run in two)
        assert one["mcnemar"][0] == {"budget": n, "seed": 0, **vars(mcnemar(a, b))}
    json.dumps(found.to_dict())


def test_graded_scores_and_arms_of_one_run_are_compared(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        Record(arm, 8, s, scores={"cider_d": rng.gamma(2, 1, N) + gain, "exact_match": (rng.random(N) < 0.5) * 1.0})
        for arm, gain in (("transfer", 1.0), ("blind", 0.0))
        for s in range(3)
    ]
    made = Comparison("c", (), np.zeros(N, np.int32), tuple(rows), measures=("cider_d", "exact_match"), unit="pairs")
    run = saved(tmp_path / "run", made)
    found = tfxfer.compare_runs(run, arms=["transfer", "blind"])
    assert found.measure == "cider_d" and found.pairs[0]["outcome"] == "A is better"
    assert found.pairs[0]["mcnemar"] == [] and found.efficiency == () and found.unit == "pairs"
    assert len(tfxfer.compare_runs(run, arms=["transfer", "blind"], measure="exact_match").pairs[0]["mcnemar"]) == 3


@pytest.mark.parametrize(
    ("made", "rows", "message"),
    [
        (
            {},
            replace(ROWS, test=ROWS.test + 1),
            "the test sets differ: 200 and 200 examples, of which 199 are the same",
        ),
        ({}, replace(ROWS, test=ROWS.test[::-1]), "the same examples in another order"),
        ({}, replace(ROWS, train=ROWS.train + 400), "the splits differ: 400 of 500 train rows of one run are none"),
        (
            {"class_names": tuple("abce")},
            ROWS,
            r"the classes differ \(4 and 4\): only the first has d; only the second",
        ),
        ({"class_names": tuple("abdc")}, ROWS, "the classes are the same in another order"),
        ({"labels": (LABELS + 1) % 4}, None, "200 of 200 examples have another class"),
        ({"examples": ({"index": 3, "true": "c"},)}, None, "the reports show other examples"),
        ({"unit": "pairs"}, ROWS, "the budgets count other things: labels a class and pairs"),
        ({"measures": ("recall_at_1",)}, ROWS, "no measure in common"),
        (
            {"records": (record("transfer", 7, 0, 0.5, 0),)},
            ROWS,
            "no budget with accuracy in common: .* has 7 labels a class",
        ),
        ({"records": (record("native", 5, 0, 0.5, 0),)}, ROWS, "has no arm 'transfer'"),
    ],
)
def test_what_differs_is_named(made, rows, message, tmp_path):
    first = saved(tmp_path / "a", comparison((0.5, 0.6, 0.7)))
    other = saved(tmp_path / "b", replace(comparison((0.5, 0.6, 0.7)), **made), rows)
    with pytest.raises(UserError, match=message):
        tfxfer.compare_runs(first, other)


def test_fewer_validation_rows_and_older_runs_are_compared(tmp_path, two):
    fewer = saved(tmp_path / "fewer", comparison((0.5, 0.6, 0.7)), replace(ROWS, validation=ROWS.validation[:9]))
    assert tfxfer.compare_runs(two[0], fewer).cautions == ()
    older = saved(tmp_path / "older", comparison((0.5, 0.6, 0.7)), None)
    (caution,) = tfxfer.compare_runs(two[0], older).cautions
    assert "older: written by an older tfxfer, without digests" in caution


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        (("few",), {}, "nothing to compare"),
        (("few", "few"), {}, "is named twice"),
        (("few", "fewe"), {}, "no such folder; did you mean"),
        (("few", "many"), {"measure": "acuracy"}, "did you mean 'accuracy'"),
        (("few", "many"), {"margin": 0.0}, "--margin 0: a margin is a number above 0"),
        (("few", "."), {}, "not a finished run"),
    ],
)
def test_a_request_without_sense_is_refused(runs, options, message, two, tmp_path):
    with pytest.raises(UserError, match=message):
        tfxfer.compare_runs(*(tmp_path / run for run in runs), **options)


def test_damaged_digests_are_named(two):
    with (two[1] / "splits.npz").open("r+b") as file:
        file.truncate(300)
    with pytest.raises(DamagedFile, match=r"many/splits.npz: is damaged"):
        tfxfer.compare_runs(*two)


def test_labels_saved_lie_where_the_line_over_log_labels_reaches_the_score(two):
    (row,) = tfxfer.compare_runs(*two).efficiency
    assert (row["needs_fewer"], row["than"], row["crossings"]) == ("A", "B", [])
    few, many = (Comparison.load(run) for run in two)
    curve = [few.correct("transfer", n).mean() for n in BUDGETS]
    needs = float(np.exp(np.interp(many.correct("transfer", 80).mean(), curve, np.log(BUDGETS))))
    saved_labels = row["saved"]
    assert saved_labels["needs"] == pytest.approx(needs, rel=0.02)
    assert saved_labels["saved"] == pytest.approx(80 - saved_labels["needs"])
    assert 5 <= saved_labels["low"] <= needs <= saved_labels["high"] < 80


def test_curves_that_cross_say_where_and_whether_it_is_sure():
    def at(budget, difference, word):
        return {"budget": budget, "difference": difference, "word": word}

    rows = [at(80, -0.1, "hurt"), at(5, 0.1, "helped"), at(20, 0.1, "no evidence"), at(None, 0.5, "helped")]
    (one,) = crossings(rows)
    assert (one["low"], one["high"], one["ahead_before"], one["ahead_after"]) == (20, 80, "a", "b")
    assert one["near"] == pytest.approx(40) and not one["sure"]


def test_mcnemar_is_exact_for_few_and_chi_square_for_many():
    a = np.repeat([1, 1, 0, 0], [50, 9, 2, 20])
    b = np.repeat([1, 0, 1, 0], [50, 9, 2, 20])
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b, found.exact) == (9, 2, True)
    assert found.p == pytest.approx(2 * sum(scipy.stats.binom.pmf(k, 11, 0.5) for k in (0, 1, 2)))
    many = mcnemar(np.repeat(a, 4), np.repeat(b, 4))
    assert not many.exact and many.p == pytest.approx(scipy.stats.chi2.sf((36 - 8) ** 2 / 44, 1))
    assert mcnemar(a, a).p == 1 and mcnemar(b, a).p == found.p
    with pytest.raises(UserError, match="right .* or wrong"):
        mcnemar([0.5, 1], [0, 1])


def test_holm_keeps_the_error_of_the_family():
    assert holm([0.001, 0.02, 0.03, None]) == pytest.approx([0.003, 0.04, 0.04, None])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([0.04]) == [0.04] and holm([]) == []
    given = ((0.04, "primary"), (0.03, "secondary"), (0.01, "secondary"), (0.04, "secondary"))
    rows = [{"p": p, "word": "helped", "level": 0.95, "role": role} for p, role in given]
    adjusted = with_adjusted(rows)
    assert [row["adjusted"] for row in adjusted] == ["helped", "no evidence", "helped", "no evidence"]
    assert adjusted[0]["p_adjusted"] == 0.04 and adjusted[2]["p_adjusted"] == 0.03
    rng = np.random.default_rng(0)
    nulls = rng.random((2000, 10))
    assert np.mean([min(holm(p.tolist())) <= 0.05 for p in nulls]) <= 0.06


def test_p_says_what_the_interval_says():
    rng = np.random.default_rng(2)
    for gain in np.linspace(-0.2, 0.2, 30):
        found = verdict(rng.normal(gain, 1, (4, 100)), rng.normal(0, 1, (4, 100)), draws=2000)
        assert (found.p < 0.05) == (found.word != "no evidence")
    assert verdict([1, 1, 1, 0], [0, 0, 1, 0], one_model=True).p == 0.5  # two examples differ, as in a sign test


@pytest.mark.parametrize(
    ("change", "same"), [({}, True), ({"label": [1, 0, 0]}, False), ({"text": ["x", "b", "c"]}, False)]
)
def test_the_digests_of_a_test_set_hold_content_and_truth(change, same):
    def dataset(columns):
        digests = SimpleNamespace(digests=lambda split: np.arange(3, dtype=np.uint64))
        part = SimpleNamespace(column=lambda key: [text.encode() for text in columns[key]])
        labels = {"labels": lambda split: columns["label"], "class_names": ("one", "two")}
        return SimpleNamespace(**vars(digests), **labels, keys=("image", "text", "label"), splits={"test": part})

    plain = {"text": ["a", "b", "c"], "label": [0, 0, 1]}
    first, other = (SplitRows.of(dataset(plain | columns)) for columns in ({}, change))
    assert (first.difference(other) is None) == same
