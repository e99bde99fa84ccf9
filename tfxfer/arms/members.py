"""Several fine-tuned classifiers from one start, on the same labels: the parents of a merge.

The start is φ of the source with a linear head that was fitted on it; each member trains all of it from these same
weights (Kumar et al. 2022: a fitted head first, so that the first steps do not distort φ). Before the head is fitted,
batch normalisation gets the statistics of the target's training examples (AdaBN, Li et al. 2017). With those of the
source, the network in training, which computes with the statistics of each batch, would be another one than the head
was fitted on: its first losses are seven times that of chance.

Members differ in the order of the batches and in the learning rate, not in what they are shown: otherwise a merge would
have seen more labels than each of its parents.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfxfer.arms.classifier import TaskBatches, compiled
from tfxfer.arms.feature import choose_bridge
from tfxfer.arms.frozen_features import FrozenFeatures
from tfxfer.config import TrainingConfig
from tfxfer.errors import UserError
from tfxfer.fit import rate_schedule, train
from tfxfer.models.batch_statistics import take_statistics
from tfxfer.models.randomness import reset_seed_generators
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task, takes
from tfxfer.transfer.feature import FeatureClassifier, attach

BATCHES = 50  # whose statistics batch normalisation gets
START = "start"  # name of the folder of the start, beside those of the members, "1", "2", …


def fine_tune_members(
    source: keras.Model, task: Task, config: Any, run: Run, members: int, folder: Path
) -> tuple[Path, tuple[Path, ...]]:
    """Fit the start, fine-tune the members from it, and save all of them, each in a folder that `from_run` opens.

    Args:
        source: The source, which stays as it is.
        task: The target task.
        config: A `FeatureConfig` with one budget; member i has the learning rate i of its grid, in turn.
        run: Where phases are timed and trainings logged.
        members: How many.
        folder: Gets the folders.

    Returns:
        The folders of the start and of the members.

    Raises:
        UserError: The bridge between this source and this target has weights of its own.
    """
    if choose_bridge(takes(source), task.key, config) == "tokens":
        raise UserError(
            f"--source {config.source.spec}: its bridge to {task.key}s has weights of its own, so that there is no "
            "fitted start; give a source that takes images"
        )
    over = FrozenFeatures(source, task, config, run)
    over.count_losses()
    (budget,), made = config.labels_per_class, []
    data = task.train(budget, config.seed)
    with run.phase("start"):
        body, from_raw = over.phi(source, trainable=True), over.phi(source, input_bridge=over.bridge, trainable=True)
        size = min(config.training.batch_size, data.sizes["train"])
        rows = over.batches.training(data, size, BATCHES, config.seed)
        take_statistics(body, rows.map(lambda inputs, labels: inputs))
        from_raw.set_weights(body.get_weights())
        fitted = FeatureClassifier(from_raw, task.class_names, layer="output")
        fitted.fit(*_raw(task, data, "train"), validation=_raw(task, task.dataset, "validation"))
    network, whole = compiled(attach(body, fitted.probe), config.jit), attach(from_raw, fitted.probe)
    first = [np.array(weight) for weight in network.get_weights()]

    def save(name: str) -> Path:
        whole.set_weights(network.get_weights())
        task.save(task.classifier(whole), folder / name, budget, config.seed)
        return folder / name

    saved = save(START)
    for member in range(members):
        rate = config.training.learning_rates[member % len(config.training.learning_rates)]
        network.set_weights(first)
        with run.phase("members"):
            row = _train(network, over.batches, config.training.at(rate), data, member)
        run.metric("member", member=member + 1, learning_rate=rate, **row)
        run.say(f"member {member + 1} of {members}: learning rate {rate:g}, loss {row['loss']:.3f} at its end")
        made.append(save(str(member + 1)))
    return saved, tuple(made)


def _raw(task: Task, data: Any, split: str) -> tuple[Any, np.ndarray]:
    """Return the texts or images of a split as they are given, and their labels."""
    inputs = data.texts(split) if task.key == "text" else data.arrays(split, **task.reading)["image"]
    return inputs, data.labels(split)


def _train(
    network: keras.Model, batches: TaskBatches, training: TrainingConfig, data: Any, seed: int
) -> dict[str, float]:
    """Train from the weights that the network has; return a row of figures."""
    reset_seed_generators(network, seed)
    for variable in network.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))
    steps, size = training.steps_for(data.sizes["train"]), min(training.batch_size, data.sizes["train"])
    rows = batches.training(data, size, steps, seed)
    return train(network, lambda epoch, skip: rows, 1, step_rate=rate_schedule(training, steps)).rows[-1]
