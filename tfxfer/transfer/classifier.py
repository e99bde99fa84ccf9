"""A classifier of raw texts or images: predict, score, save and load, whatever network is inside."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from tfxfer.errors import UserError
from tfxfer.evaluate import classification
from tfxfer.models.batching import in_batches
from tfxfer.models.saved_folder import load_folder, save_folder


class Classifier:
    """A Keras model from raw input to class probabilities, with the names of its classes.

    Args:
        model: Strings [B], or images [B, H, W, C] → probabilities [B, C].
        class_names: Names of the C classes.
        image_size: (H, W) of the images that it takes, where the model takes any.

    Raises:
        UserError: There are more or fewer names than probabilities.
    """

    def __init__(
        self, model: keras.Model, class_names: Sequence[str], image_size: tuple[int, int] | None = None
    ) -> None:
        self.class_names = tuple(class_names)
        self.image_size = image_size
        self._set(model)

    def _set(self, model: keras.Model) -> None:
        if model.output.shape[-1] != len(self.class_names):
            raise UserError(f"{len(self.class_names)} class names for {model.output.shape[-1]} probabilities")
        self.model = model
        self._call = in_batches(model)

    @property
    def input(self) -> str:
        """What it takes: "text" or "image"."""
        return "text" if self.model.inputs[0].dtype == "string" else "image"

    def predict(self, inputs: Any) -> np.ndarray:
        """Return class probabilities float32 [N, C] of N texts, or images [N, H, W, C]."""
        return self._call(np.asarray(inputs, object) if self.input == "text" else np.asarray(inputs))

    def score(self, inputs: Any, labels: Any) -> dict[str, float]:
        """Return accuracy and the other figures of `tfxfer.evaluate.classification`.

        Args:
            inputs: N texts, or images [N, H, W, C].
            labels: int [N], or N class names.
        """
        found = classification(self.places(labels), self.predict(inputs), list(self.class_names))
        return {name: value for name, value in found.items() if isinstance(value, float)}

    def places(self, labels: Any) -> np.ndarray:
        """Return labels as int [N]; raises `UserError` for a name that is no class."""
        given = np.asarray(labels)
        if given.dtype.kind in "iu":
            return given
        place = {name: i for i, name in enumerate(self.class_names)}
        unknown = next((name for name in given if name not in place), None)
        if unknown is not None:
            raise UserError(f"label '{unknown}' is none of the {len(place)} classes")
        return np.array([place[name] for name in given], np.int32)

    def save(self, path: str | Path) -> Path:
        """Write `model.keras` and `model.json` into a folder."""
        shape = self.model.inputs[0].shape
        own: dict[str, Any] = {"class": type(self).__name__, "task": "classification", "input": self.input}
        own |= {"class_names": list(self.class_names)}
        if self.input == "image":
            size = self.image_size or (None if None in shape[1:3] else shape[1:3])
            own |= {"image_size": size and list(size), "channels": shape[3]}
        return save_folder(path, self.model, own)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the classifier that `save` wrote, by its folder or the .keras file in it."""
        model, described = load_folder(path, cls.__name__, ("class_names",))
        size = described.get("image_size")
        return cls._restored(model, described["class_names"], tuple(size) if size else None)

    @classmethod
    def _restored(cls, model: keras.Model, class_names: Sequence[str], size: tuple[int, int] | None) -> Self:
        return cls(model, class_names, size)
