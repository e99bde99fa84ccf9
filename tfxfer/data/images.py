"""Decode and resize images.

Plain JPEG and PNG files are decoded by TensorFlow in parallel. All other files (webp, tiff, gif, bmp, palettes,
transparency, CMYK, 16 bits, EXIF rotation) are decoded by Pillow.
"""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from tfxfer.data.image_files import GREY_MODES, UnusableImage, check_image, read_bytes
from tfxfer.errors import UserError
from tfxfer.given_files import shown

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow and libjpeg turn colour into grey


class HasSplits(Protocol):
    """A `Dataset`, as far as `readable_errors` needs it."""

    @property
    def splits(self) -> Mapping[str, Any]:
        """Name -> `Rows` or `Records`."""
        ...


def decode_with_pillow(file: Path | io.BytesIO) -> np.ndarray:
    """Return uint8 [H, W, 1 or 3]: upright, transparency laid on white, 16 bits scaled to 8."""
    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):
            wide = np.asarray(image).astype(np.uint32)
            return ((wide + 128) // 257).astype(np.uint8)[..., None]  # 65535 -> 255
        grey = image.mode in GREY_MODES
        if "transparency" in image.info or image.mode in ("LA", "La", "RGBA", "RGBa", "PA"):
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        pixels = np.asarray(image.convert("L" if grey else "RGB"))
        return pixels.reshape(*pixels.shape[:2], -1)


def _bytes_of(value: bytes | np.ndarray) -> bytes:
    return np.asarray(value, object).item()  # bytes within a graph, an array [] outside


def _read_unchanged(path: bytes | np.ndarray, sha256: bytes | np.ndarray) -> bytes:
    """Return the bytes of a file if they are the ones that were hashed when the data was loaded."""
    name = _bytes_of(path).decode()
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - for each of many images, and twice as fast as by Path
            data = file.read()
    except FileNotFoundError as error:
        raise UserError(f"{name}: was removed after the data was loaded; put it back") from error
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror or error})") from error
    if hashlib.sha256(data).hexdigest() != _bytes_of(sha256).decode():
        raise UserError(f"{name}: was changed after the data was loaded; run the same command again")
    return data


def _decode_in_graph(data: bytes | np.ndarray, path: bytes | np.ndarray) -> np.ndarray:
    name = _bytes_of(path).decode()
    try:
        return decode_with_pillow(io.BytesIO(_bytes_of(data)))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{name}: cannot be decoded ({error}); remove it or copy it again") from error


def decode_image(path: tf.Tensor, plain: tf.Tensor | bool, channels: int, sha256: tf.Tensor | None = None) -> tf.Tensor:
    """Decode an image file within a graph.

    Args:
        path: string [].
        plain: bool []: whether TensorFlow's decoder will do (`ImageInfo.plain`); a Python bool builds no branch.
        channels: 1 when every image of the data set is grey, else 3.
        sha256: string [], the hash that the file's bytes must have; None takes any bytes.

    Returns:
        uint8 [H, W, channels].

    Raises:
        UserError: The bytes are other ones; inside a graph it comes as an `OpError`, see `readable_errors`.
    """
    if sha256 is None:
        data = tf.io.read_file(path)
    else:
        data = tf.ensure_shape(tf.numpy_function(_read_unchanged, [path, sha256], tf.string), [])

    def by_tensorflow() -> tf.Tensor:
        # reads PNG too; the default method is off by up to 4 of 255, this one agrees with Pillow to the bit
        return tf.io.decode_jpeg(data, channels=channels, dct_method="INTEGER_ACCURATE")

    def by_pillow() -> tf.Tensor:
        image = tf.numpy_function(_decode_in_graph, [data, path], tf.uint8)
        image.set_shape([None, None, None])
        return image if channels == 1 else tf.broadcast_to(image, tf.concat([tf.shape(image)[:2], [3]], 0))

    if isinstance(plain, bool):
        image = by_tensorflow() if plain else by_pillow()
    else:
        image = tf.cond(plain, by_tensorflow, by_pillow)
    return tf.ensure_shape(image, [None, None, channels])


def resize_image(image: tf.Tensor, size: tuple[int, int] | None, channels: int | None) -> tf.Tensor:
    """Convert channels and stretch to a size: `tf.image.resize`, bilinear, antialiased, rounded to uint8.

    Args:
        image: uint8 [..., H, W, C] with C known, 1 or 3.
        size: (height, width) in pixels, or None to keep.
        channels: 1, 3 or None to keep.
    """
    if channels is not None and channels != image.shape[-1]:
        if channels == 3:
            image = tf.repeat(image, 3, axis=-1)
        else:
            grey = tf.tensordot(tf.cast(image, tf.float32), tf.constant(LUMA), 1)[..., None]
            image = tf.cast(tf.round(grey), tf.uint8)
    if size is None or tuple(image.shape[-3:-1]) == tuple(size):
        return image

    def resized() -> tf.Tensor:
        smooth = tf.image.resize(image, size, antialias=True)
        return tf.saturate_cast(tf.round(smooth), tf.uint8)

    if None not in image.shape[-3:-1]:
        return resized()
    same = tf.reduce_all(tf.equal(tf.shape(image)[-3:-1], size))
    return tf.ensure_shape(tf.cond(same, lambda: image, resized), [*image.shape[:-3], *size, image.shape[-1]])


def read_image(path: str | Path, size: tuple[int, int] | None = None, channels: int | None = None) -> tf.Tensor:
    """Read one image file as a data set would.

    Args:
        path: The file.
        size: (height, width) in pixels to stretch to, or None to keep.
        channels: 1 or 3, or None to keep.

    Returns:
        uint8 [H, W, C].

    Raises:
        UserError: when the file is missing or cannot be used.
    """
    path = Path(path)
    try:
        info = check_image(read_bytes(path))
        image = decode_image(tf.constant(str(path)), info.plain, info.channels)
    except UnusableImage as reason:
        raise UserError(f"{shown(str(path))}: {reason}") from reason
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except tf.errors.OpError as error:
        raise UserError(f"{path}: cannot be decoded; remove it or copy it again") from error
    return resize_image(image, size, channels)


@contextmanager
def readable_errors(*datasets: HasSplits) -> Iterator[None]:
    """Turn a decoding error from inside TensorFlow's graph into a `UserError` that names file and remedy.

    TensorFlow's message for a broken JPEG names no file. The files of `datasets` are then decoded one by one until
    the broken one is found.

    >>> with readable_errors(photos):  # doctest: +SKIP
    ...     model.fit(photos.batches("train", 32))
    """
    try:
        yield
    except tf.errors.OpError as error:
        message = str(error)
        ours = re.search(r"UserError: (.*?)\n", message + "\n")
        if ours:
            raise UserError(ours[1]) from error
        missing = isinstance(error, tf.errors.NotFoundError) and re.search(r"(\S[^;{]*); No such file", message)
        if missing:
            raise UserError(f"{missing[1]}: was removed after the data was loaded; put it back") from error
        broken = next(filter(None, map(_first_broken, datasets)), None)
        if broken:
            raise UserError(f"{broken}: cannot be decoded; remove it or copy it again") from error
        raise


def _first_broken(dataset: HasSplits) -> str | None:
    """Return the path of the first image that cannot be decoded, or None."""
    for split in dataset.splits.values():
        files = getattr(split, "files", None)
        if files is None:
            continue
        for path, plain in zip(files.paths.numpy(), files.plain.numpy()):
            try:
                decode_image(tf.constant(path), bool(plain), files.channels)
            except tf.errors.OpError:
                return path.decode()
    return None
