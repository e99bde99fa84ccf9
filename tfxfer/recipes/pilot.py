"""Short pilots of candidates for `tfxfer advise`: a recipe's own arms with little, scored on the validation split.

The test split is not there: what the arms answer in its place is the validation split.
"""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.choose.candidates import Candidate
from tfxfer.choose.pilots import OutOfBudget, Rung
from tfxfer.config import TargetConfig, check_values, with_options
from tfxfer.data.dataset import Dataset
from tfxfer.errors import TfxferError, reason
from tfxfer.experiment import Arm, Experiment, compare
from tfxfer.models.fresh import SMALL
from tfxfer.recipes import RECIPES
from tfxfer.recipes.recipe import Plan
from tfxfer.recipes.runner import records_folder
from tfxfer.records import Comparison, Record
from tfxfer.runs import Run, peak_memory_mib
from tfxfer.tasks.classification import Task
from tfxfer.terminal import console

VALIDATION = 400  # examples that a pilot is scored on
OVERRUN = 1.5  # a pilot may take so many times the seconds that are left before it is stopped
SEEDS_FROZEN, SEEDS_TRAINED = 10, 3  # of a full training, where `train` is left its defaults
OPENING = 5.0  # seconds, at most, in which a trained source is opened
RATES = 3  # learning rates of the middle of a grid that a pilot tries


@dataclass(frozen=True)
class Measured:
    """A pilot, as `tfxfer.choose.advice.Pilot` describes it."""

    rung: Rung
    score: float
    control: float | None
    setup: float
    memory_mib: float
    seconds: float
    trains: bool = False
    full_seconds: float = 0.0
    scores: tuple[int, int] | None = None

    def seconds_at(self, rung: Rung) -> float:
        """Return about how many seconds it would take with as much as a rung gives, its source trained before."""
        return self.opening + self.seconds * rung.work(self.trains) / self.rung.work(self.trains)

    @property
    def opening(self) -> float:
        """Seconds until a source that is trained is opened again."""
        return min(self.setup, OPENING)


class Pilots:
    """Runs pilots of one target.

    Args:
        dataset: The target without its test split.
        target: Its options.
        key: "text" or "image": what a model of this task takes.
        general: Options of every run: seed, device, folders, downloads.
        labels: Labels a class of the full training.
        folder: A folder for what runs leave; it may be removed afterwards.
        left: Returns the seconds that are left of the budget.
    """

    def __init__(
        self,
        dataset: Dataset,
        target: TargetConfig,
        key: str,
        general: Mapping[str, Any],
        labels: int,
        folder: Path,
        left: Callable[[], float],
    ) -> None:
        self.dataset, self.target, self.key, self.general = dataset, target, key, dict(general)
        self.labels, self.folder, self.left = labels, folder, left
        self.setups: dict[str, float] = {}
        self.large = False

    def __call__(self, candidate: Candidate | None, rung: Rung) -> Measured:
        """Run a pilot of a candidate, or of the native baseline for None.

        Raises:
            TfxferError: It cannot be, or ended in an error.
            OutOfBudget: It took much longer than was thought.
        """
        try:
            return self._native(rung) if candidate is None else self._transfer(candidate, rung)
        except TfxferError:
            raise
        except Exception as error:  # a network of a form that nobody has seen: the other candidates still count
            raise TfxferError(f"{type(error).__name__}: {reason(error)}") from error

    def config(self, candidate: Candidate, rung: Rung) -> Any:
        """Return the config of a pilot, checked."""
        recipe = RECIPES[candidate.how.recipe]
        chosen = recipe.config()
        rates = sorted(chosen.training.learning_rates)
        middle = max(0, (len(rates) - RATES) // 2)
        few = {
            "steps": round(chosen.training.steps * rung.share),
            "epochs": max(1, round(chosen.training.epochs * rung.share)),
            "learning_rates": tuple(rates[middle : middle + RATES]),
            "labels_per_class": (rung.labels,),
            "controls_at": (rung.labels,),
            "arms": tuple(dict.fromkeys(("transfer", candidate.how.arm, candidate.how.control))),
            "seeds": rung.seeds,
            "probe_seeds": rung.seeds,
            "max_validation": VALIDATION,
            "max_test": VALIDATION,
            "leave_out": (),  # these classes are gone already
        }
        config = recipe.resolve(with_options(chosen, **(self.general | candidate.options | few)))
        check_values(config)
        recipe.check(config)
        return config

    def _transfer(self, candidate: Candidate, rung: Rung) -> Measured:
        config = self.config(candidate, rung)
        begun = time.monotonic()
        with open_run(candidate.how.recipe, config, self.folder) as run:
            plan = RECIPES[candidate.how.recipe].build(config, run, self.dataset)
            setup = time.monotonic() - begun
            if self.left() < 0:
                raise OutOfBudget("its source took longer than was thought, and the budget is used up")
            arms = tuple(arm for arm in plan.arms if arm.name in (candidate.how.arm, candidate.how.control))
            records = run_arms(plan, arms, config, rung.labels, rung.seeds, self.left).records
        self.setups[candidate.source.spec] = max(setup, self.setups.get(candidate.source.spec, 0.0))
        score, control = (_accuracy(records, name) for name in (candidate.how.arm, candidate.how.control))
        self.large = (candidate.source.parameters or 0) > SMALL
        return self._measured(records, rung, score, control, self.setups[candidate.source.spec], candidate.how)

    def _native(self, rung: Rung) -> Measured:
        from tfxfer.arms.feature import plain_arms

        config = with_options(RECIPES["feature"].config(), **self.general, max_validation=VALIDATION)
        native = next(arm for arm in plain_arms(self.task, probe=True) if arm.name == "native")
        plan = Plan(
            title="native",
            arms=(native,),
            budgets=(rung.labels,),
            keys=(self.task.fingerprint, self.key, str(self.task.reading)),
            labels=self.task.labels("test"),
            save=lambda folder: None,
            class_names=self.task.class_names,
        )
        records = run_arms(plan, plan.arms, config, rung.labels, rung.seeds, self.left).records
        return self._measured(records, rung, _accuracy(records, "native"), None, 0.0)

    @property
    @lru_cache(maxsize=1)  # noqa: B019 - one object a command
    def task(self) -> Task:
        """The target as the native baseline sees it: images in their own colours and size."""
        if self.key == "text":
            reading: dict[str, Any] = {}
        else:
            shape = self.dataset.image_shape
            size = (self.target.image_size,) * 2 if self.target.image_size else None if shape else (64, 64)
            reading = {"image_size": size, "channels": shape[2] if shape else 3}
        limited = self.dataset.with_at_most(validation=VALIDATION, test=VALIDATION, seed=0)
        return Task(limited, self.key, reading)

    def _measured(
        self, records: Sequence[Record], rung: Rung, score: float, control: float | None, setup: float, how: Any = None
    ) -> Measured:
        trains = bool(how and (how.trains or how.method == "structure" or how.bridge == "tokens"))
        made = Measured(rung, score, control, setup, peak_memory_mib(), sum(one.seconds for one in records), trains)
        seeds = SEEDS_TRAINED if trains or self.large else SEEDS_FROZEN
        return replace(made, full_seconds=setup - made.opening + made.seconds_at(Rung(self.labels, seeds)))


def open_run(recipe: str, config: Any, folder: Path) -> "closing[Run]":
    """Return a run to be used in a `with`; nobody reads it, what it says goes into its log in `folder` alone."""
    own = folder / f"{recipe}-{len(list(folder.iterdir()))}"
    return closing(Run(recipe, replace(config, run_dir=str(own)), console(file=io.StringIO())))


def run_arms(
    plan: Plan, arms: tuple[Arm, ...], config: Any, budget: int, seeds: int, left: Callable[[], float]
) -> Comparison:
    """Run arms of a plan at one budget, or take up what is kept of them.

    Args:
        plan: The plan, of a target without its test split.
        arms: Those of its arms that run.
        config: The config that it was made of.
        budget: Its budget.
        seeds: How many seeds.
        left: Returns the seconds that are left of the time for all pilots.

    Raises:
        TfxferError: An arm failed.
        OutOfBudget: It takes much longer than was thought.
    """
    most = OVERRUN * max(left(), 1.0)
    begun = time.monotonic()

    def on_record(record: Record, done: int, total: int) -> None:
        if record.status == "failed":
            raise TfxferError(record.error or "an arm failed")
        if done < total and time.monotonic() - begun > most:
            raise OutOfBudget("its pilot took longer than was thought, and the budget is used up")

    numbers = tuple(range(config.seed, config.seed + seeds))
    experiment = Experiment(
        plan.title,
        plan.class_names,
        np.asarray(plan.labels),
        arms,
        (budget,),
        numbers,
        measures=plan.measures,
        probe_seeds=numbers,
    )
    return compare(experiment, on_record=on_record, kept=records_folder(config, *plan.keys))


def _accuracy(records: Sequence[Record], arm: str) -> float:
    return float(np.mean([record.metrics["accuracy"] for record in records if record.arm == arm]))
