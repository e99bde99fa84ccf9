"""What `tfxfer compress --to` can name, read without TensorFlow: "prune:0.5+int8" is two steps of one result."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tfxfer.errors import UserError, suggest

QUANTISERS = ("float16", "int8", "int4")
LAST, FIRST, BETWEEN = 2, 0, 1  # places in a sequence of steps


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: A row of `METHODS`.
        number: S, R or F; 0 for a method without one, and for N:M.
        groups: (N, M) of pruning by groups.
    """

    name: str
    number: float = 0
    groups: tuple[int, int] | None = None

    def __str__(self) -> str:
        if self.groups:
            return f"{self.name}:{self.groups[0]}:{self.groups[1]}"
        return f"{self.name}:{self.number:g}" if METHODS[self.name].wants else self.name


@dataclass(frozen=True)
class Method:
    """A row of the table of methods.

    Attributes:
        text: What it is.
        wants: What stands behind the colon; "" for nothing.
        place: Where it stands among other steps: it changes the model, the matrices, or how they are stored.
    """

    text: str
    wants: str = ""
    place: int = BETWEEN


METHODS = {
    "float16": Method("half precision for all matrices", place=LAST),
    "int8": Method("8-bit integers with a scale for each output, convolutions and embeddings too", place=LAST),
    "int4": Method("4-bit integers with a scale for 32 inputs of each output", place=LAST),
    "lowrank": Method("two factors of rank R for each matrix that gets smaller; below 1 a share of the full rank", "R"),
    "prune": Method("the share S of each matrix with the smallest magnitudes becomes 0; or N:M", "S, or N:M"),
    "shrink": Method("the share F of the units of each layer stays, and the model is trained again", "F", FIRST),
    "merge-lora": Method("LoRA layers become plain ones", place=FIRST),
}


@dataclass(frozen=True)
class Wanted:
    """A result that was asked for: its name, and its steps in order."""

    name: str
    steps: tuple[Step, ...]


def parsed(words: Sequence[str]) -> tuple[Wanted, ...]:
    """Return the results that `--to` names.

    Raises:
        UserError: A method is unknown, lacks its number or has a wrong one, stands twice, or at the wrong place.
    """
    found = [_wanted(word) for word in words]
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"--to {twice}: stands there twice; name it once")
    return tuple(found)


def _wanted(word: str) -> Wanted:
    steps = tuple(_step(part.strip()) for part in word.split("+"))
    stored = [step.name for step in steps if step.name in QUANTISERS]
    if len(stored) > 1:
        raise UserError(
            f"--to {word}: {stored[0]} and {stored[1]} both say how numbers are stored; what is quantised already is "
            f"not quantised again. Give one, or two results: --to {stored[0]} {stored[1]}"
        )
    for before, after in pairwise(steps):
        if METHODS[before.name].place > METHODS[after.name].place or before.name == after.name:
            what = "stands there twice" if before.name == after.name else f"comes before {before.name}"
            raise UserError(f"--to {word}: {after.name} {what}; the order is shrink, lowrank, prune, int8")
    return Wanted("+".join(map(str, steps)), steps)


def _step(word: str) -> Step:
    name, _, value = word.partition(":")
    if name not in METHODS:
        raise UserError(f"--to {word or '(nothing)'}: there is no method '{name}'; {suggest(name, METHODS)}")
    wants = METHODS[name].wants
    if bool(value) != bool(wants):
        example = {"lowrank": "lowrank:0.25", "prune": "prune:0.5", "shrink": "shrink:0.5"}.get(name, name)
        raise UserError(f"--to {word}: {'takes no number' if value else f'needs {wants}'}; give {example}")
    return READ[name](name, value) if value else Step(name)


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise UserError(f"--to {name}:{value}: '{value}' is no number") from error


def _lowrank(name: str, value: str) -> Step:
    rank = _number(name, value)
    if not 0 < rank < 10**6 or (rank >= 1 and rank != int(rank)):
        raise UserError(f"--to {name}:{value}: R is a rank of 1 or more, or a share between 0 and 1")
    return Step(name, rank)


def _prune(name: str, value: str) -> Step:
    groups = re.fullmatch(r"(\d{1,4}):(\d{1,4})", value)
    if groups:
        keep, of = int(groups[1]), int(groups[2])
        if not 1 <= keep < of:
            what = "nothing would be left of any layer" if not keep else "nothing would go"
            raise UserError(f"--to {name}:{value}: {what}; N of every M inputs stay, such as 2:4")
        return Step(name, groups=(keep, of))
    share = _number(name, value)
    if not 0 < share < 1:
        what = "nothing would be left of any layer" if share >= 1 else "nothing would go"
        raise UserError(f"--to {name}:{value}: {what}; S is a share between 0 and 1, such as 0.5")
    return Step(name, share)


def _shrink(name: str, value: str) -> Step:
    share = _number(name, value)
    if not 0 < share < 1:
        raise UserError(f"--to {name}:{value}: F is the share of the units that stays, between 0 and 1")
    return Step(name, share)


READ: dict[str, Callable[[str, str], Step]] = {"lowrank": _lowrank, "prune": _prune, "shrink": _shrink}
