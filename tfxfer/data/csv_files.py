"""CSV files in their dialects: which mark divides the columns is told by the first rows, not by the first line alone.

Known are `,` `;` tab and `|`, Excel's line `sep=;`, quoted fields with line breaks, and lines that end with CR alone.
Files divided by tabs or `|` often have quotes within texts. If they cannot be read as quotes, they are text.
"""

import csv
import gc
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfxfer.data.text_files import decoded, read_text
from tfxfer.errors import UserError

csv.field_size_limit(2**31 - 1)  # the default of 128 KiB a field refuses long documents
MARKS = "\t|,;"
_SAMPLE = 100_000  # characters that tell the dialect
_SAMPLED = 50  # rows
_EXCEL = re.compile(r'\s*"?sep=(.)"?[ \t]*(?:\r\n|\r|\n)')


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        mark: What divides the columns.
        spaced: Whether a blank follows each mark, and is no part of the values.
        quoted: Whether quotes enclose values; else they are text.
        start: Where the header begins: characters before it, such as the line `sep=;`.
    """

    mark: str = ","
    spaced: bool = False
    quoted: bool = True
    start: int = 0


@dataclass(frozen=True)
class CsvFile:
    """A CSV file as rows of values.

    Attributes:
        path: The file.
        header: Names of the columns, without blanks at their ends. Some may be empty or occur twice.
        lines: The line that each row starts on, [N].
        rows: Their values, [N]; not all need to have as many as the header.
        dialect: How it is written.
        has_nul: Whether a NUL character is in it.
    """

    path: Path
    header: list[str]
    lines: Sequence[int]
    rows: list[list[str]]
    dialect: Dialect
    has_nul: bool = False

    def place(self, row: int) -> str:
        """Return file and line of a row, for messages."""
        return f"{self.path.name} row {self.lines[row]}"

    def ragged(self) -> Iterator[tuple[int, str]]:
        """Yield the rows with more or fewer values than columns, and what to do."""
        width = len(self.header)
        if set(map(len, self.rows)) <= {width}:
            return
        for row, values in enumerate(self.rows):
            if len(values) != width:
                yield (
                    row,
                    (
                        f"{len(values)} values for {width} columns; put quotes around a value that holds a "
                        f"{_MARK_NAMES[self.dialect.mark]}, quote or line break"
                    ),
                )

    def refuse_repeated(self, columns: Sequence[str]) -> None:
        """Refuse columns in use whose name another column has too."""
        twice = next((name for name in columns if self.header.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{self.path.name} row 1: two columns are called '{twice}'; rename one")


_MARK_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "'|'"}


def read_csv(path: Path) -> CsvFile:
    """Read a CSV file whole.

    Raises:
        UserError: It is not UTF-8, has no header, or its quotes do not close.
    """
    return _parsed(path, read_text(path))


def csv_header(path: Path) -> list[str]:
    """Return the names of a CSV file's columns; only the beginning of the file is read."""
    with path.open("rb") as file:
        data = b"".join(_until_sampled(file))
    text = decoded(path, data)
    dialect = dialect_of(text)
    return checked_header(path, next((row for _, row in _rows(path, text, dialect) if row), []))


def dialect_of(text: str) -> Dialect:
    """Return how the beginning of a CSV file is written.

    The mark is the one by which most of the first rows have as many values as the header, two at least. Of equal ones
    it is one that no blank follows in the header, as it does in a sentence.

    >>> dialect_of("text;label" + chr(10) + "good, really;a").mark
    ';'
    """
    excel = _EXCEL.match(text)
    start = excel.end() if excel else 0
    sample = text[start : start + _SAMPLE]
    first = re.match(r"\s*([^\r\n]*)", sample)[1]  # type: ignore[index]  # matches any text
    mark = excel[1] if excel else max(MARKS, key=lambda mark: (_consistency(sample, mark), f"{mark} " not in first))
    if mark not in _MARK_NAMES:
        raise UserError(f"sep={mark}: columns can be divided by , ; | or tabs; save the file with one of these")
    spaced = first.count(f"{mark} ") == first.count(mark) > 0
    return Dialect(mark, spaced, start=start)


def _consistency(sample: str, mark: str) -> float:
    """Return the share of the first rows that have as many values as the header; 0 where it has one column only."""
    if mark not in sample:
        return 0.0
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=mark)
    rows = [row for row, _ in zip((row for row in reader if row), range(_SAMPLED))]
    if len(rows) > 2 and len(rows) < _SAMPLED and len(sample) == _SAMPLE:
        rows.pop()  # it is cut off
    width = len(rows[0]) if rows else 0
    if width < 2:
        return 0.0
    return Counter(map(len, rows))[width] / len(rows)


def checked_header(path: Path, header: Sequence[str]) -> list[str]:
    """Return the names of columns without blanks at their ends; refuse a file without any."""
    names = [name.strip() for name in header]
    if not any(names):
        raise UserError(f"{path}: the file is empty; its first line must name the columns")
    return names


def _parsed(path: Path, text: str) -> CsvFile:
    dialect = dialect_of(text)
    try:
        found = _table(path, text, dialect)
    except UserError:
        if dialect.mark not in "\t|":
            raise
        found = None
    if dialect.mark in "\t|" and '"' in text and (found is None or any(found.ragged())):
        plain = _table(path, text, Dialect(dialect.mark, dialect.spaced, False, dialect.start))
        if found is None or sum(1 for _ in plain.ragged()) < sum(1 for _ in found.ragged()):
            return plain
    assert found is not None
    return found


def _table(path: Path, text: str, dialect: Dialect) -> CsvFile:
    lines, rows = _all_rows(path, text, dialect)
    header = checked_header(path, rows[0] if rows else [])
    lines, rows = lines[1:], rows[1:]
    if dialect.mark == "|":  # as in Flickr30k's results.csv: a row that ends early lacks its last values
        rows = [row + [""] * (len(header) - len(row)) for row in rows]
    return CsvFile(path, header, lines, rows, dialect, "\0" in text)


def _all_rows(path: Path, text: str, dialect: Dialect) -> tuple[Sequence[int], list[list[str]]]:
    """Return the line that each row starts on, and the rows; blank lines are left out."""
    reader = _reader(text, dialect)
    try:
        with _without_collection():
            rows = list(reader)
    except csv.Error:
        rows = []
    if rows and reader.line_num == len(rows) and all(rows):  # a row a line, as nearly always
        first = _first_line(text, dialect)
        return range(first, first + len(rows)), rows
    found = [(line, row) for line, row in _rows(path, text, dialect) if row]
    return [line for line, _ in found], [row for _, row in found]


@contextmanager
def _without_collection() -> Iterator[None]:
    """Look for no garbage while millions of lists are made, which would take half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _rows(path: Path, text: str, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the line that each row starts on, and its values; a blank line has none."""
    reader = _reader(text, dialect)
    line = first = _first_line(text, dialect)
    try:
        for values in reader:
            start, line = line, reader.line_num + first
            yield start, values
    except csv.Error as error:
        raise UserError(f"{path.name} row {line}: not CSV ({error}); check the quotes in this row") from error


def _reader(text: str, dialect: Dialect) -> Any:
    return csv.reader(
        io.StringIO(text[dialect.start :] if dialect.start else text, newline=""),
        delimiter=dialect.mark,
        strict=True,
        skipinitialspace=dialect.spaced,
        quoting=csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE,
    )


def _first_line(text: str, dialect: Dialect) -> int:
    return 1 + len(re.findall(r"\r\n|\r|\n", text[: dialect.start]))


def _until_sampled(file: io.BufferedReader) -> Iterator[bytes]:
    """Yield lines until the dialect can be told and the quotes of the header are closed."""
    quotes = size = 0
    for line in file:
        yield line
        quotes += line.count(b'"')
        size += len(line)
        if size > _SAMPLE and quotes % 2 == 0:
            return
