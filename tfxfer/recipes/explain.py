"""`tfxfer.explain(run)`: where the gain of a finished run came from, one part of its source left out at a time."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfxfer import cli
from tfxfer.config import check_values
from tfxfer.errors import UserError
from tfxfer.evaluate.explain import Explanation
from tfxfer.own_files import read_own_json, reading_own
from tfxfer.recipes import RECIPES
from tfxfer.recipes.parts import EXPLANATION, check_explain
from tfxfer.recipes.recipe import Recipe
from tfxfer.run_folder import is_finished
from tfxfer.train import recipe_named
from tfxfer.train import run as run_recipe

AGAIN = "explain the run again, with another run_dir"


def explain(
    run: str | Path, *, at: int | None = None, parts: Sequence[str] = (), run_dir: str | Path | None = None
) -> Explanation:
    """Return what each part of a run's source is worth: transfer is fitted again without it, all else as before.

    The run is replayed with `--explain` in a folder of its own; it takes up the records that are kept, so only the
    parts are fitted, and a second call fits no part again. A folder that holds the explanation already is only read.

    Args:
        run: Folder of a finished run of feature, structure, retrieval, captioning, vqa or dictionary.
        at: The budget; by default the greatest.
        parts: Names of parts, or kinds: "weights", "towers", "classes". By default all but "classes", of which each
            group costs a training of the source.
        run_dir: Folder of the replay, with its report; by default a new one in `runs/`.

    Returns:
        The explanation. Printed, it is a table; `rows()` gives dicts.

    Raises:
        UserError: There is no finished run with a config in the folder, its recipe has no parts, or there is no part
            of a name.

    Example:
        >>> print(tfxfer.explain("runs/feature-20261129-101500"))  # doctest: +SKIP
    """
    folder = Path(run).expanduser()
    recipe, config = _config_of(folder)
    asked = replace(config, explain=True, explain_at=at or 0, explain_parts=tuple(parts))
    known = _read(folder) if config.explain else None
    if known is not None and config.explain_parts == asked.explain_parts and at in (None, known.budget):
        return known
    asked = replace(asked, run_dir=None if run_dir is None else str(run_dir))
    check_values(asked)
    check_explain(recipe, asked)
    found = _read(run_recipe(recipe, asked))
    if found is None:
        raise UserError(f"{folder}: transfer has no result at this budget, so no part can be left out; see its report")
    return found


def _config_of(folder: Path) -> tuple[Recipe, Any]:
    """Return the recipe and the config of a finished run; raises `UserError` where the folder holds none."""
    file = folder / "config.yaml"
    if not is_finished(folder) or not file.is_file():
        missing = file.name if is_finished(folder) else "report.html"
        raise UserError(f"{folder}: not a finished run ({missing} is missing); give the folder that tfxfer train wrote")
    lines = file.read_text("utf-8", errors="replace").splitlines()
    named = next((line.removeprefix("recipe: ").strip() for line in lines if line.startswith("recipe: ")), None)
    if named is None:
        raise UserError(f"{file}: names no recipe; add a line such as 'recipe: feature'")
    name, _ = recipe_named([named])
    recipe = RECIPES[name]
    return recipe, cli.parse(
        recipe.config, ["--config", str(file)], "tfxfer.explain", "", recipe.aliases, recipe.smoke, (name, named)
    )


def _read(folder: Path) -> Explanation | None:
    try:
        plain = read_own_json(folder / EXPLANATION, AGAIN, {"parts": list, "unit": str, "measure": str})
    except FileNotFoundError:
        return None
    with reading_own(folder / EXPLANATION, AGAIN):
        return Explanation.from_dict(plain)
