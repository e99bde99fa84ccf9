"""Records: examples of a prepared TFDS data set too large for memory; their images are streamed."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from tfxfer.data.rows import Resize, Rows
from tfxfer.errors import UserError
from tfxfer.streams import prompt, shuffled

SHUFFLE_BUFFER = 10_000  # encoded images held while shuffling a stream


@dataclass(frozen=True, eq=False)
class Records:
    """N of the M examples of a prepared split; their small columns are in memory, their images on disk.

    Attributes:
        table: The columns other than the image.
        encoded: From the positions of the first and last image wanted to a stream of encoded images, string [], that
            holds both, and the position of the stream's first image.
        decode: string [] -> uint8 [H, W, C].
        hashes: bytes [M], the SHA-256 of each stored image when the data set was loaded; other images are refused.
        image_shape: (H, W, C), or None when sizes vary.
        channels: Channels of a decoded image.
    """

    table: Rows
    encoded: Callable[[int, int], tuple[tf.data.Dataset, int]] = field(repr=False)
    decode: Callable[[tf.Tensor], tf.Tensor] = field(repr=False)
    hashes: np.ndarray = field(repr=False)
    image_shape: tuple[int, int, int] | None
    channels: int

    def __len__(self) -> int:
        return len(self.table)

    @property
    def index(self) -> np.ndarray:
        """int64 [N], the stored positions of these examples, ascending."""
        return self.table.index

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the columns, the image first."""
        return ("image", *self.table.keys)

    def column(self, key: str) -> np.ndarray:
        """Return the values [N, ...] of a column other than the image."""
        return self.table.column(key)

    def take(self, rows: np.ndarray) -> "Records":
        """Return some examples, by position; a stream keeps them in their stored order."""
        return replace(self, table=self.table.take(np.sort(rows)))

    def with_column(self, key: str, values: np.ndarray) -> "Records":
        """Return these examples with a column set to `values` [N, ...]."""
        return replace(self, table=self.table.with_column(key, values))

    def examples(self, keys: Iterable[str]) -> tf.data.Dataset:
        """Stream single examples in order."""
        return prompt(self._decoded(self._encoded_examples(list(keys)), None).prefetch(tf.data.AUTOTUNE))

    def batches(
        self, keys: Iterable[str], batch_size: int, resize: Resize | None, shuffle_seed: int | None, skip: int
    ) -> tf.data.Dataset:
        """Stream batches; a seed shuffles encoded images in a buffer, skipped batches are not decoded."""
        keys = list(keys)
        if "image" not in keys:
            return self.table.batches(keys, batch_size, resize, shuffle_seed, skip)
        stream = self._encoded_examples(keys)
        if shuffle_seed is not None:
            stream = shuffled(stream, SHUFFLE_BUFFER, shuffle_seed, anew=False)
        stream = self._decoded(stream.skip(skip * batch_size), resize)
        return prompt(stream.batch(batch_size).prefetch(tf.data.AUTOTUNE))

    def _encoded_examples(self, keys: list[str]) -> tf.data.Dataset:
        if "image" not in keys:
            return self.table.examples(keys)
        images, start = self.encoded(int(self.index[0]), int(self.index[-1]))
        wanted = np.zeros(self.index[-1] + 1 - start, bool)
        wanted[self.index - start] = True
        flags = tf.data.Dataset.from_tensor_slices(wanted)
        kept = tf.data.Dataset.zip(images, flags).filter(lambda image, flag: flag)
        rows = self.table.examples(self.table.keys)  # all of them: a stream of no column has no length
        hashes = tf.data.Dataset.from_tensor_slices(self.hashes[self.index])
        stream = tf.data.Dataset.zip(kept.map(lambda image, flag: image), hashes).map(_unchanged)
        return tf.data.Dataset.zip(stream, rows).map(
            lambda image, row: {k: image if k == "image" else row[k] for k in keys}
        )

    def _decoded(self, stream: tf.data.Dataset, resize: Resize | None) -> tf.data.Dataset:
        def decoded(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            if "image" not in example:
                return example
            image = tf.ensure_shape(self.decode(example["image"]), self.image_shape or [None, None, self.channels])
            return example | {"image": image if resize is None else resize(image)}

        return stream.map(decoded, num_parallel_calls=tf.data.AUTOTUNE)


def _unchanged(image: tf.Tensor, sha256: tf.Tensor) -> tf.Tensor:
    """Return an encoded image, string [], if it has the hash of when the data set was loaded."""

    def checked(image: bytes, sha256: bytes) -> bytes:
        if hashlib.sha256(image).hexdigest().encode() != sha256:
            raise UserError("the prepared data were changed after they were loaded; run the same command again")
        return image

    return tf.ensure_shape(tf.numpy_function(checked, [image, sha256], tf.string), [])
