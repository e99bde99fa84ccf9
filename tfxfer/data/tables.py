"""Files of rows as columns of strings, whatever their form: CSV, JSON lines, and the forms in `tfxfer.data.forms`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfxfer.data.arrow_files import stored_image
from tfxfer.data.bad_items import BadItems
from tfxfer.data.cells import answers_of, captions_of, cell, class_name, commonest
from tfxfer.data.csv_files import CsvFile, csv_header, read_csv
from tfxfer.data.forms import FORMS, SAYS, form_columns, form_of
from tfxfer.data.json_files import begins_as_json as looks_like_json_lines
from tfxfer.data.json_files import read_json
from tfxfer.data.text_files import read_lines
from tfxfer.errors import UserError

__all__ = ["Table", "looks_like_json_lines", "read_header", "read_json", "read_lines", "read_rows", "read_table"]
PLAIN = ("csv", "jsonl")  # forms that need no mention: the spec names them


@dataclass
class Table:
    """N rows of a file.

    Attributes:
        values: Role -> N strings; of several captions the first, of several answers the commonest.
        places: Row -> file and row, for messages.
        answers: N lists of answers, where some row gives a list; else empty.
        captions: N lists of captions, where some row gives several; else empty.
        form: What the file is, for people; "" for what its spec says.
        total: How many rows the file has; those that cannot be used are not among the N.
    """

    values: dict[str, list[str]]
    places: Callable[[int], str]
    answers: list[list[str]] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)
    form: str = ""
    total: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))


def table_form(path: Path, kind: str = "csv") -> str:
    """Return the form of a file, see `form_of`; COCO's captions are no rows, and refused but for `captions:`."""
    form = form_of(path)
    if form == "coco" and kind != "captions":
        raise UserError(f"{path.name}: this is COCO's JSON; give it as captions:{path}")
    if form == "csv" and kind == "jsonl":
        return "jsonl"  # its reader names the row that is no object
    return form


def read_header(path: Path, kind: str) -> list[str]:
    """Return the column names of a file of rows.

    Of CSV only the beginning is read. Of JSON all rows are read: the first may lack a key that others have.
    """
    form = table_form(path, kind)
    if form == "coco":
        return list(read_json(path))
    return csv_header(path) if form == "csv" else form_columns(path, form)


def read_table(
    path: Path,
    kind: str,
    roles: Mapping[str, Sequence[str]],
    bad: BadItems | None = None,
    images: Path | None = None,
) -> Table:
    """Read some columns of a file.

    Args:
        path: The file: CSV, or any form of `tfxfer.data.forms`.
        kind: Of the spec; only messages depend on it.
        roles: Role -> columns, as `tfxfer.data.spec.find_columns` returns it; several are joined by a blank, several
            of captions are captions.
        bad: Gets the rows that lack a value, or have too many; without it the first is refused.
        images: Folder for images that are stored in the file.

    Raises:
        UserError: for invalid UTF-8, a ragged row, invalid JSON, a missing value, or a value that is no text, class or
            path (see `tfxfer.data.cells`), naming file and line.
    """
    form = table_form(path, kind)
    if form == "csv":
        return _csv_table(read_csv(path), roles, bad)
    places: list[str] = []
    values: dict[str, list[str]] = {role: [] for role in roles}
    table = Table(values, places.__getitem__, form="" if form in PLAIN else FORMS[form].says)
    columns = [column for role, names in roles.items() for column in names if role != "caption" or len(names) == 1]
    for place, row in _form_rows(path, form, columns, bad, table):
        places.append(place)
        for role, names in roles.items():
            _add(table, role, names, row, place, images)
    return _checked(table, path, bad)


def _add(
    table: Table, role: str, names: Sequence[str], row: dict[str, Any], place: str, images: Path | None = None
) -> None:
    """Add what a row gives for a role."""
    values = table.values[role]
    if role == "answer" and isinstance(row[names[0]], list):
        _several(table.answers, values, answers_of(row[names[0]], place, names[0]))
        values.append(commonest(table.answers[-1]))
    elif role == "caption" and (len(names) > 1 or isinstance(row.get(names[0]), list)):
        found = [one for name in names if name in row for one in captions_of(row[name], place, name)]
        _several(table.captions, values, [one for one in found if one.strip()])
        values.append(table.captions[-1][0] if table.captions[-1] else "")
    elif role == "image":
        values.append(image_name(row[names[0]], place, names[0], images))
    else:
        values.append(" ".join(cell(role, row[name], place, name) for name in names))
        several = {"answer": table.answers, "caption": table.captions}.get(role)
        if several:
            several.append(values[-1:])


def image_name(value: Any, place: str, column: str, images: Path | None) -> str:
    """Return the name of a row's image; one that is stored in the file is written into a folder."""
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes) and images is not None:
        return stored_image(value, images)
    return cell("image", value, place, column)


def _several(lists: list[list[str]], values: list[str], found: list[str]) -> None:
    """Add a list to those of all rows; rows before the first list have one value each."""
    if not lists:
        lists += [[value] for value in values]
    lists.append(found)


def _checked(table: Table, path: Path, bad: BadItems | None) -> Table:
    if not table.total:
        raise UserError(f"{path}: there is not a single row in it; check that it is the file you mean")
    if not len(table):
        assert bad is not None
        bad.settle(table.total)
    return table


def _csv_table(file: CsvFile, roles: Mapping[str, Sequence[str]], bad: BadItems | None) -> Table:
    """Return the columns of a CSV file; all rows of a column are converted at once, which is faster."""
    file.refuse_repeated([column for columns in roles.values() for column in columns])
    wrong = dict(file.ragged())
    for row, why in wrong.items():
        _refuse_or_add(file.place(row), why, bad)
    kept = range(len(file.rows)) if not wrong else [row for row in range(len(file.rows)) if row not in wrong]
    rows = file.rows if not wrong else [file.rows[row] for row in kept]
    columns = dict(zip(file.header, zip(*rows))) if rows else dict.fromkeys(file.header, ())
    table = Table({}, lambda row: file.place(kept[row]), total=len(file.rows))
    for role, names in roles.items():
        table.values[role] = _csv_values(role, [columns[name] for name in names], table.places, names, file.has_nul)
        if role == "caption" and len(names) > 1:
            table.captions = [[one for one in each if one.strip()] for each in zip(*(columns[n] for n in names))]
            table.values[role] = [each[0] if each else "" for each in table.captions]
    return _checked(table, file.path, bad)


def _csv_values(
    role: str, columns: Sequence[Sequence[str]], place: Callable[[int], str], names: Sequence[str], has_nul: bool
) -> list[str]:
    """Return what CSV gives for a role. It has strings in UTF-8 only, so names alone can hold what is unusable: NUL."""
    if role in ("text", "question", "caption", "answer"):
        values = list(columns[0]) if len(columns) == 1 else [" ".join(each) for each in zip(*columns)]
        if role == "answer" and has_nul:
            _refuse_nul(values, place, names[0])
        return values
    values = list(columns[0])
    if has_nul:
        _refuse_nul(values, place, names[0])
    if role == "image":
        return [value.strip() for value in values]
    if role in ("label", "key"):
        known = {value: class_name(value) for value in set(values)}
        return [known[value] for value in values]
    return values


def _refuse_nul(values: Sequence[str], place: Callable[[int], str], column: str) -> None:
    for row, value in enumerate(values):
        if "\0" in value:
            cell("label", value, place(row), column)


def _refuse_or_add(place: str, why: str, bad: BadItems | None) -> None:
    if bad is None:
        raise UserError(f"{place}: {why}")
    bad.add(place, why)


def _form_rows(
    path: Path, form: str, columns: Sequence[str], bad: BadItems | None, table: Table
) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, row in FORMS[form].rows(path):
        table.total += 1
        missing = next((column for column in columns if column not in row), None)
        if missing is None:
            yield place, row
        else:
            why = f"'{missing}' is missing; give every row the same keys, or name another column"
            _refuse_or_add(place, why, bad)


def read_rows(
    path: Path, kind: str, columns: Sequence[str], bad: BadItems | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each row of a file stands, for messages, and its column -> value as the file has it.

    Raises:
        UserError: there is no row, or one lacks one of `columns` and `bad` is None.
    """
    form, table = table_form(path, kind), Table({}, str)
    if form != "csv":
        yield from _form_rows(path, form, columns, bad, table)
    else:
        file = read_csv(path)
        file.refuse_repeated(columns)
        table.total, wrong = len(file.rows), dict(file.ragged())
        missing = next((column for column in columns if column not in file.header), None)
        for row, values in enumerate(file.rows):
            if row in wrong:
                _refuse_or_add(file.place(row), wrong[row], bad)
            elif missing is not None:
                _refuse_or_add(file.place(row), f"'{missing}' is missing; name another column", bad)
            else:
                yield file.place(row), dict(zip(file.header, values))
    if not table.total:
        raise UserError(f"{path}: there is not a single row in it; check that it is the file you mean")


def said(path: Path, kind: str) -> str:
    """Return what a file is read as, for people; "" for what its spec says."""
    form = table_form(path, kind)
    return "" if form in PLAIN else SAYS[form]
