"""Each captioning arm chooses its learning rate, then decoder_lr_scale, then how long its decoder is frozen."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfxfer.arms.captioning import CaptioningArm
from tfxfer.config import CaptionTrainingConfig
from tfxfer.experiment import Arm, Experiment, Outcome, compare

pytestmark = pytest.mark.tensorflow


class Scored(CaptioningArm):
    """An arm whose validation is given: it is best at one rate and one scale, and trains nothing."""

    def __init__(self, best=(3e-3, 1.0), scales=(0.1, 0.3, 1.0), fractions=(0.0,), frozen=0.0):
        first = keras.Input((1,))
        model = keras.Model(first, keras.layers.Dense(1, use_bias=False)(first))
        training = CaptionTrainingConfig(learning_rates=(1e-3, 3e-3, 1e-2), decoder_lr_scales=scales)
        training = replace(training, freeze_decoder_fractions=fractions)
        super().__init__(SimpleNamespace(model=model), lambda seed: [np.zeros((1, 1))], None, training, (20, 0))
        self.best, self.frozen, self.tried, self.fractions = best, frozen, [], []

    def train(self, learning_rate, budget, seed):
        training = self.training_at(learning_rate, budget)
        scale, fraction = training.decoder_lr_scale, training.freeze_decoder_fraction
        self.tried.append((learning_rate, scale, seed))
        self.fractions.append(fraction)
        self.model.set_weights([np.full((1, 1), scale)])
        away = abs(np.log(learning_rate / self.best[0])) + abs(np.log(scale / self.best[1]))
        return -away - abs(fraction - self.frozen), {}

    def answer(self, budget, seed):
        weight = {"weight": float(self.model.get_weights()[0][0, 0])}
        return Outcome(np.eye(2, dtype=np.float32), self.length(budget) | weight)


def compared(arm, seeds, kept):
    arms = (Arm("transfer", arm, recall=arm.recall),)
    return compare(Experiment("a", ("x", "y"), np.arange(2), arms, (20,), seeds), kept=kept)


def test_an_arm_climbs_the_rates_and_then_the_scales(tmp_path):
    arm = Scored()
    first = arm(20, 0)
    assert arm.tried == [(3e-3, 0.3, 0), (1e-2, 0.3, 0), (1e-3, 0.3, 0), (3e-3, 1.0, 0)]
    assert first.settings["decoder_lr_scale"] == 1.0 and first.settings["weight"] == 1.0
    assert set(first.settings["validation of decoder_lr_scale"]) == {"0.3", "1"}
    arm(20, 1)
    assert arm.tried[4:] == [(3e-3, 1.0, 1)]  # another seed goes on with both
    compared(Scored(), (0,), tmp_path)
    later = Scored()
    records = compared(later, (0, 1), tmp_path).records
    assert later.tried == [(3e-3, 1.0, 1)] and records[1].settings["decoder_lr_scale"] == 1.0


def test_arms_choose_for_themselves_and_one_scale_is_no_choice():
    low, single = Scored(best=(1e-2, 0.1)), Scored(scales=(0.3,))
    assert low(20, 0).settings["decoder_lr_scale"] == 0.1 and low.rates[20][0] == 1e-2
    assert "decoder_lr_scale" not in single(20, 0).settings and {scale for _, scale, _ in single.tried} == {0.3}
    assert CaptionTrainingConfig().decoder_lr_scales == (1.0,)  # the default searches nothing
    assert CaptionTrainingConfig().freeze_decoder_fractions == (0.0,)


def test_a_pretrained_decoder_may_be_frozen_at_first_while_a_fresh_one_is_not(tmp_path):
    warm = Scored(fractions=(0.0, 0.3), frozen=0.3, scales=(0.3, 1.0))
    first = warm(20, 0)
    assert first.settings["freeze_decoder_fraction"] == 0.3 and first.settings["decoder_lr_scale"] == 1.0
    assert set(first.settings["validation of freeze_decoder_fraction"]) == {"0", "0.3"}
    assert warm.tried[-1] == (3e-3, 1.0, 0) and warm.fractions == [0.0] * 4 + [0.3]  # the rest is chosen before it
    warm(20, 1)
    assert warm.fractions[-1] == 0.3
    cold = Scored(fractions=(0.0, 0.3), frozen=0.0)
    assert cold(20, 0).settings["freeze_decoder_fraction"] == 0.0
    compared(Scored(fractions=(0.0, 0.3), frozen=0.3), (0,), tmp_path)
    later = Scored(fractions=(0.0, 0.3), frozen=0.3)
    compared(later, (0, 1), tmp_path)
    assert later.fractions == [0.3]  # what a record says is not chosen again
