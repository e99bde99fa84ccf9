"""A Keras model as a list of layer calls: to find a layer, cut a model there, copy it, and identify it."""

import hashlib
import inspect
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from tfxfer.errors import UserError, suggest

MOVING = ("Reshape", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D")
PASSED = ("Activation", "Softmax", "Dropout", *MOVING)  # may stand between a classification head and the output


@dataclass(frozen=True)
class Call:
    """One call of a layer, or of an operation such as `x + y`.

    Attributes:
        path: Names of the enclosing nested models and of the layer, joined by "/".
        layer: The layer itself, shared with the model.
        inputs: Its first argument: a symbolic tensor or a structure of them.
        output: Its symbolic output.
    """

    path: str
    layer: Any
    inputs: Any
    output: Any


def input_of(model: keras.Model) -> Any:
    """Return a model's symbolic input, or the structure of its inputs.

    Raises:
        UserError: The model has no graph of layers: it is subclassed, or not yet built.
    """
    if not _has_graph(model):
        raise UserError(
            f"{model.name}: layers can be reused from functional and sequential models, not from a "
            f"{type(model).__name__} whose call() is Python code; pass the functional model inside it"
        )
    if not model.built or not model.inputs:
        raise UserError(f"{model.name}: the model is not built; give it a keras.Input or call it on data once")
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def like_inputs(model: keras.Model) -> Any:
    """Return fresh symbolic inputs in the structure, shapes and types of a model's own."""

    def fresh(tensor: Any) -> Any:
        return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)

    return keras.tree.map_structure(fresh, input_of(model))


def trace(model: keras.Model, inputs: Any, frozen: bool = True) -> tuple[list[Call], Any]:
    """Call a model's layers again on new symbolic inputs, with nested models expanded.

    Args:
        model: A functional or sequential model.
        inputs: Symbolic tensors in the structure of `input_of(model)`.
        frozen: Fix every layer to inference mode (no dropout), in any model that later contains it.

    Returns:
        The calls in the order in which they run (a nested model after its layers), and the outputs.
    """
    calls: list[Call] = []
    return calls, _walk(model, inputs, "", calls, frozen)


def _has_graph(layer: Any) -> bool:
    return isinstance(layer, keras.Model) and isinstance(layer, keras.Function | keras.Sequential)


def _walk(model: keras.Model, inputs: Any, prefix: str, calls: list[Call], frozen: bool) -> Any:
    def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
        path = prefix + layer.name
        if _has_graph(layer):
            output = _walk(layer, args[0], f"{path}/", calls, frozen)
        else:
            if frozen and isinstance(layer, keras.Layer) and "training" in inspect.signature(layer.call).parameters:
                kwargs["training"] = False
            output = layer(*args, **kwargs)
        calls.append(Call(path, layer, args[0] if args else None, output))
        return output

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = visit(layer, inputs)
        return inputs
    # The only way to replay a graph with access to each call; `clone_model(call_function=...)` uses it too.
    return model._run_through_graph(inputs, operation_fn=lambda op: op, call_fn=visit)


def find(calls: list[Call], name: str, model: keras.Model) -> int:
    """Return the position of a layer's (last) call, by path or by a name that occurs at one path only."""
    exact = [i for i, call in enumerate(calls) if call.path == name]
    found = exact or [i for i, call in enumerate(calls) if call.path.split("/")[-1] == name]
    paths = sorted({calls[i].path for i in found})
    if not found:
        names = dict.fromkeys(call.path.split("/")[-1] for call in calls)
        raise UserError(f"layer '{name}' does not exist in {model.name}; {suggest(name, names)}")
    if len(paths) > 1:
        raise UserError(f"layer '{name}' is ambiguous in {model.name}; give one of the paths {', '.join(paths)}")
    return found[-1]


def name_of(layer: str | int, model: keras.Model) -> str:
    """Return a layer's name for a name or an index into `model.layers`."""
    if isinstance(layer, str):
        return layer
    if not -len(model.layers) <= layer < len(model.layers):
        raise UserError(f"{model.name} has {len(model.layers)} layers; there is no layer {layer}")
    return model.layers[layer].name


def before_head(calls: list[Call], outputs: Any, model: keras.Model) -> Any:
    """Return the input of the classification head that ends the model, or the output when none does.

    A head is a `Dense`; or a 1 x 1 convolution on maps of 1 x 1 (MobileNet), or on maps that are pooled after it to
    probabilities (SqueezeNet). Without either, what a softmax is taken of is returned: features are never
    probabilities.
    """
    if not isinstance(outputs, keras.KerasTensor):
        names = ", ".join(list(dict.fromkeys(call.path for call in calls))[-6:])
        raise UserError(f"{model.name} has several outputs; name the layer to cut at, e.g. one of: {names}")
    made_by: dict[int, Call] = {}
    for each in calls:
        made_by.setdefault(id(each.output), each)  # the layer inside a nested model comes before the model
    last = logits = outputs
    probabilities = moved = False
    while (call := made_by.get(id(last))) is not None:
        kind, layer = type(call.layer).__name__, call.layer
        softmax = kind == "Softmax" or getattr(getattr(layer, "activation", None), "__name__", "") == "softmax"
        if isinstance(layer, keras.layers.Dense) and (probabilities or softmax or not moved):
            return call.inputs
        if isinstance(layer, keras.layers.Conv2D) and tuple(layer.kernel_size) == (1, 1):
            one_position = tuple(call.inputs.shape[1:3]) == (1, 1)
            return call.inputs if one_position or probabilities or softmax else logits
        if kind not in PASSED and not (probabilities and kind == "ReLU"):
            return logits
        if softmax:
            probabilities, logits = True, call.inputs
        moved = moved or kind in MOVING
        last = call.inputs
    return logits


def clone(model: keras.Model) -> keras.Model:
    """Return a copy of a model that shares nothing with it: layers, weights and vocabularies."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for ours, theirs in zip(_with_assets(copy), _with_assets(model), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            theirs.save_assets(folder)
            if any(Path(folder).iterdir()):
                ours.load_assets(folder)
    return copy


def unfreeze(model: keras.Model) -> None:
    """Make every layer trainable. Layer by layer: Keras does not propagate a model's flag that is already set."""
    for layer in model._flatten_layers():
        layer.trainable = True


def _with_assets(model: keras.Model) -> list[Any]:
    """Return layers with a state beside their weights, such as a vocabulary."""
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "save_assets")]
    return [layer for layer in layers if layer.built or not getattr(layer, "_is_adapted", True)]


def fingerprint(model: keras.Model) -> str:
    """Return the SHA-256 of everything that determines a model's outputs: architecture, weights and vocabularies.

    Names are ignored, since Keras numbers layers in the order of creation ("conv2d_7"); so is the compile config, so
    that a model just trained and the same model loaded from its file have one fingerprint.
    """
    digest = hashlib.sha256()
    config = _anonymous(keras.saving.serialize_keras_object(model), {})
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for weight in model.weights:
        digest.update(f"{weight.shape} {weight.dtype}".encode())
        digest.update(keras.ops.convert_to_numpy(weight).tobytes())
    for layer in _with_assets(model):
        digest.update(_assets(layer))
    return digest.hexdigest()


def _assets(layer: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        layer.save_assets(folder)
        files: Iterable[Path] = sorted(p for p in Path(folder).rglob("*") if p.is_file())
        return b"".join(p.name.encode() + p.read_bytes() for p in files)


def _anonymous(config: Any, names: dict[str, str]) -> Any:
    """Replace every layer name in a Keras config by its order of appearance."""
    if isinstance(config, dict):
        return {
            key: names.setdefault(value, f"#{len(names)}")
            if key == "name" and isinstance(value, str)
            else _anonymous(value, names)
            for key, value in config.items()
            if key not in ("compile_config", "build_config", "trainable")  # they do not change outputs in inference
        }
    if isinstance(config, list | tuple):
        if config and isinstance(config[0], str) and config[0] in names:  # [layer name, node, tensor]
            return [names[config[0]], *config[1:]]
        return [_anonymous(value, names) for value in config]
    return config
