"""What a recipe is: a row of the table of recipes, and the plan that it makes of a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a command's help needs none of them, nor NumPy
    from pathlib import Path

    from tfxfer.experiment import Arm, Part
    from tfxfer.recipes.predictors import Predictor
    from tfxfer.records import Comparison
    from tfxfer.report.panel import Panel


@dataclass(frozen=True)
class Plan:
    """One experiment, ready to run.

    Attributes:
        title: One line for people.
        arms: All arms of the recipe; the runner keeps those that the config asks for.
        budgets: Its budgets, ascending.
        keys: Fingerprints of the data and models that decide a record.
        labels: int [N], true classes of the test split; zeros where answers are not classes.
        save: Saves the transfer arm at its greatest budget, first seed, into the run's folder.
        class_names: Names of the C classes; none where answers are not classes.
        examples: Test examples to show, dicts with "index" and "text" or "png".
        measures: What the arms are compared by; the first decides the primary verdict.
        unit: What a budget counts.
        panels: What the report shows besides the scores, known before the arms run.
        diagnose: Comparison -> further panels, from the trained model.
        dataset: The target, whose rows are kept as digests for `tfxfer compare`.
        texts: The test texts, where texts are classified; the report shows short and long ones apart.
        test_rows: What is scored, a text for each test example, where that is not a row of the test split each.
        parts: Parts of the source that `--explain` leaves out, one at a time.
        source_score: What the source's own task is scored by, where an arm fine-tunes the source.
        unscored: Why the source's own task cannot be scored though an arm fine-tunes it, as half a sentence.
        drawn: How each test text fits into its image, "whole" or "cut at the edge"; None where none is drawn.
        contrasts: Pairs of arms that are compared too, besides those of the recipe.
        train_sets: Name of each train set that was asked for -> its arm (`tfxfer.models.train_sets`).
    """

    title: str
    arms: tuple[Arm, ...]
    budgets: tuple[int | None, ...]
    keys: tuple[str, ...]
    labels: Any
    save: Callable[[Path], Any]
    class_names: tuple[str, ...] = ()
    examples: tuple[dict[str, Any], ...] = ()
    measures: tuple[str, ...] = ("accuracy",)
    unit: str = "labels a class"
    panels: tuple[Panel, ...] = ()
    diagnose: Callable[[Comparison], tuple[Panel, ...]] = lambda comparison: ()
    dataset: Any = None
    texts: tuple[str, ...] | None = None
    test_rows: tuple[str, ...] | None = None
    parts: tuple[Part, ...] = ()
    source_score: str = "accuracy"
    unscored: str = ""
    drawn: tuple[str, ...] | None = None
    contrasts: tuple[tuple[str, str], ...] = ()
    train_sets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A row of the table of recipes. Nothing in it starts TensorFlow until `build` is called.

    Attributes:
        name: Its name on the command line.
        title: What it is, in a few words.
        equation: The equation of its transfer.
        explanation: What the equation means here, in plain sentences, for the report.
        config: Its dataclass.
        arms: Arm -> what it is there for: a text, or a dict as `tfxfer.evaluate.arms` takes it.
        check: Raises `UserError` for what can be seen to be wrong without TensorFlow.
        data: Config -> specs of what it loads, in the order in which it needs them; None where an option is not given.
        build: (config, run) -> its `Plan`; those that `tfxfer advise` tries take a loaded target too.
        predictors: Class of a saved model -> how its answers are shown; see `tfxfer.recipes.predictors`.
        contrasts: Pairs of arms that are compared besides transfer and each other arm.
        smoke: Option -> value that makes a run of seconds.
        aliases: Old option name -> its name today.
        resolve: Config -> the config with "auto" replaced by what it stands for.
        source_seeds: How many times its own source is trained where `--source-seeds` is not given.
        explains: Config -> the kinds of parts that `--explain` can leave out: of "weights", "towers", "classes".
    """

    name: str
    title: str
    equation: str
    explanation: str
    config: type
    arms: Mapping[str, Any]
    check: Callable[[Any], None]
    data: Callable[[Any], tuple[str | None, ...]]
    build: Callable[..., Plan]
    predictors: Mapping[str, Predictor]
    contrasts: tuple[tuple[str, str], ...] = ()
    smoke: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    resolve: Callable[[Any], Any] = lambda config: config
    source_seeds: int = 1
    explains: Callable[[Any], tuple[str, ...]] = lambda config: ()

    @property
    def summary(self) -> str:
        """The first lines of its help."""
        return f"{self.title}, {self.equation}. {self.explanation}"
