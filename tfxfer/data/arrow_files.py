"""Parquet and Arrow files, and folders of them as the library `datasets` writes them. Needs pyarrow.

Classes that are stored as numbers get their names, which `datasets` keeps in the schema. Images that are stored are
written into the data folder, named by the hash of their bytes.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfxfer.cache import atomic_file
from tfxfer.data.class_folders import SPLIT_NAMES, split_of_folder
from tfxfer.errors import UserError
from tfxfer.given_files import reading_given

SUFFIXES = (".parquet", ".arrow")
_MAGIC = (b"PAR1", b"ARROW1")


def is_arrow(path: Path) -> bool:
    """Return whether a path is a Parquet or Arrow file, or a folder with some in it."""
    if path.is_dir():
        return any(True for _ in files_of(path))
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(6).startswith(_MAGIC)


def files_of(path: Path) -> list[Path]:
    """Return the files of a data set, in the order of their names."""
    if not path.is_dir():
        return [path]
    found = (each for suffix in SUFFIXES for each in path.rglob(f"*{suffix}"))
    return sorted(each for each in found if not each.name.startswith((".", "cache-")))


def arrow_columns(path: Path) -> list[str]:
    """Return the names of the columns; "split" is one where the names of files or folders tell the split."""
    names: dict[str, None] = {}
    for file in files_of(path):
        names.update(dict.fromkeys(_table(file).schema.names))
    if "split" not in names and len(set(_splits(path))) > 1:
        names["split"] = None
    return list(names)


def arrow_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, column -> value) of all rows; an image that is stored is {"bytes", "path"}."""
    splits = _splits(path)
    several = len(set(splits)) > 1
    for file, split in zip(files_of(path), splits):
        table = _table(file)
        names = _class_names(table.schema.metadata or {})
        row = 0
        for batch in table.to_batches(max_chunksize=1000):
            for values in batch.to_pylist():
                found = {key: _plain(value, names.get(key)) for key, value in values.items() if value is not None}
                if several and "split" not in found:
                    found["split"] = split
                yield f"{file.name} row {row + 1}", {key: value for key, value in found.items() if value is not None}
                row += 1


def _plain(value: Any, names: list[str] | None) -> Any:
    """Return a value as a row has it: a class by its name, an image by its path, if it has no bytes."""
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    if isinstance(value, dict) and set(value) == {"bytes", "path"} and not value["bytes"]:
        return value["path"]
    return value


def stored_image(value: dict[str, Any], folder: Path) -> str:
    """Write the bytes of an image into a folder, unless they are there, and return the path."""
    data = value["bytes"]
    path = folder / hashlib.sha256(data).hexdigest()
    if not path.exists():
        with atomic_file(path) as temporary:
            temporary.write_bytes(data)
    return str(path)


def _splits(path: Path) -> list[str]:
    """Return the split of each file, by its name or its folder's; "" where neither tells."""
    found = []
    for file in files_of(path):
        words = [file.name.partition("-")[0].lower(), *(part.lower() for part in file.relative_to(path).parts[:-1])]
        named = (SPLIT_NAMES.get(word) or split_of_folder(word) for word in words)
        found.append(next((split for split in named if split in ("train", "validation", "test")), ""))
    return [split or "" for split in found] if all(found) else [""] * len(found)


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return column -> names of its classes, as `datasets` keeps them."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {name: each["names"] for name, each in features.items() if isinstance(each, dict) and "names" in each}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _table(path: Path) -> Any:
    """Return a file as a table of pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{path}: needs pyarrow; run: pip install 'tfxfer[parquet]'") from error
    with reading_given(path, "copy it again"):
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        if parquet:
            return pyarrow.parquet.read_table(path)
        with pyarrow.memory_map(str(path)) as source:
            try:
                return pyarrow.ipc.open_stream(source).read_all()
            except pyarrow.ArrowInvalid:
                return pyarrow.ipc.open_file(source).read_all()
