"""A 1-D text CNN from a 2-D image CNN: kernels are reduced over their height."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.bridges.tokens import TextTokens
from tfxfer.transfer.graph import before_head
from tfxfer.transfer.structure.transforms.conv1d import CONVOLUTIONS, PIXELS, to_1d
from tfxfer.transfer.structure.transforms.layer_rules import ELEMENTWISE
from tfxfer.transfer.structure.transforms.rebuild import Made, Step, call_layer, map_of
from tfxfer.transfer.structure.transforms.unit_counts import check_model
from tfxfer.transfer.structure.transforms.unit_flow import COMBINING, follow_units, snake
from tfxfer.transfer.structure.transforms.units import Flow, Label, Role
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

layers = keras.layers
KERNELS = ("sum", "mean", "centre")
FIRST = ("fresh", "projection")


def image_cnn_to_text_cnn(
    cnn: keras.Model,
    vocabulary: Sequence[str] | None = None,
    *,
    num_classes: int,
    unit: str = "characters",
    length: int = 64,
    embedding_dim: int = 32,
    kernels: str = "sum",
    first: str = "fresh",
    seed: int = 0,
) -> WeightMap:
    """Plan a text classifier with the layers of an image CNN: text → tokens → embedding → the CNN in one dimension.

    A text is a sequence, so each 2-D layer becomes its 1-D counterpart along the width, and each kernel [h, w, C, F] is
    reduced over its height to [w, C, F]. Norms, biases and dense layers are copied, the head is new. For the layers
    between the first values and the head, some outputs are preserved (tested; the map itself promises nothing):

    - `kernels="sum"`: an image whose rows are equal gives the same features as one of its rows, if convolutions do not
      pad the height (padding "valid"; with "same", windows at the edges include zeros).
    - `kernels="centre"`: an image of one row gives the same features as the row, with padding "same" too.

    There are no position embeddings: only the convolutions use the order of tokens.

    Args:
        cnn: A functional image model [B, H, W, C]; preprocessing of pixel values before its first convolution
            (such as `Rescaling`) and its last `Dense` are left out.
        vocabulary: Known tokens; see `tfxfer.transfer.bridges.tokens.learn_vocabulary`. Not for bytes.
        num_classes: Number of classes of texts.
        unit: Kind of token: "characters", "bytes" or "words".
        length: Number of tokens T; texts are truncated or padded. A `Dense` after `Flatten` is resized to it.
        embedding_dim: Size of the token embeddings.
        kernels: Reduction over the height: "sum", "mean" or "centre".
        first: "fresh": the first convolution reads the embedding with new weights, since images have other channels.
            "projection": a new dense layer projects the embedding to as many channels as images have, and the first
            convolution is copied too.
        seed: Seed of new weights.

    Returns:
        The plan; its target is a functional model, strings [B] → probabilities [B, num_classes].

    Raises:
        UserError: The model's input is not images, a layer has no 1-D counterpart (the error names it), the text is too
            short for it, or an option is unknown.

    Example:
        >>> image_cnn_to_text_cnn(glyph_cnn(10), learn_vocabulary(texts), num_classes=4).apply()  # doctest: +SKIP
    """
    check_model(cnn)
    _check(
        kernels, first, {"num_classes": (num_classes, 2), "length": (length, 1), "embedding_dim": (embedding_dim, 1)}
    )
    flow = follow_units(cnn)
    pixels, steps, features = _between(flow)
    builder = _Builder(flow, steps, seed)
    texts = keras.Input((), dtype="string", name="text")
    tokens = TextTokens(length, unit, vocabulary, name=builder.name("tokens"))
    embedding = layers.Embedding(tokens.size, embedding_dim, name=builder.name("embedding"))
    x = embedding(tokens(texts))  # [B, T, E]
    builder.new(embedding, "images have no token embeddings", "random_normal")
    if first == "projection":
        projection = layers.Dense(pixels.shape[-1], name=builder.name("channels"))
        x = projection(x)
        builder.new(projection, "projects embeddings to the channels of images")
    x = builder.replay(steps, pixels, x, features, fresh=first == "fresh")
    if len(x.shape) == 3:
        x = layers.GlobalAveragePooling1D(name=builder.name("pool"))(x)
    head = layers.Dense(num_classes, activation="softmax", dtype="float32", name=builder.name("classes"))
    model = keras.Model(texts, head(x), name=f"{cnn.name}_for_text")
    builder.new(head, "other classes")
    return map_of(cnn, model, builder.made(follow_units(model), kernels))


def _check(kernels: str, first: str, numbers: Mapping[str, tuple[Any, int]]) -> None:
    """Raise `UserError` for an option that is unknown or out of range."""
    for name, option, known in (("kernels", kernels, KERNELS), ("first", first, FIRST)):
        if option not in known:
            raise UserError(f"{name}='{option}' is unknown; {suggest(option, known)}")
    for name, (value, least) in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UserError(f"{name}={value!r}: give an integer from {least}")


def _between(flow: Flow) -> tuple[Any, list[Step], Any]:
    """Return the input of the first layer after pixel preprocessing, the calls from there, and the features."""
    inputs = keras.tree.flatten(flow.inputs)
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] is None:
        raise UserError(f"{flow.model.name} does not have images [B, H, W, C] as its only input")
    features = before_head(list(flow.steps), flow.outputs, flow.model)
    values, steps = inputs[0], list(flow.steps)
    end = next((i for i, step in enumerate(steps) if step.output is features), -1)
    steps = steps[: end + 1]
    while steps and _is_preprocessing(steps[0], values):
        values = steps.pop(0).output
    return values, steps, features


def _is_preprocessing(step: Step, values: Any) -> bool:
    """Return whether a call only rescales pixel values, or augments images at random."""
    kind = type(step.layer).__name__
    if [id(tensor) for tensor in step.tensors] != [id(values)]:
        return False
    if not isinstance(step.layer, keras.Layer):
        return snake(kind) in ELEMENTWISE | COMBINING
    return kind in PIXELS or kind.startswith("Random")


class _Builder:
    """Calls the CNN's layers in 1-D, and records how each new weight is made."""

    def __init__(self, flow: Flow, steps: Sequence[Step], seed: int):
        self.flow, self.seed = flow, seed
        self.taken = {step.layer.name for step in steps}
        self.used: set[str] = set()
        self.recipes: dict[str, Made] = {}  # of new layers, by path
        self.pairs: list[tuple[Step, Any, bool]] = []  # call, new layer, whether it reads the embedding

    def name(self, name: str) -> str:
        """Return a name that no layer has."""
        while name in self.taken:
            name = f"text_{name}"
        self.taken.add(name)
        return name

    def new(self, layer: Any, why: str, kernel: str | None = None) -> None:
        """Record that a layer's weights are initialised."""
        for variable in layer.variables:
            options = {"initializer": kernel, "options": {"stddev": 1.0}} if kernel else {}
            self.recipes[variable.path] = Made((), ("fresh", {"seed": self.seed, **options}), why)

    def replay(self, steps: Sequence[Step], start: Any, x: Any, end: Any, fresh: bool) -> Any:
        """Call the layers between two tensors of the CNN in 1-D, and return the counterpart of the second."""
        values, raw = {id(start): x}, {id(start)} if fresh else set()
        built: dict[int, Any] = {}
        for step in steps:
            if any(id(tensor) not in values for tensor in step.tensors):
                continue
            reads_raw = any(id(tensor) in raw for tensor in step.tensors)
            if id(step.layer) not in built:
                built[id(step.layer)] = self._layer(step, reads_raw)
            args, kwargs = keras.tree.map_structure(
                lambda one: values[id(one)] if isinstance(one, keras.KerasTensor) else one, (step.args, step.kwargs)
            )
            values[id(step.output)] = call_layer(step.path, built[id(step.layer)], args, kwargs)
            if reads_raw and not getattr(step.layer, "variables", ()):
                raw.add(id(step.output))
        if id(end) not in values:
            raise UserError(f"the features of {self.flow.model.name} do not depend on its images alone")
        return values[id(end)]

    def _layer(self, step: Step, reads_raw: bool) -> Any:
        layer = to_1d(step)
        if layer.name in self.used:
            raise UserError(f"{self.flow.model.name} has several layers called '{layer.name}'; give them other names")
        self.used.add(layer.name)
        if getattr(step.layer, "variables", ()):
            if reads_raw and type(step.layer).__name__ != "Conv2D":
                raise UserError(
                    f"'{step.path}' reads the image and is not a Conv2D, so it cannot read embeddings with new "
                    "weights; give first='projection'"
                )
            self.pairs.append((step, layer, reads_raw))
        return layer

    def made(self, target: Flow, kernels: str) -> dict[str, Made]:
        """Return how each tensor of the target is made."""
        found = dict(self.recipes)
        for step, new, reads_raw in self.pairs:
            for ours, theirs in zip(new.variables, step.layer.variables):
                roles = zip(self.flow.roles.get(theirs.path, ()), target.roles.get(ours.path, ()))
                if reads_raw and ours.path.endswith("kernel"):
                    why = "embeddings have other channels than images"
                    found[ours.path] = Made((), ("fresh", {"seed": self.seed}), why)
                else:
                    found[ours.path] = _converted(step, theirs, ours, list(roles), kernels)
        return found


def _converted(step: Step, old: Any, new: Any, roles: list[tuple[Role, Role]], kernels: str) -> Made:
    """Return how a weight of a 1-D layer is made from the 2-D layer's."""
    origins = [("source", old.path)]
    if type(step.layer).__name__ in CONVOLUTIONS and len(old.shape) == 4:
        height = ("deflate", {"axis": 0, "how": kernels})
        return Made(origins, height, f"the {kernels} over the height of its window")
    flat = [(role.label, now.label) for role, now in roles if role.label.grid != now.label.grid]
    if flat and not roles[0][0].makes and len(flat[0][0].grid) == 2 and len(flat[0][0].spans) == 1:
        return Made(
            origins, _flat(*flat[0], old.shape, new.shape, kernels), "reads a flattened feature map, now a sequence"
        )
    if old.shape != new.shape and tuple(new.shape) == tuple(old.shape[1:]) and old.shape[0] == 1:  # slopes of PReLU
        return Made(origins, ("reshape", {"new": list(new.shape)}), "the same layer")
    if flat or old.shape != new.shape:
        raise UserError(
            f"'{old.path}' {list(old.shape)} has weights for positions of images, which sequences do not have"
        )
    return Made(origins, "copy", "the same layer")


def _flat(label: Label, now: Label, old: Sequence[int], new: Sequence[int], kernels: str) -> list[Any]:
    """Return operations from a kernel for a flattened map [H · W · C, D] to one for a sequence [T · C, D]."""
    height, width = label.grid
    steps: list[Any] = [
        ("reshape", {"new": [height, width, old[0] // (height * width), old[1]]}),
        ("deflate", {"axis": 0, "how": kernels}),
    ]
    if now.grid != (width,):
        steps.append(("resize_patches", {"new": list(now.grid)}))
    return [*steps, ("reshape", {"new": list(new)})]
