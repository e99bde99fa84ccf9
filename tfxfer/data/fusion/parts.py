"""A loaded data set as one list of rows, and what joining and mixing share: splits that do not leak, and notes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.cache import key_of
from tfxfer.data.cells import class_name
from tfxfer.data.class_folders import find_class_folders
from tfxfer.data.dataset import Dataset
from tfxfer.data.fusion.query import Query
from tfxfer.data.records import Records
from tfxfer.data.rows import Rows
from tfxfer.data.spec import CONTENT_ROLES, TABLES, caption_columns, existing_file, find_columns, given_path, parse
from tfxfer.data.splits import SPLITS
from tfxfer.data.tables import read_header, read_json, table_form
from tfxfer.errors import UserError, suggest

Load = Callable[[str, dict[str, str]], Dataset]  # (spec, role -> column) -> the set
KEY = "key"  # column of what two sets are joined by
FILE = "file"  # as a column: the name of an image's file
PAIR = "pair"  # column of how a pair was made
TRUE, CLASS, NEAREST = "true", "class", "nearest"  # values of it
TEXT_KEYS = ("caption", "text", "question")  # what is taken as the text of an example, best first


@dataclass(frozen=True)
class Part:
    """A loaded set as N rows.

    Attributes:
        dataset: The set.
        rows: int [N], their places in its table.
        splits: str [N].
        own_splits: Whether the source names splits; otherwise `load` has cut them.
    """

    dataset: Dataset
    rows: np.ndarray
    splits: np.ndarray
    own_splits: bool

    @classmethod
    def of(cls, dataset: Dataset, own_splits: bool = True) -> "Part":
        """List the rows of a set, those of train first."""
        sizes = [dataset.sizes[split] for split in SPLITS]
        rows = np.concatenate([dataset.indices(split) for split in SPLITS])
        return cls(dataset, rows, np.repeat(SPLITS, sizes), own_splits)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digests(self) -> np.ndarray:
        """uint64 [N], equal where the contents are equal."""
        return np.concatenate([self.dataset.digests(split) for split in SPLITS])

    @property
    def classes(self) -> list[str]:
        """The class of each row, [N]."""
        names = self.dataset.class_names
        return [names[label] for split in SPLITS for label in self.dataset.labels(split)]

    def texts(self) -> list[tuple[str, ...]]:
        """Return all texts of each row, [N]; an empty text is left out."""
        data = self.dataset
        key = next((key for key in TEXT_KEYS if key in data.keys), None)
        if key is None:
            raise UserError(f"{data.name}: has no texts; it has {', '.join(data.keys)}. Name one, as in b.text=COLUMN")
        if key == "caption":
            found = [each for split in SPLITS for each in data.captions(split)]
        else:
            found = [[text] for split in SPLITS for text in data.texts(split, key)]
        return [tuple(text for text in each if text.strip()) for each in found]

    def values(self, column: str) -> list[str]:
        """Return a column as strings [N]: its own name for it, `KEY`, or `FILE`."""
        name = KEY if KEY in self.dataset.keys else column
        if name == "label" and self.dataset.class_names:
            return self.classes
        if name in self.dataset.keys and name != "image":
            values = np.concatenate([self.dataset.splits[split].column(name) for split in SPLITS])
            return [class_name(v.decode("utf-8") if isinstance(v, bytes) else str(v)) for v in values]
        files = getattr(self.dataset.splits["train"], "files", None)
        if column == FILE and files is not None:
            paths = files.paths.numpy()
            return [class_name(Path(paths[row].decode("utf-8")).name) for row in self.rows]
        known = [key for key in self.dataset.keys if key != "image"] + ([FILE] if files is not None else [])
        raise UserError(f"{self.dataset.name}: there is no column '{column}' (on=); {suggest(column, known)}")


def load_part(load: Load, spec: str, columns: dict[str, str], key: str | None = None) -> Part:
    """Load a set; with `key` also a column that has no role, such as a number by which two tables are joined."""
    return Part.of(load(spec, columns if key is None else _with_key(spec, columns, key)), _names_splits(spec))


def _with_key(spec: str, columns: dict[str, str], key: str) -> dict[str, str]:
    """Return the columns with the key among them, where the source has columns to read it from."""
    parsed = parse(spec)
    if parsed.kind == "tfds":
        return columns | {KEY: key}
    if parsed.kind not in (*TABLES, "captions"):
        return columns
    path = existing_file(parsed)
    if parsed.kind == "captions":
        _, header, found = caption_columns(columns, path)
        return columns if key == FILE and key not in header else found | {KEY: key}
    header = read_header(path, parsed.kind)
    if key not in header:
        if key == FILE:
            return columns
        raise UserError(f"{path.name}: there is no column '{key}' (on=); {suggest(key, header)}")
    roles = find_columns(columns, header, path.name)
    alone = not any(role in roles for role in CONTENT_ROLES if roles.get(role) != (key,))
    return columns | {KEY: key} | ({"text": key} if alone and "text" in roles else {})


def images_too(spec: str, columns: dict[str, str], key: str) -> dict[str, str]:
    """Return the columns of the set with the images: a key that names the images is read as both."""
    parsed = parse(spec)
    if parsed.kind in TABLES and "image" not in columns:
        path = existing_file(parsed)
        if find_columns(columns, read_header(path, parsed.kind), path.name).get("image") == (key,):
            return columns | {"image": key}
    return columns


def _names_splits(spec: str) -> bool:
    """Return whether a source says which split its examples are in."""
    parsed = parse(spec)
    if parsed.kind == "text" or (parsed.kind == "tfds" and parsed.split):
        return False
    if parsed.kind in TABLES or (parsed.kind == "captions" and table_form(existing_file(parsed), "captions") != "coco"):
        header = read_header(existing_file(parsed), parsed.kind)
        return any(column.strip().lower() == "split" for column in header)
    if parsed.kind == "folder":
        return any(split for _, split in find_class_folders(given_path(parsed.name))[0])
    if parsed.kind in ("coco", "captions"):
        whole: Any = read_json(existing_file(parsed))
        return any("split" in image for image in whole["images"])
    return True


def table_of(part: Rows | Records) -> Rows:
    """Return the columns of a split that are in memory."""
    return part if isinstance(part, Rows) else part.table


def table_length(part: Rows | Records) -> int:
    """Return M, how many rows the table has that a split is a part of."""
    table = table_of(part)
    return len(table.files.paths) if table.files else len(next(iter(table.columns.values())))


def with_columns(part: Rows | Records, columns: dict[str, Any], index: np.ndarray) -> Rows | Records:
    """Return some rows, ascending, of the table that a split is a part of, with these columns [M] and its images."""
    kept = {"image": table_of(part).columns["image"]} if "image" in table_of(part).columns else {}
    made = Rows.of(columns)
    table = Rows(kept | made.columns, np.sort(index), table_of(part).files)
    return table if isinstance(part, Rows) else replace(part, table=table)


def without_leaks(digests: np.ndarray, splits: np.ndarray, what: str) -> tuple[np.ndarray, list[str]]:
    """Return which rows stay, bool [N], so that no content is in two splits, and notes.

    What is in test leaves validation and train; what is in validation leaves train.

    Args:
        digests: uint64 [N], equal where contents are.
        splits: str [N].
        what: How the rows are called in the notes.
    """
    keep, notes = np.ones(len(digests), bool), []
    for split, later in (("validation", ("test",)), ("train", ("validation", "test"))):
        seen = np.isin(digests, digests[np.isin(splits, later)]) & (splits == split)
        keep &= ~seen
        if seen.any():
            notes.append(f"{seen.sum():,} {split} {what} are left out: they are also in {' or '.join(later)}")
    return keep, notes


def with_present_classes(dataset: Dataset) -> Dataset:
    """Return the set without the classes that no example is left of, if two are left."""
    if not dataset.class_names:
        return dataset
    present = np.unique(np.concatenate([dataset.labels(split) for split in SPLITS]))
    if not 2 <= len(present) < len(dataset.class_names):
        return dataset
    return dataset.with_classes(dataset.class_names[label] for label in present)


def fingerprint(query: Query, *made_of: Any) -> str:
    """Return a key of a query and of all that it is answered with; where the sets stand does not count."""
    return key_of(replace(query, source="", parts=(), via=None, encoder=None), *made_of)


def check_filled(splits: np.ndarray, spec: str, what: str, needed: Sequence[str]) -> None:
    """Refuse a fused set without any example, or without one in a split that is needed."""
    empty = next((split for split in needed if not (splits == split).any()), None)
    if empty or not len(splits):
        raise UserError(
            f"data spec '{spec}': no {what} is left{f' in {empty}' if empty else ''}; add examples to both sets, or "
            "give both a 'split' column"
        )


def shown(values: Sequence[str], count: int = 3) -> str:
    """Return a few distinct values in quotes.

    >>> shown(["a", "a", "b"])
    "'a', 'b'"
    """
    return ", ".join(f"'{value:.40}'" for value in list(dict.fromkeys(values))[:count])
