"""The target task as the arms see it: what a model reads, and the splits they share."""

import base64
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfxfer.config import TaskConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError

SHOWN = 24  # examples in a report


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes:
        dataset: The target, its validation and test splits cut to the config's limits.
        key: "text" or "image": what a model of this task takes.
        reading: Keyword arguments for `Dataset.batches`: picture size and channels.
    """

    dataset: Dataset
    key: str
    reading: dict[str, Any]

    @classmethod
    def of(cls, dataset: Dataset, config: TaskConfig, source: keras.Model, key: str | None = None) -> "Task":
        """Check that `dataset` is a classification task and settle how it is read.

        Where examples have both a text and a picture, `key` is the task's, or else the one that the source does not
        take. Pictures for a picture model have its channels and, where it takes one size only, its size.
        """
        if not dataset.class_names:
            raise UserError(f"{config.target}: there are no labels; name the column with --target-label")
        has = [key for key in ("text", "image") if key in dataset.keys]
        given = "text" if config.target_text else "image" if config.target_image else key
        key = given or next((key for key in has if key != takes(source)), has[0] if has else None)
        if key not in has:
            raise UserError(f"{config.target}: found neither text nor pictures; name the column with --target-text")
        reading = _reading(dataset, config, source) if key == "image" else {}
        limited = dataset.with_at_most(validation=config.max_validation or None, test=config.max_test or None, seed=0)
        return cls(limited, key, reading)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes."""
        return self.dataset.class_names

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples of each split."""
        return self.dataset.sizes

    @property
    def fingerprint(self) -> str:
        """Changes whenever the data change."""
        return self.dataset.fingerprint

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the pictures a model takes."""
        stored = self.dataset.image_shape
        height, width = self.reading["image_size"] or (stored[:2] if stored else (64, 64))
        return (height, width, self.reading["channels"])

    def labels(self, split: str) -> np.ndarray:
        """Return int32 [N]."""
        return self.dataset.labels(split)

    def train(self, budget: int | None, seed: int) -> Dataset:
        """Return the data set with its training split reduced to `budget` labels a class."""
        return self.dataset if budget is None else self.dataset.with_labels(budget, seed)

    def examples(self, picture: Callable[[list[str]], np.ndarray] | None) -> Iterator[dict[str, Any]]:
        """Yield test examples for people: evenly spaced, with the picture a model sees.

        Args:
            picture: Draws texts as uint8 [n, H, W, C], where a bridge renders.
        """
        count = self.sizes["test"]
        rows = np.unique(np.linspace(0, count - 1, min(SHOWN, count)).astype(int))
        if self.key == "text":
            texts = self.dataset.texts("test")
            drawn = picture([texts[i] for i in rows]) if picture else [None] * len(rows)
            for row, pixels in zip(rows, drawn):
                yield {"index": int(row), "text": texts[row]} | ({} if pixels is None else {"png": png(pixels)})
        else:
            pictures = self.dataset.arrays("test", **self.reading)["image"]
            for row in rows:
                yield {"index": int(row), "png": png(pictures[row])}


def takes(source: keras.Model) -> str:
    """Return what a source model takes: "text" (token ids, as a BERT) or "image".

    Raises:
        UserError: it takes something else, such as raw strings, flat rows or two inputs.
    """
    wanted = source.input
    if isinstance(wanted, dict) and "token_ids" in wanted:
        return "text"
    if isinstance(wanted, keras.KerasTensor) and len(wanted.shape) == 4 and wanted.shape[3] in (1, 3):
        return "image"
    shapes = ", ".join(f"{tensor.name} {tensor.dtype} {list(tensor.shape)}" for tensor in source.inputs)
    raise UserError(
        f"the source {source.name} takes {shapes}; a source takes pictures [B, H, W, 1 or 3], or token ids as a "
        "KerasHub backbone does. Give the model inside it, up to its own bridge"
    )


def _reading(dataset: Dataset, config: TaskConfig, source: keras.Model) -> dict[str, Any]:
    size: tuple[int, int] | None = None
    channels = dataset.image_shape[2] if dataset.image_shape else 3
    if config.image_size:
        size = (config.image_size, config.image_size)
    elif not dataset.image_shape:
        size = (64, 64)
    if takes(source) == "image":
        height, width, channels = source.input.shape[1:]
        size = size if None in (height, width) else (height, width)
    return {"image_size": size, "channels": channels}


def png(pixels: np.ndarray) -> str:
    """Return uint8 [H, W, C] as a base64 PNG."""
    from PIL import Image

    pixels = np.asarray(pixels).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
