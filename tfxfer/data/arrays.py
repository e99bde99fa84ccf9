"""`from_arrays`: a data set of lists and arrays in memory."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.cache import DataDirs, data_dirs
from tfxfer.data.assembly import assemble, check_classes, complete_splits, image_digests
from tfxfer.data.bad_items import BadItems
from tfxfer.data.cells import captions_of, cell
from tfxfer.data.class_folders import named_splits
from tfxfer.data.dataset import Dataset
from tfxfer.data.image_files import ImageInfo, inspect_images
from tfxfer.data.rows import ImageFiles
from tfxfer.data.spec import given_path
from tfxfer.data.splits import same_text
from tfxfer.errors import UserError

ROLES = {"texts": "text", "questions": "question", "answers": "answer"}  # argument -> key of an example
WANTED = "give a list or array with one value for each example"


def from_arrays(
    *,
    texts: Any = None,
    images: Any = None,
    labels: Any = None,
    captions: Any = None,
    questions: Any = None,
    answers: Any = None,
    splits: Any = None,
    name: str = "arrays",
    data_dir: str | Path | None = None,
    seed: int = 0,
    draw_splits: bool = True,
) -> Dataset:
    """Make a data set of N examples that are in memory.

    Lists, tuples, NumPy arrays, tensors and columns of a data frame are taken.

    Args:
        texts: N strings.
        images: uint8 [N, H, W, C] or [N, H, W] with C of 1 or 3, or N paths of image files.
        labels: N names of classes, or whole numbers.
        captions: N strings, or N lists of strings, where an image has several.
        questions: N strings.
        answers: N strings.
        splits: N times "train", "validation" or "test"; without it, they are cut as `load` does.
        name: What the set is called in reports.
        data_dir: As for `load`; what the headers of image files say is kept there.
        seed: As for `load`.
        draw_splits: As for `load`.

    Returns:
        A `Dataset`, as from a file with the same content.

    Raises:
        UserError: A list is missing or has another length, or a value cannot be used; the message names its place.

    >>> tfxfer.from_arrays(texts=["red", "blue"] * 9, labels=[0, 1] * 9)      # doctest: +SKIP
    """
    given = {"texts": texts, "labels": labels, "captions": captions, "questions": questions, "answers": answers}
    lists = {argument: _listed(argument, values) for argument, values in given.items() if values is not None}
    if images is None and not {"texts", "captions", "questions"} & set(lists):
        raise UserError("from_arrays: give texts=, images=, captions= or questions=; there is nothing to learn from")
    pictures = None if images is None else _pictures(images, data_dirs(data_dir))
    count = _common_length(lists | ({} if pictures is None else {"images": pictures[0]}))
    columns: dict[str, Any] = {
        role: [cell(role, value, f"from_arrays row {row}", argument) for row, value in enumerate(lists[argument])]
        for argument, role in ROLES.items()
        if argument in lists
    }
    references = [_captions(row, each) for row, each in enumerate(lists.get("captions", ()))]
    if references:
        columns["caption"] = [each[0] for each in references]
    classes = [_label(row, value) for row, value in enumerate(lists["labels"])] if "labels" in lists else None
    files, digests = None, None
    if pictures is not None:
        hashes = pictures[1]
        files, digests = pictures[2], pictures[3]
        columns |= {"image": pictures[0]} if files is None else {}
    keys = hashes if pictures is not None else [same_text(text) for text in columns[_first_text(columns)]]
    place: Callable[[int], str] = "from_arrays row {}".format
    named = [""] * count if splits is None else named_splits(list(map(str, _listed("splits", splits))), place)
    _common_length({"splits": named, "all others": keys})
    index = complete_splits(keys, classes, named, name, seed, draw_splits)
    check_classes(classes, index, place)
    return assemble(name, columns, classes, files, digests, index, [], references)


def _listed(argument: str, values: Any) -> list[Any]:
    """Return values as a list of Python's own types; bytes are UTF-8."""
    if isinstance(values, str | bytes | dict) or not (hasattr(values, "__len__") and hasattr(values, "__getitem__")):
        raise UserError(f"from_arrays: {argument}= is a {type(values).__name__}; {WANTED}")
    plain = values if isinstance(values, list | tuple) else np.asarray(values).tolist()
    if not isinstance(plain, list | tuple):
        raise UserError(f"from_arrays: {argument}= has no length; {WANTED}")
    return [_plain(argument, row, value) for row, value in enumerate(plain)]


def _plain(argument: str, row: int, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray | tuple):
        value = list(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"from_arrays row {row}: '{argument}' is not UTF-8; decode it first") from error
    return value


def _label(row: int, value: Any) -> str:
    label = cell("label", value, f"from_arrays row {row}", "labels")
    if not label:
        raise UserError(f"from_arrays row {row}: 'labels' is empty; give the example a label or leave it out")
    return label


def _captions(row: int, value: Any) -> list[str]:
    found = [one.strip() for one in captions_of(value, f"from_arrays row {row}", "captions") if one.strip()]
    if not found:
        raise UserError(f"from_arrays row {row}: 'captions' has no caption; write one or leave the example out")
    return list(dict.fromkeys(found))


def _common_length(lists: dict[str, Sequence[Any]]) -> int:
    lengths = {argument: len(values) for argument, values in lists.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{argument} {length:,}" for argument, length in lengths.items())
        raise UserError(f"from_arrays: the lists differ in length: {said}; {WANTED}")
    count = next(iter(lengths.values()))
    if not count:
        raise UserError(f"from_arrays: the lists are empty; {WANTED}")
    return count


def _first_text(columns: dict[str, Any]) -> str:
    return next(role for role in ("text", "question", "caption") if role in columns)


def _pictures(images: Any, caches: DataDirs) -> tuple[Any, list[str], ImageFiles | None, list[str]]:
    """Return pixels or paths, hashes of the content, files, and what each adds to the fingerprint."""
    first = images[0] if hasattr(images, "__getitem__") and hasattr(images, "__len__") and len(images) else None
    if isinstance(first, str | Path):
        return _image_files([given_path(str(path)) for path in images], caches)
    pixels = _pixels(images)
    hashes = [hashlib.sha256(f"{each.shape}".encode() + each.tobytes()).hexdigest() for each in pixels]
    return pixels, hashes, None, [f"\0{digest}" for digest in hashes]


def _image_files(paths: list[Path], caches: DataDirs) -> tuple[Any, list[str], ImageFiles | None, list[str]]:
    bad = BadItems("from_arrays", folder=caches.own / "bad_items")
    places = [f"images[{row}] '{path}'" for row, path in enumerate(paths)]
    found = inspect_images(paths, places, paths[0].parent, caches, bad)
    bad.settle(len(paths), "images")
    infos: list[ImageInfo] = [info for info in found if info is not None]
    digests = image_digests([path.name for path in paths], infos)
    return paths, [info.sha256 for info in infos], ImageFiles.of(map(str, paths), infos), digests


def _pixels(images: Any) -> np.ndarray:
    """Return uint8 [N, H, W, 1 or 3]."""
    wanted = "give uint8 [N, height, width, 1 or 3] with values 0..255, or a list of paths"
    try:
        pixels = np.asarray(images)
    except ValueError as error:
        raise UserError(f"from_arrays: images= differ in size; resize them, or {wanted}") from error
    if pixels.dtype != np.uint8:
        raise UserError(f"from_arrays: images= are of type {pixels.dtype}; {wanted}")
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3):
        raise UserError(f"from_arrays: images= have the shape {pixels.shape}; {wanted}")
    return pixels
