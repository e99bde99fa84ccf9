"""Rows: the examples of one split, whose columns are held in memory; only picture files stay on disk."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from tfxfer.data.pictures import Facts, decode
from tfxfer.errors import UserError, suggest
from tfxfer.streams import prompt

Fit = Callable[[tf.Tensor], tf.Tensor]  # uint8 [..., H, W, C] -> uint8 [..., h, w, c]


@dataclass(frozen=True, eq=False)
class Files:
    """M picture files of a table, decoded while they are streamed.

    Attributes:
        paths: string [M].
        plain: bool [M], see `pictures.Facts`.
        channels: 1 when all are grey, else 3.
        image_shape: (H, W, C) when all have one size, else None.
    """

    paths: tf.Tensor
    plain: tf.Tensor
    channels: int
    image_shape: tuple[int, int, int] | None

    @classmethod
    def of(cls, paths: Iterable[str], facts: list[Facts]) -> "Files":
        """Describe files by what `pictures.inspect` found."""
        channels = max(fact.channels for fact in facts)
        sizes = {(fact.height, fact.width) for fact in facts}
        shape = (*sizes.pop(), channels) if len(sizes) == 1 else None
        with tf.device("CPU"):
            return cls(tf.constant(list(paths)), tf.constant([f.plain for f in facts]), channels, shape)

    def decode(self, row: tf.Tensor) -> tf.Tensor:
        """Return the picture of one row, uint8 [H, W, C]."""
        flags = self.plain.numpy()
        plain = bool(flags[0]) if flags.all() or not flags.any() else self.plain[row]
        return tf.ensure_shape(decode(self.paths[row], plain, self.channels), self.image_shape or [None] * 3)


@dataclass(frozen=True, eq=False)
class Rows:
    """N of the M rows of a table.

    Attributes:
        columns: key -> tensor [M, ...] on the CPU; "image" is there when pictures are held decoded.
        index: int64 [N], the rows of this split in order.
        files: Picture files, when pictures stay on disk.
    """

    columns: dict[str, tf.Tensor] = field(repr=False)
    index: np.ndarray = field(repr=False)
    files: Files | None = None

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray | list], files: Files | None = None) -> "Rows":
        """Make a table of columns of equal length; all rows belong to it."""
        with tf.device("CPU"):
            tensors = {key: tf.constant(values) for key, values in columns.items()}
        length = len(files.paths) if files else len(next(iter(tensors.values())))
        return cls(tensors, np.arange(length), files)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the columns, the picture first."""
        return (("image",) if self.files else ()) + tuple(self.columns)

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) of every picture; None when they vary or there are none."""
        if self.files:
            return self.files.image_shape
        return tuple(self.columns["image"].shape[1:]) if "image" in self.columns else None

    @property
    def channels(self) -> int:
        """Channels of a picture as it is decoded."""
        return self.files.channels if self.files else self.columns["image"].shape[-1]

    def column(self, key: str) -> np.ndarray:
        """Return the values [N, ...] of a column that is held in memory; strings come as bytes."""
        if key not in self.columns:
            raise UserError(f"there is no '{key}' here; {suggest(key, self.columns)}")
        return self.columns[key].numpy()[self.index]

    def take(self, rows: np.ndarray) -> "Rows":
        """Return some rows of these, by position."""
        return replace(self, index=self.index[rows])

    def with_column(self, key: str, values: np.ndarray) -> "Rows":
        """Return these rows with a column set to `values` [N, ...]."""
        whole = np.zeros((len(self.files.paths) if self.files else self._length(), *values.shape[1:]), values.dtype)
        whole[self.index] = values
        with tf.device("CPU"):
            return replace(self, columns=self.columns | {key: tf.constant(whole)})

    def _length(self) -> int:
        return len(next(iter(self.columns.values())))

    def examples(self, keys: Iterable[str]) -> tf.data.Dataset:
        """Stream single examples in order."""
        return prompt(self._read(self.index, list(keys), None).prefetch(tf.data.AUTOTUNE))

    def batches(
        self, keys: Iterable[str], batch_size: int, fit: Fit | None, shuffle_seed: int | None, skip: int
    ) -> tf.data.Dataset:
        """Stream batches; a seed permutes all rows, and skipped batches cost nothing."""
        keys, order = list(keys), self.index
        if shuffle_seed is not None:
            order = np.random.default_rng(shuffle_seed).permutation(order)
        order = order[skip * batch_size :]
        if self.files and "image" in keys:
            stream = self._fitted(order, keys, batch_size, fit)
        else:
            rows = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
            stream = rows.map(lambda batch: self._gather(batch, keys, fit), num_parallel_calls=tf.data.AUTOTUNE)
        return prompt(stream.prefetch(tf.data.AUTOTUNE))

    def _fitted(self, order: np.ndarray, keys: list[str], batch_size: int, fit: Fit | None) -> tf.data.Dataset:
        """Stream batches of picture files; pictures of one size are resized by the batch, which is faster."""
        if self.image_shape is None or fit is None:
            return self._read(order, keys, fit).batch(batch_size)
        stream = self._read(order, keys, None).batch(batch_size)
        return stream.map(lambda batch: batch | {"image": fit(batch["image"])}, num_parallel_calls=tf.data.AUTOTUNE)

    def _read(self, order: np.ndarray, keys: list[str], fit: Fit | None) -> tf.data.Dataset:
        def example(row: tf.Tensor) -> dict[str, tf.Tensor]:
            found = self._gather(row, [key for key in keys if key in self.columns], fit)
            if self.files and "image" in keys:
                image = self.files.decode(row)
                found["image"] = image if fit is None else fit(image)
            return {key: found[key] for key in keys}

        rows = tf.data.Dataset.from_tensor_slices(order)
        return rows.map(example, num_parallel_calls=tf.data.AUTOTUNE)

    def _gather(self, rows: tf.Tensor, keys: list[str], fit: Fit | None) -> dict[str, tf.Tensor]:
        found = {key: tf.gather(self.columns[key], rows) for key in keys}
        if "image" in found and fit is not None:
            found["image"] = fit(found["image"])
        return found
