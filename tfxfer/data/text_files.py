"""Files as text: UTF-8 only, and lines whatever ends them."""

from pathlib import Path

from tfxfer.errors import UserError


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without a byte-order mark.

    Raises:
        UserError: It is UTF-16, or a byte of it is not UTF-8; the message names row and column.
    """
    return decoded(path, path.read_bytes())


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file without line ends; nothing follows the last line end."""
    lines = lines_of(read_text(path))
    return lines if lines[-1] else lines[:-1]


def lines_of(text: str) -> list[str]:
    """Return the lines of a text; they end with LF or CR LF, or, in a file without any LF, with CR."""
    if "\n" not in text:
        return text.split("\r")
    return [line.removesuffix("\r") for line in text.split("\n")]


def decoded(path: Path, data: bytes) -> str:
    """Return bytes of a file as text; errors as for `read_text`."""
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
