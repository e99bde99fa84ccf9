"""`--checkpoints`: the test split scored within a training, which changes nothing, and the verdict over the steps."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from test_trained_arm import Counted, network

from tfxfer import report
from tfxfer.config import TrainingConfig
from tfxfer.evaluate.training_steps import sentences_by_steps, verdicts_by_steps
from tfxfer.experiment import Arm, Experiment, compare
from tfxfer.recipes.panels.checkpoints import checkpoint_panel
from tfxfer.records import Comparison, Record
from tfxfer.report import figures
from tfxfer.report.panel import write_panels

pytestmark = pytest.mark.tensorflow
TEST = np.zeros(25, int)
EVERY = {"learning_rates": (1e-3, 1e-2, 3e-2)}


# === Scores within a training ===


def test_checkpoints_change_nothing_else_and_the_last_is_the_answer():
    plain, scored = network(**EVERY)(4, 1), network(**EVERY, checkpoints=3)(4, 1)
    np.testing.assert_array_equal(plain.probabilities, scored.probabilities)
    assert plain.settings == scored.settings and not plain.checkpoints
    assert list(scored.checkpoints) == [1, 3, 6]  # of 6 steps: a quarter, half, all
    np.testing.assert_array_equal(scored.checkpoints[6].probabilities, scored.probabilities)
    assert np.abs(scored.checkpoints[1].probabilities - scored.probabilities).max() > 1e-3


def test_with_a_constant_rate_a_checkpoint_is_a_training_of_so_many_steps():
    long = network(steps=40, checkpoints=3, schedule="constant")(4, 0)
    for steps in (10, 20):
        short = network(steps=steps, schedule="constant")(4, 0)
        np.testing.assert_allclose(long.checkpoints[steps].probabilities, short.probabilities, atol=1e-6)
    falling, brief = network(steps=40, checkpoints=3)(4, 0), network(steps=20)(4, 0)
    assert np.abs(falling.checkpoints[20].probabilities - brief.probabilities).max() > 1e-3  # its rate fell to 1 %


def experiment(*arms, seeds=(0, 1)):
    return Experiment("a", ("x", "y", "z"), TEST, arms, (2, 4), seeds)


def arm(name="transfer", **how):
    made = network(**{"checkpoints": 3} | how)
    return Arm(name, made, recall=made.recall)


def test_the_scores_are_kept_and_taken_up_again(tmp_path):
    first = compare(experiment(arm(), seeds=(0,)), kept=tmp_path / "kept")
    whole = compare(experiment(arm()), kept=tmp_path / "kept")  # the second seed is run, the first is taken up
    assert {record.seed for record in whole.records} == {0, 1} and len(first.records) == 2
    whole.save(tmp_path)
    loaded = Comparison.load(tmp_path)
    alone = compare(experiment(arm()))
    for record, other in zip(loaded.records, alone.records):
        assert list(record.checkpoints) == [1, 3, 6]
        for step, scores in record.checkpoints.items():
            np.testing.assert_array_equal(scores["accuracy"], other.checkpoints[step]["accuracy"])
        assert record.checkpoints[6]["accuracy"].mean() == pytest.approx(record.metrics["accuracy"])


def test_no_checkpoint_is_scored_of_rates_that_were_not_chosen():
    asked = []

    class Asked(Counted):
        def train(self, learning_rate, budget, seed):
            for callback in self.watching(4):
                for batch in range(4):
                    self.own.set_weights([np.full((1, 1), 100 * learning_rate + batch, np.float32)])
                    callback.on_train_batch_end(batch)
            return super().train(learning_rate, budget, seed)

        def answer(self, budget, seed):
            asked.append(round(float(self.own.get_weights()[0][0, 0]), 3))
            return super().answer(budget, seed)

    made = Asked(training=TrainingConfig(learning_rates=(1e-3, 1e-2, 1e-1), checkpoints=2))
    made(5, 0)
    assert asked == [2.0, 4.0, 15.0]  # after 2 and 4 steps at 1e-2, and the answer


# === The verdict over the steps ===

GAINS = {1: 0.4, 2: 0.2, 4: 0.0, 8: -0.2}  # steps -> transfer − random


def turning(budgets=(5, 20), n=200, measures=("score", "other")):
    """A comparison whose transfer leads at first and is behind in the end, with three seeds."""
    rng, records = np.random.default_rng(1), []
    for budget in budgets:
        hard = rng.normal(0, 0.1, n)
        for name in ("transfer", "random"):
            for seed in range(3):
                scores = {}
                for steps, gain in GAINS.items():
                    values = 0.5 + gain * (name == "transfer") + hard + rng.normal(0, 0.2, n)
                    scores[steps * budget] = {"score": values, "other": values * 0 + 0.5}
                last = scores[8 * budget]
                metrics = {measure: float(values.mean()) for measure, values in last.items()}
                records.append(
                    Record(name, budget, seed, metrics=metrics, trainable=1, scores=last, checkpoints=scores)
                )
        records.append(Record("native", budget, 0, metrics={"score": 0.5}, scores={"score": hard + 0.5}))
    return Comparison("t", (), np.zeros(n, int), tuple(records), measures=measures, unit="pairs")


def test_the_verdict_is_computed_at_each_number_of_steps():
    rows = verdicts_by_steps(turning())
    assert [row["word"] for row in rows if row["budget"] == 5] == ["helped", "helped", "no evidence", "hurt"]
    assert [row["steps"] for row in rows if row["budget"] == 20] == [20, 40, 80, 160]
    pooled = [row for row in rows if row["budget"] == "pooled"]
    assert [row["share"] for row in pooled] == ["1/8", "1/4", "1/2", "1"] and {row["steps"] for row in pooled} == {None}
    for row, gain in zip(pooled, GAINS.values()):
        assert row["low"] <= gain <= row["high"] or abs(row["difference"] - gain) < 0.05
        assert row["a_score"] - row["b_score"] == pytest.approx(row["difference"])
    last = next(row for row in turning_verdicts() if row["budget"] == "pooled")
    assert pooled[-1]["low"] == last["low"] and pooled[-1]["high"] == last["high"]


def turning_verdicts():
    from tfxfer.evaluate import verdicts

    return verdicts(turning(), "transfer", "random")


def test_a_verdict_that_turns_is_told_in_a_sentence():
    told, *by_budget = sentences_by_steps(turning())
    assert told.startswith("The verdict turns with training: transfer − random in score, averaged over 5 and 20 pairs:")
    assert "helped from 1/8 to 1/4 of the steps" in told and "hurt after all of the steps (−0." in told
    assert len(by_budget) == 2 and "no evidence after 20 steps" in by_budget[0]
    (same,) = sentences_by_steps(turning(), "other")
    assert same.startswith("The steps do not change the verdict on transfer − random in other")


def test_the_report_and_the_terminal_show_the_curve(tmp_path):
    comparison = turning()
    panel = checkpoint_panel(comparison, "cosine")
    assert len(panel.tables) == len(panel.figures) == 2 and "is not a training of so many steps" in panel.paragraphs[1]
    assert "each point is a training" in checkpoint_panel(comparison, "constant").paragraphs[1]
    figure = figures.difference_over_steps(**panel.figures[0]["arguments"])
    assert [axes.get_title() for axes in figure.axes] == ["5 pairs", "20 pairs", "all budgets"]
    assert all(axes.get_xscale() == "log" for axes in figure.axes)
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == [5, 10, 20, 40]
    comparison.save(tmp_path)
    write_panels(tmp_path, [panel])
    assert "The verdict turns with training" in report.write(tmp_path).read_text("utf-8")
    console = Console(file=io.StringIO(), width=80)
    report.terminal(comparison, console)
    text = console.file.getvalue()
    assert (
        "transfer − random by share of the steps" in text and "1/8" in text and max(map(len, text.splitlines())) <= 80
    )


def test_without_checkpoints_there_is_no_curve():
    bare = replace(turning(), records=tuple(replace(r, checkpoints={}) for r in turning().records))
    assert verdicts_by_steps(bare) == [] and checkpoint_panel(bare, "cosine") is None


def test_arms_that_train_everything_are_followed_where_transfer_trains_no_network():
    names = {"transfer": "finetune", "random": "scratch"}
    records = tuple(replace(r, arm=names.get(r.arm, r.arm)) for r in turning().records)
    records += (replace(records[0], arm="transfer", checkpoints={}),)
    assert {(row["a"], row["b"]) for row in verdicts_by_steps(replace(turning(), records=records))} == {
        ("finetune", "scratch")
    }
