"""A model's folder: `model.keras` beside `model.json`, which says of which class it is and what it takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer.cache import atomic_file
from tfxfer.errors import UserError, suggest
from tfxfer.own_files import check_kinds, read_own_json, write_own_json
from tfxfer.run_folder import is_begun, is_finished

if TYPE_CHECKING:
    import keras


AGAIN = "save the model again, or run the experiment again"
KINDS: dict[str, type | tuple[type, ...]] = {  # what model.json may hold -> the type of its value
    "class": str,
    "input": str,
    "class_names": list,
    "image_size": (list, type(None)),
    "channels": int,
    "num_beams": int,
    "length_penalty": (int, float),
    "vocabulary": list,
    "lowercase": bool,
    "max_length": int,
    "tokenizer": str,
    "text_encoder": str,
    "image_encoder": str,
}


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
        without_optimizer(model).save(path)
    write_own_json(folder / "model.json", described)
    return folder


def without_optimizer(model: "keras.Model") -> "keras.Model":
    """Return a functional model as it is before `compile`, with the same layers; another model as it is.

    The state of Adam is twice as large as the weights. Where several arms train one compiled model, it is that of the
    arm that trained last, and so would differ between an interrupted run and an undisturbed one.
    """
    import keras

    functional = type(model).__name__ == "Functional"  # not a subclass, which has methods of its own
    return keras.Model(model.input, model.output, name=model.name) if functional and model.compiled else model


def describe_folder(path: str | Path, needed: Sequence[str] = ()) -> tuple[Path, dict[str, Any]]:
    """Return the folder and the description of a saved model, by its folder or by the .keras file in it.

    Args:
        path: The folder, or the file.
        needed: What the description must hold, besides the class.

    Raises:
        UserError: There is no such folder, or it holds no finished model.
        DamagedFile: Its description is damaged.
    """
    folder = Path(path).expanduser()
    folder = folder.parent if folder.suffix == ".keras" else folder
    if not folder.is_dir():
        known = sorted(str(p) for p in folder.parent.glob("*")) if folder.parent.is_dir() else []
        raise UserError(f"{folder}: there is no such folder; {suggest(str(folder), known)}")
    if is_begun(folder) and not is_finished(folder):
        raise UserError(
            f"{folder}: an unfinished run; give the command that began it again, with --run-dir {folder}: it goes on"
        )
    missing = [name for name in ("model.json", "model.keras") if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder}: not a finished run or saved model ({', '.join(missing)} missing)")
    described = read_own_json(folder / "model.json", AGAIN)
    if not isinstance(described.get("class"), str):
        raise UserError(f"{folder / 'model.json'}: names no class; it was written by another version of tfxfer")
    wanted = {*needed, *(("image_size", "channels") if described.get("input") == "image" else ())}
    kinds = {name: kind for name, kind in KINDS.items() if name in described or name in wanted}
    check_kinds(folder / "model.json", described, kinds, AGAIN)
    return folder, described


def load_folder(path: str | Path, wanted: str, needed: Sequence[str] = ()) -> tuple["keras.Model", dict[str, Any]]:
    """Return the model and the description of a folder of `save_folder`.

    Args:
        path: The folder, or the .keras file in it.
        wanted: Name of the class that is loaded.
        needed: What the description must hold, besides the class.

    Raises:
        UserError: It holds a model of another class, or is damaged.
    """
    from tfxfer.models.saved import load_model

    folder, described = describe_folder(path, needed)
    if described["class"] != wanted:
        raise UserError(
            f"{folder}: holds a {described['class']}, not a {wanted}; tfxfer.from_run opens a folder of any class"
        )
    return load_model(folder / "model.keras"), described
