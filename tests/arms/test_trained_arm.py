"""An arm that trains a network: one policy for learning rates, and records that depend on budget and seed alone."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.arms import classifier
from tfxfer.arms.classifier import ClassifierArm, TaskBatches
from tfxfer.arms.trained import TrainedArm
from tfxfer.config import RunConfig, TrainingConfig
from tfxfer.errors import TfxferError, UserError
from tfxfer.experiment import Arm, Experiment, Outcome, compare

pytestmark = pytest.mark.tensorflow
GRID = (1e-4, 1e-3, 1e-2, 1e-1)
LABELS = np.array([0, 1, 1])


# === The policy: an arm whose trainings are counted ===


class Counted(TrainedArm):
    """An arm whose training writes its learning rate, budget and seed into its only weight; 1e-2 validates best."""

    def __init__(self, best=1e-2, **how):
        first = keras.Input((1,))
        own = keras.Model(first, keras.layers.Dense(1, use_bias=False)(first))
        how = {"training": TrainingConfig(learning_rates=GRID), "keep": (20, 0)} | how
        super().__init__(start=lambda seed: [np.full((1, 1), float(seed), np.float32)], **how)
        self.own, self.best, self.trained, self.began = own, best, [], []

    @property
    def model(self):
        return self.own

    def train(self, learning_rate, budget, seed):
        self.trained.append((learning_rate, budget, seed))
        self.began.append(float(self.own.get_weights()[0][0, 0]))
        self.own.set_weights([np.array([[1000 * learning_rate + budget + seed / 10]], np.float32)])
        best = self.best(budget) if callable(self.best) else self.best
        return -abs(np.log(learning_rate / best)), {"loss": learning_rate}

    def answer(self, budget, seed):
        weight = float(self.own.get_weights()[0][0, 0])
        return Outcome(np.eye(2, dtype=np.float32)[LABELS], {"steps": 3, "weight": weight})


def weight(rate, budget, seed):
    """The weight of a training, as float32 holds it."""
    return float(np.float32(1000 * rate + budget + seed / 10))


def test_the_first_seed_of_each_budget_climbs_and_the_others_train_once_at_its_rate():
    arm = Counted(best=lambda budget: {5: 1e-3, 20: 1e-1}[budget])
    found = {(budget, seed): arm(budget, seed) for budget in (5, 20) for seed in (0, 1, 2)}
    rates = {budget: {rate for rate, b, s in arm.trained if (b, s) == (budget, 0)} for budget in (5, 20)}
    assert rates == {5: {1e-4, 1e-3, 1e-2}, 20: {1e-3, 1e-2, 1e-1}}  # from the middle, with both neighbours of the best
    later = [(rate, budget, seed) for rate, budget, seed in arm.trained if seed]
    assert later == [(1e-3, 5, 1), (1e-3, 5, 2), (1e-1, 20, 1), (1e-1, 20, 2)]
    for (budget, seed), outcome in found.items():
        rate = {5: 1e-3, 20: 1e-1}[budget]
        assert outcome.settings["learning_rate"] == rate
        assert outcome.settings["weight"] == weight(rate, budget, seed)  # answers are those of the chosen training


def test_every_training_begins_at_the_start_of_its_seed():
    arm = Counted()
    for seed in (3, 4):
        arm(5, seed)
    assert arm.began == [float(seed) for _, _, seed in arm.trained]


def test_a_record_tells_the_rate_what_was_tried_and_how_much_trains():
    arm = Counted()
    first, second = arm(5, 0), arm(5, 1)
    assert first.settings["steps"] == 3 and first.trainable == second.trainable == 1
    assert first.settings["validation"] == second.settings["validation"]
    tried = first.settings["validation"]
    assert set(tried) == {"0.001", "0.01", "0.1"} and max(tried, key=tried.get) == "0.01"


def test_only_what_validation_scores_chooses():
    """The test split's labels play no part: the chosen rate is that of the best validation score."""
    arm = Counted(best=1e-4)
    outcome = arm(5, 0)
    tried = outcome.settings["validation"]
    assert f"{outcome.settings['learning_rate']:g}" == max(tried, key=tried.get) == "0.0001"


def test_a_grid_of_one_rate_is_trained_once():
    arm = Counted(training=TrainingConfig(learning_rates=(3e-3,)))
    arm(5, 0), arm(5, 1)
    assert arm.trained == [(3e-3, 5, 0), (3e-3, 5, 1)]


def test_each_training_is_reported_with_what_it_was():
    rows = []
    arm = Counted(report=rows.append)
    arm(5, 0), arm(5, 1)
    assert [(row["learning_rate"], row["budget"], row["seed"]) for row in rows] == arm.trained
    assert all(row["loss"] == row["learning_rate"] for row in rows)


def experiment(arm, budgets=(5, 20), seeds=(0, 1), **how):
    arms = (Arm("transfer", arm, recall=arm.recall),)
    return Experiment("a", ("x", "y"), LABELS, arms, budgets, seeds, **how)


def test_a_rate_is_recalled_from_the_records_of_an_earlier_run(tmp_path):
    before = Counted()
    compare(experiment(before, seeds=(0,)), kept=tmp_path)
    after = Counted()
    records = compare(experiment(after), kept=tmp_path).records
    assert after.trained == [(1e-2, 5, 1), (1e-2, 20, 1)]
    whole = compare(experiment(Counted())).records
    assert [(r.key, r.settings) for r in records] == [(r.key, r.settings) for r in whole]


def test_recalling_does_not_replace_the_rate_of_the_first_seed():
    arm = Counted()
    records = compare(experiment(Counted(), budgets=(5,))).records
    for record, rate in zip(records, (1e-2, 1e-4)):
        arm.recall(replace(record, settings=record.settings | {"learning_rate": rate}))
    assert arm(5, 2).settings["learning_rate"] == 1e-2 and len(arm.trained) == 1


def test_final_keeps_the_weights_of_the_greatest_budget_and_the_first_seed():
    arm = Counted()
    for budget, seed in ((5, 0), (20, 0), (20, 1), (5, 1)):
        arm(budget, seed)
    trainings = len(arm.trained)
    assert float(arm.final().get_weights()[0][0, 0]) == weight(1e-2, 20, 0)
    assert len(arm.trained) == trainings and arm.final() is arm.model


def test_final_trains_again_when_nothing_is_kept(tmp_path):
    compare(experiment(Counted()), kept=tmp_path)
    arm = Counted()
    compare(experiment(arm), kept=tmp_path)
    assert arm.trained == [] and arm.kept is None
    assert float(arm.final().get_weights()[0][0, 0]) == weight(1e-2, 20, 0)
    assert arm.trained == [(1e-2, 20, 0)]  # at the rate of the record, without a second search
    arm.model.set_weights([np.zeros((1, 1), np.float32)])
    assert float(arm.final().get_weights()[0][0, 0]) == weight(1e-2, 20, 0)
    assert len(arm.trained) == 1


def test_a_rate_that_fails_is_the_worst_and_all_that_fail_end_the_arm():
    class Diverges(Counted):
        limit = 1e-3

        def train(self, learning_rate, budget, seed):
            if learning_rate > self.limit:
                raise TfxferError("the loss became NaN")
            return super().train(learning_rate, budget, seed)

    outcome = Diverges()(5, 0)
    assert outcome.settings["learning_rate"] == 1e-3 and np.isnan(outcome.settings["validation"]["0.01"])
    never = Diverges()
    never.limit = 0
    with pytest.raises(TfxferError, match="none of the settings.*the loss became NaN"):
        never(5, 0)
    assert 5 not in never.rates


def test_the_users_mistake_is_not_a_rate_that_fails():
    class Wrong(Counted):
        def train(self, learning_rate, budget, seed):
            raise UserError("fewer than 5")

    with pytest.raises(UserError, match="fewer than 5"):
        Wrong()(5, 0)


# === A network that is trained: `ClassifierArm` ===


def batch_of(features, size, rows):
    dataset = tf.data.Dataset.from_tensor_slices({"features": features, "label": rows})
    return dataset.batch(size)


@dataclass
class Rows:
    """Features and labels of each split, with the contract of a `Dataset` as far as an arm uses it."""

    splits: dict

    @property
    def sizes(self):
        return {split: len(labels) for split, (_, labels) in self.splits.items()}

    def labels(self, split):
        return self.splits[split][1]

    def batches(self, split, size, *, keys, shuffle_seed=None):
        features, labels = self.splits[split]
        if shuffle_seed is not None:
            order = np.random.default_rng(shuffle_seed).permutation(len(labels))
            features, labels = features[order], labels[order]
        return batch_of(features, size, labels)


def rows(budget):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    features = (np.eye(6)[labels] + rng.normal(0, 0.5, (90, 6))).astype("float32")
    parts = {"train": slice(0, 10 * budget), "validation": slice(40, 65), "test": slice(65, 90)}
    return Rows({split: (features[part], labels[part]) for split, part in parts.items()})


def task(of=rows):
    whole, made = of(4), {}
    return SimpleNamespace(
        dataset=whole,
        key="features",
        reading={},
        sizes=whole.sizes,
        labels=whole.labels,
        class_names=("a", "b", "c"),
        shifted=lambda probabilities: {},  # no other domain
        mixes_labels=False,
        copies=lambda data, seed, draws: None,  # no augmentation
        train=lambda budget, seed: made.setdefault(budget, of(budget)),
    )


def build(seed):
    first = keras.layers.Input((6,))
    hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(8, "relu")(first))
    return keras.Model(first, keras.layers.Dense(3, "softmax")(hidden))


def network(of=rows, like=None, keep=(4, 1), **how):
    training = TrainingConfig(**{"steps": 6, "learning_rates": (1e-2,), "batch_size": 8} | how)
    return ClassifierArm(TaskBatches(task(of)), build, training, RunConfig(), keep, like=like)


@pytest.mark.parametrize("how", [{"steps": 6}, {"steps": 0, "epochs": 2}, {"learning_rates": (1e-3, 1e-2, 3e-2)}])
def test_a_record_does_not_depend_on_what_ran_before(how):
    alone = network(**how)
    alone.rates[4] = (1e-2, {})
    alone = alone(4, 1).probabilities
    after_others = network(**how)
    for budget, seed in ((2, 0), (4, 0), (2, 1)):
        after_others(budget, seed)
    after_others.rates[4] = (1e-2, {})
    keras.utils.set_random_seed(7)
    np.testing.assert_array_equal(after_others(4, 1).probabilities, alone)


def test_a_record_does_not_depend_on_an_arm_that_shares_the_compiled_model():
    alone = network()(4, 1).probabilities
    first = network()
    second = network(like=first)
    first(2, 0)
    assert second.model is first.model
    np.testing.assert_array_equal(second(4, 1).probabilities, alone)
    np.testing.assert_array_equal(first(4, 1).probabilities, alone)


def test_seeds_differ_and_answers_are_those_of_the_chosen_weights():
    arm = network()
    first, second = arm(4, 0).probabilities, arm(4, 1).probabilities
    arm(4, 2)
    assert np.abs(first - second).max() > 1e-3
    features = rows(4).splits["test"][0]
    np.testing.assert_allclose(np.asarray(arm.final()(features)), second, atol=1e-6)


@pytest.mark.parametrize(("how", "told"), [({"steps": 6}, {"steps": 6}), ({"steps": 0, "epochs": 2}, {"epochs": 2})])
def test_the_settings_tell_how_long_it_trained(how, told):
    arm = network(**how)
    settings = arm(4, 0).settings
    assert {name: settings.get(name) for name in ("steps", "epochs") if name in settings} == told
    assert int(arm.model.optimizer.iterations) == arm.training.steps_for(40)


def test_more_examples_than_can_be_held_are_mixed_all_the_same(monkeypatch):
    """They are stored class by class; a buffer of the few that can be held would show one class after the other."""
    labels = np.repeat(np.arange(3), 80)
    features = np.eye(6, dtype="float32")[labels] + np.random.default_rng(0).normal(0, 0.3, (240, 6)).astype("float32")
    by_class = Rows(dict.fromkeys(("train", "validation", "test"), (features, labels)))
    monkeypatch.setattr(classifier, "HELD", 4 * 24)  # four rows of six numbers
    arm = network(of=lambda budget: by_class, steps=0, epochs=1)
    assert arm.batches._examples(by_class, 0, 80)[1] == 4
    seen = [labels.numpy() for _, labels in arm.batches.training(by_class, 8, 10, 0)]
    assert len(seen) == 10 and all(len(set(batch)) > 1 for batch in seen)
    first = arm(4, 1).probabilities
    arm(4, 0)
    np.testing.assert_array_equal(arm(4, 1).probabilities, first)
