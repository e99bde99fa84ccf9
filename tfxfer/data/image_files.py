"""Image files: which can be used, found out from their headers when a data set is loaded.

Images with several frames are refused: a data set cannot know which frame is meant.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from tfxfer.cache import DataDirs, key_of
from tfxfer.errors import DamagedFile, UserError
from tfxfer.given_files import file_problem, shown
from tfxfer.own_files import read_own_json, write_own_json

MAX_IMAGE_BYTES = 2**30  # more than the largest image that is read has without compression
MAX_PIXELS = 89_478_485  # beyond it Pillow warns of a decompression bomb
GREY_MODES = frozenset(["1", "L", "LA", "La", "I;16", "I;16L", "I;16B"])
_LISTED = 5  # files named in one message
_VERSION = 2  # raised when `ImageInfo` or the checks change, so that no old cache is used


class ImageInfo(NamedTuple):
    """What the header of an image file holds, and the hash of the file."""

    sha256: str
    height: int
    width: int
    channels: int
    plain: bool  # TensorFlow's decoder gives the right pixels


class UnusableImage(Exception):
    """Why an image cannot be used, and the remedy."""


def inspect_images(files: Sequence[Path], places: Sequence[str], root: Path, caches: DataDirs) -> list[ImageInfo]:
    """Hash the bytes and check the header of every file; headers of known bytes are not checked again.

    The bytes are read each time: other pixels may have the same size and time, as from an archive with fixed dates.

    Args:
        files: N paths.
        places: N names for messages, e.g. "photos.csv row 17: image 'a.jpg'".
        root: Folder that the files belong to; names the cache.
        caches: Data folders.

    Raises:
        UserError: naming the files that cannot be used, why, and what to do.
    """
    names = ("inspected", f"{key_of(str(root.resolve()), _VERSION)}.json")
    known: dict[str, list] = {}  # SHA-256 -> the rest of an `ImageInfo`
    for cache in (*caches.shared(*names), caches.own.joinpath(*names)):
        known |= _read_cache(cache)
    infos: dict[Path, ImageInfo] = {}
    refused = []
    for path, place in zip(files, places):
        try:
            if path not in infos:
                data = read_bytes(path)
                sha256 = hashlib.sha256(data).hexdigest()
                infos[path] = ImageInfo(sha256, *known[sha256]) if sha256 in known else check_image(data)
        except UnusableImage as reason:
            refused.append(f"{shown(place)}: {reason}")
        except OSError as error:
            what = error.strerror or error
            refused.append(f"{shown(place)}: cannot be read ({what}); put it there or take its entry out")
    found = {info.sha256: list(info[1:]) for info in infos.values()}
    if found.keys() - known.keys():
        write_own_json(caches.own.joinpath(*names), {"images": known | found})
    if refused:
        more = f"\n… and {len(refused) - _LISTED} more" if len(refused) > _LISTED else ""
        head = f"{len(refused)} of {len(files)} images cannot be used:\n" if len(files) > 1 else ""
        raise UserError(head + "\n".join(refused[:_LISTED]) + more)
    return [infos[path] for path in files]


def _read_cache(cache: Path) -> dict[str, list]:
    """Return what a cache knows; a damaged one counts as empty, since it only saves time."""
    try:
        return read_own_json(cache, "it is made again", {"images": dict})["images"]
    except (FileNotFoundError, DamagedFile):
        return {}


def read_bytes(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        UnusableImage: it is not a regular file, has no bytes or too many, or its path is not UTF-8.
        OSError: it cannot be read.
    """
    try:
        str(path).encode("utf-8")  # TensorFlow takes no other path
    except UnicodeEncodeError as error:
        raise UnusableImage("its path is not UTF-8; rename it") from error
    stat = path.stat()
    problem = file_problem(stat)
    if problem:
        raise UnusableImage(problem)
    if not stat.st_size:
        raise UnusableImage("zero bytes; remove it or copy it again")
    if stat.st_size > MAX_IMAGE_BYTES:
        raise UnusableImage(f"{stat.st_size / 2**30:.1f} GiB; save it smaller, with at most {MAX_PIXELS:,} pixels")
    return path.read_bytes()


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
