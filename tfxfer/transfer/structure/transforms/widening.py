"""Wider layers with the same outputs: Net2Wider (Chen, Goodfellow and Shlens 2016) on a whole functional model."""

from collections.abc import Mapping

import keras

from tfxfer.errors import UserError
from tfxfer.transfer.structure.transforms.unit_counts import check_free, check_model, joint, wanted, with_units
from tfxfer.transfer.structure.transforms.unit_flow import follow_units
from tfxfer.transfer.structure.transforms.units import Flow, Units
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap


def widen(model: keras.Model, units: Mapping[str, int], seed: int = 0, noise: float = 0.0) -> WeightMap:
    """Plan a model with more units in some layers and the same outputs.

    Some units are copied, and the weights that read them are divided among the copies:
    W¹[…, j] = W¹[…, g(j)] and W²[j, …] = W²[g(j), …] / copies of g(j). Layers whose outputs are added, as in residual
    blocks, widen together; norms, depthwise convolutions, `Flatten` and `Concatenate` in between are adapted.

    Args:
        model: A functional or sequential model; it is not changed.
        units: Layer name, or path in nested models → its new number of units: filters of a convolution, units of a
            `Dense`, columns of an `Embedding`, heads of a `MultiHeadAttention`, the feed-forward width of a KerasHub
            `TransformerEncoder`.
        seed: Seed of the choice of copied units. Units under a `LayerNormalization` are all copied equally often.
        noise: Noise on the copies' kernels, in standard deviations of the kernel, so that copies differ after
            training. Above 0, outputs are preserved only approximately, and the map states it.

    Returns:
        The plan, with the new model as its target; `apply()` returns it.

    Raises:
        UserError: A layer is unknown, shared or gets fewer units; or copies would change the outputs: the error names
            the layer that prevents it.

    Example:
        >>> widen(model, {"conv1": 64, "hidden": 300}).apply()  # doctest: +SKIP
    """
    check_model(model)
    if not noise >= 0 or not isinstance(seed, int) or seed < 0:
        raise UserError(f"noise={noise} and seed={seed}: neither may be negative, and the seed is an integer")
    flow = follow_units(model)
    normed = {one for label in flow.norms.values() for one in label.units}
    maps: dict[Units, UnitMap] = {}
    for i, (owned, (name, new)) in enumerate(wanted(flow, units).items()):
        if new < owned.size:
            raise UserError(
                f"'{name}' has {owned.size} units, and widen can only add units, {new} are fewer; use shrink"
            )
        if new == owned.size:
            continue
        check_free(name, owned)
        if owned.mixed:
            raise UserError(f"copies of the units of '{name}' would change the model's outputs: {owned.mixed}")
        even = owned in normed
        maps[owned] = UnitMap(owned.name, owned.size, new, "cycle" if even else "random", 0 if even else seed + i)
    _check_norms(flow, maps)
    return with_units(flow, maps, noise={"noise": float(noise), "seed": seed} if noise else None)


def _check_norms(flow: Flow, maps: Mapping[Units, UnitMap]) -> None:
    """Refuse unequal numbers of copies where a norm takes mean and variance over them."""
    for path, label in flow.norms.items():
        changed = [units for units in label.units if units in maps]
        if not changed or joint(label, maps)[0].uniform:
            continue
        size = changed[0].size
        also = " and as often as the units joined with them" if len(label.spans) > 1 else ""
        raise UserError(
            f"'{path}' takes mean and variance over the units of '{changed[0].name}' ({size}), which are preserved "
            f"only when all are copied equally often{also}: give a multiple, such as {2 * size}"
        )
