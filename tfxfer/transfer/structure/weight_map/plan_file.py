"""A plan as JSON: one row a line, so that a pull request shows each change."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tfxfer.cache import atomic_file
from tfxfer.errors import UserError, suggest
from tfxfer.given_files import unique_keys
from tfxfer.transfer.structure.weight_map.operations import make
from tfxfer.transfer.structure.weight_map.plan_rows import PlanRows
from tfxfer.transfer.structure.weight_map.rows import Origin, Row
from tfxfer.transfer.structure.weight_map.tensors import Tensor
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap, maps_from

Plan = TypeVar("Plan", bound=PlanRows)

FORMAT = 1
PARTS = {"format": int, "models": dict, "unit_maps": dict, "rows": list, "unread": list, "skipped": dict}
ROW = {
    "target": str,
    "shape": list,
    "dtype": str,
    "layer": str,
    "from": list,
    "steps": list,
    "why": str,
    "allowed": bool,
}
ORIGIN = {"source": str, "tensor": str, "shape": list, "dtype": str}


def write(weight_map: PlanRows, path: str | Path | None = None) -> str:
    """Return the plan as JSON, and write it to a file when a path is given."""
    blocks = {
        "format": FORMAT,
        "models": dict(weight_map.titles),
        "unit_maps": {name: one.to_dict() for name, one in weight_map.unit_maps.items()},
        "rows": [_row_data(row) for row in weight_map.rows],
        "unread": [_origin_data(origin) for origin in weight_map.unread],
        "skipped": dict(weight_map.skipped),
    }
    text = "{\n" + ",\n".join(f"{json.dumps(name)}: {_lines(value)}" for name, value in blocks.items()) + "\n}\n"
    if path is not None:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text


def read(plan: str | Path, kind: type[Plan]) -> Plan:
    """Return the plan in a file, or in JSON text (which begins with "{"), without its models.

    Args:
        plan: Path of a file, or the JSON itself.
        kind: Class of the result, such as `WeightMap`.

    Raises:
        UserError: It is not a plan, or a row in it cannot be carried out.
    """
    is_text = isinstance(plan, str) and plan.lstrip().startswith("{")
    place = "plan" if is_text else str(plan)
    try:
        text = str(plan) if is_text else Path(plan).read_text(encoding="utf-8")
        data = json.loads(text, object_pairs_hook=unique_keys, parse_constant=_no_constant)
        _check_fields(data, PARTS, ("format", "models", "rows"), "the plan")
        if data["format"] != FORMAT:
            raise UserError(f"format {data['format']} is not known; this version reads format {FORMAT}")
        maps = maps_from(data.get("unit_maps", {}))
        rows = tuple(_row(one, i, maps) for i, one in enumerate(data["rows"], start=1))
        unread = tuple(_origin(one, f"unread {i}") for i, one in enumerate(data.get("unread", []), start=1))
        strings = {name: _strings(data.get(name, {}), name) for name in ("skipped", "models")}
        _check_sources(rows, strings["models"])
        return kind(rows, unread, strings["skipped"], strings["models"])
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{place}: cannot be read ({error})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: is not JSON ({error}); write a plan with to_json()") from error


def _row_data(row: Row) -> dict[str, Any]:
    data = {"target": row.target.path, "shape": list(row.target.shape), "dtype": row.target.dtype}
    if row.target.layer:
        data["layer"] = row.target.layer
    data["from"] = [_origin_data(origin) for origin in row.origins]
    data["steps"] = [[step.name, step.arguments()] for step in row.steps]
    data["why"] = row.why
    return data | ({"allowed": True} if row.allowed else {})


def _origin_data(origin: Origin) -> dict[str, Any]:
    tensor = origin.tensor
    return {"source": origin.source, "tensor": tensor.path, "shape": list(tensor.shape), "dtype": tensor.dtype}


def _lines(value: Any) -> str:
    """Return JSON with one entry of a list or dictionary a line."""
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {json.dumps(one, ensure_ascii=False)}" for one in value) + "\n]"
    if isinstance(value, dict) and value:
        pairs = (f"  {json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in value.items())
        return "{\n" + ",\n".join(pairs) + "\n}"
    return json.dumps(value)


def _row(data: Any, number: int, maps: dict[str, UnitMap]) -> Row:
    named = f" ('{data['target']}')" if isinstance(data, dict) and isinstance(data.get("target"), str) else ""
    place = f"row {number}{named}"
    _check_fields(data, ROW, ("target", "shape", "dtype", "from", "steps"), place)
    target = Tensor(data["target"], _shape(data["shape"], place), data["dtype"], data.get("layer", ""))
    origins = tuple(_origin(one, place) for one in data["from"])
    steps = []
    for step in data["steps"]:
        if not (isinstance(step, list) and len(step) == 2 and isinstance(step[0], str) and isinstance(step[1], dict)):
            raise UserError(f'{place}: a step is written ["name", {{arguments}}], not {json.dumps(step)}')
        try:
            steps.append(make(step[0], step[1], maps))
        except UserError as error:
            raise UserError(f"{place}: {error}") from error
    return Row(target, origins, tuple(steps), data.get("why", ""), data.get("allowed", False))


def _origin(data: Any, place: str) -> Origin:
    _check_fields(data, ORIGIN, tuple(ORIGIN), place)
    return Origin(data["source"], Tensor(data["tensor"], _shape(data["shape"], place), data["dtype"]))


def _check_sources(rows: Sequence[Row], models: Mapping[str, str]) -> None:
    for row in rows:
        unknown = next((origin.source for origin in row.origins if origin.source not in models), None)
        if unknown is not None:
            raise UserError(f"row {row}: there is no source '{unknown}'; {suggest(unknown, models)}")


def _shape(sizes: list[Any], place: str) -> tuple[int, ...]:
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise UserError(f"{place}: {sizes} is not a shape")
    return tuple(sizes)


def _strings(data: Mapping[str, Any], name: str) -> dict[str, str]:
    if not all(isinstance(value, str) for value in data.values()):
        raise UserError(f'"{name}" may hold names and strings only')
    return dict(data)


def _check_fields(data: Any, kinds: Mapping[str, type], needed: tuple[str, ...], place: str) -> None:
    if not isinstance(data, dict):
        raise UserError(f"{place}: {json.dumps(data)[:80]} is not a dictionary")
    for field, value in data.items():
        if field not in kinds:
            raise UserError(f"{place}: '{field}' is unknown; {suggest(field, kinds)}")
        if type(value) is not kinds[field]:
            raise UserError(f"{place}: '{field}' is {json.dumps(value)[:80]}; it should be a {kinds[field].__name__}")
    missing = next((field for field in needed if field not in data), None)
    if missing is not None:
        raise UserError(f"{place}: '{missing}' is missing")


def _no_constant(name: str) -> Any:
    raise UserError(f"{name} is not a number that a plan can hold")
