"""Source code at the width of a notebook: 88 columns, where the library itself has 120."""

import ast
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

WIDTH = 88


def narrow(source: str, width: int = WIDTH) -> str:
    """Return Python source formatted to `width` columns; as it is where `ruff` is missing or cannot read it."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff:
        command = [ruff, "format", "--isolated", "--quiet", "--line-length", str(width), "-"]
        done = subprocess.run(command, input=source, capture_output=True, text=True, encoding="utf-8", check=False)
        source = done.stdout.rstrip() if done.returncode == 0 else source
    lines, shown = source.splitlines(), []
    docstrings, end = _docstrings(source), 0
    for number, line in enumerate(lines, start=1):
        if number in docstrings:
            end = docstrings[number]
            shown += _filled(lines[number - 1 : end], width)
        elif number > end:
            shown += _wrapped(line, width)
    return "\n".join(shown)


def _docstrings(source: str) -> dict[int, int]:
    """Return the first and last line of each docstring, first -> last."""
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented) and ast.get_docstring(node)]
    return {node.body[0].lineno: node.body[0].end_lineno or 0 for node in nodes}


def _filled(lines: list[str], width: int) -> list[str]:
    """Return the lines of a docstring with those paragraphs filled anew that are wider than `width`."""
    paragraphs: list[list[str]] = []
    for line in lines:
        before = paragraphs[-1] if paragraphs else [""]
        depth, depth_before = (len(one) - len(one.lstrip()) for one in (line, before[0]))
        entry = depth == depth_before and re.match(r"\s+[\w*, ]+: ", line)
        apart = not line.strip() or not before[0].strip() or depth < depth_before or before[-1].endswith(":")
        if apart or entry or line.lstrip().startswith((">>>", "...", "- ", '"""')) or ">>>" in before[0]:
            paragraphs.append([line])
        else:
            before.append(line)
    filled = []
    for paragraph in paragraphs:
        if max(map(len, paragraph)) <= width or ">>>" in paragraph[0]:
            filled += paragraph
            continue
        indent = paragraph[0][: len(paragraph[0]) - len(paragraph[0].lstrip())]
        further = indent + "    " * bool(re.match(r"\s+[\w*, ]+: ", paragraph[0]))
        words = " ".join(line.strip() for line in paragraph)
        filled += textwrap.wrap(words, width, initial_indent=indent, subsequent_indent=further)
    return filled


def _wrapped(line: str, width: int) -> list[str]:
    """Return a line as lines of at most `width` columns, when a comment or a text is what makes it long."""
    if len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    if line.startswith(f"{indent}# "):
        return textwrap.wrap(line.strip(), width, initial_indent=indent, subsequent_indent=f"{indent}# ")
    code, mark, comment = line.rpartition("  # ")
    if mark:
        return [*textwrap.wrap(comment, width, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "), code]
    text = re.fullmatch(r'( *)((?:return|\w+ \+?=) )?([rf]*)"([^"\\]*)"(,?)', line)
    if not text:
        return [line]
    start, kind, comma = text[2], text[3], text[5]
    if start and not comma:
        inner = _parts(text[4], kind, f"{indent}    ", width)
        return [f"{indent}{start}(", *inner, f"{indent})"]
    *most, last = _parts(text[4], kind, indent, width)
    return [line] if start else [*most, last + comma]


def _parts(text: str, kind: str, indent: str, width: int) -> list[str]:
    """Return a long text as several, which Python joins; none is broken inside braces."""
    places = [at.end() for at in re.finditer(r" (?![^{]*\})", text) if at.end() + len(indent) + 4 <= width]
    if len(text) + len(indent) + 4 <= width or not places:
        return [f'{indent}{kind}"{text}"']
    return [f'{indent}{kind}"{text[: places[-1]]}"', *_parts(text[places[-1] :], kind, indent, width)]
