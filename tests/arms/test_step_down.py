"""A learning rate at the edge of divergence: the first seed may choose it, no other seed is harmed by it."""

import keras
import numpy as np
import pytest

from tfxfer.arms.trained import TrainedArm
from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError
from tfxfer.experiment import Outcome

pytestmark = pytest.mark.tensorflow
FIRST = {1e-3: 0.5, 1e-2: 0.6, 1e-1: 0.7}  # rate -> what the first seed validates


class Edge(TrainedArm):
    """An arm whose validation is given: rate -> score of the other seeds, None for a training that fails."""

    def __init__(self, others):
        first = keras.Input((1,))
        self.own = keras.Model(first, keras.layers.Dense(1, use_bias=False)(first))
        super().__init__(TrainingConfig(learning_rates=tuple(FIRST)), lambda seed: [np.zeros((1, 1))], (5, 0))
        self.others, self.trained = others, []

    @property
    def model(self):
        return self.own

    def train(self, learning_rate, budget, seed):
        self.trained.append((learning_rate, seed))
        self.own.set_weights([np.full((1, 1), learning_rate)])
        score = self.others[learning_rate]
        if score is None:
            raise TfxferError("the loss became nan")
        return score, {}

    def answer(self, budget, seed):
        return Outcome(np.eye(2, dtype=np.float32), {"weight": float(self.own.get_weights()[0][0, 0])})


@pytest.mark.parametrize(
    ("others", "tried", "chosen"),
    [
        ({1e-1: 0.65, 1e-2: 0.9, 1e-3: 0.9}, [1e-1], 1e-1),  # worse than the first seed, better than its next smaller
        ({1e-1: 0.30, 1e-2: 0.62, 1e-3: 0.9}, [1e-1, 1e-2], 1e-2),
        ({1e-1: 0.30, 1e-2: 0.20, 1e-3: 0.9}, [1e-1, 1e-2, 1e-3], 1e-3),
        ({1e-1: 0.55, 1e-2: 0.51, 1e-3: 0.9}, [1e-1, 1e-2], 1e-1),  # the smaller one is no better: the greater stays
        ({1e-1: None, 1e-2: 0.62, 1e-3: 0.9}, [1e-1, 1e-2], 1e-2),
    ],
)
def test_a_seed_steps_down_while_a_smaller_rate_did_better(others, tried, chosen):
    arm = Edge(others)
    arm.rates[5] = 1e-1, {f"{rate:g}": score for rate, score in FIRST.items()}  # as the first seed leaves it
    outcome = arm(5, 1)
    assert [rate for rate, _ in arm.trained] == tried
    assert outcome.settings["learning_rate"] == chosen
    assert outcome.settings["weight"] == pytest.approx(chosen)


def test_a_seed_that_fails_at_every_rate_is_a_failure():
    arm = Edge({1e-1: None, 1e-2: None, 1e-3: None})
    arm.rates[5] = 1e-1, {f"{rate:g}": score for rate, score in FIRST.items()}
    with pytest.raises(TfxferError, match="became nan"):
        arm(5, 1)
