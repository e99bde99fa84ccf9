"""Merging two models of one architecture: interpolation between them, or a base plus both task vectors."""

from collections.abc import Sequence
from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.transfer.structure.transforms.rebuild import Made, Step, map_of, rebuild, steps_in
from tfxfer.transfer.structure.transforms.unit_counts import check_model
from tfxfer.transfer.structure.weight_map.sources import KerasSource
from tfxfer.transfer.structure.weight_map.tensors import SEED_STATE
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap


def merge(
    first: keras.Model,
    second: keras.Model,
    weight: float = 0.5,
    base: keras.Model | None = None,
    scale: float | Sequence[float] = 1.0,
) -> WeightMap:
    """Plan the interpolation of two models that were fine-tuned from one start: (1 − weight) · first + weight · second.

    At 0.5 it is their mean, a model soup (Wortsman et al. 2022); other weights give other points on the line between
    them. With a base, from which both were fine-tuned, their task vectors are added to it: base + λ₁ (first − base) +
    λ₂ (second − base) (Ilharco et al. 2023). Models that were trained from different starts do not merge well: their
    units represent different features. Statistics of `BatchNormalization` are merged like weights and are wrong for
    both data sets; run training data through the merged model to update them.

    Args:
        first: A functional or sequential model.
        second: A model of the same architecture; the names of its layers may differ.
        weight: Share of the second, usually 0..1; other values extrapolate. Not with a base.
        base: The model that both were fine-tuned from.
        scale: λ for both, or one for each; negative to forget a task. With a base only.

    Returns:
        The plan, with a new model as its target; `apply()` returns it. None of the given models changes.

    Raises:
        UserError: The architectures differ (the error names the first difference), or options cannot be combined.

    Example:
        >>> merge(first, second, base=pretrained, scale=0.5).apply()  # doctest: +SKIP
    """
    for model in (first, second, *([base] if base is not None else ())):
        check_model(model)
    op = _operation(weight, base, scale)
    models = {"first": first, "second": second} if base is None else {"base": base, "first": first, "second": second}
    for label, model in models.items():
        if label != "first":
            check_same_architecture(first, model, label)
    rebuilt = rebuild(first)
    names = {label: KerasSource(model).names() for label, model in models.items()}
    place = {path: i for i, path in enumerate(names["first"])}
    weights = KerasSource(first)
    owners = weights.owners()
    made = {}
    for ours, theirs in rebuilt.partners().items():
        if owners[theirs] == "Normalization" or not weights.dtype(theirs).startswith(("float", "bfloat")):
            made[ours] = Made([("first", theirs)], "copy", "statistics of data and integers are those of the first")
        else:
            origins = [(label, names[label][place[theirs]]) for label in models]
            made[ours] = Made(origins, op, "the same place in each model")
    return map_of(models, rebuilt.model, made)


def _operation(weight: float, base: Any, scale: float | Sequence[float]) -> tuple[str, dict[str, Any]]:
    """Return the operation that combines two or three tensors."""
    numbers = list(scale) if isinstance(scale, Sequence) and not isinstance(scale, str) else [scale]
    for number in (weight, *numbers):
        if not isinstance(number, int | float) or isinstance(number, bool) or not abs(number) < 1e6:
            raise UserError(f"{number!r} is not a weight or scale; give a number")
    if base is None and numbers != [1.0]:
        raise UserError("scale is for task vectors over a base; give base=MODEL, or weight instead of scale")
    if base is None:
        return "mix", {"share": float(weight)}
    if weight != 0.5:
        raise UserError("weight is for the line between two models; with a base, give scale=(first, second)")
    if len(numbers) not in (1, 2):
        raise UserError(f"scale has {len(numbers)} numbers; give one for both models, or one for each")
    return "delta", {"scale": [float(number) for number in numbers]}


def check_same_architecture(first: keras.Model, other: keras.Model, label: str, than: str = "first") -> None:
    """Raise `UserError` unless two models have the same layers in the same order, with weights of the same shapes.

    Args:
        first: A functional or sequential model.
        other: Another one; the names of its layers may differ.
        label: What the message calls the other.
        than: What it calls the first.
    """
    ours, theirs = steps_in(first)[0], steps_in(other)[0]
    for our, their in zip(ours, theirs):
        if _kind(our) != _kind(their):
            raise UserError(
                f"{label} has another architecture than {than}: '{their.path}' is {_describe(their)}, and "
                f"'{our.path}' is {_describe(our)}"
            )
        if our.layer is their.layer:
            raise UserError(f"'{our.path}' is the same layer in both models; there is nothing to merge")
    if len(ours) != len(theirs):
        raise UserError(f"{label} has another architecture than {than}: {len(theirs)} calls of layers, not {len(ours)}")


def _kind(step: Step) -> Any:
    config = {k: v for k, v in step.layer.get_config().items() if k not in IGNORED and "initializer" not in k}
    shapes = [tuple(v.shape) for v in getattr(step.layer, "variables", ()) if not v.path.endswith(SEED_STATE)]
    return type(step.layer), shapes, {k: str(v) for k, v in config.items() if isinstance(v, SIMPLE)}


def _describe(step: Step) -> str:
    shapes = [list(v.shape) for v in getattr(step.layer, "variables", ()) if not v.path.endswith(SEED_STATE)]
    return f"{type(step.layer).__name__} with weights {shapes}"


IGNORED = ("name", "trainable", "dtype", "seed", "rate", "dropout")  # config entries that do not change outputs
SIMPLE = (str, int, float, bool, list, tuple)
