"""`--source-seeds N`: the sources are trained N times, each with a seed of its own, and the runs take them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from tfxfer.config import SourceConfig, flag
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec
from tfxfer.recipes.recipe import Plan, Recipe

if TYPE_CHECKING:  # a check needs neither, nor NumPy
    from tfxfer.experiment import Arm, Outcome
    from tfxfer.records import Record
    from tfxfer.runs import Run


def check_source_seeds(config: Any) -> None:
    """Check that there is a training to repeat, and a run for each trained source; raises `UserError`."""
    count = config.source_seeds
    sources = {f.name: getattr(config, f.name) for f in fields(config)}
    given = {name: s.spec for name, s in sources.items() if isinstance(s, SourceConfig) and model_spec.is_model(s.spec)}
    if count > 1 and len(given) == sum(isinstance(s, SourceConfig) for s in sources.values()):
        named = " and ".join(f"{flag(name)} {spec}" for name, spec in given.items())
        raise UserError(
            f"--source-seeds {count}: {named} is not trained here, so no seed changes it; leave --source-seeds out"
        )
    if count > config.seeds:
        raise UserError(f"--source-seeds {count}: each source needs a run of its own; add --seeds {count} or more")


def build(recipe: Recipe, config: Any, run: Run) -> Plan:
    """Return the plan of a recipe, whose arms take the trained sources in turn.

    Seed number i uses the source i modulo `config.source_seeds`, which is trained with the seed of its first run.
    """
    count = config.source_seeds
    plans = []
    for i in range(count):
        if count > 1:
            run.say(f"source {i + 1} of {count}, seed {config.seed + i}")
        plans.append(recipe.build(replace(config, seed=config.seed + i), run))
    if count == 1:
        return plans[0]
    arms = tuple(_in_turn(arm, [_named(plan, arm.name) for plan in plans], config.seed) for arm in plans[0].arms)
    return replace(plans[0], arms=arms, keys=tuple(key for plan in plans for key in plan.keys))


def _named(plan: Plan, name: str) -> Arm:
    return next(arm for arm in plan.arms if arm.name == name)


def _in_turn(first: Arm, arms: Sequence[Arm], seed: int) -> Arm:
    """Return an arm of which each seed runs with its own source."""

    def at(number: int) -> Arm:
        return arms[(number - seed) % len(arms)]

    def run(budget: int | None, number: int) -> Outcome:
        return at(number).run(budget, number)

    def recall(record: Record) -> None:
        taken = at(record.seed).recall
        if taken:
            taken(record)

    return replace(first, run=run, recall=recall)
