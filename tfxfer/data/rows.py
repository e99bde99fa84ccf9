"""Rows: the examples of one split. Columns are held in memory; image files stay on disk."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from tfxfer.data.image_files import ImageInfo
from tfxfer.data.images import decode_image
from tfxfer.errors import UserError, suggest
from tfxfer.streams import prompt

Resize = Callable[[tf.Tensor], tf.Tensor]  # uint8 [..., H, W, C] -> uint8 [..., h, w, c]


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """M image files of a table, decoded while they are streamed.

    Attributes:
        paths: string [M].
        plain: bool [M], see `ImageInfo`.
        sha256: string [M], hashes of the files' bytes. Other bytes are refused when they are read: what is made of them
            would be kept under the fingerprint of these.
        channels: 1 when all are grey, else 3.
        image_shape: (H, W, C) when all have one size, else None.
    """

    paths: tf.Tensor
    plain: tf.Tensor
    sha256: tf.Tensor
    channels: int
    image_shape: tuple[int, int, int] | None

    @classmethod
    def of(cls, paths: Iterable[str], infos: list[ImageInfo]) -> "ImageFiles":
        """Describe files by what `inspect_images` returned."""
        channels = max(info.channels for info in infos)
        sizes = {(info.height, info.width) for info in infos}
        shape = (*sizes.pop(), channels) if len(sizes) == 1 else None
        with tf.device("CPU"):
            plain, hashes = (tf.constant([getattr(info, name) for info in infos]) for name in ("plain", "sha256"))
            return cls(tf.constant(list(paths)), plain, hashes, channels, shape)

    def decode(self, row: tf.Tensor) -> tf.Tensor:
        """Return the image of one row, uint8 [H, W, C]."""
        flags = self.plain.numpy()
        plain = bool(flags[0]) if flags.all() or not flags.any() else self.plain[row]
        image = decode_image(self.paths[row], plain, self.channels, self.sha256[row])
        return tf.ensure_shape(image, self.image_shape or [None] * 3)


@dataclass(frozen=True, eq=False)
class Rows:
    """N of the M rows of a table.

    Attributes:
        columns: key -> tensor [M, ...] on the CPU; "image" is there when decoded images are held.
        index: int64 [N], the rows of this split in order.
        files: Image files, when images stay on disk.
    """

    columns: dict[str, tf.Tensor] = field(repr=False)
    index: np.ndarray = field(repr=False)
    files: ImageFiles | None = None

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray | list], files: ImageFiles | None = None) -> "Rows":
        """Make a table of columns of equal length; all rows belong to it."""
        with tf.device("CPU"):
            tensors = {key: tf.constant(values) for key, values in columns.items()}
        length = len(files.paths) if files else len(next(iter(tensors.values())))
        return cls(tensors, np.arange(length), files)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the columns, the image first."""
        return (("image",) if self.files else ()) + tuple(self.columns)

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) of every image; None when sizes vary or there are no images."""
        if self.files:
            return self.files.image_shape
        return tuple(self.columns["image"].shape[1:]) if "image" in self.columns else None

    @property
    def channels(self) -> int:
        """Channels of a decoded image."""
        return self.files.channels if self.files else self.columns["image"].shape[-1]

    def column(self, key: str) -> np.ndarray:
        """Return the values [N, ...] of a column that is held in memory; strings come as bytes."""
        if key not in self.columns:
            raise UserError(f"there is no column '{key}'; {suggest(key, self.columns)}")
        return self.columns[key].numpy()[self.index]

    def take(self, rows: np.ndarray) -> "Rows":
        """Return some rows of these, by position."""
        return replace(self, index=self.index[rows])

    def with_column(self, key: str, values: np.ndarray) -> "Rows":
        """Return these rows with a column set to `values` [N, ...]."""
        count = len(self.files.paths) if self.files else len(next(iter(self.columns.values())))
        whole = np.zeros((count, *values.shape[1:]), values.dtype)
        whole[self.index] = values
        with tf.device("CPU"):
            return replace(self, columns=self.columns | {key: tf.constant(whole)})

    def examples(self, keys: Iterable[str]) -> tf.data.Dataset:
        """Stream single examples in order."""
        return prompt(self._read(self.index, list(keys), None).prefetch(tf.data.AUTOTUNE))

    def batches(
        self, keys: Iterable[str], batch_size: int, resize: Resize | None, shuffle_seed: int | None, skip: int
    ) -> tf.data.Dataset:
        """Stream batches; a seed permutes all rows, and skipped batches are not read."""
        keys, order = list(keys), self.index
        if shuffle_seed is not None:
            order = np.random.default_rng(shuffle_seed).permutation(order)
        order = order[skip * batch_size :]
        if self.files and "image" in keys:
            stream = self._resized(order, keys, batch_size, resize)
        else:
            rows = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
            stream = rows.map(lambda batch: self._gather(batch, keys, resize), num_parallel_calls=tf.data.AUTOTUNE)
        return prompt(stream.prefetch(tf.data.AUTOTUNE))

    def _resized(self, order: np.ndarray, keys: list[str], batch_size: int, resize: Resize | None) -> tf.data.Dataset:
        """Stream batches of image files; images of one size are resized by the batch, which is faster."""
        if self.image_shape is None or resize is None:
            return self._read(order, keys, resize).batch(batch_size)
        stream = self._read(order, keys, None).batch(batch_size)
        return stream.map(lambda batch: batch | {"image": resize(batch["image"])}, num_parallel_calls=tf.data.AUTOTUNE)

    def _read(self, order: np.ndarray, keys: list[str], resize: Resize | None) -> tf.data.Dataset:
        def example(row: tf.Tensor) -> dict[str, tf.Tensor]:
            values = self._gather(row, [key for key in keys if key in self.columns], resize)
            if self.files and "image" in keys:
                image = self.files.decode(row)
                values["image"] = image if resize is None else resize(image)
            return {key: values[key] for key in keys}

        rows = tf.data.Dataset.from_tensor_slices(order)
        return rows.map(example, num_parallel_calls=tf.data.AUTOTUNE)

    def _gather(self, rows: tf.Tensor, keys: list[str], resize: Resize | None) -> dict[str, tf.Tensor]:
        values = {key: tf.gather(self.columns[key], rows) for key in keys}
        if "image" in values and resize is not None:
            values["image"] = resize(values["image"])
        return values
