"""The arms of feature transfer: the same architecture, data and budget, with one thing changed at a time.

transfer   φ from the source, frozen          random    φ with fresh weights, frozen
finetune   all from the source, trained       scratch   all fresh, trained
native     the target's own plain baseline    majority  no input at all
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any

import keras
import numpy as np

from tfxfer.arms.frozen_features import FrozenFeatures
from tfxfer.arms.frozen_transformer import FrozenTransformer
from tfxfer.baselines.classification import most_frequent, native
from tfxfer.data.images import readable_errors
from tfxfer.errors import UserError
from tfxfer.experiment import Arm, Outcome, Part, arm_without
from tfxfer.models.fresh import cheap_to_repeat, fresh_copy
from tfxfer.models.parts import parts_of, without_part
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task, takes
from tfxfer.transfer.classifier import Classifier


@dataclass(frozen=True)
class FeatureArms:
    """The arms over one bridge.

    Attributes:
        bridge: "render", "read", "tokens" or "none".
        arms: All arms.
        render_images: Renders texts as the model gets them, or None.
        classifier: Returns the transfer arm's classifier at the greatest budget, first seed.
        parts: Transfer without a part of the source.
    """

    bridge: str
    arms: tuple[Arm, ...]
    render_images: Callable[[list[str]], np.ndarray] | None
    classifier: Callable[[], Classifier]
    parts: tuple[Part, ...] = ()


def feature_arms(
    source: keras.Model,
    task: Task,
    config: Any,
    run: Run,
    others: Mapping[str, Callable[[], keras.Model]] | None = None,
    own_task: Callable[[keras.Model], dict[str, np.ndarray]] | None = None,
) -> FeatureArms:
    """Choose the bridge between what the source takes and what the task gives; return the arms over it.

    Args:
        source: The source.
        task: The target task.
        config: A `FeatureConfig`.
        run: The run.
        others: Group of source classes -> the source trained without them, for `--explain`.
        own_task: Scores a fine-tuned network on the source's own task; None where that cannot be done.
    """
    bridge = choose_bridge(takes(source), task.key, config)
    over = (FrozenTransformer if bridge == "tokens" else FrozenFeatures)(source, task, config, run)
    if isinstance(over, FrozenFeatures):
        over.count_losses()

    def pretrained(seed: int) -> keras.Model:
        return source

    @lru_cache(maxsize=1)
    def fresh(seed: int) -> keras.Model:
        return fresh_copy(source, seed)

    at = config.controls_at or nearest_to_20(config.labels_per_class)
    transfer = over.frozen("transfer", pretrained)
    probe = bridge != "tokens" and cheap_to_repeat(source, config.probe_seeds)
    scratch, finetune = over.whole("scratch", fresh), over.whole("finetune", pretrained)
    finetune.own_task = own_task
    arms = (
        trained("transfer", transfer, task, probe=probe),
        trained("random", over.frozen("random", fresh), task, probe=probe),
        trained("scratch", scratch, task, at),
        trained("finetune", finetune, task, at),
        *plain_arms(task, probe=probe),
    )

    def classifier() -> Classifier:
        made = transfer.final()
        return made if isinstance(made, Classifier) else task.classifier(made)

    parts = _parts(over, source, others or {}, probe) if config.explain else ()
    return FeatureArms(bridge, arms, over.render_images, classifier, parts)


def _parts(
    over: FrozenFeatures | FrozenTransformer,
    source: keras.Model,
    others: Mapping[str, Callable[[], keras.Model]],
    probe: bool,
) -> tuple[Part, ...]:
    """Return transfer without each group of the source's weights, and without each group of its classes."""

    def part(name: str, family: str, model_of: Callable[[int], keras.Model]) -> Part:
        arm = trained(arm_without(name), over.frozen(arm_without(name), model_of), over.task, probe=probe)
        return Part(name, family, arm)

    weights = parts_of(source, over.used(source))
    parts = [part(name, "weights", _fresh_in(source, places)) for name, places in weights.items()]
    parts += [part(name, "classes", _always(model)) for name, model in others.items()]
    return tuple(parts)


def _fresh_in(source: keras.Model, places: tuple[int, ...]) -> Callable[[int], keras.Model]:
    """Return seed -> the source with fresh weights at some places; the last one is held."""
    return lru_cache(maxsize=1)(lambda seed: without_part(source, places, seed))


def _always(model: Callable[[], keras.Model]) -> Callable[[int], keras.Model]:
    made = cache(model)
    return lambda seed: made()


def nearest_to_20(budgets: tuple[int, ...]) -> tuple[int, ...]:
    """Return the budget at which arms that train everything run, where none is asked for."""
    return (min(budgets, key=lambda n: abs(n - 20)),)


def plain_arms(task: Task, *, probe: bool = False) -> tuple[Arm, ...]:
    """Return the baselines of a classification task, which train no network; `probe` as for `Arm`."""
    return (
        Arm("native", named_errors(partial(native, task), task), plain=True, probe=probe),
        Arm("majority", partial(most_frequent, task), one_seed=True, plain=True),
    )


def trained(name: str, run: Any, task: Task, budgets: tuple[int, ...] | None = None, *, probe: bool = False) -> Arm:
    """Return an arm that trains; it names the image file when one cannot be decoded."""
    return Arm(name, named_errors(run, task), budgets, recall=run.recall, probe=probe)


def named_errors(run: Callable[[int | None, int], Outcome], task: Task) -> Callable[[int | None, int], Outcome]:
    """Return an arm's `run` that names the image file when one cannot be decoded."""

    def readable(budget: int | None, seed: int) -> Outcome:
        with readable_errors(task.dataset):
            return run(budget, seed)

    return readable


def choose_bridge(wants: str, gives: str, config: Any) -> str:
    """Return the bridge's name; raises `UserError` for one that cannot stand between these two sides."""
    possible = {
        ("image", "text"): ("render", "tokens"),
        ("text", "image"): ("tokens",),
        ("image", "image"): ("none",),
    }.get((wants, gives))
    source, target = config.source.spec, config.target.spec
    if possible is None:
        raise UserError(
            f"{source} takes text and {target} gives text: nothing crosses between modalities here. "
            "Name an image target, an image source, or --bridge read, which draws the texts and reads them."
        )
    if config.bridge not in ("auto", *possible):
        raise UserError(
            f"--bridge {config.bridge}: {source} takes {wants}s and {target} gives {gives}s; "
            f"use --bridge {' or '.join(possible)}"
        )
    return possible[0] if config.bridge == "auto" else config.bridge
