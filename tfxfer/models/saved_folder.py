"""A model's folder: `model.keras` beside `model.json`, which says of which class it is and what it takes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer.cache import atomic_file, write_json
from tfxfer.errors import UserError, suggest

if TYPE_CHECKING:
    import keras


def save_folder(folder: str | Path, model: "keras.Model", described: dict[str, Any]) -> Path:
    """Write a model and its description, each whole or not at all; return the folder.

    Args:
        folder: Made when it is not there.
        model: From raw input to answers.
        described: JSON-like; "class" names the class that loads it.
    """
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / "model.keras") as path:
        model.save(path)
    write_json(folder / "model.json", described)
    return folder


def describe_folder(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder and the description of a saved model, by its folder or by the .keras file in it.

    Raises:
        UserError: There is no such folder, it holds no finished model, or its description cannot be read.
    """
    folder = Path(path).expanduser()
    folder = folder.parent if folder.suffix == ".keras" else folder
    if not folder.is_dir():
        known = sorted(str(p) for p in folder.parent.glob("*")) if folder.parent.is_dir() else []
        raise UserError(f"{folder}: there is no such folder; {suggest(str(folder), known)}")
    missing = [name for name in ("model.json", "model.keras") if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder}: not a finished run or saved model ({', '.join(missing)} missing)")
    try:
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{folder / 'model.json'}: is no JSON ({error}); save the model again") from error
    if not isinstance(described, dict) or not isinstance(described.get("class"), str):
        raise UserError(f"{folder / 'model.json'}: names no class; it was written by another version of tfxfer")
    return folder, described


def load_folder(path: str | Path, wanted: str) -> tuple["keras.Model", dict[str, Any]]:
    """Return the model and the description of a folder of `save_folder`.

    Raises:
        UserError: It holds a model of another class, or is damaged.
    """
    from tfxfer.models.saved import load_model

    folder, described = describe_folder(path)
    if described["class"] != wanted:
        raise UserError(
            f"{folder}: holds a {described['class']}, not a {wanted}; tfxfer.from_run opens a folder of any class"
        )
    return load_model(folder / "model.keras"), described
