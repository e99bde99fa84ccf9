"""Data sets prepared by TensorFlow Datasets, the built-in ones among them: read once, held in memory when they fit."""

import contextlib
import io
import shutil
import warnings
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfxfer.cache import DataDirs, changed_files, locked
from tfxfer.cache import digests_of as file_digests
from tfxfer.data.assembly import check_classes, complete_splits, fingerprint_of, notes_on_classes, numbered
from tfxfer.data.builders import BUILDERS
from tfxfer.data.cells import class_name
from tfxfer.data.class_folders import SPLIT_NAMES
from tfxfer.data.columns import Columns, channels, decoder, encoded_images, read_columns
from tfxfer.data.dataset import Dataset, Split
from tfxfer.data.overlap import digests_of
from tfxfer.data.records import Records
from tfxfer.data.rows import Rows
from tfxfer.data.spec import BUILT_IN, CONTENT_ROLES, Spec, find_columns
from tfxfer.data.splits import SPLITS, class_order, same_text
from tfxfer.errors import DamagedFile, UserError
from tfxfer.in_use import use
from tfxfer.own_files import read_own_json, write_own_json
from tfxfer.terminal import bars_of_libraries

MAX_BYTES_IN_MEMORY = 256 * 2**20  # of decoded images
MANIFEST = "files.json"  # in the folder of a built-in set: the SHA-256 of its files
NO_LABEL = ("", "-1")  # values of a label column for examples without such a label


def from_tfds(spec: Spec, given: dict[str, str], caches: DataDirs, seed: int, download: bool) -> Dataset:
    """Load a built-in set or `tfds:NAME[:SPLIT]`; makes or downloads it first when needed."""
    builder = _prepared(spec, caches, download)
    use(Path(builder.data_dir))
    features = dict(builder.info.features.items())
    roles = _roles(spec, given, features)
    stored = _stored_splits(spec, builder)
    in_memory = "image" in roles and _bytes(builder, features[roles["image"]], stored) <= MAX_BYTES_IN_MEMORY
    read = {split: read_columns(builder, split, features, roles, in_memory) for split in stored}
    columns: dict[str, Any] = {
        key: np.concatenate([c.values[key] for c in read.values()]) for key in roles if key != "image"
    }
    digests = [digest for c in read.values() for digest in c.digests]
    given_splits = [ours for split, ours in stored.items() for _ in range(len(read[split]))]
    labels = _label_names(columns["label"], features[roles["label"]]) if "label" in roles else None
    keys = digests or [same_text(text.decode()) for text in columns[_content(roles)]]
    index = complete_splits(keys, labels, given_splits, spec.source, seed, spec.draw_splits)
    index, notes = _with_known_classes(spec, given, labels, index)
    if labels is not None:
        kept = set(labels) if not notes else {labels[i] for rows in index.values() for i in rows}
        class_names = class_order(kept)
        columns["label"] = numbered([label if label in kept else class_names[0] for label in labels], class_names)
    else:
        class_names = ()
    whole = _table(builder, features, roles, columns, read)
    parts: dict[str, Split] = {split: whole.take(index[split]) for split in SPLITS}
    name = spec.source
    fingerprint = fingerprint_of(parts, class_names, digests or None)
    return Dataset(
        name,
        class_names,
        parts,
        fingerprint,
        (*notes, *notes_on_classes(class_names)),
        image_digests=digests_of(digests),
    )


def built_in(spec: Spec, folder: Path) -> Any:
    """Return the TFDS builder of a built-in set, prepared or not."""
    name, _, config = spec.name.partition("/")
    return BUILDERS[name](data_dir=folder, **({"config": c} if (c := spec.prepared or config) else {}))


def prepare_built_in(spec: Spec, folder: Path) -> Any:
    """Prepare a built-in set in a folder of prepared data, unless it is there and whole; return its builder.

    A set of which a file has changed is made again, with a warning.
    """
    for damaged in _damaged(spec, folder):
        with locked(damaged):
            if damaged in _damaged(spec, folder):  # no other process has made it again meanwhile
                warnings.warn(f"{damaged}: the prepared data are damaged; they are made again", stacklevel=2)
                shutil.rmtree(damaged)
    builder = built_in(spec, folder)
    if not builder.is_prepared():
        tfds.disable_progress_bar()
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints "Downloading", but nothing is downloaded
            builder.download_and_prepare()
    place = Path(builder.data_dir)
    if not (place / MANIFEST).exists():
        names = sorted(path.name for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
        write_own_json(place / MANIFEST, {"sha256": file_digests(place, names)})
    return builder


def _damaged(spec: Spec, folder: Path) -> list[Path]:
    """Return the folders of a built-in set's versions that have a manifest and other files than it says."""
    found = []
    for manifest in (folder / spec.kind / (spec.prepared or "")).glob(f"*/{MANIFEST}"):
        try:
            digests = read_own_json(manifest, "it is made again", {"sha256": dict})["sha256"]
        except FileNotFoundError:
            continue
        except DamagedFile:
            digests = {MANIFEST: ""}
        found += [manifest.parent] if changed_files(manifest.parent, digests) else []
    return found


def _prepared(spec: Spec, caches: DataDirs, download: bool) -> Any:
    if spec.kind in BUILT_IN:
        for folder in caches.shared("tfds"):
            if not _damaged(spec, folder) and built_in(spec, folder).is_prepared():
                return built_in(spec, folder)
        return prepare_built_in(spec, caches.own / "tfds")
    folders = [folder / "tfds" for folder in caches.searched]
    for folder in folders:
        with contextlib.suppress(tfds.core.DatasetNotFoundError, FileNotFoundError, ValueError):
            return tfds.core.read_only_builder.builder_from_files(spec.name, data_dir=str(folder))
    if not download:
        raise UserError(
            f"data spec '{spec.source}': '{spec.name}' is not prepared in {' or '.join(map(str, folders))}, and "
            "nothing is downloaded unless you ask for it: give --download (or download=True)"
        )
    try:
        builder = tfds.builder(spec.name, data_dir=str(caches.own / "tfds"))
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise UserError(f"data spec '{spec.source}': {str(error).splitlines()[0]}") from error
    with bars_of_libraries():
        builder.download_and_prepare()
    return builder


def _roles(spec: Spec, given: dict[str, str], features: dict[str, Any]) -> dict[str, str]:
    """Return key of an example -> feature of the source."""
    if spec.kind in BUILT_IN:
        whole = {key: key for key in features} | ({"label": given["label"]} if "label" in given else {})
        return whole | BUILDERS[spec.kind].views.get(spec.config or "", {})
    plain = [
        key
        for key, feature in features.items()
        if isinstance(feature, tfds.features.Image) or (isinstance(feature, tfds.features.Tensor) and not feature.shape)
    ]
    for role, kind in (("image", tfds.features.Image), ("label", tfds.features.ClassLabel)):
        fitting = [key for key in plain if isinstance(features[key], kind)]
        if role not in given and len(fitting) == 1:
            given = {**given, role: fitting[0]}
    if not plain:
        raise UserError(f"data spec '{spec.source}': its features are nested; none can be used as a column")
    return {role: columns[0] for role, columns in find_columns(given, plain, spec.source).items()}


def _stored_splits(spec: Spec, builder: Any) -> dict[str, str]:
    """Return TFDS split -> ours; "" where the split follows from the content."""
    if spec.split:
        try:
            builder.info.splits[spec.split]
        except (KeyError, ValueError, TypeError) as error:
            there = ", ".join(builder.info.splits)
            raise UserError(f"data spec '{spec.source}': no split '{spec.split}'; it has {there}") from error
        return {spec.split: ""}
    named = {split: SPLIT_NAMES[split] for split in builder.info.splits if split in SPLIT_NAMES}
    if "train" not in named.values():
        there = ", ".join(builder.info.splits)
        raise UserError(f"data spec '{spec.source}': no 'train', only {there}; name one, as in {spec.source}:NAME")
    return dict(sorted(named.items(), key=lambda item: SPLITS.index(item[1])))


def _bytes(builder: Any, feature: Any, stored: dict[str, str]) -> float:
    if None in feature.shape:
        return float("inf")
    count = sum(builder.info.splits[split].num_examples for split in stored)
    return count * float(np.prod(feature.shape))


def _content(roles: dict[str, str]) -> str:
    return next(role for role in CONTENT_ROLES if role in roles)


def _table(
    builder: Any,
    features: dict[str, Any],
    roles: dict[str, str],
    columns: dict[str, Any],
    read: dict[str, Columns],
) -> Rows | Records:
    """Return all examples, in the order in which they were read."""
    plain = {key: list(v) if v.dtype == object else v for key, v in columns.items()}
    held = [c.pixels for c in read.values() if c.pixels is not None]
    if held:
        return Rows.of({"image": np.concatenate(held), **plain})
    if "image" not in roles:
        return Rows.of(plain)
    feature = features[roles["image"]]
    decode = decoder(feature)

    starts = dict(zip(read, np.cumsum([0, *map(len, read.values())]).tolist()))

    def encoded(first: int, last: int) -> tuple[tf.data.Dataset, int]:
        splits = [split for split, start in starts.items() if start <= last and first < start + len(read[split])]
        streams = (encoded_images(builder, split, roles["image"]) for split in splits)
        return reduce(tf.data.Dataset.concatenate, streams), starts[splits[0]]

    depth = channels(feature)
    shape = None if None in feature.shape else (*feature.shape[:2], depth)
    table = Rows.of(plain or {"number": np.arange(sum(map(len, read.values())))})
    hashes = np.array([digest for c in read.values() for digest in c.digests], "S64")
    return Records(table, encoded, decode, hashes, shape, depth)


def _with_known_classes(
    spec: Spec, given: dict[str, str], labels: list[str] | None, index: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Check the classes; of built-in sets, leave out examples without a label or of a class that is not in train.

    The label of `glyphs/by_character`, if no other is chosen, is the character itself. Its test characters are unseen
    on purpose, so all examples stay.
    """
    if labels is None or not _is_built_in(spec) or not len(index["train"]):
        check_classes(labels, index, lambda row: f"{spec.source} example {row}")
        return index, ()
    if spec.name.startswith("glyphs") and given.get("label", "label") in ("label", "codepoint") and _unseen(spec):
        return index, ("validation and test have characters that train does not have: the labels are open",)
    names = np.array(labels)
    labelled = {split: rows[~np.isin(names[rows], NO_LABEL)] for split, rows in index.items()}
    kept = {split: rows[np.isin(names[rows], names[labelled["train"]])] for split, rows in labelled.items()}
    column = given.get("label", "label")
    unlabelled, unknown = (_total(a) - _total(b) for a, b in ((index, labelled), (labelled, kept)))
    notes = [f"{unlabelled:,} examples have no {column} and are left out"] if unlabelled else []
    notes += [f"{unknown:,} validation and test examples of classes absent from train are left out"] if unknown else []
    check_classes([labels[i] for rows in kept.values() for i in rows], {s: np.zeros(0, int) for s in SPLITS}, str)
    return kept, tuple(notes)


def _is_built_in(spec: Spec) -> bool:
    return spec.name.partition("/")[0] in BUILT_IN


def _unseen(spec: Spec) -> bool:
    return (spec.config or spec.name.partition("/")[2] or "by_character") == "by_character"


def _total(index: dict[str, np.ndarray]) -> int:
    return sum(map(len, index.values()))


def _label_names(values: np.ndarray, feature: Any) -> list[str]:
    if isinstance(feature, tfds.features.ClassLabel):
        return [feature.int2str(int(value)) if value >= 0 else f"no label ({value})" for value in values]
    return [class_name(value.decode()) if isinstance(value, bytes) else str(value) for value in values.tolist()]
