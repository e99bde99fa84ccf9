"""Which table of rules belongs to a source and a target: by the folder's architecture and by the target's layers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tfxfer.errors import UserError
from tfxfer.transfer.structure.checkpoints.architectures import HOUSES
from tfxfer.transfer.structure.checkpoints.architectures.table import House, Table, steps_for
from tfxfer.transfer.structure.checkpoints.folders import ModelFolder
from tfxfer.transfer.structure.checkpoints.h5 import WeightsH5
from tfxfer.transfer.structure.checkpoints.safetensors_file import Safetensors, ShardedSafetensors
from tfxfer.transfer.structure.weight_map.rules import Rule, fill, fits
from tfxfer.transfer.structure.weight_map.tensors import (
    KerasSource,
    Source,
    Tensor,
    as_sources,
    keras_model,
    tensors_of,
)

WRITE = "write rules=[(source pattern, target pattern, operation), …]"


def rules_for(source: Any, target: Any) -> list[Rule]:
    """Return a rule for every tensor of the target that the table for this source and target knows.

    Args:
        source: "hf:DIR", a file whose names tell what it is ("resnet18.safetensors"), or either of them opened.
        target: The Keras model that is to be filled.

    Raises:
        UserError: No table fits, the blocks of the target stand in several places, or attention heads differ.

    Example:
        >>> plan("hf:DIR", model, [(None, "classes/*", "fresh"), *rules_for("hf:DIR", model)])  # doctest: +SKIP
    """
    label, opened = next(iter(as_sources(source).items()))
    return _rules_for(opened, tensors_of(KerasSource(keras_model(target, "target"))), label)


def table_rules(sources: Mapping[str, Source], targets: Sequence[Tensor], *, given: bool = False) -> list[Rule]:
    """Return the rules that come with a plan's sources; none when no source is a file of another house.

    Args:
        sources: Sources by name.
        targets: The target's tensors.
        given: The caller has rules of their own, so a source without a table is no error.

    Raises:
        UserError: There are no rules at all for a source that needs some, or two sources come with rules.
    """
    found = {label: house for label, source in sources.items() if (house := house_of(source)) is not None}
    if not given:
        _check_known(sources, targets, found)
    if len(found) != 1:
        return []
    label, house = next(iter(found.items()))
    needed = isinstance(sources[label], ModelFolder) and not given
    return _rules_for(sources[label], targets, label) if needed or table_for(house, targets) else []


def _check_known(sources: Mapping[str, Source], targets: Sequence[Tensor], found: Mapping[str, House]) -> None:
    """Refuse sources that cannot be matched by names and come without a table."""
    if len(found) > 1:
        raise UserError(f"{' and '.join(found)} each come with rules for the target; {WRITE}, to say which is meant")
    for label, source in sources.items():
        if isinstance(source, ModelFolder) and label not in found:
            known = ", ".join(name for house in HOUSES for name in house.architectures)
            raise UserError(
                f"{source.title}: config.json calls the model '{source.architecture}', for which there is no table of "
                f"rules (known: {known}); {WRITE}. KerasHub may convert it whole: 'preset:{source.path}'"
            )
        for name in source.unnamed if isinstance(source, WeightsH5) else ():
            layer = name.partition("/vars/")[0]
            asked = next((t.path for t in targets if f"/{t.path}".rpartition("/")[0].endswith(f"/{layer}")), None)
            if asked is not None:
                raise UserError(
                    f"{source.title}: the file does not say which tensor of layer '{layer}' is which ('{name}', …). "
                    f"Say it with rules, such as ('{name}', '{asked}', 'copy'); or load the weights into their model "
                    "and give that model"
                )


def _rules_for(source: Source, targets: Sequence[Tensor], label: str) -> list[Rule]:
    house = house_of(source)
    if house is None:
        raise UserError(f"{source.title}: there is no table of rules for this source; {WRITE}")
    table = table_for(house, targets)
    if table is None:
        kinds = "; ".join(f"{one.target} (a tensor '…/{one.mark}')" for one in house.tables)
        raise UserError(f"{source.title} is {house.name}, and the target has no layers of {kinds}. {WRITE}")
    config = source.config if isinstance(source, ModelFolder) else {}
    known = {name: source.shape(name) for name in source.names()}
    rules = max((_rules(house, table, prefix, known, targets, config, label) for prefix in house.prefixes), key=_weight)
    if not _weight(rules):
        raise UserError(f"{source.title}: is said to be {house.name}, and has none of its tensors; {WRITE}")
    _check_once(rules, source.title)
    return rules


def house_of(source: Source) -> House | None:
    """Return the architecture that a folder's config.json names, or that a file's names show beyond doubt."""
    if isinstance(source, ModelFolder):
        return next((house for house in HOUSES if source.architecture in house.architectures), None)
    if isinstance(source, Safetensors | ShardedSafetensors):
        names = set(source.names())
        return next((house for house in HOUSES if house.marks and names.issuperset(house.marks)), None)
    return None


def table_for(house: House, targets: Sequence[Tensor]) -> Table | None:
    """Return the table whose kind of target this is.

    Raises:
        UserError: Several are.
    """
    paths = [tensor.path for tensor in targets]

    def has(mark: str) -> bool:
        return any(fits(f"**/{mark}", path) is not None for path in paths)

    found = [table for table in house.tables if has(table.mark) and not (table.unlike and has(table.unlike))]
    if len(found) > 1:
        kinds = " and ".join(table.target for table in found)
        raise UserError(f"the target has layers of {kinds}; plan onto the part that is meant, as model.get_layer(NAME)")
    return found[0] if found else None


def _rules(
    house: House,
    table: Table,
    prefix: str,
    known: Mapping[str, tuple[int, ...]],
    targets: Sequence[Tensor],
    config: Mapping[str, Any],
    label: str,
) -> list[Rule]:
    """Return the rules when all names of the source begin with `prefix`."""
    usual, by_order = _as_usual(table, [tensor.path for tensor in targets])
    title = f"rules for {house.name} onto {table.target}{by_order}{table.note}{_unusual(house, config)}"
    found: list[Rule] = []
    for tensor in targets:
        for number, (pattern, target, op) in enumerate(table.rows, start=1):
            place = f"{title}, number {number} of {len(table.rows)}"
            stars = fits(f"**/{target}", usual[tensor.path])
            if stars is None:
                continue
            name = prefix + fill(pattern, stars[1:], place) if pattern is not None else None
            if name is not None and name not in known:
                continue
            _check_heads(house, config, tensor)
            steps = steps_for(op, known[name] if name is not None else (), tensor)
            reads = (f"{label}:{name}",) if name is not None else ()
            found.append(Rule(reads, tensor.path, tuple(steps), optional=True, place=place))
            break
    return found


def _as_usual(table: Table, paths: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return paths with blocks called as in the table's rows, and what to say when they were counted in order.

    Blocks with KerasHub's own names keep their numbers. Others are numbered as they stand in the model.
    """
    blocks = [path.removesuffix(table.mark).rstrip("/") for path in paths if fits(f"**/{table.mark}", path) is not None]
    if not table.blocks:
        return {path: path for path in paths}, ""
    above = {block.rpartition("/")[0] for block in blocks}
    if len(above) > 1:
        raise UserError(
            f"the target has such blocks in {len(above)} places: {', '.join(map(repr, sorted(above)))}; plan "
            "onto the part that is meant, as model.get_layer(NAME)"
        )
    named = [re.fullmatch(table.blocks.replace("*", r"(\d+)"), block.rpartition("/")[2]) for block in blocks]
    in_order = not all(named)
    numbers = [table.first + i if match is None or in_order else int(match[1]) for i, match in enumerate(named)]
    usual = {path: path for path in paths}
    for block, number in zip(blocks, numbers):
        usual |= {
            path: f"{table.blocks.replace('*', str(number))}{path[len(block) :]}"
            for path in paths
            if path.startswith(f"{block}/")
        }
    return usual, ", blocks in their order" if in_order else ""


def _check_heads(house: House, config: Mapping[str, Any], tensor: Tensor) -> None:
    """Refuse to lay heads into another number of heads: it would fit, and mix them."""
    said = config.get(house.heads) if house.heads else None
    if said is None or not tensor.path.endswith("query/kernel") or len(tensor.shape) != 3:
        return
    if tensor.shape[1] != said:
        raise UserError(
            f"'{tensor.path}' has {tensor.shape[1]} attention heads, and config.json says {said}; build the target "
            f"with {said} heads of {tensor.shape[1] * tensor.shape[2] // said}"
        )


def _unusual(house: House, config: Mapping[str, Any]) -> str:
    """Return what config.json says that the targets do not do."""
    other = [
        f"{key}={config[key]}"
        for key, values in house.usual.items()
        if config.get(key) is not None and config[key] not in values
    ]
    return f" (config.json says {', '.join(other)}: outputs differ unless the target does so)" if other else ""


def _weight(rules: Sequence[Rule]) -> int:
    """Return how many rules read the source."""
    return sum(bool(rule.sources) for rule in rules)


def _check_once(rules: Sequence[Rule], title: str) -> None:
    """Refuse to fill two tensors from one: the target has two parts that could be meant."""
    readers: dict[str, str] = {}
    for rule in rules:
        key = f"{rule.sources} {rule.steps}"
        if rule.sources and key in readers:
            raise UserError(
                f"{title}: '{readers[key]}' and '{rule.target}' could both be '{rule.sources[0].partition(':')[2]}'; "
                f"plan onto the part that is meant, as model.get_layer(NAME), or {WRITE}"
            )
        readers[key] = rule.target
