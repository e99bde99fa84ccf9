"""A look into a `.keras` file before Keras reads it: is it whole, and does it ask for no more than it brings?

A `.keras` file is a zip of `config.json`, `metadata.json`, `model.weights.h5` and assets. Starts no TensorFlow.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

from tfxfer.errors import UserError, reason
from tfxfer.given_files import regular_file

LARGEST_CONFIG = 32 * 2**20  # bytes of config.json and metadata.json; that of BERT with its vocabulary has 0.6 MB
MOST_COMPRESSED = 20  # how many times its size a file may unpack to, and the bytes below; weights shrink by a tenth
SMALL = 32 * 2**20
PIECE = 2**20
AGAIN = "train it again or name another"


def check_archive(path: Path) -> int:
    """Check a `.keras` file without unpacking it; return the bytes of its weights and assets.

    Raises:
        UserError: It is missing, cut short, changed, encrypted, or unpacks to far more than it has.
    """
    regular_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members)
            for member in members:
                if member.filename == "config.json":
                    _check_config(path, archive.read(member))
                with archive.open(member) as file:  # read to the end, where the checksum is compared
                    while file.read(PIECE):
                        continue
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib and json raise many types for changed bytes
        raise UserError(f"{path}: not a readable .keras model ({reason(error)}); {AGAIN}") from error
    return sum(member.file_size for member in members if not member.filename.endswith(".json"))


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if "config.json" not in names or len(set(names)) < len(names):
        raise UserError(f"{path}: not a readable .keras model (no config.json, or a name twice); {AGAIN}")
    for member in members:
        if member.flag_bits & 1:
            raise UserError(f"{path}: '{member.filename}' is encrypted, which Keras never does; {AGAIN}")
        if member.filename in ("config.json", "metadata.json") and member.file_size > LARGEST_CONFIG:
            raise UserError(
                f"{path}: '{member.filename}' would have {member.file_size:,} bytes, and {LARGEST_CONFIG:,} is the "
                "maximum; do not trust this file"
            )
    whole = sum(member.file_size for member in members)
    if whole > SMALL + MOST_COMPRESSED * path.stat().st_size:
        raise UserError(
            f"{path}: has {path.stat().st_size:,} bytes and would unpack to {whole:,}; do not trust this file"
        )


def _check_config(path: Path, text: bytes) -> None:
    config: Any = json.loads(text)
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise UserError(f"{path}: not a readable .keras model (config.json describes no model); {AGAIN}")


def check_memory(path: Path, needed: int, brought: int) -> None:
    """Raise `UserError` when a model's variables would take more bytes than its file brings for them.

    Args:
        path: The file.
        needed: Bytes of all variables, by the config.
        brought: Bytes of weights and assets in the file.
    """
    if needed > 2 * brought + PIECE:
        raise UserError(
            f"{path}: its layers would take {needed:,} bytes, and the file brings {brought:,}; do not trust this file"
        )
