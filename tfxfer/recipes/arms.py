"""The arms of feature transfer: the same architecture, data and budget, with one thing changed at a time.

transfer   φ from the source, frozen          random    φ with fresh weights, frozen
finetune   all from the source, trained       scratch   all fresh, trained
native     the target's own plain baseline    majority  no input at all
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import keras
import numpy as np

from tfxfer.cache import data_dir
from tfxfer.config import FeatureConfig
from tfxfer.data.pictures import readable_errors
from tfxfer.errors import UserError
from tfxfer.experiment import Arm, Outcome
from tfxfer.recipes import baselines
from tfxfer.recipes.networks import FeatureRows, Network
from tfxfer.recipes.task import Task, takes
from tfxfer.runs import Run
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.bridges.tokens import image_to_text_body, learn_vocabulary, text_to_image_body
from tfxfer.transfer.feature import attach, extract, extractor, finetune, linear_probe, mlp_head
from tfxfer.transfer.graph import fingerprint

VOCABULARY = 5000  # most frequent tokens that get an embedding of their own
ModelOf = Callable[[int], keras.Model]  # seed -> source body: the trained one, or one with fresh weights


@dataclass(frozen=True)
class Plan:
    """What the recipe runs.

    Attributes:
        bridge: "render", "tokens" or "none".
        arms: All arms this plan knows.
        picture: Draws texts as a model sees them, or None.
        key: Changes whenever the source changes.
        final_model: Returns the transfer arm's model at the greatest budget, first seed: raw input -> probabilities.
    """

    bridge: str
    arms: tuple[Arm, ...]
    picture: Callable[[list[str]], np.ndarray] | None
    key: str
    final_model: Callable[[], keras.Model]


def plan(source: keras.Model, task: Task, config: FeatureConfig, run: Run) -> Plan:
    """Choose the bridge between what the source takes and what the task gives, and build the arms over it."""
    bridge = _bridge(takes(source), task.key, config)

    def trained(seed: int) -> keras.Model:
        return source

    @lru_cache(maxsize=1)
    def fresh(seed: int) -> keras.Model:
        return fresh_copy(source, seed)

    over = OverTokens if bridge == "tokens" else OverFeatures
    make = over(task, config, run, takes(source))
    if isinstance(make, OverFeatures) and task.key == "text":
        run.say(f"bridge: render, {task.sizes['test']:,} test texts: {make.cut()}")
    trained_at = config.trained_at or (min(config.labels_per_class, key=lambda n: abs(n - 20)),)
    arms = (
        Arm("transfer", make.frozen("transfer", trained)),
        Arm("random", make.frozen("random", fresh)),
        Arm("scratch", make.whole("scratch", fresh), trained_at),
        Arm("finetune", make.whole("finetune", trained), trained_at),
        Arm("native", partial(native, task)),
        Arm("majority", partial(most_frequent, task), one_seed=True),
    )
    named = tuple(replace(arm, run=named_errors(arm.run, task)) for arm in arms)
    return Plan(bridge, named, make.picture(), fingerprint(source), make.final_model)


def named_errors(run: Callable[[int | None, int], Outcome], task: Task) -> Callable[[int | None, int], Outcome]:
    """Return an arm's `run` that names the picture file when one cannot be decoded."""

    def readable(budget: int | None, seed: int) -> Outcome:
        with readable_errors(task.dataset):
            return run(budget, seed)

    return readable


def _bridge(wants: str, gives: str, config: FeatureConfig) -> str:
    """Return the bridge's name; raises `UserError` for one that cannot stand between these two sides."""
    possible = {
        ("image", "text"): ("render", "tokens"),
        ("text", "image"): ("tokens",),
        ("image", "image"): ("none",),
    }.get((wants, gives))
    if possible is None:
        raise UserError(
            f"{config.source} takes text and {config.target} gives text: nothing crosses between modalities here. "
            "Name a picture target, or a picture source."
        )
    if config.bridge not in ("auto", *possible):
        raise UserError(
            f"--bridge {config.bridge}: {config.source} takes {wants}s and {config.target} gives {gives}s; "
            f"use --bridge {' or '.join(possible)}"
        )
    return possible[0] if config.bridge == "auto" else config.bridge


def fresh_copy(model: keras.Model, seed: int) -> keras.Model:
    """Return the same architecture with weights drawn anew from its own initialisers."""
    keras.utils.set_random_seed(7919 + seed)  # away from the seeds of sources and heads
    return keras.models.clone_model(model)


class OverFeatures:
    """Arms over a bridge without weights of its own: φ is applied once, features are kept, a head is fitted."""

    def __init__(self, task: Task, config: FeatureConfig, run: Run, takes: str) -> None:
        self.task, self.config, self.run = task, config, run
        self.largest = max(config.labels_per_class)
        self.final: tuple[keras.Model, Any] | None = None
        self.trained: ModelOf | None = None

    def render(self, channels: int) -> RenderText:
        """Return the text → pixels layer of this config."""
        config = self.config
        return RenderText(
            height=config.height,
            width=config.width,
            font_size=config.font_size,
            layout=config.layout,
            channels=channels,
        )

    def picture(self) -> Callable[[list[str]], np.ndarray] | None:
        """Return what draws a text for the report, where this bridge renders."""
        if self.task.key != "text":
            return None
        return lambda texts: keras.ops.convert_to_numpy(self.render(1)(np.array(texts, object)))

    def cut(self) -> str:
        """Say how many test texts are longer than their picture, and how many hold characters without a glyph."""
        counts = self.render(1).count(np.array(self.task.dataset.texts("test"), object))
        cut, missing = (int(np.count_nonzero(counts[name])) for name in ("cut", "missing"))
        return f"{cut:,} texts are cut at the edge of the picture, {missing:,} hold a character the face cannot draw"

    def phi(self, model: keras.Model, trainable: bool = False) -> keras.Model:
        """Return φ: raw input of the task -> features [B, D], frozen, or a copy of it that trains."""
        bridge = self.render(model.input.shape[-1]) if self.task.key == "text" else None
        return extractor(model, self.config.layer, input_bridge=bridge, trainable=trainable)

    def frozen(self, name: str, model_of: ModelOf) -> Callable[[int | None, int], Outcome]:
        """Return an arm: W and b fitted on φ(x), φ frozen."""
        phi_of = lru_cache(maxsize=1)(lambda seed: self.phi(model_of(seed)))
        if self.trained is None:
            self.trained = model_of

        def run(budget: int | None, seed: int) -> Outcome:
            features = self.features(phi_of(seed), budget, seed)
            head = self.fit_head(features, seed)
            if model_of is self.trained and (budget, seed) == (self.largest, self.config.seed):
                self.final = (phi_of(seed), head)
            return head.outcome

        return run

    def features(self, phi: keras.Model, budget: int | None, seed: int) -> dict[str, tuple[Any, np.ndarray]]:
        """Return split -> (features [N, D], labels [N]); φ sees each example once, whatever the budget."""
        folder = data_dir(self.config.data_dir) / "features"
        largest = self.task.train(self.largest if budget else None, seed)
        found: dict[str, tuple[Any, np.ndarray]] = {}
        size = self.task.image_shape[:2] if self.task.key == "image" else None
        with self.run.phase("features"):
            for split, dataset in (
                ("train", largest),
                ("validation", self.task.dataset),
                ("test", self.task.dataset),
            ):
                rows = extract(
                    phi,
                    dataset,
                    split=split,
                    folder=folder,
                    key=self.task.key,
                    image_size=size,
                    jit=self.config.jit,
                )
                found[split] = (rows, dataset.labels(split))
        if budget and budget != self.largest:
            keep = np.flatnonzero(np.isin(largest.indices("train"), self.task.train(budget, seed).indices("train")))
            found["train"] = (found["train"][0][keep], found["train"][1][keep])
        return found

    def fit_head(self, features: dict[str, tuple[Any, np.ndarray]], seed: int) -> "Head":
        """Fit the head the config asks for."""
        if self.config.head == "mlp":
            return _mlp(features, len(self.task.class_names), self.config, seed)
        return _linear(features, len(self.task.class_names))

    def whole(self, name: str, model_of: ModelOf) -> Network:
        """Return an arm: bridge, body and a fresh linear head, trained together (from --unfreeze up)."""

        def build(seed: int) -> keras.Model:
            body = self.phi(model_of(seed), trainable=True)
            keras.utils.set_random_seed(seed)
            head = keras.layers.Dense(len(self.task.class_names), activation="softmax", dtype="float32", name="head")
            model = keras.Model(body.input, head(body.output), name="network")
            return finetune(model, self.config.unfreeze) if self.config.unfreeze else model

        return network(name, build, self.task, self.config, self.run)

    def final_model(self) -> keras.Model:
        """Return φ and the head of the transfer arm at the greatest budget as one model."""
        if self.final is None:  # its record came from an interrupted run
            assert self.trained is not None
            self.frozen("transfer", self.trained)(self.largest, self.config.seed)
        assert self.final is not None
        phi, head = self.final
        return head.on(phi)


class OverTokens:
    """Arms over a bridge that is trained itself: an embedding grid, or projected patches, into a frozen body."""

    def __init__(self, task: Task, config: FeatureConfig, run: Run, takes: str) -> None:
        self.task, self.config, self.run, self.takes = task, config, run, takes
        self.first: Network | None = None

    def picture(self) -> None:
        """Tokens have no picture."""
        return None

    def build(self, model_of: ModelOf, trainable: str, seed: int) -> keras.Model:
        """Return raw input -> bridge -> body -> probabilities, with a trainable set after Lu et al. 2021."""
        body = model_of(seed)
        keras.utils.set_random_seed(seed)
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

    def frozen(self, name: str, model_of: ModelOf) -> Network:
        """Return an arm: input layer, normalisation, positions and head train; the rest of the body is frozen."""
        arm = network(name, partial(self.build, model_of, "fpt"), self.task, self.config, self.run)
        self.first = self.first or arm  # the transfer arm is made first
        return arm

    def whole(self, name: str, model_of: ModelOf) -> Network:
        """Return an arm in which everything trains."""
        return network(name, partial(self.build, model_of, "all"), self.task, self.config, self.run)

    def final_model(self) -> keras.Model:
        """Return the transfer arm's network at the greatest budget."""
        assert self.first is not None
        return self.first.final()


def network(name: str, build: ModelOf, task: Task, config: FeatureConfig, run: Run) -> Network:
    """Return an arm that trains what `build` builds on the task."""
    return Network(
        build,
        task.train,
        task.key,
        task.reading,
        config,
        on_epoch=lambda row: run.metric("arm training", arm=name, **row),
        keep=(max(config.labels_per_class), config.seed),
    )


@dataclass(frozen=True)
class Head:
    """A fitted head: its answers, and how to put it on φ."""

    outcome: Outcome
    on: Callable[[keras.Model], keras.Model]


def _linear(features: dict[str, tuple[Any, np.ndarray]], num_classes: int) -> Head:
    probe = linear_probe(*features["train"], validation=features["validation"], num_classes=num_classes)
    tried = {f"{p.l2:g}": p.validation_accuracy for p in probe.path}
    outcome = Outcome(
        probe.predict_proba(features["test"][0]),
        {"l2": probe.l2, "validation": tried},
        trainable=probe.W.size + probe.b.size,
    )
    return Head(outcome, lambda phi: attach(phi, probe))


def _mlp(features: dict[str, tuple[Any, np.ndarray]], num_classes: int, config: FeatureConfig, seed: int) -> Head:
    width = features["train"][0].shape[1]
    rows = FeatureRows(features)
    arm = Network(
        lambda seed: mlp_head(width, num_classes),
        lambda budget, seed: rows,
        "features",
        {},
        config,
        keep=(None, seed),
    )
    outcome = arm(None, seed)
    return Head(outcome, lambda phi: attach(phi, arm.final()))


def native(task: Task, budget: int | None, seed: int) -> Outcome:
    """The plain baseline of the target's own field."""
    small = task.train(budget, seed)
    train, held, test = ((small, "train"), (task.dataset, "validation"), (task.dataset, "test"))
    classes = len(task.class_names)
    if task.key == "text":
        rows = [(d.texts(split), d.labels(split)) for d, split in (train, held, test)]
        return baselines.native_text(rows[0], rows[1], rows[2][0], classes)
    pictures = [(d.arrays(split, **task.reading)["image"], d.labels(split)) for d, split in (train, held, test)]
    return baselines.native_image(pictures[0], pictures[1], pictures[2][0], classes)


def most_frequent(task: Task, budget: int | None, seed: int) -> Outcome:
    """The share of each class among all training labels."""
    return baselines.majority(task.labels("train"), task.sizes["test"], len(task.class_names))
