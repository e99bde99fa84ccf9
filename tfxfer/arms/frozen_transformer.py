"""Arms over the `tokens` bridge: a grid of token embeddings, or projected patches, trained with a frozen body."""

from functools import lru_cache, partial
from typing import Any

import keras

from tfxfer.arms.classifier import ClassifierArm, ModelOf, TaskBatches
from tfxfer.arms.logging import report_training
from tfxfer.errors import UserError
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.models.train_sets import TrainSet, training_for
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task, takes
from tfxfer.transfer.bridges.tokens import image_to_text_body, learn_vocabulary, text_to_image_body
from tfxfer.transfer.structure.train_set import changed, choose

VOCABULARY = 5000  # most frequent tokens that get an embedding of their own


class FrozenTransformer:
    """The bridge is trained together with the head, so every arm trains a network.

    Args:
        source: The source's body, which says whether texts or images enter.
        task: The target task.
        config: A `FeatureConfig`: the bridge's sizes and the training.
        run: Where trainings are logged.
    """

    render_images = None  # tokens are not rendered

    def __init__(self, source: keras.Model, task: Task, config: Any, run: Run) -> None:
        self.task, self.config, self.run, self.takes = task, config, run, takes(source)
        self.batches = TaskBatches(task)
        if config.unfreeze:
            raise UserError("--unfreeze: over tokens the trained part is fixed (Lu et al. 2021); leave it out")
        if config.pooling != "avg":
            raise UserError(f"--pooling {config.pooling}: over tokens the trained part is fixed; leave it out")
        if config.layer and self.takes == "text":
            raise UserError("--layer: a text body is used whole when images enter it; leave it out")

    def build(self, model_of: ModelOf, trainable: str, by: TrainSet | None, seed: int) -> keras.Model:
        """Return raw input -> bridge -> body -> probabilities, of which the trainable set or a train set trains."""
        made = self._network_of(model_of(seed), trainable, seed)
        if by is None:
            return made
        return choose(changed(made, by, seed), made.get_layer("body").weights, by)

    def _network_of(self, body: keras.Model, trainable: str, seed: int) -> keras.Model:
        """Return raw input -> bridge -> body -> probabilities, with a trainable set after Lu et al. 2021."""
        set_initializer_seed(seed)
        classes = len(self.task.class_names)
        if self.takes == "text":
            return image_to_text_body(
                body, self.task.image_shape, self.config.patch_size, classes, trainable=trainable, seed=seed
            )
        side = self.config.height
        return text_to_image_body(
            body,
            classes,
            unit=self.config.unit,
            vocabulary=self.vocabulary(),
            image_size=(side, side) if None in body.input.shape[1:3] else None,
            layer=self.config.layer,
            trainable=trainable,
            seed=seed,
        )

    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def vocabulary(self) -> list[str] | None:
        """Return the tokens that the target's training texts are made of; labels play no part."""
        if self.config.unit == "bytes":
            return None
        return learn_vocabulary(self.task.dataset.texts("train"), self.config.unit, VOCABULARY)

    def used(self, source: keras.Model) -> list[str]:
        """Return the paths of the source's weights that may be used: all but those of its embeddings."""
        return [weight.path for weight in source.weights if "embed" not in weight.path]

    def frozen(self, name: str, model_of: ModelOf) -> ClassifierArm:
        """Return an arm: input layer, normalisation, positions and head train; the rest of the body is frozen."""
        return self._network(name, model_of, "fpt")

    def whole(self, name: str, model_of: ModelOf, by: TrainSet | None = None) -> ClassifierArm:
        """Return an arm in which everything trains, or what a train set says."""
        return self._network(name, model_of, "all", by)

    def _network(self, name: str, model_of: ModelOf, trainable: str, by: TrainSet | None = None) -> ClassifierArm:
        build, training = partial(self.build, model_of, trainable, by), training_for(self.config, by)
        keep, report = (max(self.config.labels_per_class), self.config.seed), report_training(self.run, name)
        return ClassifierArm(self.batches, build, training, self.config, keep, report)
