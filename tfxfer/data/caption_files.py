"""Files of images with captions, read and checked before any image is decoded. Needs neither TensorFlow nor NumPy.

A file is one of rows (`tfxfer.data.tables`), where all rows of an image belong together, or COCO's JSON. What is left
out (empty captions, repeated rows, images without a caption) is counted in the notes, with the place of the first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfxfer.cache import DataDirs
from tfxfer.data.bad_items import BadItems
from tfxfer.data.cells import captions_of, cell, refuse_unusable
from tfxfer.data.class_folders import named_splits
from tfxfer.data.column_roles import caption_columns, several_columns
from tfxfer.data.forms import SAYS
from tfxfer.data.image_names import FoundImages, find_images, written
from tfxfer.data.spec import Spec, existing_file
from tfxfer.data.table_rows import stored_images
from tfxfer.data.tables import image_name, read_json, read_rows, said, table_form
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


_FACTS = ("split", "label", "key")  # what all rows of an image must agree in
Images = dict[str, CaptionedImage]  # by name: a path from the folder of the images


@dataclass
class CaptionRows:
    """M images with captions, as a file names them, and where they are.

    Attributes:
        names: M names, paths from the folder of the images.
        captions: M lists of captions, at least one each.
        places: M times file and row, for messages.
        splits: M names, "" where the file names none.
        labels: M class names, or None.
        keys: M keys by which the set is joined with others, or None.
        found: Where the images are.
        notes: What is left out, and what the file was read as.
    """

    names: list[str]
    captions: list[list[str]]
    places: list[str]
    splits: list[str]
    labels: list[str] | None
    keys: list[str] | None
    found: FoundImages
    notes: list[str]

    def image_place(self, row: int) -> str:
        """Return where an image is named, for messages."""
        return f"{self.places[row]}: image '{self.names[row]}'"


def read_caption_rows(spec: Spec, given: dict[str, str], caches: DataDirs, bad: BadItems) -> CaptionRows:
    """Read a file of captions and look for its images; what cannot be used is added to `bad`.

    Images that are missing are still among the rows.
    """
    path = existing_file(spec)
    form = said(path, "captions")
    coco = table_form(path, "captions") == "coco"
    if spec.kind == "coco" and not coco and form != SAYS["karpathy"]:
        images = images_of_coco(path)  # says what is wrong with it
    else:
        images = images_of_coco(path) if coco else images_of_rows(path, given, stored_images(caches), bad)
    captions, notes = _clean(images, path)
    notes += [f"read as: {form}"] if form and not (coco and spec.kind == "coco") else []
    names = list(captions)
    known = [images[name] for name in names]
    places = [image.place for image in known]
    splits = [image.facts.get("split") for image in known]
    labels: list[str] | None = [image.facts.get("label", "") for image in known]
    if not any(labels or ()):
        labels = None
    elif "" in (labels or ()):
        raise UserError(f"{places[(labels or []).index('')]}: has no label; give the image one or remove its rows")
    keys = [image.facts["key"] for image in known] if any("key" in image.facts for image in known) else None
    named = named_splits([split or "" for split in splits], places.__getitem__) if any(splits) else [""] * len(names)
    found = find_images(path, names, spec.image_dir)
    rows = CaptionRows(names, list(captions.values()), places, named, labels, keys, found, notes)
    if not any(found.paths):
        raise UserError(
            f"{places[0]}: image '{names[0]}' and all {len(names):,} others are missing from {found.root}, and from "
            "the folders in it and beside it; put them there, or name their folder with --image-dir / image_dir=FOLDER"
        )
    for row, why in found.why.items():
        bad.add(rows.image_place(row), why)
    return rows


def images_of_rows(path: Path, given: dict[str, str], stored: Path, bad: BadItems) -> Images:
    """Return the images of a file of rows; a row may give several captions, in several columns or in a list."""
    _, header, columns = caption_columns(given, path)
    split_column = next((column for column in header if column.strip().lower() == "split"), None)
    columns |= {"split": split_column} if split_column else {}
    several = several_columns(columns["caption"], header)
    needed = [name for role, name in columns.items() if role != "caption" or len(several) == 1]
    images: Images = {}
    for place, row in read_rows(path, "captions", needed, bad):
        facts = {role: cell(role, row[name], place, name) for role, name in columns.items() if role in _FACTS}
        name = written(image_name(row[columns["image"]], place, columns["image"], stored))
        if not name:
            bad.add(place, f"'{columns['image']}' is empty; name the image or remove the row")
            continue
        image = images.setdefault(name, CaptionedImage(place, facts))
        _check_same(image, facts, columns, place)
        for column in several:
            given_here = captions_of(row[column], place, column) if column in row else [""]
            image.captions += [(place, one) for one in given_here]
    return images


def _check_same(image: CaptionedImage, facts: dict[str, str], columns: dict[str, str], place: str) -> None:
    differs = next((role for role in (*facts, *image.facts) if facts.get(role) != image.facts.get(role)), None)
    if differs:
        here, there = (f"'{one[differs]}'" if differs in one else "missing" for one in (facts, image.facts))
        raise UserError(
            f"{place}: '{columns[differs]}' is {here}, but {there} in {image.place}, "
            "which has the same image; all rows of an image must agree"
        )


def images_of_coco(path: Path) -> Images:
    """Return the images of {"images": [{"id", "file_name"}, …], "annotations": [{"image_id", "caption"}, …]}."""
    whole = read_json(path)
    images: Images = {}
    names: dict[Any, str] = {}  # image id -> name
    for place, entry in _objects(path, whole, "images"):
        number, name = _value(entry, "id", (int, str), place), written(_value(entry, "file_name", str, place))
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
    return images


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
