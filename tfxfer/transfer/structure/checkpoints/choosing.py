"""Choosing the table of rules for a source and a target: by the folder's architecture and the target's layers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tfxfer.errors import UserError
from tfxfer.transfer.structure.checkpoints.architectures import ARCHITECTURES
from tfxfer.transfer.structure.checkpoints.architectures.table import Architecture, Table, steps_for
from tfxfer.transfer.structure.checkpoints.folders import ModelFolder
from tfxfer.transfer.structure.checkpoints.h5 import WeightsH5
from tfxfer.transfer.structure.checkpoints.safetensors_file import Safetensors, ShardedSafetensors
from tfxfer.transfer.structure.weight_map.rules import Rule, fill, fits
from tfxfer.transfer.structure.weight_map.sources import KerasSource, as_sources, keras_model, tensors_of
from tfxfer.transfer.structure.weight_map.tensors import Source, Tensor

WRITE = "write rules=[(source pattern, target pattern, operation), …]"


def rules_for(source: Any, target: Any) -> list[Rule]:
    """Return a rule for every tensor of the target that the table for this source and target contains.

    Args:
        source: "hf:DIR", a file whose names identify the architecture ("resnet18.safetensors"), or either of them
            opened.
        target: The Keras model that is to be filled.

    Raises:
        UserError: No table fits, the target has blocks in several places, or the numbers of attention heads differ.

    Example:
        >>> plan("hf:DIR", model, [(None, "classes/*", "fresh"), *rules_for("hf:DIR", model)])  # doctest: +SKIP
    """
    label, opened = next(iter(as_sources(source).items()))
    return _rules_for(opened, tensors_of(KerasSource(keras_model(target, "target"))), label)


def table_rules(sources: Mapping[str, Source], targets: Sequence[Tensor], *, given: bool = False) -> list[Rule]:
    """Return the rules that come with a plan's sources; none when no source is a checkpoint of another library.

    Args:
        sources: Sources by name.
        targets: The target's tensors.
        given: The caller has rules of their own, so that a source without a table is not an error.

    Raises:
        UserError: There are no rules at all for a source that needs some, or two sources come with rules.
    """
    found = {label: architecture_of(source) for label, source in sources.items()}
    known = {label: architecture for label, architecture in found.items() if architecture is not None}
    if not given:
        _check_known(sources, targets, known)
    if len(known) != 1:
        return []
    label, architecture = next(iter(known.items()))
    needed = isinstance(sources[label], ModelFolder) and not given
    return _rules_for(sources[label], targets, label) if needed or table_for(architecture, targets) else []


def _check_known(sources: Mapping[str, Source], targets: Sequence[Tensor], known: Mapping[str, Architecture]) -> None:
    """Refuse sources that cannot be matched by names and have no table."""
    if len(known) > 1:
        raise UserError(f"{' and '.join(known)} each come with rules for the target; {WRITE}, to choose the source")
    for label, source in sources.items():
        if isinstance(source, ModelFolder) and label not in known:
            names = ", ".join(name for architecture in ARCHITECTURES for name in architecture.config_names)
            raise UserError(
                f"{source.title}: config.json calls the model '{source.architecture}', for which there is no table of "
                f"rules (known: {names}); {WRITE}. KerasHub may convert it completely: 'preset:{source.path}'"
            )
        for name in source.unnamed if isinstance(source, WeightsH5) else ():
            layer = name.partition("/vars/")[0]
            wanted = next((t.path for t in targets if f"/{t.path}".rpartition("/")[0].endswith(f"/{layer}")), None)
            if wanted is not None:
                raise UserError(
                    f"{source.title}: the file does not state which tensor of layer '{layer}' is which ('{name}', …). "
                    f"Write rules, such as ('{name}', '{wanted}', 'copy'); or load the weights into their model and "
                    "give that model"
                )


def _rules_for(source: Source, targets: Sequence[Tensor], label: str) -> list[Rule]:
    architecture = architecture_of(source)
    if architecture is None:
        raise UserError(f"{source.title}: there is no table of rules for this source; {WRITE}")
    table = table_for(architecture, targets)
    if table is None:
        kinds = "; ".join(f"{one.target} (a tensor '…/{one.required}')" for one in architecture.tables)
        raise UserError(f"{source.title} is {architecture.name}, and the target has no layers of {kinds}. {WRITE}")
    config = source.config if isinstance(source, ModelFolder) else {}
    known = {name: source.shape(name) for name in source.names()}
    candidates = (_rules(architecture, table, one, known, targets, config, label) for one in architecture.prefixes)
    rules = max(candidates, key=_reading)
    if not _reading(rules):
        raise UserError(f"{source.title} should be {architecture.name}, but has none of its tensors; {WRITE}")
    _check_once(rules, source.title)
    return rules


def architecture_of(source: Source) -> Architecture | None:
    """Return the architecture that a folder's config.json states, or that a file's tensor names identify."""
    if isinstance(source, ModelFolder):
        return next((one for one in ARCHITECTURES if source.architecture in one.config_names), None)
    if isinstance(source, Safetensors | ShardedSafetensors):
        names = set(source.names())
        return next((one for one in ARCHITECTURES if one.file_names and names.issuperset(one.file_names)), None)
    return None


def table_for(architecture: Architecture, targets: Sequence[Tensor]) -> Table | None:
    """Return the table for this kind of target.

    Raises:
        UserError: Several tables fit.
    """
    paths = [tensor.path for tensor in targets]

    def has(pattern: str) -> bool:
        return any(fits(f"**/{pattern}", path) is not None for path in paths)

    tables = architecture.tables
    found = [table for table in tables if has(table.required) and not (table.excluded and has(table.excluded))]
    if len(found) > 1:
        kinds = " and ".join(table.target for table in found)
        raise UserError(f"the target has layers of {kinds}; plan onto one part of it, as model.get_layer(NAME)")
    return found[0] if found else None


def _rules(
    architecture: Architecture,
    table: Table,
    prefix: str,
    known: Mapping[str, tuple[int, ...]],
    targets: Sequence[Tensor],
    config: Mapping[str, Any],
    label: str,
) -> list[Rule]:
    """Return the rules if all names of the source begin with `prefix`."""
    renamed, by_order = _renamed_blocks(table, [tensor.path for tensor in targets])
    title = f"rules for {architecture.name} onto {table.target}{by_order}{table.note}"
    title += _unsupported(architecture, config)
    found: list[Rule] = []
    for tensor in targets:
        for number, (pattern, target, op) in enumerate(table.rows, start=1):
            place = f"{title}, number {number} of {len(table.rows)}"
            stars = fits(f"**/{target}", renamed[tensor.path])
            if stars is None:
                continue
            name = prefix + fill(pattern, stars[1:], place) if pattern is not None else None
            if name is not None and name not in known:
                continue
            _check_heads(architecture, config, tensor)
            steps = steps_for(op, known[name] if name is not None else (), tensor)
            reads = (f"{label}:{name}",) if name is not None else ()
            found.append(Rule(reads, tensor.path, tuple(steps), optional=True, place=place))
            break
    return found


def _renamed_blocks(table: Table, paths: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return each path with its block named as in the table's rows, and a note when blocks were counted in order.

    Blocks with KerasHub's own names keep their numbers. Others are numbered in the order of the model.
    """
    blocks = [p.removesuffix(table.required).rstrip("/") for p in paths if fits(f"**/{table.required}", p) is not None]
    if not table.blocks:
        return {path: path for path in paths}, ""
    above = {block.rpartition("/")[0] for block in blocks}
    if len(above) > 1:
        raise UserError(
            f"the target has such blocks in {len(above)} places: {', '.join(map(repr, sorted(above)))}; plan "
            "onto one part of it, as model.get_layer(NAME)"
        )
    named = [re.fullmatch(table.blocks.replace("*", r"(\d+)"), block.rpartition("/")[2]) for block in blocks]
    in_order = not all(named)
    numbers = [table.first + i if match is None or in_order else int(match[1]) for i, match in enumerate(named)]
    renamed = {path: path for path in paths}
    for block, number in zip(blocks, numbers):
        renamed |= {
            path: f"{table.blocks.replace('*', str(number))}{path[len(block) :]}"
            for path in paths
            if path.startswith(f"{block}/")
        }
    return renamed, ", blocks in their order" if in_order else ""


def _check_heads(architecture: Architecture, config: Mapping[str, Any], tensor: Tensor) -> None:
    """Refuse to reshape to another number of heads: the shape would fit, but the heads would be mixed."""
    stated = config.get(architecture.heads) if architecture.heads else None
    if stated is None or not tensor.path.endswith("query/kernel") or len(tensor.shape) != 3:
        return
    if tensor.shape[1] != stated:
        raise UserError(
            f"'{tensor.path}' has {tensor.shape[1]} attention heads, and config.json has {stated}; build the target "
            f"with {stated} heads of {tensor.shape[1] * tensor.shape[2] // stated}"
        )


def _unsupported(architecture: Architecture, config: Mapping[str, Any]) -> str:
    """Return a note on settings of config.json that the targets do not have."""
    other = [
        f"{key}={config[key]}"
        for key, values in architecture.supported.items()
        if config.get(key) is not None and config[key] not in values
    ]
    return f" (config.json has {', '.join(other)}: outputs differ unless the target has it too)" if other else ""


def _reading(rules: Sequence[Rule]) -> int:
    """Return the number of rules that read the source."""
    return sum(bool(rule.sources) for rule in rules)


def _check_once(rules: Sequence[Rule], title: str) -> None:
    """Refuse to fill two tensors from one: the target has two parts that the table fits."""
    readers: dict[str, str] = {}
    for rule in rules:
        key = f"{rule.sources} {rule.steps}"
        if rule.sources and key in readers:
            raise UserError(
                f"{title}: '{readers[key]}' and '{rule.target}' could both be '{rule.sources[0].partition(':')[2]}'; "
                f"plan onto one part of it, as model.get_layer(NAME), or {WRITE}"
            )
        readers[key] = rule.target
