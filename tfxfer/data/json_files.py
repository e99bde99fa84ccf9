"""JSON files: whole ones, and one object a line. Errors name file, row and column."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfxfer.data.text_files import lines_of, read_text
from tfxfer.errors import UserError

_last: dict[tuple[str, int, int], Any] = {}  # the file that was read last: checking and loading read the same one


def read_json(path: Path) -> Any:
    """Return what a UTF-8 JSON file holds.

    Raises:
        UserError: for invalid UTF-8 or JSON, naming file, row and place.
    """
    facts = path.stat()
    key = (str(path.resolve()), facts.st_mtime_ns, facts.st_size)
    if key not in _last:
        _last.clear()
        try:
            _last[key] = parsed(read_text(path), path)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path.name} row {error.lineno}: not JSON at column {error.colno} ({error.msg}); "
                "the file may be cut off: copy it again"
            ) from error
    return _last[key]


def forget() -> None:
    """Free the memory of the file that was read last."""
    _last.clear()


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line of each object and the object, without keys of null."""
    for number, line in enumerate(lines_of(read_text(path)), 1):
        if not line.strip():
            continue
        place = f"{path.name} row {number}"
        try:
            row = parsed(line, path, number)
        except json.JSONDecodeError as error:
            raise UserError(f"{place}: not JSON at column {error.colno} ({error.msg}); one object a line") from error
        if not isinstance(row, dict):
            raise UserError(f"{place}: a {type(row).__name__}; each line must be an object {{…}}")
        yield number, {key: value for key, value in row.items() if value is not None}


def begins_as_json(path: Path) -> bool:
    """Return whether the first character of a file is a bracket of JSON; CSV begins with a column's name."""
    with path.open("rb") as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def is_whole(path: Path) -> bool:
    """Return whether a file that begins as JSON is one value, and not one object a line.

    It is told by the first line alone: an object that ends there, with more after it, is one of many.
    """
    with path.open("rb") as file:
        first = next((line for line in file if line.strip(b"\xef\xbb\xbf \t\r\n")), b"")
        if first.count(b"\r") > 1 and b"\n" not in first:
            first, _, rest = first.strip().partition(b"\r")
        else:
            rest = file.read(4096)
    first = first.removeprefix(b"\xef\xbb\xbf").strip()
    if not rest.strip():
        return True
    if first.startswith(b"["):
        return not first.endswith(b"]")
    return not first.endswith(b"}")


def parsed(text: str, path: Path, row: int = 1) -> Any:
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
