"""`advise`: pilots of all candidates within a budget, and what the full training of each is expected to gain.

The order is that of the expected gain over the native baseline, which gains 0 over itself. What a pilot says of a full
training, and its interval, are learned from the atlas (`tfxfer.choose.atlas`), a table of finished transfers.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from tfxfer.choose import atlas
from tfxfer.choose.candidates import Candidate, RuledOut
from tfxfer.choose.pilots import Pilots, Rung, rungs, successive_halving
from tfxfer.errors import UserError

NATIVE = "native baseline"
KINDS = {"frozen": "probe", "frozen beside n-grams": "ngrams"}  # method -> its name in the atlas, where it differs
ATLAS_BRIDGES = {  # transform of structure transfer -> the bridge under which the atlas has it
    "encoder_to_vision": "tokens",
    "image_cnn_to_text_cnn": "tokens",
    "vision_to_encoder": "tokens",
}


class Pilot(Protocol):
    """What a pilot of a candidate measures.

    Attributes:
        rung: What it got.
        score: Accuracy on validation, 0 to 1.
        control: The same of its control with random weights; None for the native baseline.
        setup: Seconds of what is done once.
        seconds_at: Rung -> seconds that the rest would take there.
        memory_mib: Greatest memory of the process so far.
        full_seconds: Seconds of the full training that is advised, extrapolated.
        scores: Transferability scores that are ahead of random weights, and how many there are; None without any.
    """

    rung: Rung
    score: float
    control: float | None
    setup: float
    memory_mib: float
    full_seconds: float
    scores: tuple[int, int] | None

    def seconds_at(self, rung: Rung) -> float:
        """Return about how many seconds the rest would take with as much as a rung gives."""


@dataclass(frozen=True)
class Advised:
    """A row of the ranking.

    Attributes:
        name: The candidate's name.
        source: Its source; "" for the native baseline.
        method: Bridge and method.
        over_random: Expected gain over random weights, with a 90 % interval; None for the native baseline.
        over_native: Expected gain over the native baseline.
        labels: Labels a class of its greatest pilot; 0 where it had none.
        pilot: Accuracy on validation of that pilot: the candidate's, its control's, the native baseline's.
        seconds: Of the full training, extrapolated; None without a pilot.
        memory_mib: At most, of the process during its pilot; None without one.
        reason: Why it stands where it stands, in one sentence.
        command: The command that trains it.
    """

    name: str
    source: str
    method: str
    over_random: atlas.Gain | None
    over_native: atlas.Gain
    labels: int
    pilot: tuple[float | None, float | None, float | None]
    seconds: float | None
    memory_mib: float | None
    reason: str
    command: str

    @property
    def tried(self) -> bool:
        """Whether there was a pilot; the native baseline needs none."""
        return bool(self.labels) or not self.source


@dataclass(frozen=True)
class Advice:
    """What `advise` answers.

    Attributes:
        ranking: All candidates, the best first, the native baseline among them.
        ruled_out: What cannot be.
        labels: Labels a class of the full training.
        answer: What to do, in one sentence.
        interrupted: Whether the pilots were stopped before they were finished.
        seconds: Seconds that everything took.
    """

    ranking: tuple[Advised, ...]
    ruled_out: tuple[RuledOut, ...]
    labels: int
    answer: str
    interrupted: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dict that JSON can hold."""
        return asdict(self)


def advise(
    candidates: Sequence[Candidate],
    pilot: Callable[[Candidate | None, Rung], Any],
    command: Callable[[Candidate | None], str],
    *,
    labels: int,
    budget: float,
    native_seconds: float = 5.0,
    ruled_out: Sequence[RuledOut] = (),
    **clocked: Any,
) -> Advice:
    """Run pilots by successive halving, and rank what was tried.

    Args:
        candidates: What can be tried, the cheapest first.
        pilot: Runs a pilot of a candidate, or of the native baseline for None; returns a `Pilot`.
        command: Returns the command that trains a candidate, or the native baseline for None.
        labels: Labels a class of the full training.
        budget: Seconds for everything.
        native_seconds: Seconds that the native baseline's first pilot is thought to take.
        ruled_out: What is ruled out already.
        clocked: `clock`, `started` and `say`, as `successive_halving` takes them.

    Raises:
        UserError: The budget is too small for one pilot.
    """
    known: dict[str, Candidate | None] = {NATIVE: None} | {one.name: one for one in candidates}
    costs = {NATIVE: native_seconds} | {one.name: one.seconds for one in candidates}
    pilots = successive_halving(
        costs, lambda name, rung: pilot(known[name], rung), rungs(labels), budget, always=NATIVE, **clocked
    )
    if not pilots.found and not pilots.interrupted and NATIVE not in pilots.failed:
        raise UserError(f"--budget: {pilots.stopped.get(NATIVE, 'too small for one pilot')}; give more")
    failed = [RuledOut(*_of(known[name]), why) for name, why in pilots.failed.items()]
    rows = [row(known[name], pilots, labels, command) for name in known if name not in pilots.failed]
    ranking = sorted(rows, key=lambda one: (not one.tried, -one.over_native.mean, -one.labels))
    return Advice(
        tuple(ranking),
        (*ruled_out, *failed),
        labels,
        answer(ranking, labels),
        pilots.interrupted,
        pilots.seconds,
    )


def _of(candidate: Candidate | None) -> tuple[str, str]:
    return ("", NATIVE) if candidate is None else (candidate.source.short, candidate.label)


def row(
    candidate: Candidate | None, pilots: Pilots, labels: int, command: Callable[[Candidate | None], str]
) -> Advised:
    """Return the row of one candidate, or of the native baseline for None."""
    source, method = _of(candidate)
    name = NATIVE if candidate is None else candidate.name
    last = pilots.last(name)
    zero = atlas.Gain(0.0, 0.0, 0.0)
    made = Advised(name, source, method, None, zero, 0, (None, None, None), None, None, "", command(candidate))
    made = made if last is None else _with_pilot(made, last, pilots)
    if candidate is None:
        return replace(made, reason="the usual method of the target's own field, which needs no source")
    found = predicted(candidate, made, labels)
    over_random = found.over_random if candidate.source.trained else zero
    made = replace(made, over_random=over_random, over_native=found.over_native)
    return replace(made, reason=reason(candidate, made, pilots))


def _with_pilot(made: Advised, last: Pilot, pilots: Pilots) -> Advised:
    """Return a row with what its greatest pilot measured."""
    native = next((one.score for one in pilots.found.get(NATIVE, ()) if one.rung == last.rung), None)
    figures = (last.score, last.control, native)
    return replace(made, labels=last.rung.labels, pilot=figures, seconds=last.full_seconds, memory_mib=last.memory_mib)


def predicted(candidate: Candidate, made: Advised, labels: int) -> atlas.Prediction:
    """Return what the atlas expects of a candidate, by its pilot where it had one."""
    how = candidate.how
    bridge = ATLAS_BRIDGES.get(str(how.options.get("transfer", "")), how.bridge)
    own, control, native = made.pilot
    pilot = None
    if own is not None and control is not None and native is not None:
        pilot = atlas.Pilot(made.labels, own, control, native)
    return atlas.predict(bridge, KINDS.get(how.method, how.method), labels=labels, pilot=pilot)


def reason(candidate: Candidate, made: Advised, pilots: Pilots) -> str:
    """Return why a candidate stands where it stands, in one sentence."""
    own, control, native = made.pilot
    if own is None:
        return f"not tried: {pilots.stopped.get(made.name, 'the pilots were interrupted')}"
    parts = [f"{own:.2f} correct with {made.labels} labels a class"]
    parts += [f"{control:.2f} with random weights"] if control is not None else []
    parts += [f"{native:.2f} native"] if native is not None else []
    scores = pilots.last(made.name).scores
    said = "" if scores is None else f"; ahead of random weights on {scores[0]} of {scores[1]} transferability scores"
    beyond = "" if candidate.source.trained else "; its weights are random, so this is a check, not a transfer"
    further = f"; no greater pilot: {pilots.stopped[made.name]}" if made.name in pilots.stopped else ""
    return ", ".join(parts) + (said if candidate.source.trained else beyond) + further


def answer(ranking: Sequence[Advised], labels: int) -> str:
    """Return what to do, in one sentence."""
    tried = [one for one in ranking if one.source and one.labels]
    if not tried and not any(one.source for one in ranking):
        return "No transfer can be made here, for the reasons that are given; the native baseline remains."
    if not tried:
        return "No transfer was tried, so nothing is known beyond the native baseline: give a greater --budget."
    best = tried[0]
    gain, where = best.over_native, f"with {labels} labels a class"
    interval = f"{_signed(gain.mean)} accuracy, 90 % interval {_signed(gain.low)} to {_signed(gain.high)}"
    if gain.mean <= 0:
        return f"No transfer is expected to beat the native baseline {where}: the best is {best.name}, {interval}."
    if gain.low > 0:
        return f"{best.name} is expected to beat the native baseline {where}: {interval}."
    return (
        f"{best.name} may beat the native baseline {where}, which is not sure: {interval}. Train it beside the native "
        "baseline."
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
