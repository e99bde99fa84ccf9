"""`FusionClassifier`: both frozen encoders and a head, from images and texts to class probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from tfxfer.config import TrainingConfig
from tfxfer.errors import UserError
from tfxfer.evaluate import classification
from tfxfer.models.batching import BATCH
from tfxfer.models.saved_folder import load_folder, save_folder
from tfxfer.transfer.feature import extractor
from tfxfer.transfer.knowledge.caption_model import feature_map_encoder, resized_encoder
from tfxfer.transfer.knowledge.fusion.heads import FusionHead
from tfxfer.transfer.knowledge.fusion.training import HeadTrainer, Sides
from tfxfer.transfer.knowledge.text_towers import TextTower

MISSING = "give an image and a text for each example, or None for the side that is missing"


@keras.saving.register_keras_serializable("tfxfer")
class Standardise(keras.layers.Layer):
    """(rows − mean) · scale of features [B, P, E]; rows of zeros, which are padding, stay zeros where `padded`.

    Args:
        mean: float [E].
        scale: float [E], one divided by the standard deviation.
        padded: Whether rows of zeros are padding.
    """

    def __init__(self, mean: Sequence[float], scale: Sequence[float], padded: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean, self.scale = (np.asarray(values, np.float32) for values in (mean, scale))
        self.padded = bool(padded)

    @classmethod
    def of(cls, features: np.ndarray, padded: bool = False, **kwargs: Any) -> Self:
        """Return the layer for features [N, P, E] of training examples."""
        rows = np.asarray(features, np.float32).reshape(-1, features.shape[-1])
        rows = rows[(rows != 0).any(-1)] if padded and rows.any() else rows
        spread = rows.std(0)
        scale = 1 / np.maximum(spread, 1e-3 * float(spread.max()) + 1e-6)
        return cls(rows.mean(0).tolist(), scale.tolist(), padded, **kwargs)

    def call(self, rows: Any) -> Any:
        """Return standardised features [B, P, E]."""
        found = (rows - self.mean) * self.scale
        if not self.padded:
            return found
        return found * ops.cast(ops.any(ops.not_equal(rows, 0), axis=-1, keepdims=True), found.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return mean, scale and whether there is padding."""
        own = {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "padded": self.padded}
        return super().get_config() | own


def image_positions(source: keras.Model, shape: tuple[int, int, int], side: int) -> keras.Model:
    """Return images [B, H, W, C] -> features of at most `side` x `side` positions [B, P, E], frozen.

    Args:
        source: An image model. One without a feature map, such as a ViT, gives one position: its features.
        shape: (H, W, C).
        side: 0 keeps the map as it is.
    """
    try:
        encoder = resized_encoder(feature_map_encoder(source), shape, side)
        rows = keras.layers.Reshape((-1, encoder.output.shape[-1]), name="positions")(encoder.output)
    except UserError:  # no feature map
        encoder = extractor(source, image_size=shape[:2])
        rows = keras.layers.Reshape((1, encoder.output.shape[-1]), name="positions")(encoder.output)
    phi = keras.Model(encoder.input, rows, name="image_positions")
    phi.trainable = False
    return phi


def text_tokens(tower: TextTower) -> keras.Model:
    """Return strings [B] -> features of the tokens [B, T, G], zeros where there is padding, frozen."""
    texts = keras.Input((), dtype="string", name="text")
    ids = tower.tokenizer(texts)
    features = tower.sequence(ids)
    phi = keras.Model(texts, features * ops.cast(ops.expand_dims(ids != 0, -1), features.dtype), name="text_tokens")
    phi.trainable = False
    return phi


class FusionClassifier:
    """Classes of pairs of an image and a text, of which either may be missing.

    Args:
        model: (image [B, H, W, C], text string [B], present float [B, 2]) -> probabilities [B, C]. `present` is 0 for a
            side that is missing.
        class_names: Names of the C classes.
    """

    def __init__(self, model: keras.Model, class_names: Sequence[str]) -> None:
        self.model, self.class_names = model, tuple(class_names)

    @classmethod
    def of(
        cls,
        images: keras.Model,
        texts: keras.Model,
        standardise: tuple[Standardise, Standardise],
        head: FusionHead,
        class_names: Sequence[str],
    ) -> Self:
        """Return the classifier of two encoders and a trained head.

        Args:
            images: From `image_positions`.
            texts: From `text_tokens`.
            standardise: Of the image's and of the text's features.
            head: Trained on what these give.
            class_names: Names of the C classes.
        """
        image = keras.Input(images.input.shape[1:], dtype=images.input.dtype, name="image")
        text, present = keras.Input((), dtype="string", name="text"), keras.Input((2,), name="present")
        rows = (standardise[0](images(image)), standardise[1](texts(text)))
        sides = [one * ops.expand_dims(present[:, i : i + 1], -1) for i, one in enumerate(rows)]
        logits = ops.cast(head(sides), "float32")
        return cls(keras.Model([image, text, present], ops.softmax(logits), name="fusion"), class_names)

    @classmethod
    def fit(
        cls,
        images: keras.Model,
        texts: keras.Model,
        examples: tuple[np.ndarray, Sequence[str], Sequence[str]],
        *,
        head: str = "gated",
        training: TrainingConfig | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Self:
        """Return a classifier with a new head, trained on pairs.

        Args:
            images: From `image_positions`.
            texts: From `text_tokens`.
            examples: Images [N, H, W, C], N texts, and the names of their N classes.
            head: One of `HEADS`.
            training: Steps, batch size and one learning rate.
            seed: Of first weights and order.
            **options: Arguments of the head, such as `dim`.
        """
        pictures, words, named = examples
        names = tuple(sorted(set(named)))
        raw = [_in_parts(images, np.asarray(pictures)), _in_parts(texts, np.asarray(list(words), object))]
        layers = (Standardise.of(raw[0]), Standardise.of(raw[1], padded=True))
        image, text = (np.asarray(layer(rows), np.float32) for layer, rows in zip(layers, raw))
        trainer = HeadTrainer(head, (image.shape[1:], text.shape[1:]), len(names), options, seed)
        labels = np.array([names.index(name) for name in named], np.int32)
        trainer.fit(Sides(image, text, labels), training or TrainingConfig(), 0.0, seed)
        return cls.of(images, texts, layers, trainer.head, names)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.model.inputs[0].shape[1:3]

    def predict(self, images: Any, texts: Sequence[str | None] | None) -> np.ndarray:
        """Return class probabilities float32 [N, C].

        Args:
            images: uint8 [N, H, W, C]; None where there are none.
            texts: N texts, of which those that are None are missing; None where there are none.

        Raises:
            UserError: Both are missing, or their numbers differ.
        """
        if images is None and texts is None:
            raise UserError(f"neither images nor texts; {MISSING}")
        count = len(texts) if images is None else len(images)  # type: ignore[arg-type]
        words: Sequence[str | None] = [None] * count if texts is None else texts
        if len(words) != count:
            raise UserError(f"{count} images and {len(words)} texts; {MISSING}")
        if images is None:
            images = np.zeros((count, *self.model.inputs[0].shape[1:]), np.uint8)
            there = np.zeros(count)
        else:
            there = np.ones(count)
        present = np.stack([there, [word is not None for word in words]], axis=1).astype(np.float32)
        return self._called(np.asarray(images), np.array([word or "" for word in words], object), present)

    def _called(self, images: np.ndarray, texts: np.ndarray, present: np.ndarray) -> np.ndarray:
        parts = []
        for i in range(0, len(images), BATCH):
            at = slice(i, i + BATCH)
            given = [ops.convert_to_tensor(images[at], self.model.inputs[0].dtype), ops.convert_to_tensor(texts[at])]
            parts.append(np.asarray(self.model([*given, ops.convert_to_tensor(present[at])], training=False)))
        return np.concatenate(parts).astype(np.float32)

    def score(self, images: Any, texts: Any, labels: Sequence[str]) -> dict[str, float]:
        """Return accuracy and the other figures of `tfxfer.evaluate.classification`; labels are class names [N]."""
        unknown = next((name for name in labels if name not in self.class_names), None)
        if unknown is not None:
            raise UserError(f"label '{unknown}' is none of the {len(self.class_names)} classes")
        places = np.array([self.class_names.index(name) for name in labels], np.int32)
        found = classification(places, self.predict(images, texts), list(self.class_names))
        return {name: value for name, value in found.items() if isinstance(value, float)}

    def save(self, path: str | Path) -> Path:
        """Write `model.keras` and `model.json` into a folder."""
        _, height, width, channels = self.model.inputs[0].shape
        own: dict[str, Any] = {"class": type(self).__name__, "task": "classification", "input": "image and text"}
        own |= {"class_names": list(self.class_names), "image_size": [height, width], "channels": channels}
        return save_folder(path, self.model, own)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the classifier that `save` wrote, by its folder or the .keras file in it."""
        model, described = load_folder(path, cls.__name__, ("class_names", "image_size", "channels"))
        return cls(model, described["class_names"])


def _in_parts(model: keras.Model, rows: np.ndarray) -> np.ndarray:
    """Return what a frozen encoder gives of many inputs, float32 [N, …]."""
    kind = model.inputs[0].dtype
    parts = [
        model(ops.convert_to_tensor(part) if kind == "string" else ops.convert_to_tensor(part, kind), training=False)
        for part in (rows[i : i + BATCH] for i in range(0, len(rows), BATCH))
    ]
    return np.concatenate([np.asarray(part, np.float32) for part in parts])
