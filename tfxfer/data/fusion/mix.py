"""Mix sets of one modality: how many training examples come from each set, and from each class.

With `mix=temperature:τ` set i is drawn from in proportion to n_iᵗ, its size to the power τ (multinomial sampling,
Conneau & Lample 2019, where τ is called α and is 0.5). The counts are the expected ones, so nothing but the examples
is drawn. Validation and test stay whole.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfxfer.data.assembly import numbered
from tfxfer.data.dataset import Dataset, Split
from tfxfer.data.fusion.parts import (
    PAIR,
    TRUE,
    Load,
    Part,
    check_filled,
    fingerprint,
    load_part,
    with_present_classes,
    without_leaks,
)
from tfxfer.data.fusion.query import Query
from tfxfer.data.rows import ImageFiles, Rows
from tfxfer.data.spec import CONTENT_ROLES
from tfxfer.data.splits import SPLITS, class_order
from tfxfer.errors import UserError

ORIGIN = "origin"  # column of the set an example comes from
MAX_BYTES = 256 * 2**20  # of decoded images


@dataclass(frozen=True)
class Images:
    """The images of N mixed rows: files that stay on disk, or pixels uint8 [N, H, W, C]."""

    files: ImageFiles | None = None
    pixels: np.ndarray | None = None


def mix(query: Query, load: Load, seed: int, draw: bool) -> Dataset:
    """Mix two sets or more as a query says; arguments and errors as for `join`."""
    parts = [load_part(load, spec, columns) for spec, columns in query.named()]
    content = _content(parts, query)
    origin = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    splits = np.concatenate([part.splits for part in parts])
    key = "image" if "image" in content else next(key for key in CONTENT_ROLES if key in content)
    digests = np.concatenate([part.dataset.digests(split, key) for part in parts for split in SPLITS])
    keep, notes = without_leaks(digests, splits, "examples")
    if query.first_only:
        keep = keep & ((splits == "train") | (origin == 0))
        notes.append(f"validation and test are those of {query.parts[0]} alone")
    labels, of_labels = _labels(parts, query)
    index = {split: np.flatnonzero(keep & (splits == split)) for split in SPLITS}
    check_filled(splits[keep], query.source, "example", SPLITS if draw else ())
    if len(index["train"]):
        drawn = seed if query.seed is None else query.seed
        index["train"], of_draw = _drawn(index["train"], origin, labels, query, drawn)
        notes += of_draw
    return _mixed(parts, query, content, origin, labels, index, [*notes, *of_labels], seed)


def _content(parts: Sequence[Part], query: Query) -> list[str]:
    """Return which of image, text, question, caption and answer all sets have; raises `UserError` where none."""
    shared = [k for k in (*CONTENT_ROLES, "answer") if all(k in part.dataset.keys for part in parts)]
    if not set(shared) & set(CONTENT_ROLES):
        have = "; ".join(f"{part.dataset.name} has {', '.join(part.dataset.keys)}" for part in parts)
        raise UserError(f"data spec '{query.source}': sets of one modality can be mixed, and these share none: {have}")
    return shared


def _labels(parts: Sequence[Part], query: Query) -> tuple[list[str] | None, list[str]]:
    """Return the class of each row by its name, None where a set has none, and notes."""
    without = [part.dataset.name for part in parts if not part.dataset.class_names]
    if without and query.balance:
        raise UserError(f"data spec '{query.source}': balance=label needs classes, and {without[0]} has none")
    if without:
        some = len(without) < len(parts)
        return None, [f"{', '.join(without)} has no labels, so the mixture has none"] if some else []
    names = [set(part.dataset.class_names) for part in parts]
    shared, every = set.intersection(*names), set.union(*names)
    note = f"{len(shared):,} of {len(every):,} classes are in every set"
    return [name for part in parts for name in part.classes], [note] if len(shared) < len(every) else []


# === What is drawn ===


def _drawn(
    train: np.ndarray, origin: np.ndarray, labels: list[str] | None, query: Query, seed: int
) -> tuple[np.ndarray, list[str]]:
    """Return the training rows in their order, some perhaps several times, and notes on the counts."""
    sizes = np.bincount(origin[train], minlength=len(query.parts)).astype(float)
    if query.weights is None and query.temperature == 1 and not query.balance:
        return train, []
    weights = sizes**query.temperature if query.weights is None else np.array(query.weights)
    if query.balance and query.weights is None and query.temperature == 1:
        groups = [(0, labels[row]) for row in train]  # type: ignore[index]
        share = {0: 1.0}
    else:
        groups = [(int(origin[row]), labels[row] if query.balance else "") for row in train]  # type: ignore[index]
        share = {i: weight / weights.sum() for i, weight in enumerate(weights)}
    members: dict[tuple[int, str], list[int]] = {}
    for row, group in zip(train, groups):
        members.setdefault(group, []).append(int(row))
    of_set = Counter(number for number, _ in members)
    shares = np.array([share[number] / of_set[number] for number, _ in members])
    counts = rounded(len(train) * shares / shares.sum())
    random = np.random.default_rng(seed)
    chosen = [_take(rows, count, random) for rows, count in zip(members.values(), counts)]
    rows = np.sort(np.concatenate(chosen)).astype(int)
    return rows, _said(rows, origin, sizes, query)


def rounded(wanted: np.ndarray) -> np.ndarray:
    """Return whole numbers near the wanted ones, with their sum (largest remainder), float [K] to int [K].

    >>> rounded(np.array([1.4, 1.4, 1.2])).tolist()
    [2, 1, 1]
    """
    counts = np.floor(wanted + 1e-9).astype(int)
    missing = round(float(wanted.sum())) - int(counts.sum())
    counts[np.argsort(counts - wanted, kind="stable")[:missing]] += 1
    return counts


def _take(rows: list[int], count: int, random: np.random.Generator) -> np.ndarray:
    """Draw rows; none is taken once more before all are taken as often."""
    whole, rest = divmod(int(count), len(rows))
    return np.concatenate([np.repeat(rows, whole), random.permutation(rows)[:rest]])


def _said(rows: np.ndarray, origin: np.ndarray, sizes: np.ndarray, query: Query) -> list[str]:
    counts = np.bincount(origin[rows], minlength=len(sizes))
    several = len(rows) - len(np.unique(rows))
    each = ", ".join(f"{n:,} from {name} (of {int(size):,})" for n, name, size in zip(counts, query.parts, sizes))
    return [f"train: {each}" + (f"; {several:,} of them are repeats" if several else "")]


# === The mixed set ===


def _mixed(
    parts: Sequence[Part],
    query: Query,
    content: Sequence[str],
    origin: np.ndarray,
    labels: list[str] | None,
    index: Mapping[str, np.ndarray],
    notes: Sequence[str],
    seed: int,
) -> Dataset:
    columns: dict[str, Any] = {
        key: [text for part in parts for split in SPLITS for text in part.dataset.texts(split, key)]
        for key in content
        if key != "image"
    }
    columns[ORIGIN] = [query.parts[i] for i in origin]
    if "caption" in content and "image" in content:
        columns[PAIR] = [kind for part in parts for kind in _kinds(part)]
    names = class_order(labels) if labels is not None else ()
    if labels is not None:
        columns["label"] = numbered(labels, names)
    images = _images(parts, query) if "image" in content else Images()
    whole = Rows.of(({} if images.pixels is None else {"image": images.pixels}) | columns, images.files)
    used = {split: rows.tolist() for split, rows in index.items()}
    made_of = [part.dataset.fingerprint for part in parts]
    digests = [part.dataset.image_digests[part.rows] for part in parts] if "image" in content else []
    notes = tuple(dict.fromkeys([*notes, *(note for part in parts for note in part.dataset.notes)]))
    key = fingerprint(query, made_of, used, seed)
    splits: dict[str, Split] = {split: whole.take(rows) for split, rows in index.items()}
    made = Dataset(query.source, names, splits, key, notes, _references(parts) if "caption" in content else ())
    return with_present_classes(replace(made, image_digests=np.concatenate(digests)) if digests else made)


def _kinds(part: Part) -> list[str]:
    return part.values(PAIR) if PAIR in part.dataset.keys else [TRUE] * len(part)


def _references(parts: Sequence[Part]) -> tuple[tuple[str, ...], ...]:
    """Return all captions of each row, or nothing where no row has several."""
    found = tuple(tuple(each) for part in parts for split in SPLITS for each in part.dataset.captions(split))
    return found if any(len(each) > 1 for each in found) else ()


def _images(parts: Sequence[Part], query: Query) -> Images:
    """Return the images of all rows: files where all are files, else pixels of one size."""
    templates = [part.dataset.splits["train"] for part in parts]
    files = [one.files for one in templates if isinstance(one, Rows) and one.files]
    if query.size is None and len(files) == len(parts):
        return Images(_files(files, [part.rows for part in parts]))
    shapes = {part.dataset.name: part.dataset.image_shape for part in parts}
    if query.size is None and (len(set(shapes.values())) > 1 or None in shapes.values()):
        said = " and ".join(
            f"{name} has {'images of varying size' if shape is None else ' x '.join(map(str, shape))}"
            for name, shape in shapes.items()
        )
        raise UserError(
            f"data spec '{query.source}': {said}; bring them to one size and number of channels with size=PIXELS"
        )
    channels = max(one.channels for one in templates)
    height, width = (query.size,) * 2 if query.size else next(iter(shapes.values()))[:2]  # type: ignore[index]
    needed = sum(map(len, parts)) * height * width * channels
    if needed > MAX_BYTES:
        raise UserError(
            f"data spec '{query.source}': its images would take {needed / 2**20:,.0f} MB of memory, more than "
            f"{MAX_BYTES // 2**20}; ask for a smaller size=, or write the sets as folders of files"
        )
    arrays = [
        part.dataset.arrays(split, (height, width), channels)["image"]
        for part in parts
        for split in SPLITS
        if part.dataset.sizes[split]
    ]
    return Images(pixels=np.concatenate(arrays))


def _files(files: Sequence[ImageFiles], rows: Sequence[np.ndarray]) -> ImageFiles:
    """Return the files of some rows of several tables, one after the other."""
    with tf.device("CPU"):
        paths, plain, hashes = (
            tf.concat([tf.gather(getattr(one, name), some) for one, some in zip(files, rows)], 0)
            for name in ("paths", "plain", "sha256")
        )
    channels = max(one.channels for one in files)
    shapes = {one.image_shape and (*one.image_shape[:2], channels) for one in files}
    shape = shapes.pop() if len(shapes) == 1 else None
    return ImageFiles(paths, plain, hashes, channels, shape)
