"""Reading the columns of a split that TensorFlow Datasets prepared."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfxfer.errors import TfxferError, UserError
from tfxfer.streams import prompt

_DECODERS: dict[str, Callable[[np.ndarray], tf.Tensor]] = {}  # kind of image -> what decodes a batch of them
_READ = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False, add_tfds_id=False)


@dataclass(frozen=True)
class Columns:
    """One prepared split: N values of each column, a hash of each image and, if they are held, the images."""

    values: dict[str, np.ndarray]
    digests: list[str]
    pixels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.digests) or len(next(iter(self.values.values())))


def read_columns(builder: Any, split: str, features: dict[str, Any], roles: dict[str, str], in_memory: bool) -> Columns:
    """Read the columns of a split in one pass; images are hashed, and decoded only if they are to be held."""
    image = roles.get("image")
    values: dict[str, list[np.ndarray]] = {key: [] for key in roles if key != "image"}
    digests: list[str] = []
    held: list[np.ndarray] = []
    decode = _batch_decoder(features[image]) if image and in_memory else None
    for batch in _batches(builder, split, features, set(roles.values()), 2048 if in_memory or not image else 64):
        for key in values:
            values[key].append(batch[roles[key]])
        if image:
            digests += [hashlib.sha256(data).hexdigest() for data in batch[image]]
            held += [decode(batch[image]).numpy()] if decode else []
    if not digests and not any(values.values()):
        raise UserError(f"{builder.info.full_name}: its split '{split}' is empty")
    pixels = np.concatenate(held) if held else None
    return Columns({key: np.concatenate(parts) for key, parts in values.items()}, digests, pixels)


def _batches(
    builder: Any, split: str, features: dict[str, Any], names: set[str], batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of some columns, images encoded.

    A whole split of TFRecord files is parsed by the batch. TFDS parses one example at a time, ten times slower.
    """
    info = builder.info
    if split in info.splits and info.file_format.file_suffix == "tfrecord":
        files = [str(path) for path in info.splits[split].filepaths]
        columns = {name: tf.io.FixedLenFeature([], _stored_type(features[name])) for name in names}
        stream = tf.data.TFRecordDataset(files).batch(batch_size)
        stream = stream.map(lambda data: tf.io.parse_example(data, columns), num_parallel_calls=tf.data.AUTOTUNE)
    else:
        skip = {n: tfds.decode.SkipDecoding() for n in names if isinstance(features[n], tfds.features.Image)}
        decoders = tfds.decode.PartialDecoding(dict.fromkeys(names, True), decoders=skip)
        stream = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders, read_config=_READ)
        stream = stream.batch(batch_size)
    try:
        yield from prompt(stream.prefetch(2)).as_numpy_iterator()
    except tf.errors.DataLossError as error:
        raise TfxferError(
            f"{builder.data_dir}: the prepared data are damaged; remove this folder and run the same command again"
        ) from error


def _stored_type(feature: Any) -> tf.DType:
    """Return how TFDS writes a feature into a TFRecord: encoded images and texts, or 64-bit and 32-bit numbers."""
    dtype = feature.tf_dtype
    if isinstance(feature, tfds.features.Image) or dtype == tf.string:
        return tf.string
    return tf.float32 if dtype.is_floating else tf.int64


def _batch_decoder(feature: Any) -> Callable[[np.ndarray], tf.Tensor]:
    """Return string [B] -> uint8 [B, H, W, C] for images of one size, cheaper than a stream of single images.

    It is traced once for each kind of image, as TensorFlow warns of functions that are traced again and again.
    """
    kind = repr(feature)
    if kind not in _DECODERS:
        _DECODERS[kind] = _traced_decoder(feature)
    return _DECODERS[kind]


def _traced_decoder(feature: Any) -> Callable[[np.ndarray], tf.Tensor]:
    spec = tf.TensorSpec((*feature.shape[:2], channels(feature)), tf.uint8)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(data: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(decoder(feature), data, fn_output_signature=spec, parallel_iterations=32)

    return decode


def channels(feature: Any) -> int:
    """Return the channels of an image that `decoder` returns."""
    return {None: 3, 2: 1, 4: 3}.get(feature.shape[-1], feature.shape[-1])


def decoder(feature: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return string [] -> uint8 [H, W, 1 or 3]: transparency laid on white, 16 bits scaled to 8."""

    def decode(data: tf.Tensor) -> tf.Tensor:
        image = feature.decode_example(data)
        if image.dtype == tf.uint16:
            image = tf.cast((tf.cast(image, tf.int32) + 128) // 257, tf.uint8)
        if image.shape[-1] in (2, 4):
            alpha = tf.cast(image[..., -1:], tf.float32) / 255
            image = tf.cast(tf.round(tf.cast(image[..., :-1], tf.float32) * alpha + 255 * (1 - alpha)), tf.uint8)
        return image

    return decode


def encoded_images(builder: Any, split: str, feature: str) -> tf.data.Dataset:
    """Stream the encoded images of a split, string [], in the order in which they are stored."""
    decoders = tfds.decode.PartialDecoding({feature: True}, decoders={feature: tfds.decode.SkipDecoding()})
    stream = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders, read_config=_READ)
    return stream.map(lambda example: example[feature])
