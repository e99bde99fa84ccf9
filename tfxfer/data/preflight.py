"""Checks of the rows of a data set before anything is trained for it: labels, splits, images, and how many rows.

They need neither TensorFlow nor NumPy, and decode no image. `load` finds the same faults, and those within images.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfxfer.cache import data_dirs
from tfxfer.data.bad_items import BadItems, check_mode
from tfxfer.data.caption_files import read_caption_rows
from tfxfer.data.json_files import forget
from tfxfer.data.spec import TABLES, Spec
from tfxfer.data.table_rows import bad_items_of, read_table_rows
from tfxfer.errors import UserError

LEAST_ROWS = 3  # one for each split


def check_rows(
    spec: Spec,
    given: dict[str, str],
    data_dir: str | Path | None = None,
    image_dir: str | None = None,
    bad_items: str = "refuse",
    drop_empty: Sequence[str] = (),
) -> None:
    """Read a file of rows or captions and check all that can be seen without decoding an image.

    Args:
        spec: The parsed spec; other kinds than files of rows are not read.
        given: Role -> column, those that are named.
        data_dir: As for `load`.
        image_dir: As for `load`.
        bad_items: As for `load`.
        drop_empty: As for `load`.

    Raises:
        UserError: naming file, row and remedy.
    """
    spec = replace(spec, image_dir=image_dir, bad_items=check_mode(bad_items), drop_empty=tuple(drop_empty))
    caches = data_dirs(data_dir)
    bad = bad_items_of(spec, caches)
    try:
        if spec.kind in ("captions", "coco"):
            captions = read_caption_rows(spec, given, caches, bad)
            there = [row for row, path in enumerate(captions.found.paths) if path is not None]
            _check(bad, len(captions.names), captions.splits, captions.labels, there, spec, "images")
        elif spec.kind in TABLES:
            rows = read_table_rows(spec, given, caches, bad)
            paths = rows.found.paths if rows.found is not None else [Path()] * len(rows)
            there = [row for row, path in enumerate(paths) if path is not None]
            _check(bad, rows.total, rows.splits, rows.labels, there, spec, "rows")
    finally:
        forget()


def _check(
    bad: BadItems, total: int, splits: list[str], labels: list[str] | None, there: list[int], spec: Spec, what: str
) -> None:
    bad.settle(total, what)
    named = {splits[row] for row in there if splits[row]}
    if named and "train" not in named:
        raise UserError(
            f"{spec.source}: no example is in split 'train', only in {', '.join(sorted(named))}; name the training "
            "examples"
        )
    if len(there) < LEAST_ROWS:
        raise UserError(
            f"{spec.source}: {len(there)} {what} are too few to cut into train, validation and test; add examples"
        )
    classes = {labels[row] for row in there} if labels else set()
    if len(classes) == 1:
        raise UserError(f"{spec.source}: every example is of class '{classes.pop()}'; a task needs two classes")
