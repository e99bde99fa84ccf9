"""The arms of feature transfer: the same architecture, data and budget, with one thing changed at a time.

transfer   φ from the source, frozen          random    φ with fresh weights, frozen
finetune   all from the source, trained       scratch   all fresh, trained
native     the target's own plain baseline    majority  no input at all
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import keras
import numpy as np

from tfxfer.arms.frozen_features import FrozenFeatures
from tfxfer.arms.frozen_transformer import FrozenTransformer
from tfxfer.baselines.classification import most_frequent, native
from tfxfer.config import FeatureConfig
from tfxfer.data.pictures import readable_errors
from tfxfer.errors import UserError
from tfxfer.experiment import Arm, Outcome
from tfxfer.models.randomness import seeded
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task, takes
from tfxfer.transfer.graph import fingerprint


@dataclass(frozen=True)
class Plan:
    """What the recipe runs.

    Attributes:
        bridge: "render", "tokens" or "none".
        arms: All arms this plan knows.
        picture: Draws texts as a model sees them, or None.
        key: Changes whenever the source changes.
        final_model: Returns the transfer arm's model at the greatest budget, first seed: raw input -> probabilities.
    """

    bridge: str
    arms: tuple[Arm, ...]
    picture: Callable[[list[str]], np.ndarray] | None
    key: str
    final_model: Callable[[], keras.Model]


def plan(source: keras.Model, task: Task, config: FeatureConfig, run: Run) -> Plan:
    """Choose the bridge between what the source takes and what the task gives, and build the arms over it."""
    bridge = _bridge(takes(source), task.key, config)

    def trained(seed: int) -> keras.Model:
        return source

    @lru_cache(maxsize=1)
    def fresh(seed: int) -> keras.Model:
        return fresh_copy(source, seed)

    over = (FrozenTransformer if bridge == "tokens" else FrozenFeatures)(source, task, config, run)
    if isinstance(over, FrozenFeatures):
        over.say_what_is_lost()
    transfer = over.frozen("transfer", trained)
    trained_at = config.trained_at or (min(config.labels_per_class, key=lambda n: abs(n - 20)),)
    arms = (
        Arm("transfer", transfer),
        Arm("random", over.frozen("random", fresh)),
        Arm("scratch", over.whole("scratch", fresh), trained_at),
        Arm("finetune", over.whole("finetune", trained), trained_at),
        Arm("native", partial(native, task), plain=True),
        Arm("majority", partial(most_frequent, task), one_seed=True, plain=True),
    )
    named = tuple(
        replace(arm, run=named_errors(arm.run, task), recall=getattr(arm.run, "recall", None)) for arm in arms
    )
    return Plan(bridge, named, over.picture, fingerprint(source), transfer.final)


def named_errors(run: Callable[[int | None, int], Outcome], task: Task) -> Callable[[int | None, int], Outcome]:
    """Return an arm's `run` that names the picture file when one cannot be decoded."""

    def readable(budget: int | None, seed: int) -> Outcome:
        with readable_errors(task.dataset):
            return run(budget, seed)

    return readable


def _bridge(wants: str, gives: str, config: FeatureConfig) -> str:
    """Return the bridge's name; raises `UserError` for one that cannot stand between these two sides."""
    possible = {
        ("image", "text"): ("render", "tokens"),
        ("text", "image"): ("tokens",),
        ("image", "image"): ("none",),
    }.get((wants, gives))
    if possible is None:
        raise UserError(
            f"{config.source} takes text and {config.target} gives text: nothing crosses between modalities here. "
            "Name a picture target, or a picture source."
        )
    if config.bridge not in ("auto", *possible):
        raise UserError(
            f"--bridge {config.bridge}: {config.source} takes {wants}s and {config.target} gives {gives}s; "
            f"use --bridge {' or '.join(possible)}"
        )
    return possible[0] if config.bridge == "auto" else config.bridge


def fresh_copy(model: keras.Model, seed: int) -> keras.Model:
    """Return the same architecture with weights drawn anew from its own initialisers."""
    seeded(7919 + seed)  # away from the seeds of sources and heads
    return keras.models.clone_model(model)
