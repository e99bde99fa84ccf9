"""What could bring a source's knowledge to a target: the candidates, and what is ruled out before any training.

A candidate is a source, a bridge and a method. `METHODS` is the table of bridges and methods, with the recipe and the
arms that measure each. A rule of `RULES` says in one sentence why a method cannot be, or why it is not worth a pilot.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LETTERS = 0.5  # share of the texts that a reader or a face must be able to write
LARGE = 5_000_000  # parameters that are not trained without a GPU in a pilot
READER = 90.0  # seconds of a reader that is trained first
TRAINING = 40.0  # seconds of a source that is trained first
LETTER = 15  # pixels of a letter of the usual size, about
USUAL_WIDTH, GREATEST_WIDTH = 224, 1024  # pixels of a line: what `train feature` has, and the most that is tried
COPIES = 4  # of a network that trains: weights, gradients, and Adam's two moments
MIB = 2**20


@dataclass(frozen=True)
class Target:
    """What is known of a target before anything is trained; its test split plays no part.

    Attributes:
        spec: Its spec.
        key: "text" or "image": what a model of this task takes.
        classes: Number of classes.
        sizes: Split -> number of examples.
        smallest: Training examples of the smallest class.
        largest: Training examples of the largest class.
        lengths: Characters of a text, the median and the 95th percentile; None for images.
        image_size: (height, width) in pixels; None for texts, and where sizes vary.
        readable: Share of the texts that the reader of `--bridge read` can read; None where there are no texts.
        drawable: Share of the texts that can be drawn; None where there are no texts.
    """

    spec: str
    key: str
    classes: int
    sizes: Mapping[str, int]
    smallest: int
    largest: int
    lengths: tuple[int, int] | None = None
    image_size: tuple[int, int] | None = None
    readable: float | None = None
    drawable: float | None = None


@dataclass(frozen=True)
class Source:
    """What is known of a source.

    Attributes:
        spec: Its spec.
        takes: "text" or "image".
        architecture: "cnn", "vit", "bert" or "other".
        parameters: Number of parameters; None where it is still to be trained.
        layers: Number of layers; None where it is still to be trained.
        trained: Whether its weights are trained: False for random ones.
        to_train: Whether it is trained first, on the data set of its spec, where no cache has it.
        reads: Whether it takes the letters that a reader gives: a BERT with its vocabulary, or a data set of texts.
        reader_to_train: Whether the reader is trained first too.
    """

    spec: str
    takes: str
    architecture: str = "other"
    parameters: int | None = None
    layers: int | None = None
    trained: bool = True
    to_train: bool = False
    reads: bool = False
    reader_to_train: bool = False

    @property
    def short(self) -> str:
        """Its spec, of a path the last part alone: "preset:…/my-bert"."""
        kind, colon, name = self.spec.partition(":")
        folder, _, last = name.rstrip("/").rpartition("/")
        return f"{kind}:…/{last}" if colon and len(folder) > 1 else self.spec


@dataclass(frozen=True)
class Machine:
    """Cores, memory that is free in MiB (None where it is not known), and number of GPUs."""

    cores: int
    memory_mib: float | None = None
    gpus: int = 0


@dataclass(frozen=True)
class Method:
    """A bridge and a method, as a recipe runs them.

    Attributes:
        bridge: "render", "tokens", "read", "none", or "weights" for structure transfer.
        method: "frozen", "frozen beside n-grams", "finetune" or "structure".
        takes: What the source takes.
        gives: What the target gives.
        recipe: Name of the recipe.
        options: Its options, by their flat names.
        arm: The arm under study.
        control: The arm with random weights in the place of the source's.
        architecture: The architecture that a source must have; "" for any.
        trains: Whether the whole network trains.
        seconds: About how long its first pilot takes on two cores, without a source's training.
    """

    bridge: str
    method: str
    takes: str
    gives: str
    recipe: str
    options: Mapping[str, Any]
    arm: str = "transfer"
    control: str = "random"
    architecture: str = ""
    trains: bool = False
    seconds: float = 10.0


def _structure(transform: str, takes: str, gives: str, architecture: str) -> Method:
    how = {"transfer": transform}
    return Method("weights", "structure", takes, gives, "structure", how, architecture=architecture, seconds=25.0)


READ = {"bridge": "read"}
BESIDE: dict[str, Any] = {"arm": "with_ngrams", "control": "random_with_ngrams"}
WHOLE: dict[str, Any] = {"arm": "finetune", "control": "scratch", "trains": True, "seconds": 20.0}
METHODS = (
    Method("render", "frozen", "image", "text", "feature", {"bridge": "render"}),
    Method("none", "frozen", "image", "image", "feature", {"bridge": "none"}),
    Method("read", "frozen", "text", "text", "feature", READ, seconds=30.0),
    Method("read", "frozen beside n-grams", "text", "text", "feature", READ, **BESIDE, seconds=12.0),
    Method("read", "frozen", "text", "image", "feature", READ, seconds=30.0),
    Method("read", "frozen beside n-grams", "text", "image", "feature", READ, **BESIDE, seconds=12.0),
    Method("render", "finetune", "image", "text", "feature", {"bridge": "render"}, **WHOLE),
    Method("none", "finetune", "image", "image", "feature", {"bridge": "none"}, **WHOLE),
    Method("tokens", "frozen", "image", "text", "feature", {"bridge": "tokens"}, seconds=40.0),
    Method("tokens", "frozen", "text", "image", "feature", {"bridge": "tokens"}, seconds=40.0),
    _structure("image_cnn_to_text_cnn", "image", "text", "cnn"),
    _structure("vision_to_encoder", "image", "text", "vit"),
    _structure("encoder_to_vision", "text", "image", "bert"),
)


@dataclass(frozen=True)
class Candidate:
    """A source over a bridge by a method.

    Attributes:
        source: The source.
        how: The bridge and the method.
        extra: Options of its command that come from the request.
    """

    source: Source
    how: Method
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name that no other candidate has: "glyphs/by_face by render, frozen"."""
        return f"{self.source.short} by {self.label}"

    @property
    def label(self) -> str:
        """Bridge and method: "render, frozen"; a transform for structure transfer."""
        if self.how.method == "structure":
            return str(self.how.options["transfer"])
        return f"{self.how.bridge}, {self.how.method}"

    @property
    def options(self) -> dict[str, Any]:
        """Options of the recipe, by their flat names."""
        return {"source": self.source.spec, **self.how.options, **self.extra}

    @property
    def seconds(self) -> float:
        """About how long its first pilot takes on two cores, before anything was measured."""
        source, read = self.source, self.how.bridge == "read"
        first = TRAINING * source.to_train + READER * (read and source.reader_to_train)
        return self.how.seconds + first + (source.parameters or 0) / 1e6


@dataclass(frozen=True)
class RuledOut:
    """A method that cannot be, with the reason in one sentence."""

    source: str
    label: str
    why: str


# === Rules ===


def _pair(source: Source, how: Method, target: Target, machine: Machine) -> str:
    if source.takes == how.takes and target.key == how.gives:
        return ""
    return f"{how.bridge} leads from a model of {how.takes}s to {how.gives}s; this is {source.takes}s to {target.key}s"


def _drawn(source: Source, how: Method, target: Target, machine: Machine) -> str:
    if how.bridge != "render" or target.drawable is None or target.drawable >= LETTERS:
        return ""
    return (
        f"only {target.drawable:.0%} of the texts can be drawn with the bundled face; the others would be empty boxes"
    )


def _read(source: Source, how: Method, target: Target, machine: Machine) -> str:
    if how.bridge != "read":
        return ""
    if not source.reads:
        return "letters enter a language model with its vocabulary, and this source has none"
    if target.readable is None:
        return "the target has no letters that are known: its images come without their texts"
    if target.readable < LETTERS:
        return f"the reader knows Latin letters only, and reads {target.readable:.0%} of the texts"
    return ""


def _architecture(source: Source, how: Method, target: Target, machine: Machine) -> str:
    if not how.architecture or source.architecture == how.architecture:
        return ""
    return f"the transform is for a {how.architecture.upper()}, and the source is {_article(source.architecture)}"


def _memory(source: Source, how: Method, target: Target, machine: Machine) -> str:
    need = 4 * (source.parameters or 0) * (COPIES if how.trains else 1) / MIB
    if machine.memory_mib is None or need <= machine.memory_mib:
        return ""
    return f"its weights alone need {need:,.0f} MiB, and {machine.memory_mib:,.0f} MiB are free"


def _slow(source: Source, how: Method, target: Target, machine: Machine) -> str:
    trains = how.trains or how.method == "structure" or how.bridge == "tokens"
    if not trains or machine.gpus or (source.parameters or 0) <= LARGE:
        return ""
    return f"training through {(source.parameters or 0) / 1e6:,.0f} million parameters takes too long without a GPU"


def _random(source: Source, how: Method, target: Target, machine: Machine) -> str:
    if source.trained or (how.bridge in ("render", "none") and how.method == "frozen"):
        return ""
    return "a source with random weights is tried once, frozen: it brings nothing that training could add"


RULES: tuple[Callable[[Source, Method, Target, Machine], str], ...] = (
    _pair,
    _drawn,
    _read,
    _architecture,
    _memory,
    _slow,
    _random,
)


def candidates(
    sources: Sequence[Source], target: Target, machine: Machine, extra: Mapping[str, Any] | None = None
) -> tuple[list[Candidate], list[RuledOut]]:
    """Return what can be tried, the cheapest first, and what cannot, with why.

    A method between two other modalities is left out without a word, unless nothing else is left for a source.

    Args:
        sources: The sources.
        target: The target.
        machine: The machine.
        extra: Options of every command, by their flat names.
    """
    possible: list[Candidate] = []
    ruled_out: list[RuledOut] = []
    for source in sources:
        mine = [Candidate(source, how, {**(extra or {}), **_wide_enough(how, target)}) for how in METHODS]
        fitting = [one for one in mine if not _pair(source, one.how, target, machine)]
        for one in fitting or mine:
            why = next((why for rule in RULES if (why := rule(source, one.how, target, machine))), "")
            if why:
                ruled_out.append(RuledOut(source.short, one.label, why))
            else:
                possible.append(one)
    return sorted(possible, key=lambda one: one.seconds), ruled_out


def _wide_enough(how: Method, target: Target) -> dict[str, int]:
    """Return the width of a drawn line that is read, where most texts would lose their end in the usual one."""
    if how.bridge != "read" or target.lengths is None or target.lengths[0] * LETTER <= USUAL_WIDTH:
        return {}
    return {"width": min(GREATEST_WIDTH, 32 * math.ceil(target.lengths[1] * LETTER / 32))}


def by_rule(possible: Sequence[Candidate], target: Target) -> Candidate | None:
    """Return what the static rule of the atlas chooses (`tfxfer.choose.track_record.RULE`); None for native."""
    if target.key != "text" or (target.readable or 0.0) < LETTERS:
        return None
    return next((one for one in possible if one.how.method == "frozen beside n-grams"), None)


def _article(architecture: str) -> str:
    return "of another kind" if architecture == "other" else f"a {architecture.upper()}"
