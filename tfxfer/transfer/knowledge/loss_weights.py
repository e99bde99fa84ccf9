"""What each of several tasks counts in a sum of losses, and its share of a batch.

    fixed        Σ w_t·L_t with given w
    uncertainty  Σ exp(−s_t)·L_t + s_t / 2, s_t = log σ_t² learned with the network (Kendall, Gal & Cipolla 2018)
    gradnorm     Σ w_t·L_t; w moves so that tasks which learn slowly have larger gradients (Chen et al. 2018)

The functions take and return arrays or tensors and know no network.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfxfer.errors import UserError

WEIGHTINGS = ("fixed", "uncertainty", "gradnorm")
ALPHA, RATE = 1.5, 0.025  # of GradNorm, as in its paper
LEAST = 1e-3  # a weight of GradNorm stays above it


def uncertainty_loss(losses: Any, log_variances: Any) -> Any:
    """Return Σ exp(−s_t)·L_t + s_t / 2, the weighting by homoscedastic uncertainty of tasks with a softmax.

    At its minimum over s, exp(s_t) = 2·L_t: a task with a large loss counts less.

    Args:
        losses: [T] mean cross-entropy of each task, in nats.
        log_variances: [T] s_t = log σ_t².

    Source: Kendall, Gal & Cipolla 2018, Multi-task learning using uncertainty to weigh losses, equation 10.

    >>> round(float(uncertainty_loss([2.0, 1.0], [0.0, 0.0])), 3)
    3.0
    """
    losses, log_variances = (ops.convert_to_tensor(one, "float32") for one in (losses, log_variances))
    return ops.sum(ops.exp(-log_variances) * losses + log_variances / 2)


def gradnorm_step(
    weights: Any, norms: Any, losses: Any, first_losses: Any, alpha: float = ALPHA, rate: float = RATE
) -> Any:
    """Return the weights [T] after one step of GradNorm; their sum is T.

    A step of gradient descent on Σ |G_t − mean(G)·r_t^α|, G_t = w_t·n_t. The target mean(G)·r_t^α counts as constant.
    r_t is how much of its first loss task t still has, divided by the mean of all tasks.

    Args:
        weights: [T] weights of the tasks.
        norms: [T] n_t, L2 norm of the gradient of each unweighted loss by the weights of the last shared layer.
        losses: [T] losses of this step.
        first_losses: [T] losses of the first step.
        alpha: How strongly tasks that learn slowly are favoured.
        rate: Learning rate of the weights.

    Source: Chen, Badrinarayanan, Lee & Rabinovich 2018, GradNorm, algorithm 1.
    """
    given = (weights, norms, losses, first_losses)
    weights, norms, losses, first_losses = (ops.convert_to_tensor(one, "float32") for one in given)
    count = weights.shape[0]
    left = losses / ops.maximum(first_losses, 1e-9)
    slowness = left / ops.maximum(ops.mean(left), 1e-9)
    sizes = weights * norms
    target = ops.mean(sizes) * slowness**alpha
    moved = ops.maximum(weights - rate * ops.sign(sizes - target) * norms, LEAST)
    return moved * count / ops.sum(moved)


def batch_sizes(examples: Mapping[str, int], batch_size: int, exponent: float) -> dict[str, int]:
    """Return how many examples of each task are in a batch of T·`batch_size`, at least one each.

    The shares are in proportion to n^τ: τ = 0 is uniform, τ = 1 proportional to the number of examples n.

    Args:
        examples: Task -> its training examples n.
        batch_size: Mean over the tasks.
        exponent: τ, from 0 to 1.

    >>> batch_sizes({"classify": 100, "vqa": 300}, 16, 1.0)
    {'classify': 8, 'vqa': 24}
    """
    if not examples or min(examples.values()) < 1:
        raise UserError(f"examples of each task {dict(examples)}: every task needs one or more")
    powers = {task: float(n) ** exponent for task, n in examples.items()}
    whole = len(examples) * batch_size / sum(powers.values())
    return {task: max(1, round(whole * power)) for task, power in powers.items()}


class TaskWeights(keras.layers.Layer):
    """The weights of T tasks while a network trains, of one of `WEIGHTINGS`.

    Args:
        weighting: One of `WEIGHTINGS`.
        start: [T] weights to begin with; "uncertainty" begins with s = 0 whatever they are.

    Raises:
        UserError: There is no such weighting.
    """

    def __init__(self, weighting: str, start: tuple[float, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if weighting not in WEIGHTINGS:
            raise UserError(f"weighting '{weighting}': use {', '.join(WEIGHTINGS)}")
        self.weighting = weighting
        learned = weighting == "uncertainty"
        given = keras.initializers.Constant(0.0 if learned else list(start))
        self.values = self.add_weight(
            name="log_variances" if learned else "task_weights",
            shape=(len(start),),
            initializer=given,
            trainable=learned,
            dtype="float32",
        )
        zeros = {"shape": (len(start),), "initializer": "zeros", "trainable": False, "dtype": "float32"}
        self.first = self.add_weight(name="first_losses", **zeros)
        self.built = True

    def total(self, losses: Any) -> Any:
        """Return the loss that trains the network, of the losses [T] of the tasks."""
        if self.weighting == "uncertainty":
            return uncertainty_loss(losses, self.values)
        return ops.sum(ops.stop_gradient(self.values) * losses)

    def update(self, losses: Any, norms: Any) -> None:
        """Take a step of GradNorm; the first call keeps the losses [T] as the first ones."""
        self.first.assign(ops.where(self.first > 0, self.first, losses))
        self.values.assign(gradnorm_step(self.values, norms, losses, self.first))

    def shown(self) -> list[float]:
        """Return the weights [T] as they are now: w, or exp(−s)."""
        values = self.values.numpy().astype(np.float64)
        return [float(v) for v in (np.exp(-values) if self.weighting == "uncertainty" else values)]
