"""Reading a saved `.keras` model that may hold layers of tfxfer."""

import zipfile
from pathlib import Path

import keras

from tfxfer.errors import UserError
from tfxfer.models.registration import register_with_keras


def load_model(path: str | Path) -> keras.Model:
    """Load a `.keras` file, which may hold layers of tfxfer, not compiled.

    Raises:
        UserError: the file is missing, cut short, or not a Keras model.
    """
    register_with_keras()
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError, ImportError, zipfile.BadZipFile) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{path}: not a readable .keras model ({first}); train it again or name another") from error
    if isinstance(model, keras.Sequential):  # the same layers and weights as a functional model
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model
