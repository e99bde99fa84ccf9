"""Records: examples of a prepared TFDS data set too large for memory; their pictures are streamed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from tfxfer.data.rows import Fit, Rows
from tfxfer.streams import prompt, shuffled

SHUFFLE_BUFFER = 10_000  # encoded pictures held while shuffling a stream


@dataclass(frozen=True, eq=False)
class Records:
    """N of the M examples of a prepared split; their small columns are in memory, their pictures on disk.

    Attributes:
        facts: The columns other than the picture.
        encoded: Gives, for the positions of the first and last picture wanted, a stream of encoded pictures,
            string [], that holds both, and the position that it starts at.
        decode: string [] -> uint8 [H, W, C].
        image_shape: (H, W, C), or None when sizes vary.
        channels: Channels of a decoded picture.
    """

    facts: Rows
    encoded: Callable[[int, int], tuple[tf.data.Dataset, int]] = field(repr=False)
    decode: Callable[[tf.Tensor], tf.Tensor] = field(repr=False)
    image_shape: tuple[int, int, int] | None
    channels: int

    def __len__(self) -> int:
        return len(self.facts)

    @property
    def index(self) -> np.ndarray:
        """int64 [N], the stored positions of these examples, ascending."""
        return self.facts.index

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the columns, the picture first."""
        return ("image", *self.facts.keys)

    def column(self, key: str) -> np.ndarray:
        """Return the values [N, ...] of a column other than the picture."""
        return self.facts.column(key)

    def take(self, rows: np.ndarray) -> "Records":
        """Return some examples, by position; a stream keeps them in their stored order."""
        return replace(self, facts=self.facts.take(np.sort(rows)))

    def with_column(self, key: str, values: np.ndarray) -> "Records":
        """Return these examples with a column set to `values` [N, ...]."""
        return replace(self, facts=self.facts.with_column(key, values))

    def examples(self, keys: Iterable[str]) -> tf.data.Dataset:
        """Stream single examples in order."""
        return prompt(self._finish(self._encoded_examples(list(keys)), None).prefetch(tf.data.AUTOTUNE))

    def batches(
        self, keys: Iterable[str], batch_size: int, fit: Fit | None, shuffle_seed: int | None, skip: int
    ) -> tf.data.Dataset:
        """Stream batches; a seed shuffles encoded pictures in a buffer, skipped batches are not decoded."""
        keys = list(keys)
        if "image" not in keys:
            return self.facts.batches(keys, batch_size, fit, shuffle_seed, skip)
        stream = self._encoded_examples(keys)
        if shuffle_seed is not None:
            stream = shuffled(stream, SHUFFLE_BUFFER, shuffle_seed, anew=False)
        stream = self._finish(stream.skip(skip * batch_size), fit)
        return prompt(stream.batch(batch_size).prefetch(tf.data.AUTOTUNE))

    def _encoded_examples(self, keys: list[str]) -> tf.data.Dataset:
        if "image" not in keys:
            return self.facts.examples(keys)
        pictures, start = self.encoded(int(self.index[0]), int(self.index[-1]))
        wanted = np.zeros(self.index[-1] + 1 - start, bool)
        wanted[self.index - start] = True
        flags = tf.data.Dataset.from_tensor_slices(wanted)
        kept = tf.data.Dataset.zip(pictures, flags).filter(lambda image, flag: flag)
        facts = self.facts.examples(self.facts.keys)  # all of them: a stream of no column has no length
        stream = tf.data.Dataset.zip(kept, facts)
        return stream.map(lambda image, rest: {k: image[0] if k == "image" else rest[k] for k in keys})

    def _finish(self, stream: tf.data.Dataset, fit: Fit | None) -> tf.data.Dataset:
        def decoded(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            if "image" not in example:
                return example
            image = tf.ensure_shape(self.decode(example["image"]), self.image_shape or [None, None, self.channels])
            return example | {"image": image if fit is None else fit(image)}

        return stream.map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
