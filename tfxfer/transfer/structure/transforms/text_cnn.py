"""A picture CNN made into a text CNN: what its kernels know along the width, they keep along the line of a text."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.bridges.tokens import TextTokens
from tfxfer.transfer.graph import before_head
from tfxfer.transfer.structure.transforms.conv1d import CONVOLUTIONS, PIXELS, on_lines
from tfxfer.transfer.structure.transforms.layer_rules import BY_ITSELF
from tfxfer.transfer.structure.transforms.rebuild import Made, Step, called, map_of
from tfxfer.transfer.structure.transforms.unit_counts import check_model
from tfxfer.transfer.structure.transforms.unit_flow import PUT_TOGETHER, snake
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
    """Plan a text classifier with the layers of a picture CNN: text → tokens → embedding → the CNN in one dimension.

    A text is a line, so each 2-D layer becomes its 1-D counterpart along the width, and each kernel [h, w, C, F] loses
    its height: to [w, C, F]. Norms, biases and dense layers are carried as they are, the head is new. What is kept, for
    the layers between the first values and the head (tested; the map itself promises nothing):

    - `kernels="sum"`: pictures whose rows are all alike give the features that one of their rows gives, wherever
      convolutions do not pad the height (padding "valid"; with "same", rows near the edges see zeros beyond them).
    - `kernels="centre"`: pictures of one row give the features that the row gives, with padding "same" too.

    The order of tokens, unlike that of pixels, is all there is: positions along the line are the CNN's own.

    Args:
        cnn: A functional picture model [B, H, W, C]; layers before its first convolution that are about pixel values
            (`Rescaling`, preprocessing) are left out, and so is the `Dense` that ends it.
        vocabulary: Known tokens; see `tfxfer.transfer.bridges.tokens.learn_vocabulary`. Not for bytes.
        num_classes: Number of classes of texts.
        unit: What a token is: "characters", "bytes" or "words".
        length: Tokens T that a text is cut or padded to. A `Dense` behind `Flatten` is resized to it.
        embedding_dim: Numbers for each token.
        kernels: How the height goes: "sum" or "mean" over it, or its "centre".
        first: "fresh": the first convolution reads the embedding with new weights, since pictures have other channels.
            "projection": a new dense layer makes as many channels out of the embedding as pictures have, and the first
            convolution is carried too.
        seed: Seed of what is new.

    Returns:
        The plan; its target is a functional model, strings [B] → probabilities [B, num_classes].

    Raises:
        UserError: The model does not take pictures, a layer has no counterpart on lines (it is named), the text is too
            short for it, or an option is unknown.

    Example:
        >>> image_cnn_to_text_cnn(glyph_cnn(10), learn_vocabulary(texts), num_classes=4).apply()  # doctest: +SKIP
    """
    check_model(cnn)
    _check(
        kernels, first, {"num_classes": (num_classes, 2), "length": (length, 1), "embedding_dim": (embedding_dim, 1)}
    )
    flow = Flow(cnn)
    pixels, steps, features = _between(flow)
    builder = _Builder(flow, steps, seed)
    texts = keras.Input((), dtype="string", name="text")
    tokens = TextTokens(length, unit, vocabulary, name=builder.name("tokens"))
    embedding = layers.Embedding(tokens.size, embedding_dim, name=builder.name("embedding"))
    x = embedding(tokens(texts))  # [B, T, E]
    builder.new(embedding, "pictures have no tokens", "random_normal")
    if first == "projection":
        projection = layers.Dense(pixels.shape[-1], name=builder.name("channels"))
        x = projection(x)
        builder.new(projection, "makes channels as pictures have them out of the embedding")
    x = builder.replay(steps, pixels, x, features, fresh=first == "fresh")
    if len(x.shape) == 3:
        x = layers.GlobalAveragePooling1D(name=builder.name("pool"))(x)
    head = layers.Dense(num_classes, activation="softmax", dtype="float32", name=builder.name("classes"))
    model = keras.Model(texts, head(x), name=f"{cnn.name}_for_text")
    builder.new(head, "the classes are others")
    return map_of(cnn, model, builder.made(Flow(model), kernels))


def _check(kernels: str, first: str, numbers: Mapping[str, tuple[Any, int]]) -> None:
    """Raise `UserError` for an option that is unknown or out of range."""
    for name, option, known in (("kernels", kernels, KERNELS), ("first", first, FIRST)):
        if option not in known:
            raise UserError(f"{name}='{option}' is unknown; {suggest(option, known)}")
    for name, (value, least) in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UserError(f"{name}={value!r}: give a whole number from {least}")


def _between(flow: Flow) -> tuple[Any, list[Step], Any]:
    """Return the values that the first layer about more than pixels reads, the calls from there, and the features."""
    inputs = keras.tree.flatten(flow.inputs)
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] is None:
        raise UserError(f"{flow.model.name} does not take pictures [B, H, W, C] as its only input")
    features = before_head(list(flow.steps), flow.outputs, flow.model)
    values, steps = inputs[0], list(flow.steps)
    end = next((i for i, step in enumerate(steps) if step.output is features), -1)
    steps = steps[: end + 1]
    while steps and _about_pixels(steps[0], values):
        values = steps.pop(0).output
    return values, steps, features


def _about_pixels(step: Step, values: Any) -> bool:
    """Tell whether a call only changes what the values of pixels mean, or draws pictures at random from them."""
    kind = type(step.layer).__name__
    if [id(tensor) for tensor in step.tensors] != [id(values)]:
        return False
    if not isinstance(step.layer, keras.Layer):
        return snake(kind) in BY_ITSELF | PUT_TOGETHER
    return kind in PIXELS or kind.startswith("Random")


class _Builder:
    """Calls the CNN's layers on lines, and notes what each new weight is made of."""

    def __init__(self, flow: Flow, steps: Sequence[Step], seed: int):
        self.flow, self.seed = flow, seed
        self.taken = {step.layer.name for step in steps}
        self.used: set[str] = set()
        self.recipes: dict[str, Made] = {}  # of new layers, by path
        self.pairs: list[tuple[Step, Any, bool]] = []  # call, new layer, whether it reads the embedding

    def name(self, wish: str) -> str:
        """Return a name that no layer has."""
        while wish in self.taken:
            wish = f"text_{wish}"
        self.taken.add(wish)
        return wish

    def new(self, layer: Any, why: str, kernel: str | None = None) -> None:
        """Note that a layer's weights are drawn anew."""
        for variable in layer.variables:
            options = {"initializer": kernel, "options": {"stddev": 1.0}} if kernel else {}
            self.recipes[variable.path] = Made((), ("fresh", {"seed": self.seed, **options}), why)

    def replay(self, steps: Sequence[Step], start: Any, x: Any, end: Any, fresh: bool) -> Any:
        """Call the layers between two tensors of the CNN on lines, and return what stands for the second."""
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
            values[id(step.output)] = called(step.path, built[id(step.layer)], args, kwargs)
            if reads_raw and not getattr(step.layer, "variables", ()):
                raw.add(id(step.output))
        if id(end) not in values:
            raise UserError(f"the features of {self.flow.model.name} do not come from its pictures alone")
        return values[id(end)]

    def _layer(self, step: Step, reads_raw: bool) -> Any:
        layer = on_lines(step)
        if layer.name in self.used:
            raise UserError(f"{self.flow.model.name} has several layers called '{layer.name}'; give them other names")
        self.used.add(layer.name)
        if getattr(step.layer, "variables", ()):
            if reads_raw and type(step.layer).__name__ != "Conv2D":
                raise UserError(
                    f"'{step.path}' reads the picture and is no Conv2D, so it cannot read embeddings with new weights; "
                    "give first='projection'"
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
                    why = "embeddings are no channels of pictures"
                    found[ours.path] = Made((), ("fresh", {"seed": self.seed}), why)
                else:
                    found[ours.path] = _carried(step, theirs, ours, list(roles), kernels)
        return found


def _carried(step: Step, old: Any, new: Any, roles: list[tuple[Role, Role]], kernels: str) -> Made:
    """Return how a weight of a layer on lines is made of the picture layer's."""
    origins = [("source", old.path)]
    if type(step.layer).__name__ in CONVOLUTIONS and len(old.shape) == 4:
        height = ("deflate", {"axis": 0, "how": kernels})
        return Made(origins, height, f"the {kernels} over the height of its window")
    flat = [(role.label, now.label) for role, now in roles if role.label.grid != now.label.grid]
    if flat and not roles[0][0].makes and len(flat[0][0].grid) == 2 and len(flat[0][0].spans) == 1:
        return Made(origins, _flat(*flat[0], old.shape, new.shape, kernels), "reads a map laid flat, now a line")
    if old.shape != new.shape and tuple(new.shape) == tuple(old.shape[1:]) and old.shape[0] == 1:  # slopes of PReLU
        return Made(origins, ("reshape", {"new": list(new.shape)}), "the same layer")
    if flat or old.shape != new.shape:
        raise UserError(f"'{old.path}' {list(old.shape)} has numbers for places of pictures, which lines do not have")
    return Made(origins, "copy", "the same layer")


def _flat(label: Label, now: Label, old: Sequence[int], new: Sequence[int], kernels: str) -> list[Any]:
    """Return operations from a kernel over a map laid flat [H · W · C, D] to one over a line [T · C, D]."""
    height, width = label.grid
    steps: list[Any] = [
        ("reshape", {"new": [height, width, old[0] // (height * width), old[1]]}),
        ("deflate", {"axis": 0, "how": kernels}),
    ]
    if now.grid != (width,):
        steps.append(("resize_patches", {"new": list(now.grid)}))
    return [*steps, ("reshape", {"new": list(new)})]
