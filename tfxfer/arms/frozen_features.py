"""Arms over a bridge without weights of its own: φ runs once, its features are cached, a head is fitted on them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.arms.classifier import ClassifierArm, ModelOf, TaskBatches
from tfxfer.arms.logging import report_training
from tfxfer.data.augment.copies import SHARES
from tfxfer.experiment import Outcome
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.models.train_sets import TrainSet, training_for
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task, joined_labels
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.bridges.rendered_copies import rendered_copies
from tfxfer.transfer.feature import FeatureClassifier, extract, extractor, finetune
from tfxfer.transfer.feature.pooling import ORDERED
from tfxfer.transfer.structure.train_set import changed, choose

Splits = dict[str, tuple[Any, np.ndarray]]  # split -> features [N, D] and labels [N]


class FrozenFeatures:
    """f(x) = W·φ(x) + b over `render` (texts as pixels), or over nothing (images for an image model).

    Args:
        source: The source's body, whose channels the rendered images get.
        task: The target task.
        config: A `FeatureConfig`: the rendering, the layer, the head and the training.
        run: Where phases are timed and trainings logged.
    """

    def __init__(self, source: keras.Model, task: Task, config: Any, run: Run) -> None:
        self.task, self.config, self.run = task, config, run
        self.bridge = self._render(source.input.shape[-1]) if task.key == "text" else None
        if self.bridge and task.augment and task.augment.policy.of("rendered"):
            drawing = replace(task.augment, draw=rendered_copies(self.bridge))
            task = self.task = replace(task, augment=drawing)
        rendered = tf.function(self.bridge, reduce_retracing=True) if self.bridge else None  # traced once
        self.batches = TaskBatches(task, rendered)
        self._trained: ClassifierArm | None = None
        if config.pooling != "avg":
            self.phi(source, input_bridge=self.bridge)  # a model without maps, or with too few columns, is refused here

    def phi(self, body: keras.Model, **options: Any) -> keras.Model:
        """Return φ of a source's body, as the config cuts and pools it; options are those of `extractor`."""
        config = self.config
        if config.pooling in ORDERED and not options.get("input_bridge"):
            drawn = (config.height, config.width)
            options["image_size"] = self.task.image_shape[:2] if self.task.key == "image" else drawn
        return extractor(body, config.layer, pooling=config.pooling, windows=config.windows, **options)

    def _render(self, channels: int) -> RenderText:
        config = self.config
        return RenderText(config.height, config.width, config.font_size, layout=config.layout, channels=channels)

    @cached_property
    def render_images(self) -> Callable[[list[str]], np.ndarray] | None:
        """Renders texts for the report as φ gets them, uint8 [n, H, W, 1]; None where this bridge renders nothing."""
        if self.bridge is None:
            return None
        grey = self._render(1)
        return lambda texts: keras.ops.convert_to_numpy(grey(np.array(texts, object)))

    def count_losses(self) -> None:
        """Print how many test texts are longer than their image, or hold characters without a glyph.

        Raises:
            UserError: Most of them could only be drawn as boxes.
        """
        if self.bridge is None or self.task.augment:  # the arms without augmentation have said it
            return
        texts = self.task.dataset.texts("test")
        self.bridge.refuse_boxes(texts, f"the target {self.config.target.spec}")
        counts = self.bridge.count(np.array(texts, object))
        cut, missing = (int(np.count_nonzero(counts[name])) for name in ("cut", "missing"))
        self.run.say(
            f"bridge: render, of {self.task.sizes['test']:,} test texts {cut:,} are cut at the edge of the image, "
            f"{missing:,} hold a character the face cannot draw"
        )

    def used(self, source: keras.Model) -> list[str]:
        """Return the paths of the source's weights that φ has."""
        own = {id(weight) for weight in self.phi(source, input_bridge=self.bridge).weights}  # φ shares its layers
        return [weight.path for weight in source.weights if id(weight) in own]

    def frozen(self, name: str, model_of: ModelOf) -> "FrozenArm":
        """Return an arm: W and b fitted on φ(x), φ frozen."""
        return FrozenArm(self, model_of)

    def whole(self, name: str, model_of: ModelOf, by: TrainSet | None = None) -> ClassifierArm:
        """Return an arm: body and a fresh linear head, trained together (finetune: from --unfreeze up).

        Args:
            name: Of the arm.
            model_of: seed -> the source's body.
            by: What of the body trains; all of it where there is no train set.
        """
        unfreeze = self.config.unfreeze if name == "finetune" else None

        def build(seed: int) -> keras.Model:
            body = self.phi(model_of(seed), trainable=True)
            set_initializer_seed(seed)
            head = keras.layers.Dense(len(self.task.class_names), activation="softmax", dtype="float32", name="head")
            model = keras.Model(body.input, head(body.output), name="network")
            if by is not None:
                return choose(changed(model, by, seed), body.weights, by)
            return finetune(model, unfreeze) if unfreeze else model

        config = self.config
        keep, report = (max(config.labels_per_class), config.seed), report_training(self.run, name)
        own = bool(unfreeze) or by is not None
        like = None if own else self._trained  # the same network with other weights: one compilation serves both
        arm = ClassifierArm(self.batches, build, training_for(config, by), config, keep, report, like)
        if not own:
            self._trained = arm
        return arm


class FrozenArm:
    """A `FeatureClassifier` fitted on the cached features of a frozen φ, at any budget.

    Args:
        over: The bridge, the task and the config.
        model_of: seed -> the source's body.
    """

    recall = None  # nothing that one record chose is used by the next

    def __init__(self, over: FrozenFeatures, model_of: ModelOf) -> None:
        self.over, self.task, self.config, self.model_of = over, over.task, over.config, model_of
        self.largest = max(self.config.labels_per_class)
        self._features: dict[tuple[str, int, int | None], tuple[Any, np.ndarray]] = {}

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Fit the head and answer the test split."""
        features = self.features(budget, seed)
        classifier = self.fit(features, seed)
        settings: dict[str, Any] = {}
        if classifier.probe is not None:
            scores = {f"{point.l2:g}": point.validation_accuracy for point in classifier.probe.path}
            settings = {"l2": classifier.probe.l2, "validation": scores}
        shifted = self.task.shifted(lambda: classifier.predict(self._shift_features(budget, seed)))
        return Outcome(classifier.predict(features["test"][0]), settings, classifier.head_size, elsewhere=shifted)

    def final(self) -> FeatureClassifier:
        """Return the classifier of the greatest budget and the first seed, from raw input to probabilities."""
        seed = self.config.seed
        return self.fit(self.features(self.largest, seed), seed)

    def fit(self, features: Splits, seed: int) -> FeatureClassifier:
        """Return a classifier fitted on the features of the training split."""
        classifier = FeatureClassifier(
            self.phi(self.model_of(seed)),
            self.task.class_names,
            layer="output",
            head=self.config.head,
            image_size=self.image_size,
        )
        return classifier.fit(
            *features["train"], validation=features["validation"], training=self.config.training, seed=seed
        )

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(H, W) of the task's images; None where its inputs are texts."""
        return self.task.image_shape[:2] if self.task.key == "image" else None

    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def phi(self, model: keras.Model) -> keras.Model:
        """Return φ of a source's body, made once for all seeds that share it: raw input -> features [B, D]."""
        return self.over.phi(model, input_bridge=self.over.bridge)

    def features(self, budget: int | None, seed: int) -> Splits:
        """Return the features and labels of each split; φ runs once on each example, whatever the budget."""
        largest = self.task.train(self.largest if budget else None, seed)
        everything = {"train": largest, "validation": self.task.dataset, "test": self.task.dataset}
        with self.over.run.phase("features"):
            found = {split: self._of(dataset, split, seed, budget) for split, dataset in everything.items()}
        if budget and budget != self.largest:
            keep = np.flatnonzero(np.isin(largest.indices("train"), self.task.train(budget, seed).indices("train")))
            found["train"] = (found["train"][0][keep], found["train"][1][keep])
        if self.task.augment:
            found["train"] = self._with_copies(found["train"], budget, seed)
        return found

    def _with_copies(self, train: tuple[Any, np.ndarray], budget: int | None, seed: int) -> tuple[Any, np.ndarray]:
        """Return the features and labels of the training split and of its edited copies."""
        copies = self.task.copies(self.task.train(budget, seed), seed)
        assert copies is not None  # this is called with augmentation only
        key = "image" if "image" in copies.keys else "text"
        model = self.model_of(seed)
        with self.over.run.phase("features"):
            rows = extract(
                self.phi(model) if key == self.task.key else self._phi_of_images(model),
                copies,
                data_dir=self.config.data_dir,
                key=key,
                image_size=copies.image_shape[:2] if copies.image_shape else None,
                jit=self.config.jit,
            )
        labels = {name: copies.splits["train"].column(name) for name in copies.keys if name in ("label", SHARES)}
        joined = joined_labels(train[1], labels, len(self.task.class_names))
        return np.concatenate([np.asarray(train[0]), np.asarray(rows)]), joined

    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def _phi_of_images(self, model: keras.Model) -> keras.Model:
        """Return φ behind the bridge: texts that are drawn otherwise are images already."""
        return self.over.phi(model)

    def _shift_features(self, budget: int | None, seed: int) -> Any:
        return self._of(self.task.shift, "test", seed, budget)[0]

    def _of(self, dataset: Any, split: str, seed: int, budget: int | None) -> tuple[Any, np.ndarray]:
        """Return one split's features, opened (and their checksums verified) once a run."""
        key = ("shift" if dataset is self.task.shift else split, seed, budget and self.largest)
        if key not in self._features:
            rows = extract(
                self.phi(self.model_of(seed)),
                dataset,
                split=split,
                data_dir=self.config.data_dir,
                key=self.task.key,
                image_size=self.image_size,
                jit=self.config.jit,
            )
            self._features[key] = (rows, dataset.labels(split))
        return self._features[key]
