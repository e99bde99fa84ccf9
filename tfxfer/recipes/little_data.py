"""What feature transfer offers where labels are few: self-training, active choice and few-shot episodes."""

from dataclasses import dataclass
from typing import Any

from tfxfer.config import flag, option
from tfxfer.data import spec as data_spec
from tfxfer.errors import UserError
from tfxfer.recipes.checks import folders

LITTLE_DATA_ARMS: dict[str, dict[str, str]] = {
    "self_training": {
        "text": "Transfer that also labels examples without a label, and learns from those it is sure of. Validation "
        "chooses how sure, or that none is used.",
        "phrase": "self-training",
        "role": "combination",
    },
    "random_self_training": {
        "text": "The same with random weights.",
        "phrase": "self-training with random weights",
        "role": "control",
    },
    "native_self_training": {
        "text": "The native baseline, self-trained in the same way.",
        "phrase": "the self-trained native baseline",
        "role": "baseline",
    },
    "label_spreading": {
        "text": "Features of transfer. Labels spread along a graph of nearest neighbours instead of a linear head.",
        "phrase": "label spreading",
        "role": "combination",
    },
    "active_random": {
        "text": "Transfer with as many labels, drawn at random one by one. It is the control of the two that choose.",
        "phrase": "a random choice of labels",
        "role": "control",
    },
    "active_margin": {
        "text": "Transfer with as many labels, of examples whose two most probable classes are closest.",
        "phrase": "the choice by margin",
        "role": "combination",
    },
    "active_core_set": {
        "text": "Transfer with as many labels, of examples that are farthest from all labelled ones in φ.",
        "phrase": "the choice by core-set",
        "role": "combination",
    },
}
SELF_TRAINED = tuple(name for name in LITTLE_DATA_ARMS if not name.startswith("active"))  # they read --unlabelled
CONTROLS = {  # arm -> the same without the remedy
    "self_training": "transfer",
    "random_self_training": "random",
    "native_self_training": "native",
    "label_spreading": "transfer",
    "active_margin": "active_random",
    "active_core_set": "active_random",
}
CONTRASTS = (  # the active arms are compared in their panel, where the start that they share does not count
    *((arm, control) for arm, control in CONTROLS.items() if not arm.startswith("active")),
    ("self_training", "random_self_training"),
)


@dataclass(frozen=True)
class LittleDataConfig:
    """Options of the arms for little data, and of few-shot episodes."""

    unlabelled: str | None = option(
        None,
        "examples without labels for the self-training arms: a data set (default: the rest of the training split)",
    )
    max_unlabelled: int = option(
        2000, "at most this many examples without a label, or to choose from in the active arms (0: all)"
    )
    thresholds: tuple[float, ...] = option(
        (0.5, 0.7, 0.9, 0.97),
        "confidences above which self-training gives a pseudo-label; validation chooses one of them, or none",
        at_least=1e-12,
        at_most=1,
        why="a threshold is a confidence above 0 and at most 1",
    )
    rounds: int = option(5, "rounds of self-training (1: pseudo-labels once)", at_least=1)
    start_labels: int = option(5, "labels a class that the active arms start with; the others they choose", at_least=1)
    episodes: int = option(0, "few-shot episodes, beside the arms (0: none)", decides=False)
    ways: int = option(5, "classes of an episode", decides=False, at_least=2)
    shots: int = option(5, "labelled examples of each class in an episode", decides=False, at_least=1)
    queries: int = option(15, "test examples of each class that an episode asks", decides=False, at_least=1)


def check_little_data(config: Any) -> None:
    """Check the arms for little data, `--unlabelled` and the episodes, without TensorFlow; raises `UserError`."""
    asked, little = [arm for arm in config.arms if arm in LITTLE_DATA_ARMS], config.little
    if asked or little.episodes:
        what = f"--arms {' '.join(asked)}" if asked else f"--episodes {little.episodes}"
        if config.bridge in ("tokens", "read"):
            raise UserError(f"{what}: needs features that stay the same, which --bridge {config.bridge} does not give")
        if config.head != "linear":
            raise UserError(f"{what}: fits linear heads; leave out --head {config.head}")
    alone = next((arm for arm in asked if CONTROLS.get(arm, arm) not in config.arms), None)
    if alone:
        raise UserError(f"--arms {alone}: shows nothing without {CONTROLS[alone]}; add that arm too")
    if little.unlabelled is not None:
        if not set(asked) & set(SELF_TRAINED):
            arms = " or ".join(SELF_TRAINED)
            raise UserError(f"--unlabelled {little.unlabelled}: no arm reads it; add --arms {arms}")
        given: dict[str, Any] = folders(config)
        if not little.unlabelled.startswith("text:"):
            given |= config.target.columns("text", "image")
        data_spec.check(little.unlabelled, **given)
    usual = LittleDataConfig()
    for name in ("ways", "shots", "queries"):
        if getattr(little, name) != getattr(usual, name) and not little.episodes:
            raise UserError(f"{flag(name)} {getattr(little, name)}: is of few-shot episodes; add --episodes 200")


def check_sizes(config: Any, dataset: Any) -> None:
    """Check, once the target is loaded, that there are enough examples; raises `UserError` with how many there are."""
    import numpy as np

    names = [name for name in dataset.class_names if name not in config.target.leave_out]
    if len(names) < 2:
        return  # refused where the task is made
    kept = dataset.with_classes(names) if len(names) < len(dataset.class_names) else dataset
    train, little = kept.labels("train"), config.little
    if little.episodes:
        from tfxfer.transfer.feature.prototypes import classes_for

        test = kept.with_at_most(test=config.target.max_test or None, seed=0).labels("test")
        classes_for(train, test, kept.class_names, little.ways, little.shots, little.queries)
    if any(arm.startswith("active") for arm in config.arms):
        classes, most = len(np.unique(train)), max(config.labels_per_class)
        start = min(little.start_labels, most)
        there = min(len(train), little.max_unlabelled or len(train)) - start * classes
        if (most - start) * classes > there:
            raise UserError(
                f"--labels-per-class {most}: the active arms choose {(most - start) * classes:,} labels, and there are "
                f"{max(0, there):,} examples to choose from; ask for fewer labels, or raise --max-unlabelled"
            )
