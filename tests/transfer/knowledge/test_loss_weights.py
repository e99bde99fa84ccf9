"""Weights of several tasks: against cases computed by hand, numerical derivatives, and a training step taken apart."""

import keras
import numpy as np
import pytest

from tfxfer.config import TrainingConfig
from tfxfer.errors import UserError
from tfxfer.transfer.knowledge.loss_weights import LEAST, TaskWeights, batch_sizes, gradnorm_step, uncertainty_loss
from tfxfer.transfer.knowledge.multitask import MultiTask
from tfxfer.transfer.knowledge.multitask_training import EncodedTask, MultiTaskTraining
from tfxfer.transfer.knowledge.task_heads import TaskExamples, TaskHead

pytestmark = pytest.mark.tensorflow


def test_uncertainty_is_the_published_sum_and_its_minimum_is_where_calculus_has_it():
    losses, sigmas = np.array([2.0, 0.5]), np.array([1.5, 0.7])
    published = sum(loss / sigma**2 + np.log(sigma) for loss, sigma in zip(losses, sigmas))
    assert float(uncertainty_loss(losses, np.log(sigmas**2))) == pytest.approx(published, rel=1e-6)
    grid = np.linspace(-3, 3, 6001)
    for loss in losses:
        tried = [np.exp(-s) * loss + s / 2 for s in grid]
        assert grid[int(np.argmin(tried))] == pytest.approx(np.log(2 * loss), abs=1e-3)


def test_a_step_of_gradnorm_computed_by_hand():
    """Left of the first losses: 1/2 and 1, so r = 2/3 and 4/3; G = 3 and 1, mean 2; targets 4/3 and 8/3."""
    found = np.asarray(gradnorm_step([1.0, 1.0], [3.0, 1.0], [2.0, 1.0], [4.0, 1.0], alpha=1.0, rate=0.1))
    np.testing.assert_allclose(found, np.array([0.7, 1.1]) * 2 / 1.8, rtol=1e-6)


def test_a_step_of_gradnorm_goes_down_the_numerical_gradient():
    rng = np.random.default_rng(0)
    for _ in range(5):
        weights, norms, losses, first = rng.uniform(0.5, 2, (4, 3))
        weights *= 3 / weights.sum()
        slowness = losses / first / np.mean(losses / first)
        target = np.mean(weights * norms) * slowness**1.5  # a constant while the weights move

        def objective(w, norms=norms, target=target):
            return np.abs(w * norms - target).sum()

        slopes = [(objective(weights + e) - objective(weights - e)) / 2e-6 for e in 1e-6 * np.eye(3)]
        moved = np.maximum(weights - 0.05 * np.array(slopes), LEAST)
        found = np.asarray(gradnorm_step(weights, norms, losses, first, rate=0.05))
        np.testing.assert_allclose(found, moved * 3 / moved.sum(), rtol=1e-4)


def test_shares_of_a_batch():
    counts = {"a": 100, "b": 400}
    assert batch_sizes(counts, 10, 0.0) == {"a": 10, "b": 10}
    assert batch_sizes(counts, 10, 1.0) == {"a": 4, "b": 16}
    assert batch_sizes(counts, 9, 0.5) == {"a": 6, "b": 12}
    assert batch_sizes({"a": 1, "b": 10**6}, 2, 1.0)["a"] == 1
    with pytest.raises(UserError, match="every task needs one or more"):
        batch_sizes({"a": 0, "b": 2}, 2, 0.0)
    with pytest.raises(UserError, match="weighting 'equal'"):
        TaskWeights("equal", (1.0, 1.0))


IMAGES = np.random.default_rng(0).integers(0, 255, (6, 2, 2, 1)).astype(np.uint8)
EXAMPLES = {
    "classify:a": TaskExamples(IMAGES, np.arange(6), list("xyxyxy")),
    "classify:b": TaskExamples(IMAGES, np.arange(6), list("zzyxyx")),
}


@pytest.fixture(scope="module")
def whole():
    keras.utils.set_random_seed(0)
    image = keras.Input((2, 2, 1))
    maps = keras.layers.Conv2D(3, 1, use_bias=False)(keras.layers.Rescaling(1 / 255)(image))
    heads = [TaskHead("classify:a", "classify", ("x", "y")), TaskHead("classify:b", "classify", ("x", "y", "z"))]
    return MultiTask(keras.Model(image, maps), heads, (2, 2, 1))


def losses_of(whole):
    """Return the loss of each task on all examples, computed in NumPy from the logits."""
    found = []
    for task, each in EXAMPLES.items():
        logits = whole.logits(task, whole.feature_maps(each.images), each.image_index).astype(np.float64)
        known = logits[np.arange(6), whole.labels(task, each.answers)]
        found.append(np.mean(np.log(np.exp(logits).sum(1)) - known))
    return np.array(found)


def test_the_weights_of_a_training_step_are_those_of_numerical_gradients(whole):
    """One step over all examples: n_t is the norm of the numerical gradient by the shared kernel, and r_t is 1."""
    network = MultiTaskTraining(whole, list(EXAMPLES), "gradnorm")
    kernel, gradients = network.last_shared, np.zeros((2, 3))
    start = kernel.numpy()
    for i in range(3):
        step = np.zeros_like(start)
        step[0, 0, 0, i] = 1e-2
        kernel.assign(start + step)
        above = losses_of(whole)
        kernel.assign(start - step)
        gradients[:, i] = (above - losses_of(whole)) / 2e-2
    kernel.assign(start)
    norms, losses = np.linalg.norm(gradients, axis=1), losses_of(whole)
    encoded = {task: EncodedTask(whole, task, each) for task, each in EXAMPLES.items()}
    training = TrainingConfig(steps=1, learning_rates=(1e-3,))
    network.fit_examples(encoded, dict.fromkeys(EXAMPLES, 6), training, seed=0)
    expected = np.asarray(gradnorm_step([1.0, 1.0], norms, losses, losses))
    np.testing.assert_allclose(network.task_weights.shown(), expected, atol=2e-5)
    assert abs(expected[0] - 1) > 1e-4  # something moved
    assert not np.array_equal(kernel.numpy(), start)


def test_a_body_is_shared_and_heads_are_private(whole):
    parameters = whole.parameters()
    shared = {each["shared"] for each in parameters.values()}
    assert shared == {3}  # the kernel
    network = MultiTaskTraining(whole, list(EXAMPLES), "uncertainty")
    count = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    assert count == 3 + sum(each["private"] for each in parameters.values()) + 2  # and two log-variances
    assert network.task_weights.shown() == [1.0, 1.0]


def test_a_task_sees_the_same_examples_whatever_trains_beside_it(whole):
    one = EncodedTask(whole, "classify:a", EXAMPLES["classify:a"])
    unknown = EncodedTask(whole, "classify:a", EXAMPLES["classify:a"]._replace(answers=["?", *"xyxyx"]))
    np.testing.assert_array_equal(one.order(4, 3, 7), one.order(4, 3, 7))
    assert 0 not in unknown.order(4, 3, 7)  # an answer that is no class is not learned from
    with pytest.raises(UserError, match="no training example"):
        EncodedTask(whole, "classify:a", EXAMPLES["classify:a"]._replace(answers=list("??????"))).order(1, 1, 0)
