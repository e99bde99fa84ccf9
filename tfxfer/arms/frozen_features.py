"""Arms over a bridge without weights of its own: φ is applied once, its features are kept, a head is fitted."""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.arms.classifier import FeatureRows, ModelOf, ClassifierArm
from tfxfer.cache import data_dir
from tfxfer.config import FeatureConfig
from tfxfer.experiment import Outcome
from tfxfer.models.randomness import seeded
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import attach, extract, extractor, finetune, linear_probe, mlp_head

Splits = dict[str, tuple[Any, np.ndarray]]  # split -> features [N, D] and labels [N]


class FrozenFeatures:
    """f(x) = W·φ(x) + b over `render` (texts as pixels), or over nothing (pictures for a picture model).

    Args:
        source: The source's body, whose channels the rendered pictures get.
        task: What is to be told.
        config: The drawing, the layer, the head and the training.
        run: Where phases are timed and epochs reported.
    """

    def __init__(self, source: keras.Model, task: Task, config: FeatureConfig, run: Run) -> None:
        self.task, self.config, self.run = task, config, run
        self.bridge = self._render(source.input.shape[-1]) if task.key == "text" else None
        self.drawn = tf.function(self.bridge, reduce_retracing=True) if self.bridge else None  # traced once
        self.trained: list[ClassifierArm] = []

    def _render(self, channels: int) -> RenderText:
        config = self.config
        return RenderText(config.height, config.width, config.font_size, layout=config.layout, channels=channels)

    @cached_property
    def picture(self) -> Callable[[list[str]], np.ndarray] | None:
        """Draws texts for the report as φ sees them, uint8 [n, H, W, 1]; None where this bridge renders nothing."""
        if self.bridge is None:
            return None
        grey = self._render(1)
        return lambda texts: keras.ops.convert_to_numpy(grey(np.array(texts, object)))

    def say_what_is_lost(self) -> None:
        """Report how many test texts are longer than their picture, or hold characters without a glyph."""
        if self.bridge is None:
            return
        counts = self.bridge.count(np.array(self.task.dataset.texts("test"), object))
        cut, missing = (int(np.count_nonzero(counts[name])) for name in ("cut", "missing"))
        self.run.say(
            f"bridge: render, of {self.task.sizes['test']:,} test texts {cut:,} are cut at the edge of the picture, "
            f"{missing:,} hold a character the face cannot draw"
        )

    def phi(self, model: keras.Model) -> keras.Model:
        """Return φ: raw input of the task -> features [B, D], frozen."""
        return extractor(model, self.config.layer, input_bridge=self.bridge)

    def frozen(self, name: str, model_of: ModelOf) -> "FrozenArm":
        """Return an arm: W and b fitted on φ(x), φ frozen."""
        return FrozenArm(self, model_of)

    def whole(self, name: str, model_of: ModelOf) -> ClassifierArm:
        """Return an arm: body and a fresh linear head, trained together (finetune: from --unfreeze up)."""
        unfreeze = self.config.unfreeze if name == "finetune" else None

        def build(seed: int) -> keras.Model:
            body = extractor(model_of(seed), self.config.layer, trainable=True)
            seeded(seed)
            head = keras.layers.Dense(len(self.task.class_names), activation="softmax", dtype="float32", name="head")
            model = keras.Model(body.input, head(body.output), name="network")
            return finetune(model, unfreeze) if unfreeze else model

        arm = ClassifierArm.on(self.task, build, self.config, self.run, name, self.drawn)
        if unfreeze is None:  # the same network with other weights: one compilation serves both arms
            arm.twin = self.trained[0] if self.trained else None
            self.trained.append(arm)
        return arm


class FrozenArm:
    """W and b fitted on the features of a frozen φ, at any budget.

    Args:
        over: The bridge, the task and the config.
        model_of: seed -> the source's body.
    """

    def __init__(self, over: FrozenFeatures, model_of: ModelOf) -> None:
        self.over, self.task, self.config = over, over.task, over.config
        self.largest = max(self.config.labels_per_class)
        self.model_of = model_of
        self.kept: dict[tuple[str, int, int | None], tuple[Any, np.ndarray]] = {}

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Fit the head and answer the test split."""
        return self.fit(budget, seed)[0]

    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def phi(self, model: keras.Model) -> keras.Model:
        """Return φ of a source's body, made once for all seeds that share it."""
        return self.over.phi(model)

    def final(self) -> keras.Model:
        """Return φ and the head of the greatest budget and the first seed as one model."""
        seed = self.config.seed
        return attach(self.phi(self.model_of(seed)), self.fit(self.largest, seed)[1])

    def fit(self, budget: int | None, seed: int) -> tuple[Outcome, Any]:
        """Return the outcome, and the head that `attach` puts on φ."""
        features, classes = self.features(budget, seed), len(self.task.class_names)
        if self.config.head == "mlp":
            return _mlp(features, classes, self.config, seed)
        return _linear(features, classes)

    def features(self, budget: int | None, seed: int) -> Splits:
        """Return the features and labels of each split; φ sees each example once, whatever the budget."""
        largest = self.task.train(self.largest if budget else None, seed)
        everything = {"train": largest, "validation": self.task.dataset, "test": self.task.dataset}
        with self.over.run.phase("features"):
            found = {split: self._of(dataset, split, seed, budget) for split, dataset in everything.items()}
        if budget and budget != self.largest:
            keep = np.flatnonzero(np.isin(largest.indices("train"), self.task.train(budget, seed).indices("train")))
            found["train"] = (found["train"][0][keep], found["train"][1][keep])
        return found

    def _of(self, dataset: Any, split: str, seed: int, budget: int | None) -> tuple[Any, np.ndarray]:
        """Return one split's features, opened (and their checksums verified) once a run."""
        key = (split, seed, budget and self.largest)
        if key not in self.kept:
            rows = extract(
                self.phi(self.model_of(seed)),
                dataset,
                split=split,
                folder=data_dir(self.config.data_dir) / "features",
                key=self.task.key,
                image_size=self.task.image_shape[:2] if self.task.key == "image" else None,
                jit=self.config.jit,
            )
            self.kept[key] = (rows, dataset.labels(split))
        return self.kept[key]


def _linear(features: Splits, num_classes: int) -> tuple[Outcome, Any]:
    probe = linear_probe(*features["train"], validation=features["validation"], num_classes=num_classes)
    tried = {f"{p.l2:g}": p.validation_accuracy for p in probe.path}
    answers = probe.predict_proba(features["test"][0])
    return Outcome(answers, {"l2": probe.l2, "validation": tried}, trainable=probe.W.size + probe.b.size), probe


def _mlp(features: Splits, num_classes: int, config: FeatureConfig, seed: int) -> tuple[Outcome, Any]:
    width, rows = features["train"][0].shape[1], FeatureRows(features)
    arm = ClassifierArm(
        lambda seed: mlp_head(width, num_classes), lambda budget, seed: rows, "features", {}, config, keep=(None, seed)
    )
    return arm(None, seed), arm.final()
