"""The same architecture with other numbers of units, and its weights: the common part of `widen` and `shrink`."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.transfer.structure.transforms.rebuild import Made, map_of, rebuild
from tfxfer.transfer.structure.transforms.units import Flow, Label, Role, Units
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

Maps = Mapping[Units, UnitMap]
Gather = Callable[[str, Role], list[Any] | None]  # path of a weight and its role → operations, or None for the default


def wanted(flow: Flow, units: Mapping[str, int]) -> dict[Units, tuple[str, int]]:
    """Return the units of the requested layers, each with the layer's name and the new number.

    Raises:
        UserError: A layer is unknown or has no units of its own, a number is invalid, or two layers share their units
            and were given different numbers.
    """
    if not isinstance(units, Mapping) or not units:
        raise UserError("give a dictionary of layer names and numbers of units, such as {'conv1': 64}")
    found: dict[Units, tuple[str, int]] = {}
    for name, number in units.items():
        if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
            raise UserError(f"'{name}': {number!r} is not a number of units; give an integer from 1")
        _, owned = flow.find(name)
        other, before = found.setdefault(owned, (name, int(number)))
        if before != number:
            raise UserError(
                f"'{other}' and '{name}' share their units, since their outputs are combined later; "
                f"give both the same number, not {before} and {number}"
            )
    return found


def check_free(name: str, units: Units) -> None:
    """Raise `UserError` when the number of units cannot change."""
    if units.fixed:
        raise UserError(f"the number of units of '{name}' ({units.size}) cannot change: {units.fixed}")


def with_units(flow: Flow, maps: Maps, gather: Gather = lambda path, role: None, noise: Any = None) -> WeightMap:
    """Return the weight map to the same architecture with other numbers of units.

    Args:
        flow: The source model and its units.
        maps: The unit map of each of the units that change.
        gather: May return other operations for a role than `gather_outputs` and `gather_inputs`.
        noise: Options of `gather_outputs` for the kernels that make the units.
    """
    names: dict[str, UnitMap] = {}

    def change(path: str, config: dict[str, Any], args: tuple) -> dict[str, Any]:
        label, of_size = flow.resized.get(path, (None, None))
        if label is None or of_size is None or not any(units in maps for units in label.units):
            return config
        return {**config, **of_size(label.size(maps))}

    rebuilt = rebuild(flow.model, change=change)
    made = {}
    for ours, theirs in rebuilt.partners().items():
        roles = [role for role in flow.roles.get(theirs, ()) if any(units in maps for units in role.label.units)]
        op = []
        for role in roles:
            more = noise if noise and role.own and role.makes and theirs.endswith("kernel") else {}
            op += gather(theirs, role) or [_step(role, maps, names, more)]
        made[ours] = Made([("source", theirs)], op or "copy", _why(roles, maps))
    return map_of(flow.model, rebuilt.model, made)


def _step(role: Role, maps: Maps, names: dict[str, UnitMap], more: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    units, inner = joint(role.label, maps, names)
    options = {"units": units, "axis": role.axis, "outer": role.label.outer, "inner": inner}
    return ("gather_outputs" if role.makes else "gather_inputs", {**options, **more})


def joint(label: Label, maps: Maps, names: dict[str, UnitMap] | None = None) -> tuple[UnitMap, int]:
    """Return one unit map for all units on an axis, and the count of numbers per unit.

    Args:
        label: The layout of the axis.
        maps: The unit maps of units that change.
        names: Maps made before, so that a name refers to one map only.

    Raises:
        UserError: Units with different counts of numbers per unit are joined on the axis.
    """
    inner = {each for _, each in label.spans}
    if len(inner) > 1:
        names_of = ", ".join(f"'{units.name}'" for units in label.units)
        raise UserError(
            f"the units of {names_of} are joined with different counts of numbers per unit; they cannot change"
        )
    parts = [maps.get(units) or _unchanged(units) for units in label.units]
    if len(parts) == 1:
        return parts[0], inner.pop()
    old, new = sum(part.old for part in parts), sum(part.new for part in parts)
    name, made = joined_name(parts), {} if names is None else names
    while True:
        units = UnitMap(name, old, new, "join", parts=tuple(parts))
        if made.setdefault(name, units) == units:
            return units, inner.pop()
        name += "'"


def joined_name(parts: Sequence[Any]) -> str:
    """Return a name for joined units; a short one where a few units are repeated many times."""
    names = [part.name for part in parts]
    return "+".join(names) if len(names) < 5 else f"{'+'.join(dict.fromkeys(names))} in {len(names)} pieces"


def _unchanged(units: Units) -> UnitMap:
    return UnitMap(f"{units.name} unchanged ({units.size})", units.size, units.size, "first")


def _why(roles: list[Role], maps: Maps) -> str:
    reasons = []
    for role in roles:
        changed = [maps[units] for units in dict.fromkeys(role.label.units) if units in maps]
        names = ", ".join(f"'{one.name}' ({one.old} → {one.new})" for one in changed)
        reasons.append(f"{'has numbers for' if role.makes else 'reads'} the units of {names}")
    return "; ".join(reasons) or "the same layer"


def check_model(model: Any) -> None:
    """Raise `UserError` when a value is not a Keras model."""
    if not isinstance(model, keras.Model):
        raise UserError(f"give a Keras model, not a {type(model).__name__}")
