"""CSV and JSON-lines files as columns of strings, with the line each row starts on."""

import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfxfer.data.cells import cell
from tfxfer.errors import UserError

csv.field_size_limit(2**31 - 1)  # the default of 128 KiB a field refuses long documents


class Table(NamedTuple):
    """N rows of a file: role -> N strings, and the line number each row starts on.

    Attributes:
        values: Role -> N strings.
        lines: N line numbers.
        several: Rows that give a list of answers, of which the commonest is taken.
    """

    values: dict[str, list[str]]
    lines: list[int]
    several: int


def read_header(path: Path, kind: str) -> list[str]:
    """Return the column names of a "csv" or "jsonl" file.

    Of CSV only the first row is read. Of JSON lines all rows are read: the first may lack a key that others have.
    """
    if kind == "jsonl":
        names: dict[str, None] = {}
        for _, row in _json_rows(path):
            names.update(dict.fromkeys(row))
        return list(names)
    with path.open("rb") as file:
        text = _decode(path, b"".join(_until_quotes_close(file)))
    return _checked_header(path, next((values for _, values in _csv_values(path, text) if values), []))


def read_table(path: Path, kind: str, roles: Mapping[str, Sequence[str]]) -> Table:
    """Read some columns of a file.

    Args:
        path: A UTF-8 file, with or without a byte-order mark.
        kind: "csv" or "jsonl".
        roles: Role -> columns, as `tfxfer.data.spec.find_columns` returns it; several are joined by a blank.

    Raises:
        UserError: for invalid UTF-8, a ragged row, invalid JSON, a missing value, or a value that is no text, class or
            path (see `tfxfer.data.cells`), naming file and line.
    """
    values: dict[str, list[str]] = {role: [] for role in roles}
    lines, several = [], 0
    for line, row in read_rows(path, kind, [column for columns in roles.values() for column in columns]):
        place = f"{path.name} row {line}"
        lines.append(line)
        for role, columns in roles.items():
            values[role].append(" ".join(cell(role, row[column], place, column) for column in columns))
        several += any(isinstance(row[column], list) for column in roles.get("answer", ()))
    return Table(values, lines, several)


def read_rows(path: Path, kind: str, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line that each row of a "csv" or "jsonl" file starts on, and its column -> value as the file has it.

    Raises:
        UserError: there is no row, or one lacks one of `columns`.
    """
    line = 0
    for line, row in _csv_rows(path) if kind == "csv" else _json_rows(path):
        missing = next((column for column in columns if column not in row), None)
        if missing is not None:
            raise UserError(
                f"{path.name} row {line}: '{missing}' is missing; give every row the same keys, or name another column"
            )
        yield line, row
    if not line:
        raise UserError(f"{path}: there is not a single row in it; check that it is the file you mean")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file without line ends; nothing follows the last line end."""
    lines = _lines(_decode(path, path.read_bytes()))
    return lines if lines[-1] else lines[:-1]


def read_json(path: Path) -> object:
    """Return what a UTF-8 JSON file holds.

    Raises:
        UserError: for invalid UTF-8 or JSON, naming file, row and place.
    """
    try:
        return _parsed(_decode(path, path.read_bytes()), path)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path.name} row {error.lineno}: not JSON at column {error.colno} ({error.msg}); "
            "the file may be cut off: copy it again"
        ) from error


def looks_like_json_lines(path: Path) -> bool:
    """Return whether the first character of a file is a bracket of JSON; CSV begins with a column's name."""
    with path.open("rb") as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _until_quotes_close(file: io.BufferedReader) -> Iterator[bytes]:
    """Yield the lines of the first CSV row, whose quoted names may hold line breaks."""
    quotes = 0
    for line in file:
        yield line
        quotes += line.count(b'"')
        if line.strip() and quotes % 2 == 0:
            return


def _decode(path: Path, data: bytes) -> str:
    first = data[:4096]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or first.count(0) > len(first) / 5:  # marked, or by its zero bytes
        raise UserError(f"{path.name} row 1: the file is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        end = b"\n" if b"\n" in data else b"\r"
        row = data.count(end, 0, start) + 1
        column = start - data.rfind(end, 0, start)
        raise UserError(
            f"{path.name} row {row}: byte {column} of the line (0x{data[start]:02x}) is not UTF-8; "
            "save the file as UTF-8"
        ) from error


def _lines(text: str) -> list[str]:
    """Return the lines of a text; they end with LF or CR LF, or, in a file without any LF, with CR."""
    if "\n" not in text:
        return text.split("\r")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _checked_header(path: Path, header: list[str]) -> list[str]:
    names = [name.strip() for name in header]
    if not any(names):
        raise UserError(f"{path}: the file is empty; its first line must name the columns")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path.name} row 1: two columns are called '{twice}'; rename one")
    return names


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    header: list[str] | None = None
    for line, values in _csv_values(path, _decode(path, path.read_bytes())):
        if not values:
            continue
        if header is None:
            header = _checked_header(path, values)
            continue
        if len(values) != len(header):
            raise UserError(
                f"{path.name} row {line}: {len(values)} values for {len(header)} columns; "
                "put quotes around a value that holds a comma, quote or line break"
            )
        yield line, dict(zip(header, values))
    if header is None:
        _checked_header(path, [])


def _csv_values(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line that each row starts on, and its values; a blank line has none.

    The columns are divided by commas, or by the semicolons or tabs that a first line without commas has. Where a blank
    follows each of them in the first line, as in `text, label`, it is no part of the values.
    """
    first = re.match(r"\s*([^\r\n]*)", text)[1]  # type: ignore[index]  # matches any text
    mark = next((mark for mark in ",;\t" if mark in first), ",")
    spaced = first.count(f"{mark} ") == first.count(mark) > 0
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=mark, strict=True, skipinitialspace=spaced)
    line = 1
    try:
        for values in reader:
            start, line = line, reader.line_num + 1
            yield start, values
    except csv.Error as error:
        raise UserError(f"{path.name} row {line}: not CSV ({error}); check the quotes in this row") from error


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_lines(_decode(path, path.read_bytes())), 1):
        if not line.strip():
            continue
        place = f"{path.name} row {number}"
        try:
            row = _parsed(line, path, number)
        except json.JSONDecodeError as error:
            raise UserError(f"{place}: not JSON at column {error.colno} ({error.msg}); one object a line") from error
        if not isinstance(row, dict):
            raise UserError(f"{place}: a {type(row).__name__}; each line must be an object {{…}}")
        yield number, {key: value for key, value in row.items() if value is not None}


def _parsed(text: str, path: Path, row: int = 1) -> Any:
    """Return what a JSON text holds that begins in a row of a file; errors of syntax pass as they are."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # Python converts no number of more than 4,300 digits
        digits = re.search(rf"\d{{{sys.get_int_max_str_digits() + 1}}}", text)
        row += text.count("\n", 0, digits.start() if digits else 0)
        raise UserError(f"{path.name} row {row}: a whole number of thousands of digits; write it in quotes") from error
    except RecursionError as error:
        row += text.count("\n", 0, _deep(text))
        raise UserError(
            f"{path.name} row {row}: lists or objects are nested too deeply; this is not a data set"
        ) from error


def _deep(text: str, limit: int = 500) -> int:
    """Return where more than `limit` lists and objects are open in a JSON text."""
    depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{\]}]', text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > limit:
            return token.start()
    return 0
