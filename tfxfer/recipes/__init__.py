"""The experiments, one a file. A recipe is a row here; the runner runs it (`tfxfer.recipes.runner`)."""

from typing import Any

from tfxfer.recipes import captioning, dictionary, feature, fusion, multitask, retrieval, structure, vqa
from tfxfer.recipes.recipe import Recipe

RECIPES: dict[str, Recipe] = {
    one.name: one
    for one in (
        feature.RECIPE,
        structure.RECIPE,
        captioning.RECIPE,
        retrieval.RECIPE,
        vqa.RECIPE,
        dictionary.RECIPE,
        fusion.RECIPE,
        multitask.RECIPE,
    )
}
RECIPE_ALIASES = {"knowledge": "captioning"}  # old name -> name; accepted for one version


def predictors_by_class() -> dict[str, Any]:
    """Return class of a saved model -> how its answers are shown, from the rows of all recipes."""
    return {name: predictor for recipe in RECIPES.values() for name, predictor in recipe.predictors.items()}
