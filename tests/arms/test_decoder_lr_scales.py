"""Each captioning arm chooses its learning rate, and then decoder_lr_scale, on validation; later runs go on with it."""

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

    def __init__(self, best=(3e-3, 1.0), scales=(0.1, 0.3, 1.0)):
        first = keras.Input((1,))
        model = keras.Model(first, keras.layers.Dense(1, use_bias=False)(first))
        training = CaptionTrainingConfig(learning_rates=(1e-3, 3e-3, 1e-2), decoder_lr_scales=scales)
        super().__init__(SimpleNamespace(model=model), lambda seed: [np.zeros((1, 1))], None, training, (20, 0))
        self.best, self.tried = best, []

    def train(self, learning_rate, budget, seed):
        scale = self.training_at(learning_rate, budget).decoder_lr_scale
        self.tried.append((learning_rate, scale, seed))
        self.model.set_weights([np.full((1, 1), scale)])
        return -abs(np.log(learning_rate / self.best[0])) - abs(np.log(scale / self.best[1])), {}

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
