"""Train sets: which weights of a pretrained network a training changes. Their names, read without TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tfxfer.config import TrainingConfig, options_of
from tfxfer.errors import UserError, suggest

SETS = {  # name -> what of the pretrained network trains; new layers train in all of them
    "head": "nothing",
    "norms": "scale and offset of its normalisation layers",
    "bias": "its biases and the offsets of its normalisation layers (BitFit, Ben Zaken et al. 2022)",
    "lora": "an update of rank R of each dense and convolution kernel (Hu et al. 2022)",
    "adapter": "nothing, but a bottleneck of width R stands after each block (Houlsby et al. 2019)",
    "prefix": "nothing, but learned prompt tokens stand before the text (Lester et al. 2021)",
    "all": "everything",
}
SIZED = {"lora": 4, "adapter": 8}  # those that need a number, with an example of one
PROMPT_TOKENS = 8  # of `prefix` without a number
BESIDE, BEYOND = (1 / 3, 3.0), (3.0, 10.0)  # factors of the least and greatest rate of a grid; of its greatest


@dataclass(frozen=True)
class TrainSet:
    """One train set.

    Attributes:
        kind: A key of `SETS`.
        size: Rank R, width R or number of prompt tokens; 0 where the kind has none.
    """

    kind: str
    size: int = 0

    @property
    def name(self) -> str:
        """As it is written on a command line.

        >>> TrainSet("lora", 4).name, TrainSet("all").name
        ('lora:4', 'all')
        """
        return f"{self.kind}:{self.size}" if self.size else self.kind

    @property
    def arm(self) -> str:
        """The name of its arm, which can name a file.

        >>> TrainSet("lora", 4).arm
        'train_lora_4'
        """
        return f"train_{self.name.replace(':', '_')}"

    @property
    def about(self) -> str:
        """What trains, in a sentence."""
        what = SETS[self.kind].replace(" R ", f" {self.size} ")
        return f"Of the pretrained network trains {what}. New layers train too."


def parse(text: str) -> TrainSet:
    """Return the train set of a name such as "norms" or "lora:4".

    Raises:
        UserError: There is no such name, or its number is missing, not wanted, or below 1.

    >>> parse("adapter:16"), parse("prefix")
    (TrainSet(kind='adapter', size=16), TrainSet(kind='prefix', size=8))
    """
    kind, colon, number = text.partition(":")
    if kind not in SETS:
        raise UserError(f"--train-set {text}: there is no such train set; {suggest(kind, SETS)}")
    if kind in SIZED and not colon:
        raise UserError(f"--train-set {text}: needs a number, such as {kind}:{SIZED[kind]}")
    if colon and kind not in (*SIZED, "prefix"):
        raise UserError(f"--train-set {text}: {kind} takes no number; write {kind}")
    if colon and not (number.isascii() and number.isdigit() and int(number)):
        raise UserError(f"--train-set {text}: the number must be 1 or more, such as {kind}:{SIZED.get(kind, 8)}")
    return TrainSet(kind, int(number) if colon else PROMPT_TOKENS if kind == "prefix" else 0)


def parse_all(names: Sequence[str]) -> tuple[TrainSet, ...]:
    """Return the train sets of several names; raises `UserError` for a wrong name, and for one that is there twice."""
    found = tuple(map(parse, names))
    twice = next((one.name for place, one in enumerate(found) if one in found[:place]), None)
    if twice is not None:
        raise UserError(f"--train-set {' '.join(names)}: {twice} is there twice; leave one out")
    return found


def rates_for(train_set: TrainSet, rates: Sequence[float]) -> tuple[float, ...]:
    """Return a grid of learning rates with those that a train set may want beyond it, ascending.

    Few weights want a larger rate than all of them, LoRA about ten times as large. Each arm climbs from the middle of
    its own grid, so a wider one costs at most a training or two.

    >>> rates_for(TrainSet("lora", 4), (3e-3,)), rates_for(TrainSet("all"), (3e-3,))
    ((0.003, 0.009, 0.03), (0.001, 0.003, 0.009))
    """
    most = max(rates)
    ends = (min(rates), most) if train_set.kind == "all" else (most, most)
    more = [end * factor for end, factor in zip(ends, BESIDE if train_set.kind == "all" else BEYOND)]
    return tuple(sorted({*rates, *(float(f"{rate:.3g}") for rate in more)}))


def train_sets_of(config: Any) -> tuple[TrainSet | None, tuple[TrainSet, ...]]:
    """Return the train set of the saved model, None where none is asked for, and those that are arms of their own."""
    first, *others = parse_all(config.training.train_set) or (None,)
    return first, tuple(one for one in others if one)


def arms_of(config: Any, first: str = "transfer") -> dict[str, str]:
    """Return the name of each train set that is asked for -> its arm.

    Args:
        config: Any recipe's.
        first: The arm of the first one.
    """
    sets = parse_all(config.training.train_set)
    return {one.name: one.arm if place else first for place, one in enumerate(sets)}


def training_for(config: Any, train_set: TrainSet | None) -> Any:
    """Return how a train set is trained: with a wider grid of learning rates, where the grid is the recipe's own.

    A grid that is given is used as it is.
    """
    training: TrainingConfig = config.training
    usual = options_of(type(config))["learning_rates"].default
    if train_set is None or training.learning_rates != usual:
        return training
    return replace(training, learning_rates=rates_for(train_set, training.learning_rates))


def key_of(train_set: TrainSet | None) -> str:
    """Return what a train set adds to the name of a record; "" where none is asked for."""
    return train_set.arm if train_set else ""
