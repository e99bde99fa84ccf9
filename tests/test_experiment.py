"""Arms side by side: failures stay visible, and interrupted work is taken up."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from tfxfer.errors import TfxferError, UserError
from tfxfer.experiment import Arm, Experiment, Outcome, compare
from tfxfer.records import Comparison

LABELS = np.random.default_rng(0).integers(0, 3, 300)


def answers(share, seed):
    """Probabilities that are right for about `share` of the examples."""
    rng = np.random.default_rng(seed)
    given = np.where(rng.random(300) < share, LABELS, rng.integers(0, 3, 300))
    return np.eye(3, dtype=np.float32)[given] * 0.7 + 0.1


def arm(name, share, **options):
    return Arm(name, lambda budget, seed: Outcome(answers(share, seed), {"learning_rate": 0.1}, 7), **options)


def experiment(*arms, budgets=(5, 20), seeds=(0, 1)):
    return Experiment("a → b", ("x", "y", "z"), LABELS, arms, budgets, seeds)


def test_every_arm_budget_and_seed_is_run_and_judged():
    seen = []
    comparison = compare(
        experiment(arm("transfer", 0.9), arm("random", 0.5), arm("majority", 0.0, one_seed=True)),
        on_record=lambda record, done, total: seen.append((record.key, done, total)),
    )
    assert len(comparison.records) == 2 * (2 + 2 + 1) == len(seen)
    assert seen[-1][1:] == (10, 10)
    words = {(v["b"], v["budget"]): v["word"] for v in comparison.verdicts}
    assert words["random", 5] == words["random", "pooled"] == "helped"


def test_an_arm_that_fails_is_reported_and_the_others_count():
    def broken(budget, seed):
        raise TfxferError("the loss became nan in epoch 2")

    def bug(budget, seed):
        return [][1]

    comparison = compare(experiment(arm("transfer", 0.9), Arm("random", broken), Arm("native", bug)))
    failed = {r.arm: r.error for r in comparison.records if r.status == "failed"}
    assert failed["random"] == "TfxferError: the loss became nan in epoch 2"
    assert failed["native"].startswith("IndexError: list index out of range (test_experiment.py:")
    assert len(comparison.select("transfer", 5)) == 2


def test_the_users_mistake_ends_the_comparison():
    def wrong(budget, seed):
        raise UserError("class 'z' has 3 examples, fewer than 5")

    with pytest.raises(UserError, match="fewer than 5"):
        compare(experiment(Arm("transfer", wrong)))


def test_an_interrupted_comparison_goes_on_where_it_stopped(tmp_path):
    ran = []

    def counted(budget, seed):
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append((budget, seed))
        return Outcome(answers(0.8, seed))

    with pytest.raises(KeyboardInterrupt):
        compare(experiment(Arm("transfer", counted)), kept=tmp_path)
    done = list(ran)
    whole = compare(experiment(arm("transfer", 0.8)), kept=tmp_path)
    plain = compare(experiment(arm("transfer", 0.8)))
    assert done == [(5, 0), (5, 1), (20, 0)]
    for a, b in zip(whole.records, plain.records):
        np.testing.assert_array_equal(a.probabilities, b.probabilities)
    assert [r.trainable for r in whole.records] == [0, 0, 0, 7]  # three records were taken up, one was run


def test_a_comparison_survives_the_disk(tmp_path):
    comparison = compare(experiment(arm("transfer", 0.9), arm("random", 0.5)))
    comparison.save(tmp_path)
    again = Comparison.load(tmp_path)
    assert again.records == comparison.records and again.verdicts == comparison.verdicts
    np.testing.assert_array_equal(again.correct("transfer", 20), comparison.correct("transfer", 20))
    with pytest.raises(UserError, match="not a finished run"):
        Comparison.load(tmp_path / "nowhere")


def test_a_damaged_kept_record_is_run_again(tmp_path):
    first = compare(experiment(arm("transfer", 0.9)), kept=tmp_path)
    file = tmp_path / "transfer-5-0.npz"
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    again = compare(experiment(arm("transfer", 0.9)), kept=tmp_path)
    np.testing.assert_array_equal(again.records[0].probabilities, first.records[0].probabilities)


def test_records_of_a_shared_folder_are_taken_up_and_it_is_not_written(tmp_path):
    shared, own = tmp_path / "shared", tmp_path / "own"
    compare(experiment(arm("transfer", 0.9), seeds=(0,)), kept=shared)
    before = sorted(shared.iterdir())
    other = Arm("transfer", lambda budget, seed: Outcome(answers(0.5, seed)))
    found = compare(experiment(other), kept=own, shared=[shared])
    assert [r.trainable for r in found.records] == [7, 0, 7, 0]  # those of seed 0 were taken up
    assert sorted(shared.iterdir()) == before
    assert [path.name for path in sorted(own.iterdir())] == ["transfer-20-1.npz", "transfer-5-1.npz"]


def scored(measure, values):
    return Arm("transfer", lambda budget, seed: Outcome(None, scores={measure: values}, answers=["x"] * len(values)))


def test_arms_whose_answers_are_no_classes_are_kept_with_their_scores(tmp_path):
    whole = replace(experiment(scored("cider_d", np.arange(4.0))), class_names=(), measures=("cider_d",), unit="pairs")
    first = compare(whole, kept=tmp_path)
    again = compare(replace(whole, arms=(scored("cider_d", np.zeros(4)),)), kept=tmp_path)
    for found in (first, again):  # the second was not run: its scores are those that were kept
        record = found.select("transfer", 20)[0]
        assert record.metrics == {"cider_d": 1.5} and list(record.answers) == ["x"] * 4
        np.testing.assert_array_equal(found.scores("transfer", 20), [[0, 1, 2, 3]] * 2)


@pytest.mark.parametrize("measure, values, said", [("cider", [1.0], "no cider_d"), ("cider_d", [np.nan], "no numbers")])
def test_scores_that_are_missing_or_no_numbers_fail_the_arm(measure, values, said):
    found = compare(replace(experiment(scored(measure, np.array(values))), measures=("cider_d",)))
    assert {r.status for r in found.records} == {"failed"} and said in found.records[0].error


def test_plain_arms_run_beside_the_networks_and_are_recorded_as_any(tmp_path):
    where, started = {}, threading.Event()

    def network(budget, seed):
        where["transfer"] = threading.get_ident()
        assert started.wait(10)  # the plain arm runs meanwhile, or this never ends well
        return Outcome(answers(0.9, seed))

    def plain(budget, seed):
        where["native"] = threading.get_ident()
        started.set()
        return Outcome(answers(0.5, seed))

    beside = experiment(Arm("transfer", network), Arm("native", plain, plain=True))
    comparison = compare(beside, kept=tmp_path)
    assert where["transfer"] != where["native"]
    assert [r.key for r in comparison.records] == [r.key for r in compare(beside, kept=tmp_path).records]
    assert not [r.error for r in comparison.records if r.status == "failed"] and len(comparison.records) == 8


def test_the_users_mistake_in_a_plain_arm_ends_the_comparison_too():
    def wrong(budget, seed):
        raise UserError("class 'z' has 3 examples, fewer than 5")

    with pytest.raises(UserError, match="fewer than 5"):
        compare(experiment(arm("transfer", 0.9), Arm("native", wrong, plain=True)))


def test_records_that_are_taken_up_are_recalled_in_the_order_of_the_seeds(tmp_path):
    compare(experiment(arm("transfer", 0.8)), kept=tmp_path)
    (tmp_path / "transfer-20-0.npz").unlink()
    recalled = []
    again = arm("transfer", 0.8, recall=lambda record: recalled.append(record.key))
    comparison = compare(experiment(again), kept=tmp_path)
    assert recalled == ["transfer-5-0", "transfer-5-1", "transfer-20-1"]
    assert [record.key for record in comparison.records] == [
        "transfer-5-0",
        "transfer-5-1",
        "transfer-20-0",
        "transfer-20-1",
    ]


def test_a_record_has_its_budget_in_the_unit_of_the_comparison(tmp_path):
    whole = replace(experiment(arm("transfer", 0.8), budgets=(5, None)), unit="pairs")
    comparison = compare(whole, kept=tmp_path)
    assert [record.budget for record in comparison.records] == [5, 5, None, None]
    assert comparison.unit == "pairs" and comparison.budgets == [5, None]
    assert {path.stem for path in tmp_path.glob("*.npz")} == {record.key for record in comparison.records}
