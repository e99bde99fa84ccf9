"""The ready transfers as the structure recipe uses them: what is made of a source, and how that becomes a classifier.

A way is one value of `--transfer`. Its `plan` is the weight map that the ledger shows, its `model` what an arm trains.
Where a transfer stays within pictures, the map makes the whole source anew (wider, deeper, …), which is proven first;
then the source's head gives way to a fresh one for the task's classes.
"""

from functools import lru_cache
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.config import StructureConfig
from tfxfer.errors import UserError
from tfxfer.models.randomness import seeded
from tfxfer.tasks.classification import Task, takes
from tfxfer.transfer import structure
from tfxfer.transfer.bridges.body import Body, classify, pool
from tfxfer.transfer.bridges.patches import encoder_blocks
from tfxfer.transfer.bridges.tokens import TextTokens, learn_vocabulary
from tfxfer.transfer.graph import before_head, clone, input_of, trace, unfreeze
from tfxfer.transfer.structure import WeightMap

VOCABULARY = 5000  # most frequent tokens that get an embedding of their own
LOOKED_AT, WHITE = 128, 229  # training pictures, and the least grey value of 255 that is white
GROWN = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Dense)  # layers with units of their own


class StructureTransfer:
    """A ready transfer T on a task.

    Args:
        source: S.
        task: What M is to tell.
        config: Which transfer, and its sizes.

    Attributes:
        wants, gives: Modality of S and of M, "text" or "image".
        compiled: Whether XLA makes M train faster on a CPU: transformers yes, CNNs no.
        whole: Which arms, besides transfer and random, train M as a whole: "scratch" and "finetune".

    Raises:
        UserError: The source or the target is of the wrong modality.
    """

    wants, gives = "image", "image"
    compiled = False
    whole: tuple[str, ...] = ()

    def __init__(self, source: keras.Model, task: Task, config: StructureConfig) -> None:
        self.source, self.task, self.config = source, task, config
        self.classes = len(task.class_names)
        if (takes(source), task.key) != (self.wants, self.gives):
            raise UserError(
                f"--transfer {config.transfer}: makes a model for {self.gives}s out of one for {self.wants}s; "
                f"{config.source} takes {takes(source)}s and {config.target} gives {task.key}s"
            )

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map from a body: the source's, or one with fresh weights."""
        raise NotImplementedError

    def model(self, body: keras.Model, trainable: str, seed: int) -> keras.Model:
        """Return the classifier that an arm trains: raw input [B, …] → probabilities [B, C]."""
        return self.plan(body, trainable, seed).apply()

    def as_it_is(self, seed: int) -> keras.Model:
        """Return what the arm `finetune` trains: M as a whole."""
        return self.model(self.source, "all", seed)

    def proof(self, weight_map: WeightMap, pictures: np.ndarray) -> str:
        """Return a sentence on what the map keeps of S, where more can be said than the map promises."""
        return ""

    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def vocabulary(self) -> list[str] | None:
        """Return the tokens that the target's training texts are made of; labels play no part."""
        unit = self.config.unit
        return None if unit == "bytes" else learn_vocabulary(self.task.dataset.texts("train"), unit, VOCABULARY)


class Vision(StructureTransfer):
    """encoder_to_vision: a text encoder's blocks read picture patches."""

    wants, compiled, whole = "text", True, ("scratch", "finetune")

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map to a picture transformer with a head for the task."""
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
        """Whether pictures are mostly white, as print is: then zero should be the paper, not mid-grey."""
        some = self.task.dataset.with_at_most(train=LOOKED_AT).arrays("train", **self.task.reading)["image"]
        return bool(np.mean(np.asarray(some) > WHITE) > 0.5)

    def proof(self, weight_map: WeightMap, pictures: np.ndarray) -> str:
        """Run the carried blocks beside the source's on the same embeddings, and say how far they differ."""
        target = weight_map.apply()
        embeddings = keras.Model(target.input, target.get_layer("embeddings").output)(pictures)
        theirs = encoder_blocks(self.source, embeddings.shape[1])(embeddings)
        worst = float(np.abs(np.asarray(target.get_layer("body")(embeddings)) - np.asarray(theirs)).max())
        return (
            f"Fed with the embeddings of {len(pictures)} test pictures, the carried blocks give what the source's "
            f"blocks give: greatest difference {worst:.2g}."
        )


class TextCnn(StructureTransfer):
    """image_cnn_to_text_cnn: a picture CNN's kernels read a line of text. All of it trains."""

    gives = "text"

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map to a 1-D CNN with a head for the task."""
        return structure.image_cnn_to_text_cnn(
            body,
            self.vocabulary(),
            num_classes=self.classes,
            unit=self.config.unit,
            length=self.config.length,
            seed=seed,
        )


class TextEncoder(StructureTransfer):
    """vision_to_encoder: a picture transformer's blocks read text."""

    gives, whole = "text", ("scratch", "finetune")

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map to a text encoder without a head."""
        vision = next((layer for layer in body.layers if layer.name == "backbone"), body)
        return structure.vision_to_encoder(vision, self._tokens.size, seed=seed)

    @property
    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def _tokens(self) -> TextTokens:
        return TextTokens(self.config.length, self.config.unit, self.vocabulary())

    def model(self, body: keras.Model, trainable: str, seed: int) -> keras.Model:
        """Return text → tokens → encoder → mean over the text's tokens → probabilities."""
        encoder = self.plan(body, trainable, seed).apply()
        longest = encoder.get_layer("position_embedding").sequence_length
        if self.config.length > longest:
            raise UserError(f"--length {self.config.length}: the source has {longest} positions; give at most as many")
        seeded(seed)
        texts = keras.Input((), dtype="string", name="text")
        length = encoder.input["token_ids"].shape[1] or self.config.length
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
    """widen, deepen, shrink, resize_input and merge: a picture model made anew, then a fresh head. All of it trains."""

    whole = ("finetune",)

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map to the whole source, made anew."""
        return getattr(self, f"_{self.config.transfer}")(body, seed)

    def model(self, body: keras.Model, trainable: str, seed: int) -> keras.Model:
        """Return the model made anew, with a fresh head in the place of the source's."""
        return with_head(self.plan(body, trainable, seed).apply(), self.classes, seed)

    def as_it_is(self, seed: int) -> keras.Model:
        """Return the source as it was, with a fresh head: what did making it anew change?"""
        return with_head(clone(self.source), self.classes, seed)

    def proof(self, weight_map: WeightMap, pictures: np.ndarray) -> str:
        """Run source and target on pictures, where both take them."""
        weight_map.apply()
        takes_them = all(n in (None, m) for n, m in zip(self.source.input.shape[1:], pictures.shape[1:]))
        return weight_map.verify(pictures).sentence if takes_them else ""

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
        """Return layer → new number of units: as asked for, or all hidden layers by one factor."""
        if self.config.units:
            return dict(_layer_and_number(word) for word in self.config.units)
        hidden = [layer for layer in self.source.layers if isinstance(layer, GROWN)][:-1]
        if not hidden:
            raise UserError(f"--transfer {self.config.transfer}: name the layers with --units LAYER=NUMBER")
        return {one.name: max(1, int(factor * _units_of(one))) for one in hidden}

    def _activated(self) -> list[str]:
        """Return the layers that end in ReLU: behind them an identity layer changes nothing."""
        found = [layer.name for layer in self.source.layers if _ends_in_relu(layer)]
        if not found:
            raise UserError("--transfer deepen: no layer ends in ReLU; name a layer with --after")
        return found[-1:]


STRUCTURE_TRANSFERS: dict[str, type[StructureTransfer]] = {
    "encoder_to_vision": Vision,
    "vision_to_encoder": TextEncoder,
    "image_cnn_to_text_cnn": TextCnn,
    **dict.fromkeys(("widen", "deepen", "shrink", "resize_input", "merge"), RebuiltCNN),
}


def with_head(model: keras.Model, num_classes: int, seed: int) -> keras.Model:
    """Return a picture model whose last `Dense` gave way to a fresh one; everything trains.

    Args:
        model: A functional model; its layers are used, not copied.
        num_classes: Number of classes C.
        seed: Seed of the fresh head.
    """
    inputs = input_of(model)
    calls, outputs = trace(model, inputs, frozen=False)
    features = pool(before_head(calls, outputs, model), "mean")
    seeded(seed)
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
