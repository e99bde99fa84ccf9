"""Which weights of a network train: `changed` puts in what a train set needs, `choose` freezes the others.

    head, norms, bias     flags of the weights alone
    lora:R                flags, and an optimizer that limits the rank of updates (`tfxfer.models.low_rank`)
    adapter:R, prefix     new layers in the graph
    all                   nothing is frozen

New layers train in every set. In all sets but `all` the moving statistics of batch normalisation stay those of the
source, in training too: they are no parameters, and would change what the frozen weights get.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.models.adapters import Adapter, FixedStatistics, PromptTokens
from tfxfer.models.low_rank import Chosen, LowRankKernel, remember
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.models.train_sets import TrainSet
from tfxfer.transfer.bridges.body import Body
from tfxfer.transfer.graph import like_inputs

BLOCKS = ("TransformerEncoder", "TransformerDecoder")
CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")
ACTIVATIONS = ("ReLU", "LeakyReLU", "Activation", "ELU", "PReLU")
BIASES = ("bias", "beta")


# === What stands in the graph ===


def changed(model: keras.Model, train_set: TrainSet, seed: int = 0) -> keras.Model:
    """Return a model with what a train set needs in its graph, over the same layers and weights.

    Adapters stand after each Transformer block; where there is none, after each sum of a residual network; else after
    each activation behind a convolution. Prompt tokens stand before the first Transformer block, and are cut off after
    the last. Batch normalisation gets fixed statistics. Models within the model, and `Body` layers, are changed too.

    Args:
        model: A functional model that may be changed: its layers are shared, so give a copy of a user's model.
        train_set: The train set.
        seed: Of new weights.

    Raises:
        UserError: The network has no place for an adapter, or no tokens for prompt tokens.
    """
    if train_set.kind == "all":
        return model
    places = _places(model, train_set)
    _check_places(model, places, train_set)
    if not places and not _has_norms(model):
        return model
    set_initializer_seed(seed)
    return _rebuilt(model, train_set, places)


def _layers(model: Any) -> list[Any]:
    """Return the layers of a graph, of models within it and of their `Body` layers, but not those inside layers."""
    found: list[Any] = []
    for layer in model.layers:
        inner = _inside(layer)
        found += [layer] if inner is None else _layers(inner)
    return found


def _inside(layer: Any) -> keras.Model | None:
    if isinstance(layer, Body):
        return layer.model
    functional = isinstance(layer, keras.Model) and isinstance(layer, keras.Function | keras.Sequential)
    return layer if functional else None


def _places(model: keras.Model, train_set: TrainSet) -> set[int]:
    """Return the ids of the layers after which an adapter stands, or of the blocks that get prompt tokens."""
    if train_set.kind not in ("adapter", "prefix"):
        return set()
    layers = _layers(model)
    blocks = [layer for layer in layers if type(layer).__name__ in BLOCKS]
    if blocks or train_set.kind == "prefix":
        return {id(layer) for layer in blocks}
    sums = [layer for layer in layers if type(layer).__name__ == "Add" and len(layer.output.shape) == 4]
    if sums:
        return {id(layer) for layer in sums}
    return {id(layer) for place, layer in enumerate(layers) if _ends_convolution(layers[: place + 1])}


def _ends_convolution(layers: Sequence[Any]) -> bool:
    """Return whether the last layer is a convolution with its activation, or the first activation behind one."""
    *before, layer = layers
    kind, own = type(layer).__name__, getattr(layer, "activation", None)
    if kind in CONVOLUTIONS:
        return own not in (None, keras.activations.linear)
    if kind not in ACTIVATIONS:
        return False
    norms = ("BatchNormalization", "GroupNormalization", "LayerNormalization")
    last = next((one for one in reversed(before) if type(one).__name__ not in norms), None)
    return type(last).__name__ in CONVOLUTIONS


def _check_places(model: keras.Model, places: Collection[int], train_set: TrainSet) -> None:
    """Raise `UserError` where adapters or prompt tokens have no place, or are wider than the network."""
    if train_set.kind not in ("adapter", "prefix"):
        return
    own = [layer for layer in _layers(model) if id(layer) in places]
    if train_set.kind == "prefix":
        _check_tokens(model, own, train_set)
        return
    if not own:
        raise UserError(
            f"--train-set {train_set.name}: {model.name} has no block after which an adapter could stand: no "
            "Transformer block of KerasHub, residual sum or convolution with an activation; use lora:R or norms"
        )
    narrow = min(own, key=_width)
    if train_set.size > _width(narrow):
        raise UserError(
            f"--train-set {train_set.name}: '{narrow.name}' gives {_width(narrow)} values, so a wider adapter is no "
            f"bottleneck; give adapter:{max(1, _width(narrow) // 4)} or at most adapter:{_width(narrow)}"
        )


def _width(layer: Any) -> int:
    return int(layer.output.shape[-1])


def _check_tokens(model: keras.Model, blocks: Sequence[Any], train_set: TrainSet) -> None:
    if not blocks:
        raise UserError(
            f"--train-set {train_set.name}: {model.name} has no Transformer blocks, and prompt tokens stand before the "
            "tokens of a text: a CNN has no tokens. Use adapter:R, lora:R, norms or bias"
        )
    if any(type(block).__name__ == "TransformerDecoder" for block in blocks):
        raise UserError(
            f"--train-set {train_set.name}: a decoder gets its prefix from the image, with --conditioning prefix; with "
            "cross-attention use adapter:R, lora:R, norms or bias"
        )


def _has_norms(model: keras.Model) -> bool:
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in _layers(model))


def _rebuilt(model: keras.Model, train_set: TrainSet, places: Collection[int]) -> keras.Model:
    """Return the model with its layers called again, and new ones between them."""
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    blocks = [layer for layer in model.layers if id(layer) in places]

    def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
        inner = _inside(layer)
        if inner is not None and (_has_norms(inner) or any(id(one) in places for one in _layers(inner))):
            own = _rebuilt(inner, train_set, places)
            layer = Body(own, layer.trainable_set, name=layer.name) if isinstance(layer, Body) else own
        if isinstance(layer, keras.layers.BatchNormalization):
            layer = FixedStatistics(layer, name=layer.name)
        if id(layer) not in places:
            return layer(*args, **kwargs)
        if train_set.kind == "adapter":
            return Adapter(train_set.size, name=f"adapter_{layer.name}")(layer(*args, **kwargs))
        return _prompted(layer, blocks, train_set.size, args, kwargs)

    inputs = like_inputs(model)
    # The only way to replay a graph with access to each call, as in `tfxfer.transfer.graph`.
    outputs = model._run_through_graph(inputs, operation_fn=lambda op: op, call_fn=visit)
    return keras.Model(inputs, outputs, name=model.name)


def _prompted(block: Any, blocks: Sequence[Any], count: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call one of the blocks with prompt tokens before its tokens: they are put in before the first of them."""
    x, *others = args
    if others or kwargs.get("attention_mask") is not None:
        raise UserError(f"--train-set prefix: '{block.name}' has an attention mask of its own; use adapter:R or lora:R")
    if block is blocks[0]:
        x = PromptTokens(count, name="prompt")(x)
    if kwargs.get("padding_mask") is not None:
        mask = keras.ops.cast(kwargs["padding_mask"], "int32")
        kwargs["padding_mask"] = keras.ops.pad(mask, [[0, 0], [count, 0]], constant_values=1)
    x = block(x, **kwargs)
    return keras.layers.Cropping1D((count, 0), name="without_prompt")(x) if block is blocks[-1] else x


# === What trains ===


def choose(model: keras.Model, pretrained: Iterable[Any], train_set: TrainSet) -> keras.Model:
    """Freeze what a train set does not train, and keep the choice for the optimizer; return the model.

    Args:
        model: A model of `changed`, all of which trains so far; to be compiled with `optimizer_for`.
        pretrained: The variables that came from the source; all others are new, and train.
        train_set: The train set.

    Raises:
        UserError: It trains nothing of this network, or the rank is larger than a kernel.
    """
    known = {id(variable) for variable in pretrained}
    own = [v for v in model.trainable_variables if id(v) in known]
    if not own:
        raise UserError(f"--train-set {train_set.name}: nothing of {model.name} is pretrained; leave it out")
    low_rank = _low_rank(model, {id(v) for v in own}, train_set)
    trained = _trained(model, own, low_rank, train_set)
    if not trained and train_set.kind in ("norms", "bias", "lora"):
        raise UserError(f"--train-set {train_set.name}: trains nothing of {model.name}, {_what_there_is(model, own)}")
    for variable in own:
        variable.trainable = id(variable) in trained
    remember(model, Chosen(train_set, low_rank))
    return model


def _trained(
    model: keras.Model, own: Sequence[Any], low_rank: Sequence[LowRankKernel], train_set: TrainSet
) -> set[int]:
    """Return the ids of the pretrained variables that train."""
    if train_set.kind == "all":
        return {id(v) for v in own}
    if train_set.kind == "norms":
        return _norms(model) & {id(v) for v in own}
    if train_set.kind == "bias":
        return {id(v) for v in own if _is_bias(v)}
    return {id(one.kernel) for one in low_rank}


def _norms(model: keras.Model) -> set[int]:
    """Return the ids of scale and offset of all normalisation layers."""
    layers = [layer for layer in model._flatten_layers() if "norm" in type(layer).__name__.lower()]
    return {id(v) for layer in layers for v in layer.trainable_variables}


def _is_bias(variable: Any) -> bool:
    return variable.path.rsplit("/", 1)[-1] in BIASES


def _low_rank(model: keras.Model, own: Collection[int], train_set: TrainSet) -> tuple[LowRankKernel, ...]:
    """Return the kernels of dense and convolution layers that train by LoRA, each once.

    Raises:
        UserError: The rank is larger than one of them.
    """
    if train_set.kind != "lora":
        return ()
    found: dict[int, LowRankKernel] = {}
    for layer in model._flatten_layers():
        inputs = _inputs_of_kernel(layer)
        if inputs and id(_kernel(layer)) in own:
            one = LowRankKernel(_kernel(layer), inputs, train_set.size)
            if train_set.size > min(one.inputs, one.outputs):
                raise UserError(
                    f"--train-set {train_set.name}: the kernel '{one.kernel.path}' is a matrix of {one.inputs} x "
                    f"{one.outputs}; give a rank of at most {min(one.inputs, one.outputs)}"
                )
            found[id(one.kernel)] = one
    return tuple(found.values())


def _kernel(layer: Any) -> Any:
    return getattr(layer, "_kernel", None)  # `kernel` would be another tensor where Keras' own LoRA is on


def _inputs_of_kernel(layer: Any) -> int:
    """Return how many inputs an output of a dense or convolution kernel has; 0 for other layers."""
    kernel = _kernel(layer)
    if kernel is None:
        return 0
    kind = type(layer).__name__
    if kind == "Dense" or kind in CONVOLUTIONS:
        return math.prod(kernel.shape[:-1])
    if not isinstance(layer, keras.layers.EinsumDense):
        return 0
    given, axes = layer.equation.split("->")[0].split(",")  # "abc,cde": of the kernel's axes c d e, c is an input
    count = sum(letter in given for letter in axes)
    first = all(letter in given for letter in axes[:count])
    return math.prod(kernel.shape[:count]) if first and 0 < count < len(axes) else 0


def _what_there_is(model: keras.Model, own: Sequence[Any]) -> str:
    """Return what of the pretrained part could train, as half a sentence."""
    norms = _norms(model)
    sizes = {
        kind: sum(math.prod(v.shape) for v in own if _kind(v, norms) == kind)
        for kind in ("normalisation", "biases", "other weights")
    }
    there = ", ".join(f"{kind} ({size:,} parameters)" for kind, size in sizes.items() if size)
    return f"whose pretrained part has {there}; use head, lora:R, adapter:R or all"


def _kind(variable: Any, norms: Collection[int]) -> str:
    return "normalisation" if id(variable) in norms else "biases" if _is_bias(variable) else "other weights"
