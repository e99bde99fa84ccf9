"""The experiments, one a file. A recipe is a row here: its config, its cheap checks, and the module that runs it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfxfer.config import FeatureConfig, KnowledgeConfig, RetrievalConfig, StructureConfig, VqaConfig
from tfxfer.recipes.checks import check_feature, check_knowledge, check_retrieval, check_structure, resolved
from tfxfer.recipes.vqa_checks import check_vqa


@dataclass(frozen=True)
class Recipe:
    """A row of the table of recipes.

    Attributes:
        config: Its dataclass.
        summary: The first lines of its help.
        check: Raises `UserError` for what can be seen to be wrong without TensorFlow.
        data: Config -> specs of what it loads, in the order in which it needs them; None where an option is not given.
        module: Has `run(config) -> Path` and may import TensorFlow.
    """

    config: type
    summary: str
    check: Callable[[Any], None]
    data: Callable[[Any], tuple[str | None, ...]]
    module: str


RECIPES: dict[str, Recipe] = {
    "feature": Recipe(
        config=FeatureConfig,
        summary=(
            "Feature transfer f(x) = W·φ(x) + b. Recipes: feature (the default), structure, knowledge, retrieval, vqa. "
            "Without options: a CNN trained on pictures of characters, frozen, tells the language of rendered phrases, "
            "beside its controls."
        ),
        check=check_feature,
        data=lambda config: (config.source, config.target),
        module="tfxfer.recipes.feature",
    ),
    "structure": Recipe(
        config=StructureConfig,
        summary=(
            "Structure transfer M = T(S). Without options: the body of a language model that learned the names of "
            "characters sees pictures of letters and tells their diacritics, beside its controls."
        ),
        check=check_structure,
        data=lambda config: (resolved(config).source, resolved(config).target),
        module="tfxfer.recipes.structure",
    ),
    "knowledge": Recipe(
        config=KnowledgeConfig,
        summary=(
            "Knowledge transfer K = f(X)·g(Y) + h(X, Y). Without options: a language model that learned the names of "
            "characters names pictures of characters it has never met, beside its controls."
        ),
        check=check_knowledge,
        data=lambda config: (config.source, config.reading, config.encoder, config.target),
        module="tfxfer.recipes.captioning",
    ),
    "retrieval": Recipe(
        config=RetrievalConfig,
        summary=(
            "Knowledge transfer K = f(X)·g(Y). Without options: pictures of characters and their names find one "
            "another, by a locked picture tower and a text tower that read other names before, beside its controls."
        ),
        check=check_retrieval,
        data=lambda config: (config.target, config.texts, config.pictures),
        module="tfxfer.recipes.retrieval",
    ),
    "vqa": Recipe(
        config=VqaConfig,
        summary=(
            "Knowledge transfer K = f(X)·g(Y) + h(X, Y), pooled. Without options: questions about characters that no "
            "training split has shown, by a picture encoder and a question encoder that learned others, beside what is "
            "answered without the pictures."
        ),
        check=check_vqa,
        data=lambda config: (config.texts, config.target, config.encoder),
        module="tfxfer.recipes.vqa",
    ),
}
