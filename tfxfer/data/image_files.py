"""Image files: which can be used, found out from their headers when a data set is loaded.

Images with several frames are refused: a data set cannot know which frame is meant.
"""

import hashlib
import io
import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from tfxfer.cache import atomic_file, key_of
from tfxfer.errors import UserError

SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"])
MAX_PIXELS = 89_478_485  # beyond it Pillow warns of a decompression bomb
GREY_MODES = frozenset(["1", "L", "LA", "La", "I;16", "I;16L", "I;16B"])
_LISTED = 5  # files named in one message
_VERSION = 1  # raised when `ImageInfo` or the checks change, so that no old cache is used


class ImageInfo(NamedTuple):
    """What the header of an image file holds, and the hash of the file."""

    sha256: str
    height: int
    width: int
    channels: int
    plain: bool  # TensorFlow's decoder gives the right pixels


class UnusableImage(Exception):
    """Why an image cannot be used, and the remedy."""


def inspect_images(files: Sequence[Path], places: Sequence[str], root: Path, cache_dir: Path) -> list[ImageInfo]:
    """Hash the bytes and check the header of every file; a file of known size and time is not read again.

    Args:
        files: N paths.
        places: N names for messages, e.g. "photos.csv row 17: image 'a.jpg'".
        root: Folder that the files belong to; names the cache.
        cache_dir: Folder of the cache.

    Raises:
        UserError: naming the files that cannot be used, why, and what to do.
    """
    cache = cache_dir / "inspected" / f"{key_of(str(root.resolve()), _VERSION)}.json"
    known = _read_cache(cache)
    rows: dict[str, list] = {}
    refused = []
    for path, place in zip(files, places):
        try:
            stat = path.stat()
            stamp = [stat.st_size, stat.st_mtime_ns]
            row = rows.get(str(path)) or known.get(str(path))
            rows[str(path)] = row if row and row[:2] == stamp else [*stamp, *check_image(path.read_bytes())]
        except UnusableImage as reason:
            refused.append(f"{place}: {reason}")
        except OSError as error:
            refused.append(f"{place}: cannot be read ({error.strerror or error}); put it there or take its entry out")
    if rows.keys() - known.keys() or any(known[name] != row for name, row in rows.items()):
        with atomic_file(cache) as temporary:
            temporary.write_text(json.dumps(known | rows), "utf-8")
    if refused:
        more = f"\n… and {len(refused) - _LISTED} more" if len(refused) > _LISTED else ""
        head = f"{len(refused)} of {len(files)} images cannot be used:\n" if len(files) > 1 else ""
        raise UserError(head + "\n".join(refused[:_LISTED]) + more)
    return [ImageInfo(*rows[str(path)][2:]) for path in files]


def _read_cache(cache: Path) -> dict[str, list]:
    """Return file -> [size, time, *info]; a damaged cache counts as empty, since it only saves time."""
    try:
        return json.loads(cache.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def check_image(data: bytes) -> ImageInfo:
    """Check the size, the header and, where it costs little, the completeness of an image file.

    Raises:
        UnusableImage: with the reason and the remedy.
    """
    if not data:
        raise UnusableImage("zero bytes; remove it or copy it again")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # odd EXIF data is no reason to refuse
        try:
            image = Image.open(io.BytesIO(data))
            info = _image_info(image, _orientation(image), data)
            Image.open(io.BytesIO(data)).verify()
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise UnusableImage(f"more than {MAX_PIXELS:,} pixels ({_first_number(error)}); scale it down") from error
        except UnidentifiedImageError as error:
            raise UnusableImage("not an image, or corrupt; remove it or save it again as JPEG or PNG") from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise UnusableImage(f"corrupt ({error}); remove it or copy it again") from error
    return info


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 = upright; a PNG without EXIF data in its header is not searched to its end."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return image.getexif().get(0x0112, 1)


def _image_info(image: Image.Image, orientation: int, data: bytes) -> ImageInfo:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise UnusableImage(f"{frames} frames; save the frame you mean as PNG")
    if image.mode in ("I", "F"):
        raise UnusableImage(f"pixels of type {image.mode} have no known range; save it with 8 or 16 bits")
    if image.format == "JPEG" and b"\xff\xd9" not in data[-4096:] and b"\xff\xd9" not in data:
        raise UnusableImage("truncated (the end-of-image mark is missing); copy it again")
    width, height = image.size[::-1] if orientation >= 5 else image.size
    plain = (
        image.format in ("JPEG", "PNG")
        and image.mode in ("L", "RGB")
        and orientation == 1
        and "transparency" not in image.info
    )
    channels = 1 if image.mode in GREY_MODES else 3
    return ImageInfo(hashlib.sha256(data).hexdigest(), height, width, channels, plain)


def _first_number(error: Warning | Exception) -> str:
    number = re.search(r"\d+", str(error))
    return f"{int(number[0]):,}" if number else str(error)
