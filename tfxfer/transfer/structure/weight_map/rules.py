"""Rules written by hand: ("encoder/*/ffn/kernel", "layers/*/dense/kernel", "transpose").

Source first, then target, then the operation. `*` stands for anything between two slashes (or dots), `**` for anything
at all, `**/` also for nothing. The text that a star matches in the target's path is filled in for the star of the
source's pattern, first for first. There, numbers can be computed: "{*-1}" is one less, "{2*+1}" twice and one more.
Numbers in automatic layer names ("dense_7") may differ between the two. The first rule that fits a target tensor
applies.
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
        optional: The rule may fit no tensor, or name a source tensor that does not exist.
        place: Its name in error messages.
    """

    sources: tuple[str, ...]
    target: str
    steps: tuple[Step, ...]
    optional: bool = False
    place: str = "rule"


def parse(rules: Sequence[Any] | None) -> list[Rule]:
    """Return rules parsed and checked one by one.

    Args:
        rules: Each (source, target, operation), or a dictionary with "source", "target", "op" and perhaps
            "optional". The source is a pattern, a list of patterns, or None.

    Raises:
        UserError: A rule has another form.
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
        raise UserError(f"{place}: {source!r} is neither a pattern nor a list of patterns")
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
    """Return the text that each star of a pattern matches in a path, or None when it does not fit.

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
            raise UserError(f"{place}: {match[0]} needs a number, and the target has '{text}' there")
        return str(int(match[1] or 1) * int(text) + int(match[2] or 0))

    return WILD.sub(value, pattern)


def origins_for(rule: Rule, path: str, known: dict[str, dict[str, Tensor]]) -> list[Origin] | None:
    """Return the tensors that a rule reads for a target tensor; None when the rule does not fit the tensor.

    Args:
        rule: The rule.
        path: Path of the target tensor.
        known: Tensors by path, of each source and of the target.

    Raises:
        UserError: The rule names a tensor that does not exist.
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
    """Raise `UserError` for a rule that applied to no target tensor."""
    for rule in rules:
        if rule.place in used or rule.optional:
            continue
        if any(fits(rule.target, path) is not None for path in targets):
            raise UserError(
                f"{rule.place}: earlier rules apply to all tensors of '{rule.target}'; move it up or delete it"
            )
        raise UserError(f"{rule.place}: no tensor of the target fits '{rule.target}'; {suggest(rule.target, targets)}")


def one_of(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that tests whether a path fits any of the patterns."""
    if isinstance(patterns, str):
        patterns = (patterns,)
    return lambda path: any(fits(pattern, path) is not None for pattern in patterns)


def _place(text: str, known: dict[str, dict[str, Tensor]]) -> tuple[str, str]:
    """Split "name:path"; without a name, the source is the only one or the first."""
    label, colon, name = text.partition(":")
    if colon and label in known:
        return label, name
    return next(label for label in known if label != TARGET), text


def _but_for_numbers(pattern: str, captured: Sequence[str], target: Tensor, known: dict[str, Tensor]) -> str | None:
    """Return the only name that fits when automatic layer names, filled in for a star, may have other numbers.

    A star that matches "sequential_3" in the target may stand for "sequential_2" in the source. So may "**/" when it
    matches nothing in the target.
    """
    automatic = {place.lower() for place, key in zip(split(target.path), target.key) if key.endswith("#")}

    def loose(text: str, star: str) -> str:
        places = re.split(r"([/.])", text)
        if star == "**/" and all(stem(place.lower()) in (*CONTAINERS, "", "/") for place in places):
            return rf"((?:{'|'.join(CONTAINERS)})(?:_\d+)?/)*"
        return "".join(_any_number(p) if p.lower() in automatic else re.escape(p) for p in places)

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
            raise UserError(f"pattern '{pattern}': only the source's pattern can compute {match[0]}")
        stands_for = {"**/": "(.*/)?", "**": "(.*)"}.get(match[0], r"([^/.]*)")
        parts += [re.escape(pattern[last : match.start()]), stands_for]
        last = match.end()
    return re.compile("".join([*parts, re.escape(pattern[last:])]))
