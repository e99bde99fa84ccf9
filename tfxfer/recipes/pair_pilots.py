"""Short pilots of knowledge transfer for `tfxfer advise --pairs`: retrieval and captioning with few pairs.

Their scores are no accuracies, and the atlas has no cells of them. So what is shown is what the pilots measured on the
validation split, with 90 % intervals by image and by seed, and no expectation for a full training.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tfxfer
from tfxfer.choose.atlas import Gain
from tfxfer.config import TargetConfig, check_values, with_options
from tfxfer.errors import TfxferError, UserError, reason
from tfxfer.evaluate import verdict
from tfxfer.recipes import RECIPES
from tfxfer.recipes.looking import without_test
from tfxfer.recipes.pilot import open_run, run_arms
from tfxfer.recipes.recipe import Plan
from tfxfer.records import Comparison
from tfxfer.runs import peak_memory_mib
from tfxfer.transfer.knowledge.question_batches import TruncationWarning

PAIRS = 100  # images with texts that a pilot learns from
SHOWN = 100  # validation images that it is scored on
SEEDS = 3
LEVEL = 0.9


@dataclass(frozen=True)
class PairMethod:
    """One method of a recipe of pairs.

    Attributes:
        label: What it is called.
        recipe: Name of the recipe.
        arm: The arm under study.
        control: The arm with random weights in the place of the source's.
        native: The usual method without a transfer.
        options: Options of its pilot alone, by their flat names.
        seconds: About how long its pilot takes on two cores.
    """

    label: str
    recipe: str
    arm: str
    control: str
    native: str
    options: Mapping[str, Any]
    seconds: float


RETRIEVAL: dict[str, Any] = {"learning_rates": (1e-3,)}
CAPTIONING: dict[str, Any] = {"steps": 60, "pretrain_steps": 60}
METHODS = (
    PairMethod("retrieval, closed form", "retrieval", "closed_form", "closed_form_random", "anchors", RETRIEVAL, 40.0),
    PairMethod("retrieval, network", "retrieval", "transfer", "random", "anchors", RETRIEVAL, 40.0),
    PairMethod(
        "captioning, closed form", "captioning", "closed_form", "closed_form_random", "neighbour", CAPTIONING, 90.0
    ),
    PairMethod("captioning, network", "captioning", "transfer", "random", "neighbour", CAPTIONING, 90.0),
)


@dataclass(frozen=True)
class PairRow:
    """What a pilot of pairs measured on the validation split.

    Attributes:
        label: The method.
        measure: What it is scored by, the higher the better.
        pairs: Images with texts that it learned from.
        score: The mean score; None where it was not tried.
        over_random: Gain over random weights, as measured, with a 90 % interval.
        over_native: Gain over the native baseline.
        seconds: Of the pilot, its encoders' training included.
        memory_mib: At most, of the process so far.
        reason: One sentence.
        command: The command that trains it.
    """

    label: str
    measure: str
    pairs: int
    score: float | None
    over_random: Gain | None
    over_native: Gain | None
    seconds: float | None
    memory_mib: float | None
    reason: str
    command: str

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dict that JSON can hold."""
        return asdict(self)


def load_pairs(pairs: TargetConfig, data_dir: str | None, download: bool) -> Any:
    """Return the pairs without their test split.

    Raises:
        UserError: There is no image with a text, or there are too few.
    """
    columns = pairs.columns("image", "caption")
    columns |= {"label": "script"} if pairs.spec.startswith("glyphs") else {}
    dataset = tfxfer.load(pairs.spec, data_dir=data_dir, download=download, **columns)
    lacking = [key for key in ("image", "caption") if key not in dataset.keys]
    if lacking:
        raise UserError(
            f"--pairs {pairs.spec}: has no {' and no '.join(lacking)}, so nothing is paired; give images with texts, "
            "such as captions:FILE, and name the columns with --pairs-image and --pairs-caption"
        )
    there = sum(any(map(str.strip, texts)) for texts in dataset.captions("train"))
    if there < 2:
        raise UserError(f"--pairs {pairs.spec}: {there} training images have a caption; a pilot needs 2 or more")
    return without_test(dataset)


def pair_pilots(
    dataset: Any,
    given: Mapping[str, Any],
    general: Mapping[str, Any],
    folder: Path,
    left: Callable[[], float],
    command: Callable[[str, Mapping[str, Any], Sequence[str]], str],
) -> Iterator[PairRow]:
    """Yield a row for each method, those that do not fit into the seconds that are left without figures.

    Args:
        dataset: What `load_pairs` gave.
        given: Options of pairs and source, by their flat names in both recipes.
        general: Seed, device, folders.
        folder: For what runs leave.
        left: Returns the seconds that are left.
        command: (recipe, options, arms) -> the command that trains it.
    """
    most = sum(any(map(str.strip, texts)) for texts in dataset.captions("train"))
    with ExitStack() as runs, warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        plans = Plans(dataset, {**general, **given}, min(PAIRS, most), folder, runs)
        yield from _rows(plans, given, left, command)


def _rows(
    plans: "Plans",
    given: Mapping[str, Any],
    left: Callable[[], float],
    command: Callable[[str, Mapping[str, Any], Sequence[str]], str],
) -> Iterator[PairRow]:
    for how in METHODS:
        line = command(how.recipe, given, ("transfer", how.arm, how.control, how.native))
        why, comparison, seconds = f"about {how.seconds:.0f} s, and {max(0.0, left()):.0f} s are left", None, 0.0
        if how.seconds <= left():
            begun = time.monotonic()
            try:
                comparison = plans.piloted(how, left)
            except TfxferError as error:
                why = str(error)
            except Exception as error:  # encoders of a form that nobody has seen: the other methods still count
                why = f"{type(error).__name__}: {reason(error)}"
            seconds = time.monotonic() - begun
        yield _row(how, comparison, why, seconds, line)


class Plans:
    """The plans of pilots of pairs, one for all methods of a recipe.

    Args:
        dataset: What `load_pairs` gave.
        options: Options of every pilot, by their flat names.
        pairs: Images with texts that a pilot learns from.
        folder: For what runs leave.
        runs: Closes the runs.
    """

    def __init__(self, dataset: Any, options: Mapping[str, Any], pairs: int, folder: Path, runs: ExitStack) -> None:
        self.dataset, self.options, self.pairs, self.folder, self.runs = dataset, options, pairs, folder, runs
        self._made: dict[str, tuple[Any, Plan]] = {}

    def piloted(self, how: PairMethod, left: Callable[[], float]) -> Comparison:
        """Run the arms of a method, its control and its baseline."""
        if how.recipe not in self._made:
            config = self._config(how)
            run = self.runs.enter_context(open_run(how.recipe, config, self.folder))
            self._made[how.recipe] = config, RECIPES[how.recipe].build(config, run, self.dataset)
        config, plan = self._made[how.recipe]
        arms = tuple(arm for arm in plan.arms if arm.name in (how.arm, how.control, how.native))
        return run_arms(plan, arms, config, self.pairs, SEEDS, left)

    def _config(self, how: PairMethod) -> Any:
        recipe = RECIPES[how.recipe]
        few: dict[str, Any] = {"pairs": (self.pairs,), "seeds": SEEDS, "probe_seeds": SEEDS}
        few |= {"max_validation": SHOWN, "max_test": SHOWN}
        few |= {"arms": tuple(name for name in recipe.arms if "tower" not in name)}
        same = {"allow_overlap": True}  # validation stands in the place of the test split
        config = with_options(recipe.config(), **{**self.options, **how.options, **few, **same})
        check_values(config)
        recipe.check(config)
        return config


def _row(how: PairMethod, comparison: Comparison | None, why: str, seconds: float, line: str) -> PairRow:
    if comparison is None:
        return PairRow(how.label, "", 0, None, None, None, None, None, f"not tried: {why}", line)
    pairs = int(comparison.budgets[0] or 0)
    score = float(comparison.scores(how.arm, pairs).mean())
    over_random, over_native = (_gain(comparison, how.arm, other, pairs) for other in (how.control, how.native))
    measure = comparison.measures[0].replace("_", " ")
    reason = f"{score:.3f} {measure} with {pairs} pairs on {len(comparison.labels)} validation images, {SEEDS} seeds"
    return PairRow(how.label, measure, pairs, score, over_random, over_native, seconds, peak_memory_mib(), reason, line)


def _gain(comparison: Comparison, arm: str, other: str, pairs: int) -> Gain:
    """Return the measured difference of two arms with its 90 % interval by image and seed."""
    found = verdict(comparison.scores(arm, pairs), comparison.scores(other, pairs), level=LEVEL, names=(arm, other))
    return Gain(found.difference, found.low, found.high)
