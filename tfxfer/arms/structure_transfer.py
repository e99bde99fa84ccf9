"""The built-in transforms as the structure recipe uses them: what is made of a source, and how it becomes a classifier.

Each is one value of `--transfer`. `plan` is the weight map that the ledger shows, `model` what an arm trains. Where a
transform stays within images, the map makes the whole source again (wider, deeper, …), which is verified first; then a
fresh head for the task's classes replaces the source's.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.arms.classifier import ClassifierArm, ModelOf, TaskBatches
from tfxfer.arms.feature import nearest_to_20, plain_arms, trained
from tfxfer.arms.logging import report_training
from tfxfer.errors import UserError
from tfxfer.experiment import Arm, Part, arm_without
from tfxfer.models.fresh import fresh_copy
from tfxfer.models.parts import parts_of, without_part
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.models.train_sets import TrainSet, key_of, train_sets_of, training_for
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task, takes
from tfxfer.transfer import structure
from tfxfer.transfer.bridges.body import Body, classify, pool
from tfxfer.transfer.bridges.patches import encoder_blocks
from tfxfer.transfer.bridges.tokens import TextTokens, learn_vocabulary
from tfxfer.transfer.graph import before_head, clone, input_of, trace, unfreeze
from tfxfer.transfer.structure import WeightMap
from tfxfer.transfer.structure.train_set import changed, choose

VOCABULARY = 5000  # most frequent tokens that get an embedding of their own
EXAMINED, WHITE = 128, 229  # training images, and the least grey value of 255 that is white
WITH_UNITS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Dense)  # layers with units of their own


class StructureTransfer:
    """A built-in transform T on a task.

    Args:
        source: S.
        task: What M classifies.
        config: A `StructureConfig`: which transform, and its sizes.

    Attributes:
        wants, gives: Modality of S and of M, "text" or "image".
        jit: Whether XLA makes M train faster on a CPU: transformers yes, CNNs no.
        trains_whole: Which arms, besides transfer and random, train M as a whole: "scratch" and "finetune".

    Raises:
        UserError: The source or the target is of the wrong modality.
    """

    wants, gives = "image", "image"
    jit = False
    trains_whole: tuple[str, ...] = ()

    def __init__(self, source: keras.Model, task: Task, config: Any) -> None:
        self.source, self.task, self.config = source, task, config
        self.classes = len(task.class_names)
        self._given: set[int] = set()  # ids of the weights that the source gave to the model that was made last
        if (takes(source), task.key) != (self.wants, self.gives):
            raise UserError(
                f"--transfer {config.transfer}: makes a model for {self.gives}s out of one for {self.wants}s; "
                f"{config.source.spec} takes {takes(source)}s and {config.target.spec} gives {task.key}s"
            )

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map from a body: the source's, or one with fresh weights."""
        raise NotImplementedError

    def model(self, body: keras.Model, trainable: str, seed: int) -> keras.Model:
        """Return the classifier that an arm trains: raw input [B, …] → probabilities [B, C]."""
        return self.applied(body, trainable, seed)

    def applied(self, body: keras.Model, trainable: str, seed: int) -> keras.Model:
        """Return what the map makes of a body, and keep which of its weights the body gave."""
        weight_map = self.plan(body, trainable, seed)
        made = weight_map.apply()
        paths = {row.target.path for row in weight_map.rows if row.origins}
        self._given = {id(variable) for variable in made.variables if variable.path in paths}
        return made

    def part(self, body: keras.Model, train_set: TrainSet, seed: int) -> keras.Model:
        """Return the same classifier, of which a train set trains."""
        made = self.model(body, "all", seed)
        pretrained = [variable for variable in made.variables if id(variable) in self._given]
        return choose(changed(made, train_set, seed), pretrained, train_set)

    def unchanged(self, seed: int) -> keras.Model:
        """Return what the arm `finetune` trains: M as a whole."""
        return self.model(self.source, "all", seed)

    def proof(self, weight_map: WeightMap, images: np.ndarray) -> str:
        """Return a sentence on what the map keeps of S, where more can be shown than the map promises."""
        return ""

    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def vocabulary(self) -> list[str] | None:
        """Return the tokens that the target's training texts are made of; labels play no part."""
        unit = self.config.unit
        return None if unit == "bytes" else learn_vocabulary(self.task.dataset.texts("train"), unit, VOCABULARY)


class EncoderToVision(StructureTransfer):
    """encoder_to_vision: a text encoder's blocks take image patches."""

    wants, jit, trains_whole = "text", True, ("scratch", "finetune")

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map to a vision transformer with a head for the task."""
        config = self.config
        return structure.encoder_to_vision(
            body,
            self.task.image_shape,
            config.patch_size,
            self.classes,
            pooling=config.pooling,
            white_paper=self.white_paper,
            trainable=trainable,
            seed=seed,
        )

    @property
    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def white_paper(self) -> bool:
        """Whether images are mostly white, as print is: then zero should be white, not mid-grey."""
        some = self.task.dataset.with_at_most(train=EXAMINED).arrays("train", **self.task.reading)["image"]
        return bool(np.mean(np.asarray(some) > WHITE) > 0.5)

    def proof(self, weight_map: WeightMap, images: np.ndarray) -> str:
        """Run the carried blocks beside the source's on the same embeddings; return how far they differ."""
        target = weight_map.apply()
        embeddings = keras.Model(target.input, target.get_layer("embeddings").output)(images)
        theirs = encoder_blocks(self.source, embeddings.shape[1])(embeddings)
        worst = float(np.abs(np.asarray(target.get_layer("body")(embeddings)) - np.asarray(theirs)).max())
        return (
            f"On the embeddings of {len(images)} test images, the carried blocks give what the source's "
            f"blocks give: greatest difference {worst:.2g}."
        )


class ImageCNNToTextCNN(StructureTransfer):
    """image_cnn_to_text_cnn: an image CNN's kernels run over a line of text. All of it trains."""

    gives = "text"

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map to a 1-D CNN with a head for the task."""
        return structure.image_cnn_to_text_cnn(
            body,
            self.vocabulary(),
            num_classes=self.classes,
            unit=self.config.unit,
            length=self.config.max_length,
            seed=seed,
        )


class VisionToEncoder(StructureTransfer):
    """vision_to_encoder: a vision transformer's blocks take text."""

    gives, trains_whole = "text", ("scratch", "finetune")

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map to a text encoder without a head."""
        vision = next((layer for layer in body.layers if layer.name == "backbone"), body)
        return structure.vision_to_encoder(vision, self._tokens.size, seed=seed)

    @property
    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def _tokens(self) -> TextTokens:
        return TextTokens(self.config.max_length, self.config.unit, self.vocabulary())

    def model(self, body: keras.Model, trainable: str, seed: int) -> keras.Model:
        """Return text → tokens → encoder → mean over the text's tokens → probabilities."""
        encoder = self.applied(body, trainable, seed)
        longest = encoder.get_layer("position_embedding").sequence_length
        if self.config.max_length > longest:
            raise UserError(
                f"--max-length {self.config.max_length}: the source has {longest} positions; give at most as many"
            )
        set_initializer_seed(seed)
        texts = keras.Input((), dtype="string", name="text")
        length = encoder.input["token_ids"].shape[1] or self.config.max_length
        ids = TextTokens(length, self.config.unit, self.vocabulary(), name="tokens")(texts)  # [B, T]
        there = keras.ops.cast(ids != 0, "int32")
        there = keras.ops.concatenate([keras.ops.ones_like(ids[:, :1]), there[:, 1:]], 1)  # an empty text is one token
        inputs = {"token_ids": ids, "padding_mask": there}
        if "segment_ids" in encoder.input:
            inputs["segment_ids"] = keras.ops.zeros_like(ids)
        carried = Body(encoder, trainable, name="body")
        if trainable == "fpt":
            for name in ("token_embedding", "position_embedding"):
                encoder.get_layer(name).weights[0].trainable = True
        x = carried(inputs)
        x = x["sequence_output"] if isinstance(x, dict) else x  # [B, T, D]
        features = keras.layers.GlobalAveragePooling1D(name="pool")(x, mask=keras.ops.cast(there, "bool"))
        return keras.Model(texts, classify(features, self.classes), name="text_from_vision")


class RebuiltCNN(StructureTransfer):
    """widen, deepen, shrink, resize_input and merge: an image model rebuilt, then a fresh head. All of it trains."""

    trains_whole = ("finetune",)

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map to the whole source, rebuilt."""
        return getattr(self, f"_{self.config.transfer}")(body, seed)

    def model(self, body: keras.Model, trainable: str, seed: int) -> keras.Model:
        """Return the rebuilt model, with a fresh head in the place of the source's."""
        return with_head(self.applied(body, trainable, seed), self.classes, seed)

    def unchanged(self, seed: int) -> keras.Model:
        """Return the source as it was, with a fresh head: what did rebuilding change?"""
        return with_head(clone(self.source), self.classes, seed)

    def proof(self, weight_map: WeightMap, images: np.ndarray) -> str:
        """Run source and target on images, where both take them."""
        weight_map.apply()
        takes_them = all(n in (None, m) for n, m in zip(self.source.input.shape[1:], images.shape[1:]))
        return weight_map.verify(images).sentence if takes_them else ""

    def _widen(self, body: keras.Model, seed: int) -> WeightMap:
        return structure.widen(body, self._units(2.0), seed=seed, noise=self.config.noise)

    def _shrink(self, body: keras.Model, seed: int) -> WeightMap:
        return structure.shrink(body, self._units(0.5))

    def _deepen(self, body: keras.Model, seed: int) -> WeightMap:
        return structure.deepen(body, list(self.config.after) or self._activated())

    def _resize_input(self, body: keras.Model, seed: int) -> WeightMap:
        return structure.resize_input(body, self.task.image_shape[:2])

    def _merge(self, body: keras.Model, seed: int) -> WeightMap:
        return structure.merge(body, self._second if body is self.source else clone(body))

    @property
    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def _second(self) -> keras.Model:
        return tfxfer.source(self.config.second or "", download=self.config.download)

    def _units(self, factor: float) -> dict[str, int]:
        """Return layer → new number of units: as given, or all hidden layers by one factor."""
        if self.config.units:
            return dict(_layer_and_number(word) for word in self.config.units)
        hidden = [layer for layer in self.source.layers if isinstance(layer, WITH_UNITS)][:-1]
        if not hidden:
            raise UserError(f"--transfer {self.config.transfer}: name the layers with --units LAYER=NUMBER")
        return {one.name: max(1, int(factor * _units_of(one))) for one in hidden}

    def _activated(self) -> list[str]:
        """Return the layers that end in ReLU: after them an identity layer changes nothing."""
        found = [layer.name for layer in self.source.layers if _ends_in_relu(layer)]
        if not found:
            raise UserError("--transfer deepen: no layer ends in ReLU; name a layer with --after")
        return found[-1:]


STRUCTURE_TRANSFERS: dict[str, type[StructureTransfer]] = {
    "encoder_to_vision": EncoderToVision,
    "vision_to_encoder": VisionToEncoder,
    "image_cnn_to_text_cnn": ImageCNNToTextCNN,
    **dict.fromkeys(("widen", "deepen", "shrink", "resize_input", "merge"), RebuiltCNN),
}


def with_head(model: keras.Model, num_classes: int, seed: int) -> keras.Model:
    """Return an image model whose last `Dense` is replaced by a fresh one; everything trains.

    Args:
        model: A functional model; its layers are used, not copied.
        num_classes: Number of classes C.
        seed: Seed of the fresh head.
    """
    inputs = input_of(model)
    calls, outputs = trace(model, inputs, frozen=False)
    features = pool(before_head(calls, outputs, model), "mean")
    set_initializer_seed(seed)
    made = keras.Model(inputs, classify(features, num_classes), name=model.name)
    unfreeze(made)
    return made


def _units_of(layer: Any) -> int:
    return int(getattr(layer, "filters", None) or layer.units)


def _ends_in_relu(layer: Any) -> bool:
    return isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) is keras.activations.relu


def _layer_and_number(word: str) -> tuple[str, int]:
    name, _, number = word.partition("=")
    return name, int(number)


def structure_arms(
    transform: StructureTransfer,
    task: Task,
    config: Any,
    run: Run,
    used: Collection[str] = (),
    own_task: Callable[[keras.Model], dict[str, np.ndarray]] | None = None,
) -> tuple[ClassifierArm, tuple[Arm, ...], tuple[Part, ...]]:
    """Return the arm under study, all arms, and transfer without each part: one thing is changed at a time.

    Args:
        transform: What makes M of S.
        task: What M classifies.
        config: A `StructureConfig`.
        run: The run.
        used: Paths of the source's tensors that the map reads; only these are in a part.
        own_task: Scores the arm finetune on the source's own task; None where that cannot be done.
    """
    compiled = replace(config, jit=config.jit or transform.jit)
    fresh = lru_cache(maxsize=1)(lambda seed: fresh_copy(transform.source, seed))
    batches, keep = TaskBatches(task), (max(config.labels_per_class), config.seed)

    first, others = train_sets_of(config)

    def arm(name: str, build: ModelOf, like: ClassifierArm | None = None, by: TrainSet | None = None) -> ClassifierArm:
        training = training_for(config, by)
        return ClassifierArm(batches, build, training, compiled, keep, report_training(run, name), like)

    def made(body: keras.Model, seed: int, by: TrainSet | None = first) -> keras.Model:
        return transform.model(body, config.trainable, seed) if by is None else transform.part(body, by, seed)

    transfer = arm("transfer", lambda seed: made(transform.source, seed), by=first)
    random = arm("random", lambda seed: made(fresh(seed), seed), like=transfer, by=first)
    scratch = arm("scratch", lambda seed: transform.model(fresh(seed), "all", seed))
    finetune = arm("finetune", transform.unchanged, scratch if "scratch" in transform.trains_whole else None)
    finetune.own_task = own_task
    at = config.controls_at or nearest_to_20(config.labels_per_class)
    whole = {"scratch": scratch, "finetune": finetune}
    arms = [trained("transfer", transfer, task), trained("random", random, task)]
    arms = [replace(each, key=key_of(first)) for each in arms]
    for by in others:
        one = arm(by.arm, partial(made, transform.source, by=by), by=by)
        arms.append(replace(trained(by.arm, one, task), asked=True))
    for each in (first, *others) if first else ():  # a set that this network cannot have is refused before all else
        made(transform.source, config.seed, each)
    arms += [trained(name, each, task, at) for name, each in whole.items() if name in transform.trains_whole]
    weights = parts_of(transform.source, used) if config.explain else {}

    def without(name: str, places: tuple[int, ...]) -> Part:
        def build(seed: int) -> keras.Model:
            return made(without_part(transform.source, places, seed), seed)

        own = trained(arm_without(name), arm(arm_without(name), build, like=transfer, by=first), task)
        return Part(name, "weights", replace(own, key=key_of(first)))

    return transfer, (*arms, *plain_arms(task)), tuple(without(*each) for each in weights.items())
