"""`python -m tfxfer.train [RECIPE] [OPTIONS]`: parse, check everything that is cheap to check, run a recipe.

Without an argument it runs the default experiment: what a CNN learned from pictures of characters, used to tell
the language of rendered phrases. TensorFlow starts only when the request has passed every check.
"""

import importlib
import sys
from collections.abc import Sequence

from tfxfer import cli
from tfxfer.cache import data_dir
from tfxfer.config import check_values
from tfxfer.data.ahead import ahead, missing
from tfxfer.errors import UserError, suggest
from tfxfer.recipes import RECIPES


def work(argv: Sequence[str]) -> None:
    """Run the recipe that `argv` asks for."""
    name, rest = ("feature", list(argv))
    if argv and not argv[0].startswith("-"):
        name, rest = argv[0], list(argv[1:])
    if name not in RECIPES:
        raise UserError(f"there is no recipe '{name}'; {suggest(name, RECIPES)}")
    recipe = RECIPES[name]
    config = cli.parse(recipe.config, rest, f"python -m tfxfer.train {name}", recipe.summary)
    check_values(config)
    recipe.check(config)
    folder = data_dir(config.data_dir)
    new = missing(recipe.data(config), folder)
    if new:
        print(f"preparing {', '.join(new)}, once, in {folder}", flush=True)
    with ahead(new[1:], folder):  # the first is needed first: it is prepared here, as soon as TensorFlow has started
        cli.start_tensorflow()
        importlib.import_module(recipe.module).run(config)


if __name__ == "__main__":
    sys.exit(cli.main(work))
