"""Markdown from text with computed numbers in it: a number or a name must not become a list, a heading or emphasis.

CommonMark reads "108." at the start of a line as an item of a list, and `_` around a word as emphasis. Where a line
of an f-string breaks depends on its numbers, so the breaks inside a paragraph are taken out before it is shown.
"""

import re
from collections.abc import Iterator

BULLET = re.compile(r"( *)[-+*] +(?=\S)")
NUMBERED = re.compile(r"( *)(\d{1,9})[.)] +(?=\S)")
BLOCK_START = re.compile(r"(#{1,6}|>|[-+*]|\d{1,9}(?=[.)])|~{3,}|={3,}|-{3,}|\*{3,})(?=[.)]?(\s|$)|(?<=>)|(?<=~))")
# Code, mathematics, and the addresses of links; inside these nothing is escaped.
PROTECTED = re.compile(
    r"(`+)(?!`).+?(?<!`)\1(?!`)|\$\$.+?\$\$|\$[^$\s](?:[^$\n]*[^$\s\\])?\$|\]\([^)\s]*\)|<https?://\S+?>", re.S
)
DATA = re.compile(r"(?<!\\)(_|<|~|(?<=\d)\*(?=\d)|(?<=\s)\*(?=\s)|&(?=#?\w+;))")


def tidy(text: str) -> str:
    """Return Markdown whose paragraphs, list items and quotes are one line each, with data escaped.

    A list, a quote, a table or a block of code begins after an empty line. A numbered list counts 1, 2, …; any other
    number at the start of a line is text. `**bold**`, `*emphasis*`, `code`, links and $mathematics$ work as usual.
    `_`, `<` and `~` are text.

    >>> print(tidy("Its median place is\\n1. With shuffled pairs it is\\n108."))
    Its median place is 1. With shuffled pairs it is 108.
    >>> print(tidy("- one\\n  line\\n- 3. place"))
    - one line
    - 3\\. place
    """
    return "\n\n".join(_block(lines) for lines in _blocks(text))


def plain(text: object) -> str:
    """Return text from outside, such as a file name or a caption, so that Markdown shows it as it is.

    >>> print(plain("*.csv | my_file"))
    \\*.csv \\| my\\_file
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", " ".join(str(text).split()))


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield the lines between empty lines; a block of code stays whole."""
    block: list[str] = []
    fenced = False
    for line in text.splitlines():
        opens = line.lstrip().startswith("```")
        if opens and not fenced and block:
            yield block
            block = []
        if line.strip() or fenced:
            block.append(line.rstrip())
        if opens:
            fenced = not fenced
        if block and not fenced and (opens or not line.strip()):
            yield block
            block = []
    if block:
        yield block


def _block(lines: list[str]) -> str:
    first = lines[0].lstrip()
    if first.startswith("```"):
        return "\n".join(lines)
    if first.startswith(">"):
        inner = "\n".join(re.sub(r"^ *> ?", "", line) for line in lines)
        return "\n".join(f"> {line}".rstrip() for line in tidy(inner).splitlines())
    if first.startswith("|") and len(lines) > 1 and re.fullmatch(r"[|:\- ]+", lines[1].strip()):
        return "\n".join(_inline(line) for line in lines)
    marker = BULLET if BULLET.match(lines[0]) else NUMBERED
    if marker is BULLET or _counts(lines):
        return _items(lines, marker)
    return _line(lines)


def _counts(lines: list[str]) -> bool:
    """Return whether the numbered lines count 1, 2, …, and the first line is one of them."""
    numbers = [int(found[2]) for line in lines if (found := NUMBERED.match(line))]
    return bool(NUMBERED.match(lines[0])) and len(numbers) > 1 and numbers == list(range(1, len(numbers) + 1))


def _items(lines: list[str], marker: re.Pattern[str]) -> str:
    items: list[tuple[str, list[str]]] = []
    for line in lines:
        found = marker.match(line)
        if found:
            items.append((found[0], [line[found.end() :]]))
        else:
            items[-1][1].append(line)
    return "\n".join(head + _line(item) for head, item in items)


def _line(lines: list[str]) -> str:
    """Return the lines as one, which begins no block."""
    text = _inline(" ".join(line.strip() for line in lines))
    found = BLOCK_START.match(text)
    if not found:
        return text
    at = found.end() if found[0].isdigit() else 0
    return f"{text[:at]}\\{text[at:]}"


def _inline(text: str) -> str:
    """Escape what is data, outside code, mathematics and addresses."""
    parts, end = [], 0
    for found in PROTECTED.finditer(text):
        parts += [DATA.sub(r"\\\1", text[end : found.start()]), found[0]]
        end = found.end()
    return "".join([*parts, DATA.sub(r"\\\1", text[end:])])
