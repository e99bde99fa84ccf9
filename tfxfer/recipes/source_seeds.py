"""`--source-seeds N`: the sources are trained N times, each with a seed of its own, and the runs take them in turn.

Without the option, a recipe whose own source trains in seconds trains it three times (`Recipe.source_seeds`); the
others would go past their time (docs/decisions/0022-source-seeds.md).
"""

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
    count = config.source_seeds or 1
    sources = {f.name: getattr(config, f.name) for f in fields(config)}
    given = {name: s.spec for name, s in sources.items() if isinstance(s, SourceConfig) and model_spec.is_model(s.spec)}
    if count > 1 and len(given) == sum(isinstance(s, SourceConfig) for s in sources.values()):
        named = " and ".join(f"{flag(name)} {spec}" for name, spec in given.items())
        raise UserError(
            f"--source-seeds {count}: {named} is not trained here, so no seed changes it; leave --source-seeds out"
        )
    if count > config.most_seeds:
        raise UserError(f"--source-seeds {count}: each source needs a run of its own; add --seeds {count} or more")


def source_seeds(recipe: Recipe, config: Any) -> int:
    """Return how many times the sources are trained: as the option says, else as the recipe does with its own source.

    Another source, or another training of it, may take long: it is trained once where nothing is asked for.
    """
    if config.source_seeds is not None:
        return config.source_seeds
    plain = type(config)()
    own = {f.name: getattr(plain, f.name) for f in fields(plain) if isinstance(getattr(plain, f.name), SourceConfig)}
    usual = recipe.resolve(config) == recipe.resolve(replace(config, **own))
    return min(recipe.source_seeds, config.most_seeds) if usual and not config.smoke else 1


def build(recipe: Recipe, config: Any, run: Run) -> Plan:
    """Return the plan of a recipe, whose arms take the trained sources in turn.

    Of `source_seeds` sources, seed number i uses the source i modulo that, trained with the seed of its first run.
    """
    count = source_seeds(recipe, config)
    plans = []
    for i in range(count):
        if count > 1:
            run.say(f"source {i + 1} of {count}, seed {config.seed + i}")
        plans.append(recipe.build(replace(config, seed=config.seed + i), run))
    if count == 1:
        return plans[0]
    arms = tuple(_in_turn(arm, [_named(plan, arm.name) for plan in plans], config.seed) for arm in plans[0].arms)
    parts = tuple(
        replace(part, arm=_in_turn(part.arm, [_part_named(plan, part.name) for plan in plans], config.seed))
        for part in plans[0].parts
    )
    return replace(plans[0], arms=arms, parts=parts, keys=tuple(key for plan in plans for key in plan.keys))


def _named(plan: Plan, name: str) -> Arm:
    return next(arm for arm in plan.arms if arm.name == name)


def _part_named(plan: Plan, name: str) -> Arm:
    return next(part.arm for part in plan.parts if part.name == name)


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
