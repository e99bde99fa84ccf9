"""Short pilots by successive halving: all candidates with little, the better half with more, within a budget.

A pilot is a short training that is scored on validation. Before each, its cost is estimated: the first one's from a
table, the next one's from what the last one took. What does not fit into the rest of the budget is not begun.

Source: Jamieson and Talwalkar 2016, Non-stochastic best arm identification and hyperparameter optimization.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tfxfer.errors import TfxferError

KEPT = 0.5  # share of the candidates that goes on to the next rung
LIMITS = (5, 20)  # labels a class of the first rungs
SEEDS = (3, 3, 5)  # of the rungs; the pilots of the atlas have 3
FIRST_SHARE = 0.5  # of the steps, in the first rung


@dataclass(frozen=True)
class Rung:
    """How much a pilot gets: labels a class, seeds, and the share of the usual steps of a training."""

    labels: int
    seeds: int
    share: float = 1.0

    def work(self, trains: bool = False) -> float:
        """Return how much work this is, in no unit; the share of steps counts where a network trains.

        Labels count by their square root, as φ of the validation split stays the same.
        """
        return self.seeds * math.sqrt(self.labels) * (self.share if trains else 1.0)


class OutOfBudget(TfxferError):
    """A pilot took much longer than was thought, and the budget is used up."""


class Piloted(Protocol):
    """What a pilot returns."""

    @property
    def score(self) -> float:
        """Accuracy on validation, 0 to 1; the higher the better."""

    @property
    def setup(self) -> float:
        """Seconds of what is done once: a source that is trained or loaded."""

    def seconds_at(self, rung: Rung) -> float:
        """Return about how many seconds the rest would take with as much as a rung gives."""


@dataclass
class Pilots:
    """What the pilots found.

    Attributes:
        found: Candidate -> its pilots, the greatest last.
        stopped: Candidate -> why it went no further, in one sentence.
        failed: Candidate -> why it cannot be, in one sentence.
        interrupted: Whether the person stopped them.
        seconds: Seconds that they took.
    """

    found: dict[str, list[Any]] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float = 0.0

    def last(self, name: str) -> Any:
        """Return the greatest pilot of a candidate; None where there is none."""
        return self.found[name][-1] if self.found.get(name) else None


def rungs(labels: int) -> tuple[Rung, ...]:
    """Return the rungs up to so many labels a class: more labels, and more seeds of each.

    >>> [(rung.labels, rung.seeds) for rung in rungs(80)]
    [(5, 3), (20, 3), (80, 5)]
    >>> [(rung.labels, rung.seeds) for rung in rungs(3)]
    [(3, 3), (3, 5)]
    """
    counts = [*(least for least in LIMITS if least < labels), labels]
    counts = counts if len(counts) > 1 else counts * 2
    shares = (FIRST_SHARE, 1.0, 1.0)
    return tuple(Rung(*given) for given in zip(counts, SEEDS[-len(counts) :], shares, strict=False))


def successive_halving(
    costs: Mapping[str, float],
    pilot: Callable[[str, Rung], Piloted],
    steps: Sequence[Rung],
    budget: float,
    *,
    always: str = "",
    clock: Callable[[], float] = time.monotonic,
    started: float | None = None,
    say: Callable[[str, Rung, Any], None] = lambda name, rung, outcome: None,
) -> Pilots:
    """Run pilots of all candidates, then of the better half with more, as far as the budget goes.

    Args:
        costs: Candidate -> seconds that its first pilot is thought to take, in the order in which they are tried.
        pilot: Runs one.
        steps: The rungs, from the least.
        budget: Seconds for everything since `started`.
        always: A candidate that goes on at every rung and counts in no half: the native baseline.
        clock: Returns seconds.
        started: What the clock said when the budget began; by default now.
        say: Told of each pilot: before it runs with None, afterwards with what it returned or its error.

    Returns:
        What was found, also when Ctrl-C ends the pilots early. Where one of the better half is too dear, the next best
        one goes on in its place.
    """
    begun = clock() if started is None else started
    found, left = Pilots(), list(costs)
    try:
        for place, rung in enumerate(steps):
            quota = len(left) if not place else math.ceil(sum(name != always for name in left) * KEPT)
            gone_on: list[str] = []
            for name in left:
                rest = budget - (clock() - begun)
                if name != always and sum(one != always for one in gone_on) == quota:
                    found.stopped[name] = "others were better with as little"
                elif why := _too_dear(found, name, costs, rung, rest):
                    found.stopped[name] = why
                elif _tried(found, name, pilot, rung, say):
                    gone_on.append(name)
            left = sorted(gone_on, key=lambda name: (name != always, -found.last(name).score))
    except KeyboardInterrupt:
        found.interrupted = True
    found.seconds = clock() - begun
    return found


def _tried(
    found: Pilots,
    name: str,
    pilot: Callable[[str, Rung], Piloted],
    rung: Rung,
    say: Callable[[str, Rung, Any], None],
) -> bool:
    """Run one pilot and keep it; return whether it gave an answer."""
    say(name, rung, None)
    try:
        outcome = pilot(name, rung)
    except TfxferError as error:
        (found.stopped if isinstance(error, OutOfBudget) else found.failed)[name] = str(error)
        say(name, rung, error)
        return False
    found.found.setdefault(name, []).append(outcome)
    say(name, rung, outcome)
    return True


def _too_dear(found: Pilots, name: str, costs: Mapping[str, float], rung: Rung, left: float) -> str:
    """Return why a candidate's next pilot is not begun; "" where it fits into the seconds that are left."""
    last = found.last(name)
    need = costs[name] if last is None else last.seconds_at(rung)
    if need <= left:
        return ""
    return f"its next pilot takes about {need:.0f} s, and {max(0.0, left):.0f} s of the budget are left"
