"""What reaches a terminal or a page: text that can be shown, whatever stands in names, texts and paths.

A class name with an escape sequence could move the cursor, or retitle the window. An arrow cannot be written where the
encoding has none. Both are shown as Python would write them in a string: `\\x1b`, `\\u2192`.
"""

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

UNPRINTABLE = re.compile(  # C0 but tab and newline, DEL, C1, and what turns the direction of a line
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
FAILING = ("strict", "surrogateescape", "surrogatepass")  # error handlers that stop at a character, or write raw bytes


def printable(text: str) -> str:
    """Return a text with its control characters written out; tab and newline stay.

    >>> print(printable("cat" + chr(27) + "[2J"))
    cat\\x1b[2J
    """
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def json_text(value: Any, indent: int | None = None) -> str:
    """Return `value` as JSON for standard output: valid JSON in any encoding, without control characters."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    text = json.dumps(value, ensure_ascii=not encoding.startswith("utf"), indent=indent)
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class PrintableStream:
    """A text stream whose control characters are written out; rich, which has its own, writes past it.

    Args:
        stream: Where the text goes.
    """

    def __init__(self, stream: Any) -> None:
        self.rich_proxied_file = stream  # the name that rich looks for

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        self.rich_proxied_file.write(printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write texts one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


@contextlib.contextmanager
def printable_streams() -> Iterator[None]:
    """Make standard output and standard error printable during the block.

    From here on they replace what their encoding does not have. Warnings and logs go through them too.
    """
    streams = sys.stdout, sys.stderr
    for stream in streams:
        if getattr(stream, "errors", None) in FAILING and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (PrintableStream(stream) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


@contextlib.contextmanager
def bars_of_libraries() -> Iterator[None]:
    """Let the progress bars of TensorFlow Datasets and Keras move the cursor during the block."""
    raw = (getattr(stream, "rich_proxied_file", stream) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(next(raw)), contextlib.redirect_stderr(next(raw)):
        yield


def console(**options: Any) -> "Console":
    """Return a rich console that prints printable text only, in any encoding.

    Args:
        options: As `rich.console.Console` takes them.
    """
    return _console_class()(**options)


@cache
def _console_class() -> Any:
    from rich.console import Console
    from rich.segment import Segment

    class PrintableConsole(Console):
        """A rich console; what it writes itself to move the cursor stays."""

        def render(self, renderable: Any, options: Any = None) -> Any:
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else encodable(printable(segment.text), self.encoding)
                yield segment if text == segment.text else Segment(text, segment.style)

    return PrintableConsole


def encodable(text: str, encoding: str) -> str:
    """Return a text with the characters written out that an encoding does not have.

    >>> print(encodable("glyphs → languages", "cp1252"))
    glyphs \\u2192 languages
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text
