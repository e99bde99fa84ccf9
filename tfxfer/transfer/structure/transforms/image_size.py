"""The same image model for another image size."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.transfer.bridges.body import Body
from tfxfer.transfer.graph import input_of
from tfxfer.transfer.structure.transforms.rebuild import Made, Rebuilt, Step, map_of, rebuild
from tfxfer.transfer.structure.transforms.unit_counts import check_model
from tfxfer.transfer.structure.transforms.unit_flow import follow_units
from tfxfer.transfer.structure.transforms.units import Flow, Role
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

METHODS = ("linear", "cubic")


def resize_input(model: keras.Model, image_shape: Sequence[int | None], method: str = "linear") -> WeightMap:
    """Plan an image model for another height and width; at the same size it is an exact copy.

    Convolutions, norms and pooling accept any size, so their weights are copied. A `Dense` after `Flatten` has weights
    for each position of its feature map; its kernel [H · W · C, D] is resized so that resized maps give the same
    outputs (by pseudo-inverse, as FlexiViT does for patches, Beyer et al. 2023): equal when maps grow, a least-squares
    approximation when they shrink. Position embeddings of vision transformers are interpolated over the grid of
    patches; patches keep their size, so their number changes.

    Args:
        model: A functional or sequential model of images [B, H, W, C].
        image_shape: The new (height, width) in pixels, or (height, width, channels) with the model's channels.
            None stands for any height or width, for models that accept it.
        method: Interpolation of feature maps and of positions: "linear" or "cubic".

    Returns:
        The plan, with the new model as its target; `apply()` returns it.

    Raises:
        UserError: The model's input is not images, the size is too small, or a layer has weights for positions that
            cannot be resized: the error names it.

    Example:
        >>> resize_input(article_cnn(10, (64, 64, 3)), (96, 128)).apply()  # doctest: +SKIP
    """
    check_model(model)
    if method not in METHODS:
        raise UserError(f"method='{method}' is unknown; use 'linear' or 'cubic'")
    inputs = _new_input(model, image_shape)
    flow = follow_units(model)
    steps = {step.path: step for step in flow.steps}

    same = keras.tree.flatten(inputs)[0].shape == keras.tree.flatten(flow.inputs)[0].shape

    def change(path: str, config: dict[str, Any], args: tuple) -> dict[str, Any]:
        return config if same else {**config, **_other_config(steps[path], config, args)}

    rebuilt = rebuild(model, change=change, remake=_body, inputs=inputs)
    return map_of(model, rebuilt.model, _made(flow, follow_units(rebuilt.model), rebuilt, method))


def _new_input(model: keras.Model, image_shape: Sequence[int | None]) -> Any:
    """Return symbolic images of the new size."""
    old = input_of(model)
    if not isinstance(old, keras.KerasTensor) and len(keras.tree.flatten(old)) == 1:
        old = keras.tree.flatten(old)[0]
    if not isinstance(old, keras.KerasTensor) or len(old.shape) != 4:
        raise UserError(f"{model.name} does not have images [B, H, W, C] as its only input")
    given = isinstance(image_shape, Sequence) and not isinstance(image_shape, str)
    sides = tuple(image_shape) if given else ()
    whole = all(n is None or (isinstance(n, int) and not isinstance(n, bool) and n > 0) for n in sides)
    if len(sides) not in (2, 3) or not whole:
        raise UserError(f"image_shape={image_shape!r}: give (height, width) in pixels")
    if len(sides) == 3 and sides[2] != old.shape[-1]:
        raise UserError(
            f"{model.name} has images of {old.shape[-1]} channels, not {sides[2]}; resize_input changes height and "
            "width; for other channels, plan(…) has the operation 'channels'"
        )
    new = keras.Input((*sides[:2], old.shape[-1]), dtype=old.dtype, name=old.name)
    return keras.tree.pack_sequence_as(input_of(model), [new])


def _other_config(step: Step, config: dict[str, Any], args: tuple) -> dict[str, Any]:
    """Return the changed entries of a layer's config that state a size."""
    if type(step.layer).__name__ == "PositionEmbedding":
        return {"sequence_length": args[0].shape[1]}
    if type(step.layer).__name__ == "ViTPatchingAndEmbedding":
        sides = args[0].shape[1:3] if config.get("data_format") != "channels_first" else args[0].shape[2:4]
        _check_patches(step.path, sides, step.layer.patch_size)
        return {"image_size": sides}
    if isinstance(step.layer, keras.layers.Reshape):
        return {"target_shape": _other_shape(step, args[0].shape[1:])}
    return {}


def _check_patches(path: str, sides: Sequence[int | None], patch: Sequence[int]) -> None:
    if any(side is None or side % length for side, length in zip(sides, patch)):
        raise UserError(f"'{path}': patches of {list(patch)} do not tile images of {list(sides)}; give a multiple")


def _other_shape(step: Step, new: Sequence[int | None]) -> tuple[int, ...]:
    """Return the target shape of a `Reshape` at the new size."""
    stated, old = tuple(step.layer.target_shape), tuple(step.inputs.shape[1:])
    if -1 in stated or tuple(new) == old:
        return stated
    known = [int(n) for n in new if n is not None]
    if None not in old and len(known) == len(new):
        if stated == (math.prod(old[:-1]), old[-1]):  # a feature map as a sequence of its positions
            return math.prod(known[:-1]), stated[-1]
        if stated == (math.prod(old),):
            return (math.prod(known),)
        if math.prod(stated) == math.prod(known):
            return stated
    raise UserError(
        f"Reshape '{step.path}' reshapes {list(old)} to {list(stated)}; the shape for {list(new)} is ambiguous"
    )


def _body(path: str, layer: Any, args: tuple) -> Any:
    """Rebuild a `Body` for another number of tokens or pixels."""
    if not isinstance(layer, Body):
        return None
    inner = rebuild(layer.model, inputs=keras.Input(batch_shape=args[0].shape, dtype=args[0].dtype)).model
    return Body(inner, layer.trainable_set, name=layer.name, dtype=layer.dtype_policy)


def _made(source: Flow, target: Flow, rebuilt: Rebuilt, method: str) -> dict[str, Made]:
    """Return how each tensor of the target is made."""
    new = {v.path: tuple(v.shape) for v in rebuilt.model.variables}
    old = {v.path: tuple(v.shape) for v in source.model.variables}
    tables = _tables(source, target, method)
    made = {}
    for ours, theirs in rebuilt.partners().items():
        pairs = list(zip(source.roles.get(theirs, ()), target.roles.get(ours, ())))
        moved = any((a.label.grid, a.label.joined) != (b.label.grid, b.label.joined) for a, b in pairs)
        how = tables.get(ours)
        for role, now in pairs:
            how = how or _flat(theirs, role, now, old[theirs], new[ours], method)
        if how is None and new[ours] == old[theirs] and not moved:
            how = Made([("source", theirs)], "copy", "the same layer")
        if how is None:
            raise UserError(
                f"'{theirs}' is {list(old[theirs])}, and {list(new[ours])} at the new size; the layout of its axes is "
                "unknown, so it cannot be resized"
            )
        made[ours] = how
    return made


def _flat(path: str, role: Role, now: Role, old: Sequence[int], new: Sequence[int], method: str) -> Made | None:
    """Return how a weight that reads or scales a flattened feature map is made; None for other weights."""
    grid, other = list(role.label.grid), list(now.label.grid)
    if role.axis != 0 or grid == other or len(grid) != len(other) or len(role.label.spans) > 1:
        return None
    each = old[0] // math.prod(grid)
    why = f"a flattened feature map of {grid} is now one of {other}"
    if role.makes:
        table = ("reshape", {"new": [math.prod(grid), each]})
        resized = ("interpolate", {"old": grid, "new": other, "method": method})
    else:
        table = ("reshape", {"new": [*grid, each, *old[1:]]})
        resized = ("resize_patches", {"new": other, "method": method})
    return Made([("source", path)], [table, resized, ("reshape", {"new": list(new)})], why)


def _tables(source: Flow, target: Flow, method: str) -> dict[str, Made]:
    """Return how position embeddings of another size are made."""
    now = {step.path: step for step in target.steps}
    made: dict[str, Made] = {}
    for step in source.steps:
        kind, old, new = type(step.layer).__name__, step.layer, now[step.path].layer
        if kind == "ViTPatchingAndEmbedding" and tuple(old.image_size) != tuple(new.image_size):
            grid, other = ([a // b for a, b in zip(one.image_size, one.patch_size)] for one in (old, new))
            prefix = old.num_positions - math.prod(grid)
            for ours, theirs in zip(new.variables, old.variables):
                if ours.path.endswith("position_embedding/embeddings"):
                    made[ours.path] = _interpolated(theirs.path, grid, other, prefix, method)
        if kind == "PositionEmbedding":
            before, after = _grid(source, step.inputs), _grid(target, now[step.path].inputs)
            if before == after and old.sequence_length == new.sequence_length:
                continue
            if not before or not after:
                raise UserError(f"the positions of '{step.path}' do not form a grid of patches; they cannot be resized")
            length = step.inputs.shape[1]
            how = _interpolated(old.variables[0].path, before, after, length - math.prod(before), method)
            used = [("slice", {"axis": 0, "size": length})] if length < old.sequence_length else []
            made[new.variables[0].path] = Made(how.origins, [*used, how.op], how.why)
    return made


def _interpolated(path: str, old: list[int], new: list[int], prefix: int, method: str) -> Made:
    before = f", {prefix} token before it is kept" if prefix else ""
    op = ("interpolate", {"old": old, "new": new, "prefix": prefix, "method": method})
    return Made([("source", path)], op, f"a grid of {old} patches is now one of {new}{before}")


def _grid(flow: Flow, tensor: Any) -> list[int] | None:
    """Return rows and columns of the feature map that tokens [B, T, D] come from; other tokens may precede them."""
    step = next((one for one in flow.steps if one.output is tensor), None)
    if step is None:
        return None
    for read in reversed(step.tensors):
        if len(read.shape) == 4 and len(step.output.shape) == 3:
            return list(read.shape[1:3])
        found = _grid(flow, read)
        if found is not None:
            joined = type(step.layer).__name__ == "Concatenate"
            return found if not joined or read is step.tensors[-1] else None
    return None
