"""Reading a saved `.keras` model that may hold layers of tfxfer."""

import json
import math
import random
import zipfile
from pathlib import Path
from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.models.coded_weights import plain_file
from tfxfer.models.registration import register_with_keras
from tfxfer.models.saved_archive import AGAIN, check_archive, check_memory


def load_model(path: str | Path) -> keras.Model:
    """Load a `.keras` file, which may hold layers of tfxfer, not compiled.

    The file is checked before anything is built: its checksums, and that its layers need no more than it brings.

    Raises:
        UserError: the file is missing, cut short, changed, not a Keras model, or describes more than it holds.
    """
    register_with_keras()
    path = Path(path)
    brought = check_archive(path)
    with plain_file(path) as plain:
        brought = brought if plain == path else check_archive(plain)
        check_memory(path, _variable_bytes(path), brought)
        try:
            model = keras.saving.load_model(plain, compile=False)
        except Exception as error:  # Keras, TensorFlow and h5py raise many types for what they cannot read
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise UserError(f"{path}: not a readable .keras model ({first}); {AGAIN}") from error
    if isinstance(model, keras.Sequential):  # the same layers and weights as a functional model
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def _variable_bytes(path: Path) -> int:
    """Return the bytes that a model's variables would take, without making one; 0 when its layers need values first.

    In a stateless scope Keras notes the shapes of variables and gives them no memory. What it has noted, and the
    random numbers that initialisers drew, are put back.
    """
    from keras.src.backend.common import global_state
    from keras.src.saving.serialization_lib import ObjectSharingScope

    with zipfile.ZipFile(path) as archive:
        config: Any = json.loads(archive.read("config.json"))
    noted = list(global_state.get_global_attribute("uninitialized_variables") or [])
    drawn = random.getstate()
    try:
        with keras.StatelessScope(initialize_variables=False), ObjectSharingScope():
            model: Any = keras.saving.deserialize_keras_object(config | {"compile_config": None})
            return sum(math.prod(v.shape) * _width(v.dtype) for v in model.variables)
    except Exception:  # the loading that follows says what is wrong, if anything is
        return 0
    finally:
        global_state.set_global_attribute("uninitialized_variables", noted)
        random.setstate(drawn)


def _width(dtype: str) -> int:
    """Return the bytes of one value.

    >>> [_width(name) for name in ("float32", "bfloat16", "uint8", "bool")]
    [4, 2, 1, 1]
    """
    digits = "".join(filter(str.isdigit, dtype.replace("bfloat", "")))
    return max(1, int(digits) // 8) if digits else 1
