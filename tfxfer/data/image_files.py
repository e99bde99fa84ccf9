"""Image files: which can be used, found out from their headers when a data set is loaded.

Images with several frames are refused: a data set cannot know which frame is meant. Of MPO, in which telephones save
photographs with a second view or a preview, the first frame is meant.
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
from tfxfer.data.bad_items import BadItems
from tfxfer.errors import DamagedFile
from tfxfer.given_files import file_problem
from tfxfer.own_files import read_own_json, write_own_json

MAX_IMAGE_BYTES = 2**30  # more than the largest image that is read has without compression
MAX_PIXELS = 89_478_485  # beyond it Pillow warns of a decompression bomb
GREY_MODES = frozenset(["1", "L", "LA", "La", "I;16", "I;16L", "I;16B"])
_VERSION = 3  # raised when `ImageInfo` or the checks change, so that no old cache is used


class ImageInfo(NamedTuple):
    """What the header of an image file holds, and the hash of the file."""

    sha256: str
    height: int
    width: int
    channels: int
    plain: bool  # TensorFlow's decoder gives the right pixels


class UnusableImage(Exception):
    """Why an image cannot be used, and the remedy."""


def inspect_images(
    files: Sequence[Path | None], places: Sequence[str], root: Path, caches: DataDirs, bad: BadItems | None = None
) -> list[ImageInfo | None]:
    """Hash the bytes and check the header of every file; headers of known bytes are not checked again.

    The bytes are read each time: other pixels may have the same size and time, as from an archive with fixed dates.

    Args:
        files: N paths; None for those that are known to be missing.
        places: N names for messages, e.g. "photos.csv row 17: image 'a.jpg'".
        root: Folder that the files belong to; names the cache.
        caches: Data folders.
        bad: Gets the files that cannot be used, why, and what to do.

    Returns:
        N infos, None for a file that cannot be used.

    Raises:
        UserError: `bad` is None, and there is a file that cannot be used.
    """
    unusable = bad if bad is not None else BadItems(str(root))
    names = ("inspected", f"{key_of(str(root.resolve()), _VERSION)}.json")
    known: dict[str, list] = {}  # SHA-256 -> the rest of an `ImageInfo`
    for cache in (*caches.shared(*names), caches.own.joinpath(*names)):
        known |= _read_cache(cache)
    infos: dict[Path | None, ImageInfo | None] = {None: None}
    why: dict[Path | None, str] = {}
    for path, place in zip(files, places):
        if path not in infos and path is not None:
            infos[path], why[path] = _inspected(path, known)
        if why.get(path):
            unusable.add(place, why[path])
    found = {info.sha256: list(info[1:]) for info in infos.values() if info is not None}
    if found.keys() - known.keys():
        write_own_json(caches.own.joinpath(*names), {"images": known | found})
    if bad is None:
        unusable.settle(len(files), "images")
    return [infos[path] for path in files]


def _inspected(path: Path, known: dict[str, list]) -> tuple[ImageInfo | None, str]:
    """Return what an image file holds, or None and why it cannot be used."""
    try:
        data = read_bytes(path)
        sha256 = hashlib.sha256(data).hexdigest()
        return (ImageInfo(sha256, *known[sha256]) if sha256 in known else check_image(data)), ""
    except UnusableImage as reason:
        return None, str(reason)
    except OSError as error:
        return None, f"cannot be read ({error.strerror or error}); put it there or take its entry out"


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
            if image.format != "JPEG":  # Pillow has no check of JPEG files beyond their header
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
    if image.format == "JPEG" and not {"exif", "xmp"} & set(image.info):  # saves a third of the time of a small file
        return 1
    return image.getexif().get(0x0112, 1)


def _image_info(image: Image.Image, orientation: int, data: bytes) -> ImageInfo:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # the other frames of a telephone's photograph are views of the first
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
