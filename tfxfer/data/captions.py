"""Images with several captions: `captions:PATH` (rows of image and caption, in many forms) and `coco:PATH`.

All captions of an image make one example, so that no caption of an image is in another split than the image, and
metrics can compare with every reference.
"""

from tfxfer.cache import DataDirs
from tfxfer.data.assembly import assemble, check_classes, complete_splits, image_digests
from tfxfer.data.caption_files import CaptionRows, read_caption_rows
from tfxfer.data.dataset import Dataset
from tfxfer.data.image_files import ImageInfo, inspect_images
from tfxfer.data.rows import ImageFiles
from tfxfer.data.spec import Spec
from tfxfer.data.table_rows import bad_items_of


def from_captions(spec: Spec, given: dict[str, str], caches: DataDirs, seed: int) -> Dataset:
    """Load a file of images and captions."""
    bad = bad_items_of(spec, caches)
    rows = read_caption_rows(spec, given, caches, bad)
    places = [rows.image_place(row) for row in range(len(rows.names))]
    infos = inspect_images(rows.found.paths, places, rows.found.root, caches, bad)
    notes = rows.notes + bad.settle(len(infos), "images")
    return _dataset(spec, rows, infos, notes, seed)


def _dataset(spec: Spec, rows: CaptionRows, infos: list[ImageInfo | None], notes: list[str], seed: int) -> Dataset:
    """Make a `Dataset` of the images that can be used."""
    kept = [row for row, info in enumerate(infos) if info is not None]
    used = [info for info in infos if info is not None]
    names, places, splits = ([values[row] for row in kept] for values in (rows.names, rows.places, rows.splits))
    captions = [rows.captions[row] for row in kept]
    labels, keys = ([values[row] for row in kept] if values else None for values in (rows.labels, rows.keys))
    files = ImageFiles.of([str(rows.found.paths[row]) for row in kept], used)
    file = spec.name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    index = complete_splits([info.sha256 for info in used], labels, splits, file, seed, spec.draw_splits)
    check_classes(labels, index, places.__getitem__)
    digests = ["\0".join((digest, *each)) for digest, each in zip(image_digests(names, used), captions)]
    columns = {"caption": [each[0] for each in captions]} | ({"key": keys} if keys else {})
    return assemble(spec.source, columns, labels, files, digests, index, notes, captions)
