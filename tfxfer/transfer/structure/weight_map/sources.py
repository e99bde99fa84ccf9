"""Sources of weights that are already in memory: Keras models and arrays."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import singledispatch
from typing import Any

import numpy as np

from tfxfer.errors import UserError
from tfxfer.transfer.structure.weight_map.names import made_up, seem_made_up, tokens
from tfxfer.transfer.structure.weight_map.tensors import SEED_STATE, TARGET, Shape, Source, Tensor


class ArraySource:
    """Named arrays as a source: NumPy, `np.memmap`, h5py data sets, or anything with `.shape` and `.dtype`."""

    def __init__(self, arrays: Mapping[str, Any], title: str = "arrays"):
        bad = next((name for name, array in arrays.items() if not is_array(array)), None)
        if bad is not None:
            raise UserError(f"source '{bad}' is a {type(arrays[bad]).__name__} and not an array; give np.asarray(…)")
        self.arrays, self.title = arrays, title

    def names(self) -> list[str]:
        """Return the keys, in order."""
        return list(self.arrays)

    def shape(self, name: str) -> Shape:
        """Return an array's shape."""
        return tuple(int(n) for n in self.arrays[name].shape)

    def dtype(self, name: str) -> str:
        """Return an array's dtype."""
        return str(self.arrays[name].dtype)

    def read(self, name: str) -> np.ndarray:
        """Return one array, in memory."""
        return np.asarray(self.arrays[name])


class KerasSource:
    """The weights of a built Keras model or layer, by `variable.path`.

    Attributes:
        model: The model.
        skipped: Variables that are not weights, with the reason.

    Raises:
        UserError: The model is not built, or two of its variables have one path.
    """

    def __init__(self, model: Any):
        self.model, self.title = model, model.name
        if not model.built or not model.variables:
            why = "has no weights" if model.built else "is not built; call it on data once, or give it a keras.Input"
            raise UserError(f"{model.name}: the model {why}")
        variables = [v for v in model.variables if v.path.split("/")[-1] != SEED_STATE]
        self.skipped = {v.path: "state of a random generator" for v in model.variables if v.path.endswith(SEED_STATE)}
        twice = [path for path, count in Counter(v.path for v in variables).items() if count > 1]
        if twice:
            raise UserError(
                f"{model.name}: {len(twice)} weights share their path with another, such as '{twice[0]}'; "
                "give each layer a name of its own"
            )
        self.variables = {v.path: v for v in variables}

    def names(self) -> list[str]:
        """Return the paths in the order of `model.variables`."""
        return list(self.variables)

    def shape(self, name: str) -> Shape:
        """Return a variable's shape."""
        return tuple(self.variables[name].shape)

    def dtype(self, name: str) -> str:
        """Return a variable's dtype."""
        return str(self.variables[name].dtype)

    def read(self, name: str) -> np.ndarray:
        """Return a variable's value."""
        import keras

        return keras.ops.convert_to_numpy(self.variables[name])

    def owners(self) -> dict[str, str]:
        """Return the class of the layer that owns each variable."""
        found: dict[int, str] = {}
        for layer in self.model._flatten_layers():  # a layer comes after the layer that contains it: the innermost wins
            found |= {id(v): type(layer).__name__ for v in layer.variables}
        return {path: found.get(id(v), "") for path, v in self.variables.items()}

    def automatic_names(self) -> set[str]:
        """Return the layer names that Keras made up: the class's name, with or without a number."""
        layers = self.model._flatten_layers()
        return {layer.name.lower() for layer in layers if made_up(layer.name, type(layer).__name__)}


def tensors_of(source: Source, like: Iterable[Tensor] = ()) -> list[Tensor]:
    """Return the tensors of a source, without reading their values.

    Args:
        source: The source.
        like: Tensors of the model that the source is matched with. Their automatic layer names show which names of a
            file are automatic.

    Raises:
        UserError: A name occurs twice.
    """
    names = list(source.names())
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{source.title}: the name '{twice}' occurs twice; a plan could not distinguish the two")
    owners = source.owners() if isinstance(source, KerasSource) else {}
    if isinstance(source, KerasSource):
        automatic = source.automatic_names()
    else:
        automatic = seem_made_up(names, {place[:-1] for tensor in like for place in tensor.key if place.endswith("#")})
    return [
        Tensor(name, tuple(source.shape(name)), source.dtype(name), owners.get(name, ""), tokens(name, automatic))
        for name in names
    ]


def as_sources(source: Any) -> dict[str, Source]:
    """Return sources by name: a single one is called "source", several keep the names that the caller gave.

    Args:
        source: A Keras model or layer; a `Source`; a spec such as "hf:DIR", "x.safetensors" or "run:DIR"; a dictionary
            of arrays (one source); or a dictionary of any of these (several).
    """
    if isinstance(source, Mapping) and not isinstance(source, Source):
        if not source:
            raise UserError("there is no source: the dictionary is empty")
        if any(is_array(value) for value in source.values()):
            return {"source": ArraySource(source)}
        bad = next((name for name in source if not str(name).isidentifier() or name == TARGET), None)
        if bad is not None:
            raise UserError(f"'{bad}' cannot name a source; use letters, digits and '_', and not '{TARGET}'")
        return {name: as_source(value) for name, value in source.items()}
    return {"source": as_source(source)}


@singledispatch
def as_source(value: Any) -> Source:
    """Return one value as a source; a generic function, with which `structure.checkpoints` registers specs of files."""
    return value if isinstance(value, Source) else KerasSource(keras_model(value, "source"))


@as_source.register
def _(arrays: Mapping) -> Source:
    return arrays if isinstance(arrays, Source) else ArraySource(arrays)


def is_array(value: Any) -> bool:
    """Return whether a value has the shape and dtype of an array."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__array__")


def keras_model(value: Any, what: str) -> Any:
    """Return a value that is a Keras model or layer.

    Raises:
        UserError: It is something else.
    """
    import keras

    if isinstance(value, keras.Layer):
        return value
    raise UserError(f"the {what} is a {type(value).__name__}; give a Keras model")
