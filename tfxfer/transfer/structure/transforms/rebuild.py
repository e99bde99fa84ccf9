"""Rebuilding a functional model: the same layers and connections, with changed configs of some layers.

Every transform builds its target this way and then states, tensor by tensor, how the new model's weights are made. The
source model is only read.
"""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from tfxfer.errors import TfxferError, UserError
from tfxfer.transfer.graph import Call, input_of, like_inputs
from tfxfer.transfer.structure.weight_map.operations import resolve, steps_of
from tfxfer.transfer.structure.weight_map.rows import Origin, Row
from tfxfer.transfer.structure.weight_map.sources import KerasSource, as_sources, tensors_of
from tfxfer.transfer.structure.weight_map.tensors import SEED_STATE
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

Change = Callable[[str, dict[str, Any], tuple], dict[str, Any]]  # path, config, arguments of the call → config
Remake = Callable[[str, Any, tuple], Any]  # path, layer, arguments of the call → a new layer, or None for the default
Visit = Callable[[str, Any, tuple, dict[str, Any]], Any]  # path, layer, args, kwargs → output
Insert = Callable[[str, Any, tuple, dict[str, Any]], Any]  # path, output, args, kwargs → input of the next layers


@dataclass(frozen=True)
class Step(Call):
    """One call of a layer or operation, with all its arguments; see `Call`.

    Attributes:
        args: Positional arguments, with symbolic tensors where tensors go.
        kwargs: Arguments by name.
    """

    args: tuple = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def tensors(self) -> list[Any]:
        """All symbolic tensors that the call reads."""
        found = keras.tree.flatten((self.args, self.kwargs))
        return [one for one in found if isinstance(one, keras.KerasTensor)]


@dataclass
class Rebuilt:
    """The new model, and the pairs of old and new layers.

    Attributes:
        model: The new model.
        pairs: Old and new layers, in the order in which they run.
    """

    model: keras.Model
    pairs: list[tuple[Any, Any]]

    def partners(self) -> dict[str, str]:
        """Return path of the new weight → path of the old one, for rebuilt layers."""
        found: dict[str, str] = {}
        for old, new in self.pairs:
            ours, theirs = _weights(new), _weights(old)
            if [_leaf(v) for v in ours] != [_leaf(v) for v in theirs]:
                raise TfxferError(f"layer '{old.name}' ({type(old).__name__}) has other weights after it is rebuilt")
            found |= {our.path: their.path for our, their in zip(ours, theirs)}
        return found


@dataclass(frozen=True)
class Made:
    """How a tensor of the target is made.

    Attributes:
        origins: Tensors to read, each (name of the source, path).
        op: The operations, as rules write them.
        why: The reason, for the reader.
    """

    origins: Sequence[tuple[str, str]]
    op: Any
    why: str


def is_graph(layer: Any) -> bool:
    """Return whether a layer is a model with a graph of layers."""
    return isinstance(layer, keras.Model) and isinstance(layer, keras.Function | keras.Sequential)


def steps_in(model: keras.Model) -> tuple[list[Step], Any, Any]:
    """List the calls of a model's layers in order, with nested models expanded; nothing runs, the model is unchanged.

    Returns:
        The calls, and the symbolic inputs and outputs of the model.

    Raises:
        UserError: The model is not functional, not built, or holds a `Lambda`.
    """
    inputs = like_inputs(model)
    steps: list[Step] = []

    def call(path: str, layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        if is_graph(layer):
            return replay(layer, args[0], call, f"{path}/")
        refuse_lambda(path, layer)
        output = layer.compute_output_spec(*args, **kwargs)
        steps.append(Step(path, layer, args[0] if args else None, output, args, kwargs))
        return output

    return steps, inputs, replay(model, inputs, call)


def replay(model: keras.Model, inputs: Any, call: Visit, prefix: str = "") -> Any:
    """Run through a model's graph, with `call(path, layer, args, kwargs)` in place of each of its layers."""

    def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return call(prefix + layer.name, layer, args, kwargs)

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = visit(layer, inputs)
        return inputs
    return model._run_through_graph(inputs, operation_fn=lambda op: op, call_fn=visit)


def rebuild(
    model: keras.Model,
    *,
    change: Change | None = None,
    insert: Insert | None = None,
    remake: Remake | None = None,
    inputs: Any = None,
) -> Rebuilt:
    """Build a model again, with new weights.

    Args:
        model: A functional or sequential model; nested models stay nested.
        change: Gives the config of each layer, from its path, its old config and the arguments of its call.
        insert: May add new layers after a call: gets its path, output and arguments, returns the next layers' input.
        remake: May build the new layer for an old one.
        inputs: Symbolic inputs, when their shapes change.

    Raises:
        UserError: The model is not functional, or a layer cannot be rebuilt or called; the error names it.
    """
    input_of(model)
    built: dict[int, Any] = {}
    pairs: list[tuple[Any, Any]] = []

    def nested(path: str, layer: Any, args: tuple) -> Any:
        given, own = keras.tree.flatten(args[0]), keras.tree.flatten(input_of(layer))
        shapes = [[None if old is None else new for old, new in zip(o.shape, g.shape)] for o, g in zip(own, given)]
        inputs = [keras.Input(batch_shape=shape, dtype=g.dtype) for shape, g in zip(shapes, given)]
        fresh = keras.tree.pack_sequence_as(args[0], inputs)
        return keras.Model(fresh, replay(layer, fresh, call, f"{path}/"), name=layer.name)

    def call(path: str, layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        first = id(layer) not in built
        if first and is_graph(layer):
            built[id(layer)] = nested(path, layer, args)
        elif first:
            built[id(layer)] = (remake and remake(path, layer, args)) or rebuild_layer(path, layer, args, change)
        output = call_layer(path, built[id(layer)], args, kwargs)
        if first and isinstance(layer, keras.Layer) and not is_graph(layer):
            _carry_state(layer, built[id(layer)])
            pairs.append((layer, built[id(layer)]))
        return insert(path, output, args, kwargs) if insert else output

    inputs = like_inputs(model) if inputs is None else inputs
    return Rebuilt(keras.Model(inputs, replay(model, inputs, call), name=model.name), pairs)


def rebuild_layer(path: str, layer: Any, args: tuple = (), change: Change | None = None) -> Any:
    """Return a new layer from a layer's config, with changes.

    Raises:
        UserError: The layer has no complete config, such as a `Lambda`.
    """
    refuse_lambda(path, layer)
    try:
        config = config_of(layer)
        return type(layer).from_config(change(path, config, args) if change else config)
    except (TypeError, ValueError, NotImplementedError, KeyError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"layer '{path}' ({type(layer).__name__}) cannot be rebuilt from its config: {_first_line(error)}"
        ) from error


def config_of(layer: Any) -> dict[str, Any]:
    """Return the config from which a layer is rebuilt."""
    config = layer.get_config()
    if type(layer).__name__ == "ViTPatchingAndEmbedding":  # KerasHub 0.32: the config does not fit __init__
        derived = ("num_patches", "num_positions")
        config = {name: value for name, value in config.items() if name not in derived}
        config |= {"use_patch_bias": layer.use_patch_bias, "data_format": layer.data_format}
    return config


def renamed(layer: Any, name: str) -> Any:
    """Return a copy of a layer with another name."""
    return rebuild_layer(layer.name, layer, (), lambda path, config, args: {**config, "name": name})


def call_layer(path: str, layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Call a new layer on symbolic tensors.

    Raises:
        UserError: It cannot take them; the error lists their shapes.
    """
    try:
        return layer(*args, **kwargs)
    except (TypeError, ValueError, IndexError, ArithmeticError) as error:
        if isinstance(error, UserError):
            raise
        tensors = [one for one in keras.tree.flatten((args, kwargs)) if isinstance(one, keras.KerasTensor)]
        shapes = ", ".join(str(list(one.shape)) for one in tensors)
        raise UserError(
            f"layer '{path}' ({type(layer).__name__}) cannot take {shapes}: {_first_line(error)}"
        ) from error


def refuse_lambda(path: str, layer: Any) -> None:
    """Raise `UserError` for a `Lambda`, whose Python code cannot be analysed."""
    if isinstance(layer, keras.layers.Lambda):
        raise UserError(
            f"layer '{path}' is a Lambda: its Python code can neither be analysed nor rebuilt safely; "
            "replace it by a layer, or by an operation of keras.ops on the tensors"
        )


def map_of(source: Any, target: keras.Model, made: Mapping[str, Made]) -> WeightMap:
    """Return the weight map in which each tensor of the target is made as stated.

    Args:
        source: One model, or several by name.
        target: The new model.
        made: Target path → how it is made.
    """
    sources, bound = as_sources(source), KerasSource(target)
    known = {(label, t.path): t for label, one in sources.items() for t in tensors_of(one)}
    rows = []
    for tensor in tensors_of(bound):
        how = made[tensor.path]
        origins = tuple(Origin(label, known[label, path]) for label, path in how.origins)
        try:
            steps = resolve(steps_of(how.op), [origin.tensor.shape for origin in origins], tensor, {})
        except UserError as error:
            raise UserError(f"'{tensor.path}' {list(tensor.shape)}: {error} ({how.why})") from error
        rows.append(Row(tensor, origins, steps, how.why, allowed=True))
    return WeightMap.of(rows, sources, bound)


def _weights(layer: Any) -> list[Any]:
    return [v for v in layer.variables if v.path.split("/")[-1] != SEED_STATE]


def _leaf(variable: Any) -> str:
    return variable.path.split("/")[-1]


def _carry_state(old: Any, new: Any) -> None:
    """Copy a layer's state beside its weights: a vocabulary, or the statistics of `adapt`."""
    if isinstance(old, keras.layers.Normalization) and old.input_mean is None:
        for ours, theirs in zip(new.variables, old.variables):
            ours.assign(theirs)
        new.finalize_state()
    if not hasattr(old, "save_assets") or not getattr(old, "_is_adapted", True):
        return
    with tempfile.TemporaryDirectory() as folder:
        old.save_assets(folder)
        if any(Path(folder).iterdir()):
            new.load_assets(folder)


def _first_line(error: Exception) -> str:
    """Return the message of an error in one line, without the config or layer name that Keras puts before it."""
    message = re.sub(r"\x1b\[\d+m", "", str(error)).rpartition("Exception encountered:")[2]
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception encountered")), type(error).__name__)
