"""The page of a command such as `compare` or `merge`: sentences, panels, and how it is computed."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tfxfer.cache import atomic_file
from tfxfer.report import run
from tfxfer.report.page import drawn_panel, template
from tfxfer.report.panel import Panel
from tfxfer.terminal import printable


def write_command_page(
    path: Path,
    command: str,
    title: str,
    sentences: Sequence[str],
    panels: Sequence[Panel],
    method: Sequence[str],
    cautions: Sequence[str] = (),
) -> Path:
    """Write one self-contained HTML file, and return its path.

    Args:
        path: The file.
        command: The command's name, above the title.
        title: What was compared.
        sentences: What was found.
        panels: The sections.
        method: How it is computed, in paragraphs.
        cautions: What a reader has to know before the rest.
    """
    context = {
        "command": command,
        "title": title,
        "sentences": sentences,
        "cautions": cautions,
        "panels": [drawn_panel(panel, number) for number, panel in enumerate(panels)],
        "method": method,
        "versions": run.versions(),
        "date": f"{datetime.now():%Y-%m-%d %H:%M}",
    }
    with atomic_file(path) as temporary:
        text = printable(template("command.html").render(context))
        temporary.write_text(text, encoding="utf-8", errors="replace")
    return path
