"""An arm that trains a network: a record depends on its budget and seed, not on what ran before it."""

import keras
import numpy as np
import pytest

from tfxfer.arms import classifier as networks
from tfxfer.arms.classifier import FeatureRows, ClassifierArm
from tfxfer.config import TaskConfig

pytestmark = pytest.mark.tensorflow


def rows(budget, seed):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    features = (np.eye(6)[labels] + rng.normal(0, 0.5, (90, 6))).astype("float32")
    parts = {"train": slice(0, 10 * budget), "validation": slice(40, 65), "test": slice(65, 90)}
    return FeatureRows({split: (features[part], labels[part]) for split, part in parts.items()})


def network(**change):
    def build(seed):
        first = keras.layers.Input((6,))
        hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(8, "relu")(first))
        return keras.Model(first, keras.layers.Dense(3, "softmax")(hidden))

    config = TaskConfig(learning_rates=(1e-2,), batch_size=8, **change)
    return ClassifierArm(build, rows, "features", {}, config)


@pytest.mark.parametrize("change", [{"updates": 6}, {"epochs": 2}])
def test_a_record_does_not_depend_on_what_ran_before(change):
    alone = network(**change)(4, 1).probabilities
    after_others = network(**change)
    for budget, seed in ((2, 0), (4, 0), (2, 1)):
        after_others(budget, seed)
    keras.utils.set_random_seed(7)
    np.testing.assert_array_equal(after_others(4, 1).probabilities, alone)


def test_seeds_differ_and_answers_are_those_of_the_chosen_weights():
    arm = network(updates=6)
    arm.keep = (4, 1)
    first, second = arm(4, 0).probabilities, arm(4, 1).probabilities
    assert np.abs(first - second).max() > 1e-3
    features = rows(4, 1).splits["test"][0]
    np.testing.assert_allclose(np.asarray(arm.final()(features)), second, atol=1e-6)


def test_more_examples_than_can_be_held_are_mixed_all_the_same(monkeypatch):
    """They are stored class by class; a buffer of the few that can be held would show one class after the other."""
    labels = np.repeat(np.arange(3), 80)
    features = np.eye(6, dtype="float32")[labels] + np.random.default_rng(0).normal(0, 0.3, (240, 6)).astype("float32")
    sorted_rows = FeatureRows(dict.fromkeys(("train", "validation", "test"), (features, labels)))
    monkeypatch.setattr(networks, "HELD", 4 * 24)  # four rows of six numbers
    arm = network(epochs=1)
    arm.data = lambda budget, seed: sorted_rows
    assert arm._examples(sorted_rows)[1] == 4
    seen = [labels.numpy() for _, labels in arm._batches(sorted_rows, 0, 10)]
    assert all(len(set(batch)) > 1 for batch in seen)
    first = arm(4, 1).probabilities
    arm(4, 0)
    np.testing.assert_array_equal(arm(4, 1).probabilities, first)
