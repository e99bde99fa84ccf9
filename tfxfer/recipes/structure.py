"""Structure transfer: M = T(S), beside the controls that could explain it away.

    S   a source model: by default a BERT that learned the names of characters, without ever seeing one
    T   a weight map: which tensor of M is made of which tensors of S; printed, saved and drawn as the ledger
    M   a model of the other modality: by default a picture transformer that tells which diacritic a letter carries

Command:   python -m tfxfer.train structure
Replay:    python -m tfxfer.train structure --config runs/structure-<time>/config.yaml
Every arm has its learning rate chosen on validation: without that, a frozen pretrained transformer's lead over a random
one is an artefact (Rothermel et al. 2021). Time, scores and machine: docs/results.md. Seeds: 0, 1, 2.
"""

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import tfxfer
from tfxfer.arms.classifier import ModelOf, ClassifierArm
from tfxfer.arms.feature import Plan, fresh_copy, named_errors
from tfxfer.arms.structure_transfer import STRUCTURE_TRANSFERS, StructureTransfer
from tfxfer.baselines.classification import most_frequent, native
from tfxfer.config import StructureConfig
from tfxfer.experiment import Arm, Experiment
from tfxfer.recipes.checks import resolved
from tfxfer.recipes.device import prepare
from tfxfer.recipes.feature import finish, kept_records, load_source, load_target, run_arms, smoke
from tfxfer.recipes.language_modeling import speak
from tfxfer.recipes.panels.ledger import keep
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task
from tfxfer.transfer.graph import fingerprint

PROVEN_ON = 32  # test pictures


def run(config: StructureConfig) -> Path:
    """Run the experiment that `config` describes; return the run's folder."""
    config = resolved(_shrunk(config) if config.smoke else config)
    this = Run("structure", config)
    try:
        this.say(f"tfxfer {tfxfer.__version__} · structure transfer · {prepare(config)} · {this.folder}")
        if config.transfer == "encoder_to_decoder":  # what it makes foretells texts and tells no classes
            speak(config, this)
            return this.folder
        source = load_source(_source_config(config), this, (config.image_size or 32,) * 2)
        gives = STRUCTURE_TRANSFERS[config.transfer].gives
        task = load_target(config, source, this, at_least=enough(config), key=gives)
        if config.transfer == "resize_input":
            task = replace(task, reading=task.reading | {"image_size": (config.image_size,) * 2})
        way = STRUCTURE_TRANSFERS[config.transfer](source, task, config)
        ledger(way, task, this)
        plan = arms(way, task, config, this)
        experiment = Experiment(
            title=f"{config.source} → {config.target} by {config.transfer}",
            class_names=task.class_names,
            labels=task.labels("test"),
            arms=tuple(arm for arm in plan.arms if arm.name in config.arms),
            budgets=tuple(sorted(config.labels_per_class)),
            seeds=tuple(range(config.seed, config.seed + config.seeds)),
            examples=tuple(task.examples(None)),
            recipe="structure",
        )
        with this.phase("arms"):
            comparison = run_arms(experiment, this, kept_records(config, task, plan))
        finish(comparison, plan, task, this)
        return this.folder
    finally:
        this.close()


def enough(config: StructureConfig) -> int:
    """Return how many training labels a class must have: as many as the greatest budget asks for.

    A smoke run keeps the diacritics of the whole experiment, a tenth of all that there are.
    """
    whole = StructureConfig.labels_per_class if config.smoke and config.target_label == "diacritic" else ()
    return max(config.labels_per_class + whole)


def _shrunk(config: StructureConfig) -> StructureConfig:
    """Return the config shrunk to seconds; a decoder's budgets are texts."""
    if config.transfer != "encoder_to_decoder":
        return smoke(config)
    labels: dict[str, Any] = {"labels_per_class": config.labels_per_class, "trained_at": config.trained_at}
    few: dict[str, Any] = {
        "training_texts": (8, 16),
        "batch_size": 8,
    }  # batches of one size: the decoder is compiled once
    return replace(smoke(config), **labels, **few)


def _source_config(config: StructureConfig) -> StructureConfig:
    """Return the config that a source is trained by; where the target is resized, at their own size."""
    return replace(config, image_size=0) if config.transfer == "resize_input" else config


def ledger(way: StructureTransfer, task: Task, this: Run) -> None:
    """Print the ledger, prove what can be proven, and keep both for the report."""
    weight_map = way.plan(way.source, way.config.trainable, way.config.seed)
    pictures = np.zeros(0)
    if task.key == "image":
        pictures = task.dataset.with_at_most(test=PROVEN_ON).arrays("test", **task.reading)["image"]
    keep(weight_map, way.proof(weight_map, pictures), this)


def arms(way: StructureTransfer, task: Task, config: StructureConfig, this: Run) -> Plan:
    """Return the arms: one map, the same budget, and one thing changed at a time."""
    compiled = replace(config, jit=config.jit or way.compiled)
    fresh = lru_cache(maxsize=1)(lambda seed: fresh_copy(way.source, seed))

    def network(name: str, build: ModelOf) -> ClassifierArm:
        return ClassifierArm.on(task, build, compiled, this, name)

    trained = network("transfer", lambda seed: way.model(way.source, config.trainable, seed))
    random = network("random", lambda seed: way.model(fresh(seed), config.trainable, seed))
    random.twin = trained  # the same architecture and trainable set: one compilation serves both
    found = [Arm("transfer", trained), Arm("random", random)]
    at = config.trained_at or (min(config.labels_per_class, key=lambda n: abs(n - 20)),)
    scratch = network("scratch", lambda seed: way.model(fresh(seed), "all", seed))
    finetune = network("finetune", way.as_it_is)
    if "scratch" in way.whole:
        finetune.twin = scratch
    found += [Arm(name, run, at) for name, run in (("scratch", scratch), ("finetune", finetune)) if name in way.whole]
    found += [Arm("native", partial(native, task), plain=True)]
    found += [Arm("majority", partial(most_frequent, task), one_seed=True, plain=True)]
    named = (replace(a, run=named_errors(a.run, task), recall=getattr(a.run, "recall", None)) for a in found)
    return Plan(config.transfer, tuple(named), None, fingerprint(way.source), trained.final)
