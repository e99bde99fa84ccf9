"""CSV and JSON-lines files as columns of strings, with the line each row starts on."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from tfxfer.errors import UserError

_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape half of a character, UTF-8 cannot hold it
csv.field_size_limit(2**31 - 1)  # the default of 128 KiB a field refuses long documents


def read_header(path: Path, kind: str) -> list[str]:
    """Return the column names of a "csv" or "jsonl" file, reading no further than its first row."""
    with path.open("rb") as file:
        if kind == "jsonl":
            first = next((line for line in file if line.strip()), b"")
            rows = _json_rows(path, _decode(path, first))
            return [str(key) for key in next(rows, (0, {}))[1]]
        text = _decode(path, b"".join(_until_quotes_close(file)))
    header = next(csv.reader(io.StringIO(text), delimiter=_delimiter(text)), [])
    return _checked_header(path, header)


def read_table(path: Path, kind: str, columns: list[str]) -> tuple[dict[str, list[str]], list[int]]:
    """Read some columns of a file.

    Args:
        path: A UTF-8 file, with or without a byte-order mark.
        kind: "csv" or "jsonl".
        columns: Names of the columns wanted.

    Returns:
        column -> N strings, and the line number each of the N rows starts on.

    Raises:
        UserError: for invalid UTF-8, a ragged row, invalid JSON or a missing value, naming file and line.
    """
    text = _decode(path, path.read_bytes())
    rows = _csv_rows(path, text) if kind == "csv" else _json_rows(path, text)
    table: dict[str, list[str]] = {column: [] for column in columns}
    lines = []
    for line, row in rows:
        lines.append(line)
        for column in columns:
            if column not in row:
                raise UserError(f"{path.name} row {line}: '{column}' is missing; give every row the same keys")
            table[column].append(row[column])
    if not lines:
        raise UserError(f"{path}: there is not a single row in it; check that it is the file you mean")
    return table, lines


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file without line ends; nothing follows the last line end."""
    lines = [line.removesuffix("\r") for line in _decode(path, path.read_bytes()).split("\n")]
    return lines if lines[-1] else lines[:-1]


def read_json(path: Path) -> object:
    """Return what a UTF-8 JSON file holds.

    Raises:
        UserError: for invalid UTF-8 or JSON, naming file, row and place.
    """
    try:
        return json.loads(_decode(path, path.read_bytes()))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path.name} row {error.lineno}: not JSON at column {error.colno} ({error.msg}); "
            "the file may be cut off: copy it again"
        ) from error
    except RecursionError as error:
        raise UserError(f"{path.name}: lists are nested too deeply; this is not a data set") from error


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
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path.name} row 1: the file is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        row = data.count(b"\n", 0, start) + 1
        column = start - data.rfind(b"\n", 0, start)
        raise UserError(
            f"{path.name} row {row}: byte {column} of the line (0x{data[start]:02x}) is not UTF-8; "
            "save the file as UTF-8"
        ) from error


def _delimiter(text: str) -> str:
    """Return the comma, or the semicolon or tab that a comma-free first line is split by."""
    first = text.lstrip().partition("\n")[0]
    return next((mark for mark in ",;\t" if mark in first), ",")


def _checked_header(path: Path, header: list[str]) -> list[str]:
    names = [name.strip() for name in header]
    if not any(names):
        raise UserError(f"{path}: the file is empty; its first line must name the columns")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path.name} row 1: two columns are called '{twice}'; rename one")
    return names


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for values in reader:
            start, line = line, reader.line_num + 1
            if not values:
                continue
            if header is None:
                header = _checked_header(path, values)
                continue
            if len(values) != len(header):
                raise UserError(
                    f"{path.name} row {start}: {len(values)} values for {len(header)} columns; "
                    "put quotes around a value that holds a comma, quote or line break"
                )
            yield start, dict(zip(header, values))
    except csv.Error as error:
        raise UserError(f"{path.name} row {line}: not CSV ({error}); check the quotes in this row") from error
    if header is None:
        _checked_header(path, [])


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path.name} row {number}: not JSON at column {error.colno} ({error.msg}); one object a line"
            ) from error
        if not isinstance(row, dict):
            raise UserError(f"{path.name} row {number}: a {type(row).__name__}; each line must be an object {{…}}")
        if "\\u" in line and _SURROGATE.search(json.dumps(row, ensure_ascii=False)):
            raise UserError(
                f"{path.name} row {number}: an escape from \\ud800 to \\udfff stands alone and is no character; "
                "write both halves of the pair, or the character itself"
            )
        yield number, {key: _json_text(value) for key, value in row.items() if value is not None}


def _json_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
