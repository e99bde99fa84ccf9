"""Reading a saved `.keras` model that may hold layers of tfxfer."""

import importlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from tfxfer.errors import UserError


def load_model(path: str | Path) -> keras.Model:
    """Load a `.keras` file with every tfxfer layer in it known to Keras, not compiled.

    Raises:
        UserError: the file is missing, cut short, or not a Keras model.
    """
    try:
        for module in _own_modules(path):
            importlib.import_module(module)  # importing registers its layers
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError, ImportError, zipfile.BadZipFile) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{path}: not a readable .keras model ({first}); train it again or name another") from error
    if isinstance(model, keras.Sequential):  # the same layers and weights, with a graph that can be walked
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def _own_modules(path: str | Path) -> set[str]:
    """Return the modules of tfxfer that a file's layers come from, as its config.json says."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    modules = (found["module"] for found in _dicts(config) if isinstance(found.get("module"), str))
    return {name for name in modules if name.startswith("tfxfer.")}


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _dicts(one)
