"""`tfxfer train [RECIPE] [OPTIONS]`, also `python -m tfxfer.train`: parse, do every cheap check, run a recipe.

Without an argument it runs the default experiment: the features of a CNN trained on images of characters, used to
classify the language of rendered phrases. TensorFlow starts only when the request has passed every check.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfxfer import cli
from tfxfer.cache import data_dirs
from tfxfer.config import check_values
from tfxfer.data.background import prepare_in_background, unprepared
from tfxfer.errors import UserError, suggest
from tfxfer.recipes import RECIPE_ALIASES, RECIPES
from tfxfer.recipes.parts import check_explain
from tfxfer.recipes.recipe import Recipe
from tfxfer.recipes.source_seeds import check_source_seeds
from tfxfer.runs import run_dir_held

DEFAULT = "feature"


def work(argv: Sequence[str]) -> None:
    """Run the recipe that `argv` asks for."""
    name, rest = recipe_named(argv)
    recipe = RECIPES[name]
    config = cli.parse(
        recipe.config,
        rest,
        prog=f"{cli.program('train')} {name}",
        description=f"{recipe.summary}\n\nRecipes: {', '.join(RECIPES)}. Without a name: {DEFAULT}.",
        aliases=recipe.aliases,
        smoke=recipe.smoke,
        recipe=(name, *(old for old, new in RECIPE_ALIASES.items() if new == name)),
    )
    check_values(config)
    recipe.check(config)
    check_source_seeds(config)
    check_explain(recipe, config)
    caches = data_dirs(config.data_dir)
    if caches.shared_alone:
        cli.note(f"{caches.searched[0]} cannot be written; what is missing there is made in {caches.own}")
    with run_dir_held(config.run_dir):
        new = unprepared(recipe.data(config), *caches.searched)
        if new:
            print(f"preparing {', '.join(new)}, once, in {caches.own}", flush=True)
        # the first is needed first: it is prepared here, as soon as TensorFlow has started
        with prepare_in_background(new[1:], caches.own):
            run(recipe, config)


def run(recipe: Recipe, config: Any) -> Path:
    """Start TensorFlow and run a recipe; return the run's folder."""
    cli.start_tensorflow()
    from tfxfer.recipes import runner

    return runner.run(recipe, config)


def recipe_named(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Return the recipe's name today and the words after it; the default recipe where the first word is an option.

    Raises:
        UserError: There is no such recipe.
    """
    if not argv or argv[0].startswith("-"):
        return DEFAULT, list(argv)
    name = RECIPE_ALIASES.get(argv[0], argv[0])
    if name not in RECIPES:
        raise UserError(f"there is no recipe '{name}'; {suggest(name, RECIPES)}")
    if name != argv[0]:
        cli.note(f"the recipe {argv[0]} is now called {name}")
    return name, list(argv[1:])


if __name__ == "__main__":
    sys.exit(cli.main(work))
