"""Making a weight map: rules first, then matches by names and shapes, and a row "keep" for every other tensor."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.weight_map.matching import Match, Matching, by_position
from tfxfer.transfer.structure.weight_map.operations import Step, resolve, steps_of
from tfxfer.transfer.structure.weight_map.rows import HOLDS, Origin, Row
from tfxfer.transfer.structure.weight_map.rules import Rule, check_used, one_of, origins_for, parse
from tfxfer.transfer.structure.weight_map.sources import KerasSource, as_sources, keras_model, tensors_of
from tfxfer.transfer.structure.weight_map.tensors import TARGET, Shape, Tensor
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

MATCH = ("names", "position", "none")


def make_plan(
    source: Any,
    target: Any,
    rules: Sequence[Any] | None = None,
    *,
    match: str = "names",
    combine: Any = None,
    allow: str | Sequence[str] = (),
    unit_maps: Sequence[UnitMap] = (),
    cast: bool = False,
) -> WeightMap:
    """Return the plan from a source to a target by these rules; see `structure.plan`, which adds those of checkpoints.

    Args:
        source: S: a Keras model, a `Source`, a dictionary of arrays, or a dictionary name → any of these.
        target: M before the transfer: a built Keras model.
        rules: Each (source pattern, target pattern, operation), or a `Rule`.
        match: "names", "position" or "none".
        combine: With several sources, the operation that makes one tensor of theirs.
        allow: Patterns of target tensors that may keep their values.
        unit_maps: Maps that rules refer to by name.
        cast: Allow numbers to be rounded to a narrower dtype.

    Raises:
        UserError: A rule does not fit, a match is ambiguous, or a model is not built.
    """
    if match not in MATCH:
        raise UserError(f"match='{match}' is unknown; {suggest(match, MATCH)}")
    sources = as_sources(source)
    target_source = KerasSource(keras_model(target, "target"))
    ours = tensors_of(target_source)
    known = {label: {t.path: t for t in tensors_of(one, ours)} for label, one in sources.items()}
    known[TARGET] = {t.path: t for t in ours}
    ruled = _by_rules(parse(rules), known, _named(unit_maps), cast)
    others = [tensor for path, tensor in known[TARGET].items() if path not in ruled]
    matched = _by_matching(others, sources, known, match, combine, cast)
    permitted = one_of(allow)
    rows = []
    for path, tensor in known[TARGET].items():
        row = ruled.get(path) or matched.get(path)
        rows.append(row if isinstance(row, Row) else _keep(tensor, row or "no rule names it", permitted(path)))
    return WeightMap.of(rows, sources, target_source)


def _named(unit_maps: Sequence[UnitMap]) -> dict[str, UnitMap]:
    named: dict[str, UnitMap] = {}
    for one in unit_maps:
        if named.setdefault(one.name, one) != one:
            raise UserError(f"there are two unit maps with the name '{one.name}'")
    return named


def _by_rules(
    rules: list[Rule], known: dict[str, dict[str, Tensor]], maps: dict[str, UnitMap], cast: bool
) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    used: set[str] = set()
    for path, tensor in known[TARGET].items():
        for rule in rules:
            origins = origins_for(rule, path, known)
            if origins is None:
                continue
            used.add(rule.place)
            patterns = ", ".join(f"'{one}'" for one in rule.sources) or "nothing"
            why = f"{rule.place}: '{rule.target}' from {patterns}"
            rows[path] = _row(tensor, origins, rule.steps, why, maps, cast, allowed=True)
            break
    check_used(rules, used, list(known[TARGET]))
    return rows


def _by_matching(
    targets: list[Tensor],
    sources: Mapping[str, Any],
    known: dict[str, dict[str, Tensor]],
    match: str,
    combine: Any,
    cast: bool,
) -> dict[str, Row | str]:
    """Return by path a row, or the reason why there is none."""
    if match == "none" or not targets:
        return {}
    steps = steps_of(combine) if combine is not None else None
    found: dict[str, dict[str, Match]] = {}  # target path -> source -> match
    hints: dict[str, str] = {}
    for label in sources:
        theirs = list(known[label].values())
        if match == "position":
            matches = by_position(targets, theirs, sources[label].title)
        else:
            matching = Matching(targets, theirs)
            matching.refuse_unclear(sources[label].title)
            matches = matching.found
            hints |= _hints(matching, targets)
        for path, one in matches.items():
            found.setdefault(path, {})[label] = one
    rows: dict[str, Row | str] = {}
    for tensor in targets:
        by_source = found.get(tensor.path, {})
        if not by_source:
            rows[tensor.path] = f"no tensor of the source has its name{hints.get(tensor.path, '')}"
        elif steps is not None and len(by_source) < len(sources):
            rows[tensor.path] = f"only {', '.join(by_source)} has it, and '{combine}' needs it of every source"
        else:
            rows[tensor.path] = _matched(tensor, by_source, steps, cast)
    return rows


def _hints(matching: Matching, targets: list[Tensor]) -> dict[str, str]:
    hints = {}
    for tensor in targets:
        alike = matching.resembling(tensor) if tensor.path not in matching.found else None
        if alike is not None:
            rule = (alike.path, tensor.path, "copy")
            hints[tensor.path] = f"; '{alike.path}' has the same kind and shape; if it is the source, write {rule}"
    return hints


def _matched(tensor: Tensor, by_source: dict[str, Match], combine: list[Step] | None, cast: bool) -> Row | str:
    if combine is None and len(by_source) > 1:
        candidates = ", ".join(f"'{label}:{one.tensor.path}'" for label, one in by_source.items())
        raise UserError(
            f"'{tensor.path}' could come from {candidates}; choose one with a rule, such as "
            f"('{candidates.split(chr(39))[1]}', '{tensor.path}', 'copy'), or combine them with combine='average'"
        )
    origins = [Origin(label, one.tensor) for label, one in by_source.items()]
    steps: list[Step] = []
    for origin in origins:
        if origin.tensor.shape != tensor.shape:
            if not same_merged(origin.tensor.shape, tensor.shape):
                return _other_shape(origin.tensor, tensor)
            steps = [("reshape", {})]
    why = next(iter(by_source.values())).why
    return _row(tensor, origins, [*steps, *(combine or ())] or [("copy", {})], why, {}, cast)


def _other_shape(source: Tensor, target: Tensor) -> str:
    transposed = len(source.shape) > 1 and source.shape[::-1] == target.shape
    op = "transpose" if transposed else "select" if len(source.shape) == len(target.shape) else "reshape"
    return (
        f"'{source.path}' matches by name, but is {list(source.shape)}; write a rule that changes the shape, "
        f"for example ('{source.path}', '{target.path}', '{op}')"
    )


def _row(
    tensor: Tensor,
    origins: list[Origin],
    steps: Sequence[Step],
    why: str,
    maps: dict[str, UnitMap],
    cast: bool,
    allowed: bool = False,
) -> Row:
    narrower = any(tensor.dtype not in HOLDS.get(origin.tensor.dtype, ()) for origin in origins)
    integers = any(origin.tensor.dtype.startswith(("int", "uint", "bool")) for origin in origins)
    if cast and narrower and not integers:
        steps = [*steps, ("cast", {})]
    try:
        made = resolve(steps, [origin.tensor.shape for origin in origins], tensor, maps)
    except UserError as error:
        read = ", ".join(f"'{origin.path}' {list(origin.tensor.shape)}" for origin in origins) or "nothing"
        raise UserError(f"'{tensor.path}' {list(tensor.shape)} from {read}: {error} ({why})") from error
    return Row(tensor, tuple(origins), made, why, allowed)


def _keep(tensor: Tensor, why: str, allowed: bool) -> Row:
    return Row(tensor, (), resolve([("keep", {})], [], tensor, {}), why, allowed)


def same_merged(one: Shape, other: Shape) -> bool:
    """Return whether merging neighbouring axes of one shape gives the other: heads split off or joined.

    >>> same_merged((8, 2, 4), (8, 8)), same_merged((2, 4, 8), (8, 8)), same_merged((6, 4), (4, 6))
    (True, True, False)
    """
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    axes = list(longer)
    for size in shorter:
        product = axes.pop(0) if axes else 0
        while product < size and axes:
            product *= axes.pop(0)
        if product != size:
            return False
    return all(axis == 1 for axis in axes)
