"""The names of the students that a distillation can make, known without TensorFlow."""

import re

from tfxfer.errors import UserError, suggest

TAKES = {"fresh:text_cnn": "text", "fresh:bert": "text", "fresh:cnn": "image"}  # student -> what it reads
LAYERS = re.compile(r"layers:(\d+)")
CHOICES = "fresh:cnn, fresh:text_cnn, fresh:bert, layers:N (of a BERT teacher) or file:MODEL.keras"


def parse_student(spec: str) -> str:
    """Return the architecture of a student's spec: one of `TAKES`, "layers" or "file".

    Raises:
        UserError: There is no such student; the nearest is named.

    >>> parse_student("layers:2"), parse_student("fresh:bert")
    ('layers', 'fresh:bert')
    """
    if spec in TAKES:
        return spec
    if (found := LAYERS.fullmatch(spec)) and int(found[1]):
        return "layers"
    if spec.startswith("file:"):
        return "file"
    raise UserError(f"--student {spec}: {suggest(spec, [*TAKES, 'layers:N', 'file:MODEL.keras'])}")
