"""The arms of feature transfer: the same architecture, data and budget, with one thing changed at a time.

transfer   φ from the source, frozen          random    φ with fresh weights, frozen
finetune   all from the source, trained       scratch   all fresh, trained
native     the target's own plain baseline    majority  no input at all
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import Any

import keras
import numpy as np

from tfxfer.arms.classifier import ModelOf
from tfxfer.arms.frozen_features import FrozenFeatures
from tfxfer.arms.frozen_transformer import FrozenTransformer
from tfxfer.baselines.classification import most_frequent, native
from tfxfer.data.images import readable_errors
from tfxfer.errors import UserError
from tfxfer.experiment import Arm, Outcome, Part, arm_without
from tfxfer.models.fresh import cheap_to_repeat, fresh_copy
from tfxfer.models.parts import parts_of, without_part
from tfxfer.models.train_sets import key_of, train_sets_of
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task, takes
from tfxfer.tasks.unlabelled import Pools
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
        episodes: Runs the few-shot episodes; None where none are asked for.
        task: The task as the arms see it; its augmentation can draw texts where the bridge does.
    """

    bridge: str
    arms: tuple[Arm, ...]
    render_images: Callable[[list[str]], np.ndarray] | None
    classifier: Callable[[], Classifier]
    parts: tuple[Part, ...] = ()
    episodes: Callable[[], Any] | None = None
    task: Task | None = None


def feature_arms(
    source: keras.Model,
    task: Task,
    config: Any,
    run: Run,
    others: Mapping[str, Callable[[], keras.Model]] | None = None,
    own_task: Callable[[keras.Model], dict[str, np.ndarray]] | None = None,
    pools: Pools | None = None,
) -> FeatureArms:
    """Choose the bridge between what the source takes and what the task gives; return the arms over it.

    Args:
        source: The source.
        task: The target task.
        config: A `FeatureConfig`.
        run: The run.
        others: Group of source classes -> the source trained without them, for `--explain`.
        own_task: Scores a fine-tuned network on the source's own task; None where that cannot be done.
        pools: What the arms for little data read beside labels; None where none of them is asked for.
    """
    bridge = choose_bridge(takes(source), task.key, config)
    over = (FrozenTransformer if bridge == "tokens" else FrozenFeatures)(source, task, config, run)
    if isinstance(over, FrozenFeatures):
        over.count_losses()
    elif pools is not None or config.little.episodes:
        raise UserError(
            f"{config.source.spec} → {config.target.spec} crosses by tokens, which trains its bridge, so features do "
            "not stay the same; leave out the arms for little data and --episodes"
        )

    def pretrained(seed: int) -> keras.Model:
        return source

    @lru_cache(maxsize=1)
    def fresh(seed: int) -> keras.Model:
        return fresh_copy(source, seed)

    models: Mapping[str, ModelOf] = {"transfer": pretrained, "random": fresh}
    at = config.controls_at or nearest_to_20(config.labels_per_class)
    transfer = over.frozen("transfer", pretrained)
    probe = bridge != "tokens" and cheap_to_repeat(source, config.probe_seeds)
    first, more = train_sets_of(config)
    scratch, finetune = over.whole("scratch", fresh), over.whole("finetune", pretrained, first)
    by_train_set = {by.arm: over.whole(by.arm, pretrained, by) for by in more}
    for one in (finetune, *by_train_set.values()) if first else ():
        one.build(config.seed)  # a set that this network cannot have is refused before anything trains
    finetune.own_task = own_task
    arms = (
        trained("transfer", transfer, task, probe=probe),
        trained("random", over.frozen("random", fresh), task, probe=probe),
        trained("scratch", scratch, task, at),
        replace(trained("finetune", finetune, task, at), key=key_of(first)),
        *(replace(trained(name, one, task, at), asked=True) for name, one in by_train_set.items()),
        *plain_arms(task, probe=probe),
        *little_data_arms(over, models, pools, probe),
    )

    def classifier() -> Classifier:
        made = transfer.final()
        return made if isinstance(made, Classifier) else task.classifier(made)

    parts = _parts(over, source, others or {}, probe) if config.explain else ()
    episodes = partial(episodes_over, over, models) if config.little.episodes else None
    return FeatureArms(bridge, arms, over.render_images, classifier, parts, episodes, over.task)


def little_data_arms(over: Any, models: Mapping[str, ModelOf], pools: Pools | None, probe: bool) -> tuple[Arm, ...]:
    """Return the arms for little data that are asked for; `tfxfer/arms/little_data.py` says what they are."""
    if pools is None:
        return ()
    from tfxfer.arms.little_data import little_data_runs

    made = little_data_runs(over, models, pools)
    plain = ("native_self_training",)
    return tuple(Arm(n, named_errors(run, over.task), plain=n in plain, probe=probe) for n, run in made.items())


def episodes_over(over: Any, models: Mapping[str, ModelOf]) -> Any:
    """Run the few-shot episodes."""
    from tfxfer.arms.episodes import run_episodes

    with readable_errors(over.task.dataset):
        return run_episodes(over, models)


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
