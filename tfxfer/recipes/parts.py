"""`--explain`: which parts of the source are left out, one at a time. `tfxfer.recipes.runner` runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfxfer.errors import UserError, suggest
from tfxfer.recipes.recipe import Plan, Recipe

if TYPE_CHECKING:  # a check needs none of it, nor NumPy
    from collections.abc import Mapping

    from tfxfer.experiment import Arm, Part

EXPLANATION = "explanation.json"  # in a run's folder
FAMILIES = ("weights", "towers", "classes")


def check_explain(recipe: Recipe, config: Any) -> None:
    """Check that the recipe has parts of the kinds that are asked for; raises `UserError`."""
    if not config.explain:
        given = next((name for name in ("explain_at", "explain_parts") if getattr(config, name)), None)
        if given:
            raise UserError(f"--{given.replace('_', '-')}: says what --explain does; add --explain, or leave it out")
        return
    config = recipe.resolve(config)
    has = recipe.explains(config)
    if not has:
        raise UserError(
            f"--explain: {recipe.name}, as it is asked for here, has no parts that could be left out; leave it out"
        )
    absent = next((name for name in config.explain_parts if name in FAMILIES and name not in has), None)
    if absent:
        raise UserError(f"--explain-parts {absent}: {recipe.name} has none here; it has {' and '.join(has)}")
    if "transfer" not in config.arms or "random" not in config.arms:
        raise UserError("--explain: divides the gain of transfer over random; both must be among --arms")


def wants_classes(config: Any) -> bool:
    """Return whether groups of source classes may be left out: only then are they looked up."""
    return bool(config.explain and set(config.explain_parts) - {"weights", "towers"})


def chosen_parts(plan: Plan, config: Any) -> tuple[Part, ...]:
    """Return the parts of a plan that the config names, by default all but the source's classes.

    Raises:
        UserError: There is no part of a name, none at all, or the budget is not one of the run.
    """
    if not plan.parts:
        raise UserError("--explain: this source has no parts that could be left out; leave it out")
    budget_of(plan, config)
    if not config.explain_parts:
        return tuple(part for part in plan.parts if part.family != "classes")
    known = [*dict.fromkeys(part.family for part in plan.parts), *(part.name for part in plan.parts)]
    for name in config.explain_parts:
        if name not in known:
            raise UserError(
                f"--explain-parts '{name}': there is no such part; {suggest(name, known)} (there are: "
                f"{', '.join(known)})"
            )
    wanted = set(config.explain_parts)
    return tuple(part for part in plan.parts if {part.name, part.family} & wanted)


def two_towers(arms: Mapping[str, Arm], images: bool = True, texts: bool = True) -> tuple[Part, ...]:
    """Return the two encoders as parts: the arms in which one of them is fresh are transfer without it.

    Args:
        arms: Arm by name, "random_image_encoder" and "random_text_encoder" among them; their records are shared.
        images: Whether the image encoder has learned something.
        texts: Whether the text encoder has.
    """
    from tfxfer.experiment import Part

    found = (("image encoder", "random_image_encoder", images), ("text encoder", "random_text_encoder", texts))
    return tuple(Part(name, "towers", arms[arm]) for name, arm, learned in found if learned)


def budget_of(plan: Plan, config: Any) -> int | None:
    """Return the budget at which parts are left out: the greatest, unless the config names one."""
    if not config.explain_at:
        return plan.budgets[-1]
    if config.explain_at not in plan.budgets:
        raise UserError(f"--explain-at {config.explain_at}: must be one of the budgets {list(plan.budgets)}")
    return int(config.explain_at)
