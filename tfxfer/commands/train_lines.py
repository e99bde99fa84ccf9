"""The `tfxfer train` commands that `tfxfer advise` prints."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfxfer.config import flag, options_of
from tfxfer.recipes import RECIPES

if TYPE_CHECKING:
    from tfxfer.choose.candidates import Candidate, Target

WIDTH = 80


def native_candidate(possible: "Sequence[Candidate]", target: "Target") -> "Candidate":
    """Return the candidate in whose command the native baseline runs: what costs least.

    For texts that is a CNN with random weights. For images it is one of the sources, whose size and colours they get.
    """
    from tfxfer.choose.candidates import LETTERS, METHODS, Candidate, Source

    if target.key == "text" and (target.drawable or 0) >= LETTERS:
        render = next(how for how in METHODS if how.bridge == "render")
        return Candidate(Source("fresh:cnn", "image", "cnn", trained=False), render)
    return min(possible, key=lambda one: (one.how.recipe != "feature", one.how.trains, one.seconds))


def command(candidate: "Candidate", shared: Mapping[str, Any], labels: int, native: bool = False) -> str:
    """Return the command that trains a candidate beside its control and the native baseline, or that alone.

    Args:
        candidate: The candidate, or what `native_candidate` gave.
        shared: Options that come from the request, by their flat names.
        labels: Labels a class.
        native: Whether the native baseline is what the command is for.
    """
    how = candidate.how
    arms = ("transfer", "native") if native else ("transfer", how.arm, how.control, "native")
    kept = {name: value for name, value in shared.items() if not (native and name.startswith("source_"))}
    return train_command(
        how.recipe,
        kept | candidate.options | {"labels_per_class": (labels,), "arms": tuple(dict.fromkeys(arms))},
    )


def train_command(recipe: str, values: Mapping[str, Any]) -> str:
    """Return the command line of a recipe: source and target, and the options that are not as by default."""
    known, plain = options_of(RECIPES[recipe].config), RECIPES[recipe].config()
    words = ["tfxfer", "train", recipe]
    for name, value in values.items():
        if value != known[name].of(plain) or name in ("source", "target"):
            words += _words(name, value)
    return shlex.join(words)


def _words(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag(name) if value else flag(f"no_{name}")]
    return [flag(name), *map(str, value if isinstance(value, tuple) else (value,))]


def broken(line: str) -> str:
    """Return a command in lines of at most 80 columns that a shell takes as one."""
    words, lines = shlex.split(line), [""]
    for word in map(shlex.quote, words):
        if len(lines[-1]) + len(word) + 7 > WIDTH and lines[-1]:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "  " + " \\\n    ".join(lines)
