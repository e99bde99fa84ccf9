"""Narrower layers made of selected units: weight selection and structured pruning of a whole functional model."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.transforms.unit_counts import check_free, check_model, joined_name, wanted, with_units
from tfxfer.transfer.structure.transforms.unit_flow import follow_units
from tfxfer.transfer.structure.transforms.units import Flow, Label, Role, Units
from tfxfer.transfer.structure.weight_map.sources import KerasSource
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

HOW = ("uniform", "consecutive", "norm")


def shrink(model: keras.Model, units: Mapping[str, int], how: str = "uniform") -> WeightMap:
    """Plan a model with fewer units in some layers: selected units stay, the others and the weights that read them go.

    Layers whose outputs are added shrink together. Outputs change, and the map states it: `verify` measures how many
    predictions agree. There is one exception: when a removed unit is an exact copy of one that stays, as after `widen`,
    its outgoing weights are added to those of that unit. So shrinking reverses widening.

    Args:
        model: A functional or sequential model; it is not changed.
        units: Layer name, or path in nested models → its new number of units; see `widen` for the layers with units.
        how: Which units stay. "uniform": evenly spaced ones; "consecutive": the first ones (both Xu et al. 2024,
            weight selection); "norm": those whose kernels have the greatest L1 norm (Li et al. 2017), summed over the
            layers that share the units, in their old order.

    Returns:
        The plan, with the new model as its target; `apply()` returns it.

    Raises:
        UserError: A layer is unknown, shared or gets more units, or the number of its units cannot change: the error
            names the layer that prevents it.

    Example:
        >>> shrink(model, {"conv1": 16}, how="norm").apply()  # doctest: +SKIP
    """
    check_model(model)
    if how not in HOW:
        raise UserError(f"how='{how}' is unknown; {suggest(how, HOW)}")
    flow = follow_units(model)
    weights = KerasSource(model)
    maps: dict[Units, UnitMap] = {}
    alike: dict[Units, np.ndarray] = {}
    for owned, (name, new) in wanted(flow, units).items():
        if new > owned.size:
            raise UserError(
                f"'{name}' has {owned.size} units, and shrink can only remove units, {new} are more; use widen"
            )
        if new == owned.size:
            continue
        check_free(name, owned)
        alike[owned] = first_alike(flow, owned, weights)
        maps[owned] = _chosen(flow, owned, new, how, alike[owned], weights)

    def gather(path: str, role: Role) -> list[Any] | None:
        """Add the outgoing weights of removed copies to those of the unit that stays."""
        shares = None if role.makes else _shares(role.label, maps, alike)
        return _summed(shares, role, weights.shape(path)) if shares and max(map(len, shares)) > 1 else None

    return with_units(flow, maps, gather)


def first_alike(flow: Flow, units: Units, weights: KerasSource) -> np.ndarray:
    """Return for each unit the first unit that equals it in all weights that make or scale it, int [units]."""
    rows = [_per_unit(weights.read(path), role, units) for path, role in _makers(flow, units)]
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(row.tobytes(), i) for i, row in enumerate(np.concatenate(rows, 1))])


def _chosen(flow: Flow, units: Units, new: int, how: str, alike: np.ndarray, weights: KerasSource) -> UnitMap:
    """Return the map of the units that stay; exact copies are removed first."""
    different = np.unique(alike)
    if how != "norm" and len(different) == units.size:
        return UnitMap(units.name, units.size, new, "spread" if how == "uniform" else "first")
    if new > len(different):  # all distinct units, and the first of the copies
        copies = np.setdiff1d(np.arange(units.size), different)
        stays = np.sort(np.concatenate([different, copies[: new - len(different)]]))
    elif how == "norm":
        stays = np.sort(different[np.argsort(-_norms(flow, units, weights)[different], kind="stable")[:new]])
    else:
        stays = different[np.arange(new) * len(different) // new] if how == "uniform" else different[:new]
    return UnitMap(units.name, units.size, new, "indices", given=tuple(int(i) for i in stays))


def _norms(flow: Flow, units: Units, weights: KerasSource) -> np.ndarray:
    """Return Σ |w| over the kernels that make each unit, float [units]."""
    kernels = [
        (path, role) for path, role in _makers(flow, units) if role.own and path.endswith(("kernel", "embeddings"))
    ]
    return np.sum([np.abs(_per_unit(weights.read(path), role, units)).sum(1) for path, role in kernels], axis=0)


def _makers(flow: Flow, units: Units) -> list[tuple[str, Role]]:
    return [
        (path, role) for path, roles in flow.roles.items() for role in roles if role.makes and units in role.label.units
    ]


def _per_unit(array: np.ndarray, role: Role, units: Units) -> np.ndarray:
    """Return the numbers of each unit in a weight, [units, numbers]."""
    table = np.moveaxis(array, role.axis, 0)
    table = table.reshape(role.label.outer, -1, table[0].size)  # [places, spans · inner, numbers]
    found, start = [], 0
    for owned, inner in role.label.spans:
        length = owned.size * inner
        if owned.root is units:
            part = table[:, start : start + length].reshape(role.label.outer, owned.size, -1)
            found.append(np.moveaxis(part, 1, 0).reshape(owned.size, -1))
        start += length
    return np.concatenate(found, 1)


def _shares(label: Label, maps: Mapping[Units, UnitMap], alike: Mapping[Units, np.ndarray]) -> list[list[int]]:
    """Return for each unit that stays on an axis: the unit itself, and its exact copies that are removed."""
    each = {units: _with_copies(maps[units].indices, alike[units]) for units in set(label.units) if units in maps}
    shares, start = [], 0
    for units in label.units:
        own = each.get(units) or [[i] for i in range(units.size)]
        shares += [[start + i for i in share] for share in own]
        start += units.size
    return shares


def _with_copies(stays: np.ndarray, alike: np.ndarray) -> list[list[int]]:
    """Return each unit that stays with its removed copies; of several copies that stay, the first one gets them."""
    removed: dict[int, list[int]] = {}
    for unit in np.setdiff1d(np.arange(len(alike)), stays):
        removed.setdefault(alike[unit], []).append(int(unit))
    return [[int(unit), *removed.pop(alike[unit], ())] for unit in stays]


def _summed(shares: list[list[int]], role: Role, shape: tuple[int, ...]) -> list[Any]:
    """Return operations that sum the inputs of each unit that stays over its copies.

    Every unit gets the same number of places, so that they can be summed as one axis. A unit with fewer copies is
    repeated; `gather_inputs` divides by the number of repetitions, so nothing is counted twice.
    """
    places = max(map(len, shares))
    each = [i for share in shares for i in [share[0]] * (places - len(share)) + share]
    label, axis = role.label, role.axis
    outer, inner = label.outer, label.spans[0][1]
    old = sum(units.size for units in label.units)
    joined = UnitMap(f"{joined_name(label.units)} with copies", old, len(each), "indices", given=tuple(each))
    apart = (*shape[:axis], outer * len(shares), places, inner, *shape[axis + 1 :])
    whole = (*shape[:axis], outer * len(shares) * inner, *shape[axis + 1 :])
    return [
        ("gather_inputs", {"units": joined, "axis": axis, "outer": outer, "inner": inner}),
        ("reshape", {"new": list(apart)}),
        ("deflate", {"axis": axis + 1, "how": "sum"}),
        ("reshape", {"new": list(whole)}),
    ]
