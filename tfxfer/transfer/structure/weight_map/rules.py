"""Rules that a person writes: ("encoder/*/ffn/kernel", "layers/*/dense/kernel", "transpose").

Source first, then target, then the operation. `*` stands for anything between two slashes (or dots), `**` for anything
at all, `**/` also for nothing. What a star stands for on the target's side is carried over to the source's side, first
to first. There it may be reckoned with: "{*-1}" is one less, "{2*+1}" twice and one more. Numbers that Keras gave
("dense_7") may differ in what is carried over. Each target tensor takes the first rule that fits.
"""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.weight_map.names import CONTAINERS, split, stem
from tfxfer.transfer.structure.weight_map.operations import Step, steps_of
from tfxfer.transfer.structure.weight_map.rows import Origin
from tfxfer.transfer.structure.weight_map.tensors import TARGET, Tensor

FIELDS = ("source", "target", "op", "optional")
WILD = re.compile(r"\*\*/|\*\*|\*|\{(\d*)\*([+-]\d+)?\}")


@dataclass(frozen=True)
class Rule:
    """A rule, parsed.

    Attributes:
        sources: Patterns of the tensors to read; none for operations that need none.
        target: Pattern of the tensors to fill.
        steps: The chain of operations as (name, arguments).
        optional: The rule may fit no tensor, or name a source tensor that is not there.
        place: How errors call it.
    """

    sources: tuple[str, ...]
    target: str
    steps: tuple[Step, ...]
    optional: bool = False
    place: str = "rule"


def parse(rules: Sequence[Any] | None) -> list[Rule]:
    """Return rules as they were written, checked one by one.

    Args:
        rules: Each (source, target, operation), or a dictionary with "source", "target", "op" and perhaps
            "optional". The source is a pattern, a list of patterns, or None.

    Raises:
        UserError: A rule is written in another way.
    """
    if isinstance(rules, str | dict):
        raise UserError("rules are a list of (source, target, operation)")
    return [_parse(rule, f"rule {i}") for i, rule in enumerate(rules or (), start=1)]


def _parse(rule: Any, place: str) -> Rule:
    if isinstance(rule, Rule):
        return rule
    if isinstance(rule, dict):
        unknown = next((key for key in rule if key not in FIELDS), None)
        if unknown is not None:
            raise UserError(f"{place}: '{unknown}' is unknown; {suggest(unknown, FIELDS)}")
        optional = rule.get("optional", False)
        rule = (rule.get("source"), rule.get("target"), rule.get("op", "copy"))
    else:
        optional = False
    if not isinstance(rule, list | tuple) or len(rule) != 3 or not isinstance(rule[1], str):
        raise UserError(f"{place}: {rule!r} is not (source pattern, target pattern, operation)")
    source, target, op = rule
    several = isinstance(source, list | tuple) and all(isinstance(one, str) for one in source)
    if not several and not isinstance(source, str | None):
        raise UserError(f"{place}: {source!r} is no pattern, nor a list of patterns")
    sources = tuple(source) if several else (source,) if source else ()
    try:
        steps = tuple(steps_of(op))
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    wild = len(WILD.findall(target))
    too_many = next((one for one in sources if len(WILD.findall(one)) > wild), None)
    if too_many is not None:
        raise UserError(f"{place}: '{too_many}' has more * than the target's '{target}', which they are filled from")
    return Rule(sources, target, steps, bool(optional), place)


def fits(pattern: str, path: str) -> tuple[str, ...] | None:
    """Return what the stars of a pattern stand for in a path, or None when it does not fit.

    >>> fits("layers/*/dense/**", "layers/3/dense/out/kernel")
    ('3', 'out/kernel')
    """
    found = _regex(pattern).fullmatch(path)
    return tuple(text or "" for text in found.groups()) if found else None


def fill(pattern: str, captured: Sequence[str], place: str) -> str:
    """Return a pattern with its stars filled in, in order.

    >>> fill("encoder/{*-1}/ffn/kernel", ["3"], "rule 1")
    'encoder/2/ffn/kernel'
    """
    values = iter(captured)

    def value(match: re.Match) -> str:
        text = next(values)
        if match[0] == "**/":
            return f"{text.rstrip('/')}/" if text else ""
        if match[0] in ("*", "**"):
            return text.rstrip("/")
        if not text.isdecimal():
            raise UserError(f"{place}: {match[0]} reckons with a number, and the target has '{text}' there")
        return str(int(match[1] or 1) * int(text) + int(match[2] or 0))

    return WILD.sub(value, pattern)


def origins_for(rule: Rule, path: str, known: dict[str, dict[str, Tensor]]) -> list[Origin] | None:
    """Return the tensors that a rule reads for a target tensor; None when the rule does not fit the tensor.

    Args:
        rule: The rule.
        path: Path of the target tensor.
        known: Tensors by path, of each source and of the target.

    Raises:
        UserError: A tensor that the rule names does not exist.
    """
    captured = fits(rule.target, path)
    if captured is None:
        return None
    found = []
    for pattern in rule.sources:
        label, name = _place(fill(pattern, captured, rule.place), known)
        if name not in known[label]:
            name = _but_for_numbers(_place(pattern, known)[1], captured, known[TARGET][path], known[label]) or name
        if name not in known[label]:
            if rule.optional:
                return None
            raise UserError(
                f"{rule.place} reads '{name}' for '{path}', which is not in {label}; {suggest(name, known[label])}"
            )
        found.append(Origin(label, known[label][name]))
    return found


def check_used(rules: Sequence[Rule], used: set[str], targets: Sequence[str]) -> None:
    """Raise `UserError` for a rule that no target tensor took."""
    for rule in rules:
        if rule.place in used or rule.optional:
            continue
        if any(fits(rule.target, path) is not None for path in targets):
            raise UserError(f"{rule.place}: earlier rules take all tensors of '{rule.target}'; move it up or drop it")
        raise UserError(f"{rule.place}: no tensor of the target fits '{rule.target}'; {suggest(rule.target, targets)}")


def one_of(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a test whether a path fits any of the patterns."""
    if isinstance(patterns, str):
        patterns = (patterns,)
    return lambda path: any(fits(pattern, path) is not None for pattern in patterns)


def _place(text: str, known: dict[str, dict[str, Tensor]]) -> tuple[str, str]:
    """Split "name:path"; without a name, the only source or the first is meant."""
    label, colon, name = text.partition(":")
    if colon and label in known:
        return label, name
    return next(label for label in known if label != TARGET), text


def _but_for_numbers(pattern: str, captured: Sequence[str], target: Tensor, known: dict[str, Tensor]) -> str | None:
    """Return the one name that fits when names that Keras made up, carried over by a star, may have other numbers.

    A star that stands for "sequential_3" in the target finds "sequential_2" in the source. So does "**/" when it stands
    for nothing in the target.
    """
    given = {place.lower() for place, key in zip(split(target.path), target.key) if key.endswith("#")}

    def loose(text: str, star: str) -> str:
        places = re.split(r"([/.])", text)
        if star == "**/" and all(stem(place.lower()) in (*CONTAINERS, "", "/") for place in places):
            return rf"((?:{'|'.join(CONTAINERS)})(?:_\d+)?/)*"
        return "".join(_any_number(p) if p.lower() in given else re.escape(p) for p in places)

    values, parts, last = iter(captured), [], 0
    for match in WILD.finditer(pattern):
        if match[0].startswith("{"):
            return None
        parts += [re.escape(pattern[last : match.start()]), loose(next(values), match[0])]
        last = match.end()
    regex = re.compile("".join([*parts, re.escape(pattern[last:])]))
    fitting = [name for name in known if regex.fullmatch(name)]
    return fitting[0] if len(fitting) == 1 else None


def _any_number(name: str) -> str:
    return re.escape(stem(name)) + r"(_\d+)?"


@functools.cache
def _regex(pattern: str) -> re.Pattern:
    parts, last = [], 0
    for match in WILD.finditer(pattern):
        if match[0].startswith("{"):
            raise UserError(f"pattern '{pattern}': only the source's side can reckon with {match[0]}")
        stands_for = {"**/": "(.*/)?", "**": "(.*)"}.get(match[0], r"([^/.]*)")
        parts += [re.escape(pattern[last : match.start()]), stands_for]
        last = match.end()
    return re.compile("".join([*parts, re.escape(pattern[last:])]))
