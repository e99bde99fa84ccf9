"""Picture files: one cheap look at each when a set is loaded, and decoding while it is streamed.

Plain JPEG and PNG files are decoded by TensorFlow in parallel. All else (webp, tiff, gif, bmp, palettes,
transparency, CMYK, 16 bits, EXIF rotation) goes through Pillow. Pictures with several frames are refused:
which frame is meant is not ours to guess.
"""

import hashlib
import io
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from tfxfer.cache import atomic_file, key_of
from tfxfer.errors import UserError

if TYPE_CHECKING:
    from tfxfer.data.dataset import Dataset

SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"])
LARGEST = 89_478_485  # pixels; beyond it Pillow warns of a decompression bomb
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow and libjpeg turn colour into grey
_GREY = {"1", "L", "LA", "La", "I;16", "I;16L", "I;16B"}
_SHOWN = 5  # files named in one message
_INSPECTION = 1  # raised when `Facts` or the checks change, so that no old cache is believed


class Facts(NamedTuple):
    """What one look at a picture file found."""

    sha256: str
    height: int
    width: int
    channels: int
    plain: bool  # TensorFlow's decoder gives the right pixels


class _Refused(Exception):
    """Why a picture is not used, and the remedy."""


def inspect(files: Sequence[Path], places: Sequence[str], root: Path, cache_dir: Path) -> list[Facts]:
    """Hash the bytes and check the header of every file; one seen before, by size and time, is not read.

    Args:
        files: N paths.
        places: N names for messages, e.g. "photos.csv row 17: picture 'a.jpg'".
        root: Folder that the files belong to; names the cache.
        cache_dir: Folder of the cache.

    Raises:
        UserError: naming the files that cannot be used, why, and what to do.
    """
    cache = cache_dir / "inspected" / f"{key_of(str(root.resolve()), _INSPECTION)}.json"
    known = _seen_before(cache)
    fresh: dict[str, list] = {}
    refused = []
    for path, place in zip(files, places):
        try:
            stat = path.stat()
            stamp = [stat.st_size, stat.st_mtime_ns]
            seen = fresh.get(str(path)) or known.get(str(path))
            fresh[str(path)] = seen if seen and seen[:2] == stamp else [*stamp, *_look(path.read_bytes())]
        except _Refused as reason:
            refused.append(f"{place}: {reason}")
        except OSError as error:
            refused.append(f"{place}: cannot be read ({error.strerror or error}); put it there or take its entry out")
    if fresh.keys() - known.keys() or any(known[name] != row for name, row in fresh.items()):
        with atomic_file(cache) as temporary:
            temporary.write_text(json.dumps(known | fresh), "utf-8")
    if refused:
        more = f"\n… and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        head = f"{len(refused)} of {len(files)} pictures cannot be used:\n" if len(files) > 1 else ""
        raise UserError(head + "\n".join(refused[:_SHOWN]) + more)
    return [Facts(*fresh[str(path)][2:]) for path in files]


def _seen_before(cache: Path) -> dict[str, list]:
    """Return file -> [size, time, *facts]; a damaged cache counts as none, for it only saves time."""
    try:
        return json.loads(cache.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def _look(data: bytes) -> Facts:
    """Check size, header and, where it costs little, completeness."""
    if not data:
        raise _Refused("zero bytes; remove it or copy it again")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # odd EXIF data is no reason to refuse
        try:
            image = Image.open(io.BytesIO(data))
            facts = _checked(image, _orientation(image), data)
            Image.open(io.BytesIO(data)).verify()
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _Refused(f"more than {LARGEST:,} pixels ({_numbers(str(error))}); scale it down") from error
        except UnidentifiedImageError as error:
            raise _Refused("not a picture, or corrupt; remove it or save it again as JPEG or PNG") from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise _Refused(f"corrupt ({error}); remove it or copy it again") from error
    return facts


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 = upright; a PNG without EXIF data in its header is not searched to its end."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return image.getexif().get(0x0112, 1)


def _checked(image: Image.Image, rotated: int, data: bytes) -> Facts:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise _Refused(f"{frames} frames; save the frame you mean as PNG")
    if image.mode in ("I", "F"):
        raise _Refused(f"pixels of type {image.mode} have no known range; save it with 8 or 16 bits")
    if image.format == "JPEG" and b"\xff\xd9" not in data[-4096:] and b"\xff\xd9" not in data:
        raise _Refused("truncated (the end-of-image mark is missing); copy it again")
    width, height = image.size[::-1] if rotated >= 5 else image.size
    plain = (
        image.format in ("JPEG", "PNG")
        and image.mode in ("L", "RGB")
        and rotated == 1
        and "transparency" not in image.info
    )
    return Facts(hashlib.sha256(data).hexdigest(), height, width, 1 if image.mode in _GREY else 3, plain)


def _numbers(text: str) -> str:
    found = re.search(r"\d+", text)
    return f"{int(found[0]):,}" if found else text


def decode_with_pillow(path: Path) -> np.ndarray:
    """Return uint8 [H, W, 1 or 3]: upright, transparency laid on white, 16 bits scaled to 8."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):
            wide = np.asarray(image).astype(np.uint32)
            return ((wide + 128) // 257).astype(np.uint8)[..., None]  # 65535 -> 255
        grey = image.mode in _GREY
        if "transparency" in image.info or image.mode in ("LA", "La", "RGBA", "RGBa", "PA"):
            ink = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", ink.size, "white"), ink)
        pixels = np.asarray(image.convert("L" if grey else "RGB"))
        return pixels.reshape(*pixels.shape[:2], -1)


def _pillow_for_graph(path: bytes | np.ndarray) -> np.ndarray:
    name = np.asarray(path, object).item().decode()  # bytes within a graph, an array [] outside
    try:
        return decode_with_pillow(Path(name))
    except FileNotFoundError as error:
        raise UserError(f"{name}: was removed after the data was loaded; put it back") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{name}: cannot be decoded ({error}); remove it or copy it again") from error


def decode(path: tf.Tensor, plain: tf.Tensor | bool, channels: int) -> tf.Tensor:
    """Decode a picture file within a graph.

    Args:
        path: string [].
        plain: bool []: whether TensorFlow's decoder will do (`Facts.plain`); a Python bool builds no branch.
        channels: 1 when every picture of the set is grey, else 3.

    Returns:
        uint8 [H, W, channels].
    """

    def by_tensorflow() -> tf.Tensor:
        data = tf.io.read_file(path)
        # reads PNG too; the default method is off by up to 4 of 255, this one agrees with Pillow to the bit
        return tf.io.decode_jpeg(data, channels=channels, dct_method="INTEGER_ACCURATE")

    def by_pillow() -> tf.Tensor:
        image = tf.numpy_function(_pillow_for_graph, [path], tf.uint8)
        image.set_shape([None, None, None])
        return image if channels == 1 else tf.broadcast_to(image, tf.concat([tf.shape(image)[:2], [3]], 0))

    if isinstance(plain, bool):
        image = by_tensorflow() if plain else by_pillow()
    else:
        image = tf.cond(plain, by_tensorflow, by_pillow)
    return tf.ensure_shape(image, [None, None, channels])


def fit_picture(image: tf.Tensor, size: tuple[int, int] | None, channels: int | None) -> tf.Tensor:
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
    fitting = tf.reduce_all(tf.equal(tf.shape(image)[-3:-1], size))
    return tf.ensure_shape(tf.cond(fitting, lambda: image, resized), [*image.shape[:-3], *size, image.shape[-1]])


def read(path: str | Path, size: tuple[int, int] | None = None, channels: int | None = None) -> tf.Tensor:
    """Read one picture file as a data set would.

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
        facts = _look(path.read_bytes())
        image = decode(tf.constant(str(path)), facts.plain, facts.channels)
    except _Refused as reason:
        raise UserError(f"{path}: {reason}") from reason
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except tf.errors.OpError as error:
        raise UserError(f"{path}: cannot be decoded; remove it or copy it again") from error
    return fit_picture(image, size, channels)


@contextmanager
def readable_errors(*datasets: "Dataset") -> Iterator[None]:
    """Turn a decoding error from inside TensorFlow's graph into a `UserError` that names file and remedy.

    TensorFlow's message for a broken JPEG names no file, so the files of `datasets` are then decoded one by
    one until the broken one is found.

    >>> with readable_errors(photos):  # doctest: +SKIP
    ...     model.fit(photos.batches("train", 32))
    """
    try:
        yield
    except tf.errors.OpError as error:
        message = str(error)
        told = re.search(r"UserError: (.*?)\n", message + "\n")
        if told:
            raise UserError(told[1]) from error
        gone = isinstance(error, tf.errors.NotFoundError) and re.search(r"(\S[^;{]*); No such file", message)
        if gone:
            raise UserError(f"{gone[1]}: was removed after the data was loaded; put it back") from error
        broken = next(filter(None, (first_broken(dataset) for dataset in datasets)), None)
        if broken:
            raise UserError(f"{broken}: cannot be decoded; remove it or copy it again") from error
        raise


def first_broken(dataset: "Dataset") -> str | None:
    """Return the path of the first picture that cannot be decoded, or None."""
    for split in dataset.splits.values():
        files = getattr(split, "files", None)
        if files is None:
            continue
        for path, plain in zip(files.paths.numpy(), files.plain.numpy()):
            try:
                decode(tf.constant(path), bool(plain), files.channels)
            except tf.errors.OpError:
                return path.decode()
    return None
