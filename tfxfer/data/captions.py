"""Images with several captions: `captions:PATH` (rows of image and caption) and `coco:PATH` (COCO's JSON).

All captions of an image make one example, so that no caption of an image is in another split than the image, and
metrics can compare with every reference. What is left out (empty captions, repeated rows, images without a caption) is
counted in the notes, with the place of the first.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfxfer.cache import DataDirs
from tfxfer.data.assembly import assemble, check_classes, complete_splits, image_digests, image_folder, named_splits
from tfxfer.data.cells import captions_of, cell, refuse_unusable
from tfxfer.data.dataset import Dataset
from tfxfer.data.image_files import inspect_images
from tfxfer.data.rows import ImageFiles
from tfxfer.data.spec import Spec, caption_columns, existing_file
from tfxfer.data.tables import read_json, read_rows
from tfxfer.errors import UserError


@dataclass
class CaptionedImage:
    """An image and its captions, as a file names them.

    Attributes:
        place: Where it is named first, for messages: "photos.csv row 17".
        facts: "split" and "label", where the file has them; all rows of an image must agree.
        captions: (place, caption) in the order of the file.
    """

    place: str
    facts: dict[str, str]
    captions: list[tuple[str, str]] = field(default_factory=list)


Images = dict[str, CaptionedImage]  # by name: a path from the folder of the images


def from_captions(spec: Spec, given: dict[str, str], caches: DataDirs, seed: int) -> Dataset:
    """Load a CSV or JSON-lines file of images and captions; in JSON lines a caption may be a list of captions."""
    path = existing_file(spec)
    kind, header, columns = caption_columns(given, path)
    split_column = next((column for column in header if column.strip().lower() == "split"), None)
    columns |= {"split": split_column} if split_column else {}
    images: Images = {}
    for line, row in read_rows(path, kind, list(columns.values())):
        place = f"{path.name} row {line}"
        facts = {role: cell(role, row[name], place, name) for role, name in columns.items() if role != "caption"}
        name = facts.pop("image")
        if not name:
            raise UserError(f"{place}: '{columns['image']}' is empty; name the image or remove the row")
        image = images.setdefault(os.path.normpath(name), CaptionedImage(place, facts))
        _check_same(image, facts, columns, place)
        image.captions += [(place, one) for one in captions_of(row[columns["caption"]], place, columns["caption"])]
    return _dataset(spec, path, images, caches, seed)


def _check_same(image: CaptionedImage, facts: dict[str, str], columns: dict[str, str], place: str) -> None:
    differs = next((role for role in (*facts, *image.facts) if facts.get(role) != image.facts.get(role)), None)
    if differs:
        here, there = (f"'{one[differs]}'" if differs in one else "missing" for one in (facts, image.facts))
        raise UserError(
            f"{place}: '{columns[differs]}' is {here}, but {there} in {image.place}, "
            "which has the same image; all rows of an image must agree"
        )


def from_coco(spec: Spec, given: dict[str, str], caches: DataDirs, seed: int) -> Dataset:
    """Load {"images": [{"id", "file_name"}, …], "annotations": [{"image_id", "caption"}, …]}."""
    path = existing_file(spec)
    whole = read_json(path)
    images: Images = {}
    names: dict[Any, str] = {}  # image id -> name
    for place, entry in _objects(path, whole, "images"):
        number, name = _value(entry, "id", (int, str), place), os.path.normpath(_value(entry, "file_name", str, place))
        if number in names:
            first = images[names[number]].place
            raise UserError(f"{place}: its id {number!r} is also that of {first}; give each image its own")
        names[number] = name
        facts = {} if entry.get("split") is None else {"split": _value(entry, "split", str, place)}
        _check_same(images.setdefault(name, CaptionedImage(place, facts)), facts, {"split": "split"}, place)
    for place, annotation in _objects(path, whole, "annotations"):
        if "caption" not in annotation and {"bbox", "segmentation", "keypoints"} & set(annotation):
            raise UserError(f"{place}: has boxes and no caption; COCO's captions are in another file, captions_*.json")
        number = _value(annotation, "image_id", (int, str), place)
        if number not in names:
            raise UserError(f"{place}: no image in 'images' has the id {number!r}; add the image or remove this")
        images[names[number]].captions.append((place, _value(annotation, "caption", str, place)))
    return _dataset(spec, path, images, caches, seed)


def _objects(path: Path, whole: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, object) of one of the two lists."""
    objects = whole.get(key) if isinstance(whole, dict) else None
    if not isinstance(objects, list) or not objects:
        has = f"an object with {', '.join(map(repr, whole)) or 'nothing'}" if isinstance(whole, dict) else "no object"
        raise UserError(
            f"{path.name}: needs two lists, 'images' and 'annotations', with something in both; it is {has}"
        )
    for i, each in enumerate(objects):
        if not isinstance(each, dict):
            raise UserError(f"{path.name} {key}[{i}]: is no object {{…}}")
        yield f"{path.name} {key}[{i}]", each


def _value(entry: dict[str, Any], key: str, kind: Any, place: str) -> Any:
    value = entry.get(key)
    if value is None or value == "":
        raise UserError(f"{place}: '{key}' is missing; it has {', '.join(map(repr, entry)) or 'no key'}")
    if not isinstance(value, kind):
        raise UserError(
            f"{place}: '{key}' must be a string{' or number' if kind is not str else ''}, not {value!r:.40}"
        )
    if isinstance(value, str):
        refuse_unusable(value, f"{place}: '{key}'", name=key != "caption")
    return value


def _dataset(spec: Spec, path: Path, images: Images, caches: DataDirs, seed: int) -> Dataset:
    """Make a `Dataset` of the images that have captions."""
    captions, notes = _clean(images, path)
    names = list(captions)
    place = [images[name].place for name in names].__getitem__
    root = image_folder(path, names, spec.image_dir)
    if not any(os.path.exists(root / name) for name in names):  # noqa: PTH110 - also answers for a name too long
        raise UserError(
            f"{place(0)}: image '{names[0]}' and all {len(names):,} others are missing from {root}, and from the "
            "folders in it and beside it; put them there, or name their folder with image_dir=FOLDER"
        )
    places = [f"{place(i)}: image '{name}'" for i, name in enumerate(names)]
    infos = inspect_images([root / name for name in names], places, root, caches)
    files = ImageFiles.of([str(root / name) for name in names], infos)
    given = [images[name].facts.get("split") for name in names]
    splits = named_splits([split or "" for split in given], place) if any(given) else [""] * len(names)
    labels = [images[name].facts.get("label", "") for name in names]
    labelled = labels if any(labels) else None
    if labelled and not all(labels):
        raise UserError(f"{place(labels.index(''))}: has no label; give the image one or remove its rows")
    index = complete_splits([info.sha256 for info in infos], labelled, splits, path.name, seed, spec.draw_splits)
    check_classes(labelled, index, place)
    digests = ["\0".join((digest, *captions[n])) for digest, n in zip(image_digests(names, infos), names)]
    columns = {"caption": [captions[name][0] for name in names]}
    if any("key" in images[name].facts for name in names):
        columns["key"] = [images[name].facts["key"] for name in names]
    return assemble(spec.source, columns, labelled, files, digests, index, notes, list(captions.values()))


def _clean(images: Images, path: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Return name -> its captions, for images that have any, and notes on what is left out."""
    empty: list[str] = []
    repeated: list[str] = []
    without: list[str] = []
    captions: dict[str, list[str]] = {}
    for name, image in images.items():
        kept: dict[str, None] = {}
        for place, caption in image.captions:
            text = caption.strip()
            if text and text not in kept:
                kept[text] = None
            else:
                (repeated if text else empty).append(place)
        if kept:
            captions[name] = list(kept)
        else:
            without.append(f"{image.place}: '{name}'")
    if not captions:
        raise UserError(f"{path}: no image in it has a caption; check that it is the file you mean")
    left_out = {
        "empty captions are left out; write them or remove their rows": empty,
        "captions that repeat one of the same image are left out": repeated,
        "images without a caption are left out": without,
    }
    notes = [f"{len(places):,} {what} (e.g. {places[0]})" for what, places in left_out.items() if places]
    single = sum(len(each) == 1 for each in captions.values())
    notes += [f"{single:,} of {len(captions):,} images have one caption only"] if single else []
    return captions, notes
