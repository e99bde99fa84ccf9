"""Rows of a table with their images found, before anything is decoded. Needs neither TensorFlow nor NumPy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfxfer.cache import DataDirs
from tfxfer.data.bad_items import BadItems
from tfxfer.data.class_folders import named_splits
from tfxfer.data.image_names import FoundImages, find_images, written
from tfxfer.data.spec import Spec, existing_file, table_columns
from tfxfer.data.tables import Table, read_table
from tfxfer.errors import UserError

TEXT_ROLES = ("text", "question", "answer", "caption")


@dataclass
class TableRows:
    """N rows of a table.

    Attributes:
        path: The file.
        columns: Role -> N strings, without labels, splits and images.
        labels: N class names, or None.
        splits: N names, "" where the file names none.
        names: N names of images, or None.
        found: Where they are.
        place: Row -> file and line, for messages.
        captions: N lists of captions, or none where rows have one.
        answers: N lists of answers, or none where rows have one.
        notes: What was left out, and what the file was read as.
        total: How many rows the file has, those that cannot be used among them.
    """

    path: Path
    columns: dict[str, list[str]]
    labels: list[str] | None
    splits: list[str]
    names: list[str] | None
    found: FoundImages | None
    place: Callable[[int], str]
    captions: list[list[str]] = field(default_factory=list)
    answers: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int = 0

    def __len__(self) -> int:
        return len(self.splits)

    def image_place(self, row: int) -> str:
        """Return where an image is named, for messages."""
        assert self.names is not None
        return f"{self.place(row)}: image '{self.names[row]}'"

    def kept(self, rows: Sequence[int]) -> "TableRows":
        """Return some of the rows; the images have to be looked up by the rows of this."""
        if len(rows) == len(self):
            return self
        columns = {role: [values[row] for row in rows] for role, values in self.columns.items()}
        labels, names = ([values[row] for row in rows] if values else values for values in (self.labels, self.names))
        captions, answers = ([each[row] for row in rows] if each else each for each in (self.captions, self.answers))
        splits, place = [self.splits[row] for row in rows], self.place
        found = None if self.found is None else self.found.kept(rows)
        return replace(
            self,
            columns=columns,
            labels=labels,
            splits=splits,
            names=names,
            found=found,
            place=lambda row: place(rows[row]),
            captions=captions,
            answers=answers,
        )


def bad_items_of(spec: Spec, caches: DataDirs) -> BadItems:
    """Return what collects the items of a source that cannot be used."""
    return BadItems(spec.source, spec.bad_items, caches.own / "bad_items")


def stored_images(caches: DataDirs) -> Path:
    """Return the folder for images that are stored in files of rows."""
    return caches.own / "images"


def read_table_rows(spec: Spec, given: dict[str, str], caches: DataDirs, bad: BadItems) -> TableRows:
    """Read a table and look for its images; what cannot be used is added to `bad`, and is still among the rows."""
    path = existing_file(spec)
    roles = table_columns(given, path, spec.kind)
    table = read_table(path, spec.kind, roles, bad, stored_images(caches))
    rows = _rows_of(path, table, spec, roles, bad)
    if rows.names is not None:
        rows.found = find_images(path, rows.names, spec.image_dir)
        for row, why in rows.found.why.items():
            bad.add(rows.image_place(row), why)
    return rows


def _rows_of(path: Path, table: Table, spec: Spec, roles: dict[str, tuple[str, ...]], bad: BadItems) -> TableRows:
    columns = dict(table.values)
    labels, splits, images = (columns.pop(role, None) for role in ("label", "split", "image"))
    names = None if images is None else [written(name) for name in images]
    rows = TableRows(path, columns, labels, splits or [""] * len(table), names, None, table.places)
    rows.captions, rows.answers, rows.total = table.captions, table.answers, table.total
    rows = rows.kept(_filled(rows, roles, spec, bad, table.total))
    if splits is not None:
        rows.splits = named_splits(rows.splits, rows.place)
    several = sum(len(each) > 1 for each in rows.answers)
    rows.notes += [f"read as: {table.form}"] if table.form else []
    rows.notes += [f"{several:,} rows have several answers; the commonest of each is taken"] if several else []
    return rows


def _filled(
    rows: TableRows, roles: dict[str, tuple[str, ...]], spec: Spec, bad: BadItems, total: int
) -> list[int] | range:
    """Return the rows in which nothing is empty that must not be.

    A label and the name of an image are never empty; a text may be, unless such rows are to be left out.
    """
    dropped = set(spec.drop_empty)
    must = {"label": rows.labels, "image": rows.names}
    must |= {role: rows.columns.get(role) for role in TEXT_ROLES} if bad.skipped else {}
    empty: set[int] = set()
    for role, values in must.items():
        for row, value in enumerate(values or ()):
            if not value.strip() and role not in dropped and row not in empty:
                empty.add(row)
                what = {"label": "give the row a label", "image": "name the image"}.get(role, "fill it in")
                bad.add(rows.place(row), f"'{roles[role][0]}' is empty; {what} or remove the row")
    there = {role: values for role, values in {**rows.columns, **must}.items() if role in dropped and values}
    without = {row for values in there.values() for row, value in enumerate(values or ()) if not value.strip()}
    if there and len(without) == len(rows):
        raise UserError(f"{rows.path.name}: no row has both {' and '.join(there)}; fill them in")
    if without:
        rows.notes.append(f"{len(without):,} rows without {' or '.join(spec.drop_empty)} are left out")
    if not empty and not without:
        return range(len(rows))
    left = [row for row in range(len(rows)) if row not in empty | without]
    if not left:
        bad.settle(total)
    return left
