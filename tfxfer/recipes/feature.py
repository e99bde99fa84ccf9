"""Feature transfer: f(x) = W·φ(x) + b, beside the controls that could explain it away.

    φ    a source model up to a layer, frozen: by default a CNN that learned to tell 6,500 characters apart
    x    the target's examples, brought to φ over a bridge: by default phrases rendered as pixels
    W,b  a linear head fitted on few labels: by default the language of the phrase, 10 languages

Command:   python -m tfxfer.train            (or: make train)
Replay:    python -m tfxfer.train --config runs/feature-<time>/config.yaml
Expected:  transfer − random about +.074 accuracy (95 % interval +.061 to +.086); character n-grams better by about .20.
           A minute and a half on 2 CPU cores from an empty cache; seeds 0 to 9, 0 to 2 of scratch and finetune
           (docs/results.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tfxfer.config import (
    AugmentConfig,
    RunConfig,
    SourceConfig,
    TargetConfig,
    TrainingConfig,
    option,
    section,
)
from tfxfer.errors import UserError
from tfxfer.models.spec import is_model
from tfxfer.models.train_sets import arms_of
from tfxfer.recipes.augmentation import (
    check_augment,
    chosen_policy,
    class_arms,
    class_gallery,
    contrasts_of,
    of_classes,
)
from tfxfer.recipes.checks import check_arms, check_no_prefix, check_shift, check_source, check_target, unscored
from tfxfer.recipes.little_data import CONTRASTS, LITTLE_DATA_ARMS, LittleDataConfig, check_little_data, check_sizes
from tfxfer.recipes.parts import wants_classes
from tfxfer.recipes.predictors import CLASSES
from tfxfer.recipes.reading import build_read, check_read
from tfxfer.recipes.recipe import Plan, Recipe
from tfxfer.runs import Run

ARMS = {
    "transfer": "The method under study: features of the source model, frozen, with a head fitted on the new task.",
    "random": "The same network and the same trained part, but the source's weights are replaced by fresh random ones. "
    "If this does as well, nothing was transferred. It is the main control.",
    "scratch": "Everything is trained from fresh weights, with the labels of the new task only.",
    "finetune": "Everything is trained, starting from the source's weights.",
    "native": "The usual method of the target's own field, without any transfer.",
    "majority": "Always answers with the most frequent class. Anything useful must beat it.",
}
WINDOWS = 2
READ_ARMS = {  # with `--bridge read` beside transfer, random, native and majority
    "with_ngrams": {
        "text": "One linear model on the features of transfer and on character n-grams of the same read text.",
        "phrase": "transfer beside n-grams",
        "role": "combination",
    },
    "random_with_ngrams": {
        "text": "The same linear model with the features of random. If this does as well as with_ngrams, only n-grams "
        "and random features were needed.",
        "phrase": "random weights beside n-grams",
        "role": "control",
    },
    "read_ngrams": {
        "text": "N-grams of the text that was read: what the reader alone is worth.",
        "phrase": "n-grams of the read text",
        "role": "baseline",
    },
    "true_text": {
        "text": "The same network on the true text, as if the reader made no error. An upper bound, not a competitor: "
        "it sees what the others do not.",
        "phrase": "the same network on the true text",
        "role": "upper bound",
    },
}


@dataclass(frozen=True)
class FeatureConfig(RunConfig):
    """Feature transfer f(x) = W·φ(x) + b: a frozen source body, a linear head fitted on the target."""

    source: SourceConfig = section(
        SourceConfig(max_examples=14000),
        "source",
        group="source",
        help={"spec": "what is transferred: a data set to learn, or a trained model's spec"},
        leave_out=("text",),
        common=("spec",),
    )
    target: TargetConfig = section(
        TargetConfig(),
        "target",
        group="target",
        leave_out=("caption", "question", "answer"),
        common=("spec", "text", "label"),
    )
    training: TrainingConfig = section(
        TrainingConfig(steps=0, epochs=6, batch_size=16, learning_rates=(1e-4, 5e-4, 2e-3, 1e-2, 5e-2)),
        group="training",
        leave_out=("steps_scaling",),
    )
    labels_per_class: tuple[int, ...] = option(
        (5, 20, 80), "budgets: labels a class in training", group="arms", common=True, decides=False, at_least=1
    )
    arms: tuple[str, ...] = option(
        (*ARMS, *READ_ARMS),
        f"what runs side by side; {', '.join(READ_ARMS)} only with --bridge read; where labels are few also "
        f"{', '.join(LITTLE_DATA_ARMS)}",
        (*ARMS, *READ_ARMS, *LITTLE_DATA_ARMS),
        group="arms",
        decides=False,
    )
    controls_at: tuple[int, ...] = option(
        (),
        "budgets at which scratch and finetune run (default: the one nearest to 20)",
        group="arms",
        decides=False,
        at_least=1,
    )
    bridge: str = option(
        "auto",
        "how the target's examples enter the source: render (text as pixels), tokens (a grid of token embeddings, or "
        "image patches), read (pictures of text, or drawn text, are read into a language model), none (same modality), "
        "auto",
        ("auto", "render", "tokens", "read", "none"),
        group="bridge",
        common=True,
    )
    height: int = option(32, "height in pixels of an image that enters φ", group="bridge", at_least=1)
    width: int = option(224, "width in pixels of a rendered text", group="bridge", at_least=1)
    font_size: int = option(24, "size in pixels of rendered letters", group="bridge", at_least=1)
    layout: str = option(
        "line",
        "layout of rendered text: one line, wrapped rows, or a square",
        ("line", "rows", "square"),
        group="bridge",
    )
    unit: str = option(
        "characters",
        "tokens of a text that enters an image body",
        ("characters", "words", "bytes"),
        group="bridge",
    )
    patch_size: int = option(
        8, "side in pixels of the image patches that enter a text body", group="bridge", at_least=1
    )
    layer: str | None = option(None, "φ ends at this layer of the source (default: before its head)", group="model")
    pooling: str = option(
        "avg",
        "how the maps of φ become one vector: avg, max, both (avg+max), means in equal windows along the width "
        "(windows), or the mean of each column (columns); all but avg end φ at its last maps",
        ("avg", "max", "avg+max", "windows", "columns"),
        group="model",
    )
    windows: int = option(WINDOWS, "number of windows of --pooling windows", group="model", at_least=1)
    head: str = option(
        "linear", "linear (W·φ + b by L-BFGS) or mlp (one hidden layer)", ("linear", "mlp"), group="model"
    )
    unfreeze: str | None = option(None, "finetune from this layer up (default: everything)", group="model")
    shift: str | None = option(
        None,
        "a second test set of another domain, answered too: a data set with the same classes (its test split), "
        "or COLUMN=VALUE[,VALUE], rows of the target that no arm then learns from, such as face=DejaVuSerif",
        group="target",
    )
    little: LittleDataConfig = section(LittleDataConfig(), group="arms")
    augment: AugmentConfig = section(AugmentConfig(), "augment", group="training")


def check(config: FeatureConfig) -> None:
    """Check what can be checked without TensorFlow; raises `UserError`."""
    check_target(config.target, config, "text", "image", "label")
    check_source(config.source, config, "source")
    check_arms(config, "labels_per_class")
    absent = ("scratch", "finetune") if config.bridge == "read" else tuple(READ_ARMS)
    asked = [arm for arm in config.arms if arm in absent]
    if asked and config.arms != FeatureConfig().arms:
        raise UserError(f"--arms {' '.join(asked)}: --bridge {config.bridge} has no such arm; leave it out")
    check_little_data(config)
    if config.bridge == "read":
        check_read(config)
    check_train_set(config)
    check_augment(config)
    if config.augment.policy != "none" and config.bridge == "read":
        raise UserError("--augment: --bridge read reads texts, and copies of them are not read; leave one of them out")
    if config.head == "mlp" and any(name in config.augment.policy for name in ("mixup", "cutmix")):
        raise UserError(f"--augment {config.augment.policy}: mixes labels, which --head mlp cannot; use --head linear")
    check_shift(config.shift, config)
    if config.shift and config.bridge == "read":
        raise UserError("--shift: --bridge read answers one test set only; leave it out")
    if config.windows != WINDOWS and config.pooling != "windows":
        raise UserError(f"--windows {config.windows}: only --pooling windows has windows; leave it out or add that")


def check_train_set(config: FeatureConfig) -> None:
    """Check that there is a network which `--train-set` is for: that of the arm finetune; raises `UserError`."""
    if not config.training.train_set:
        return
    if config.bridge == "read" or "finetune" not in config.arms:
        why = "--bridge read trains no network" if config.bridge == "read" else "--arms leaves it out"
        raise UserError(f"--train-set: says what trains in the arm finetune, and {why}; leave one of them out")
    source = config.source
    if not is_model(source.spec) and source.architecture in ("auto", "fresh:cnn") and source.spec.startswith("glyphs"):
        check_no_prefix(config, "the source is a CNN, which has no tokens; use adapter:R, lora:R, norms or bias")
    if config.unfreeze:
        raise UserError("--unfreeze: --train-set says what trains in finetune; leave one of them out")


def build(config: FeatureConfig, run: Run, dataset: Any = None) -> Plan:
    """Load source and target, and lay out the arms; `dataset` is the target where it is loaded already."""
    if config.bridge == "read":
        return build_read(config, run, dataset)
    from tfxfer.arms.feature import feature_arms
    from tfxfer.recipes.panels.little_data import little_data_panels
    from tfxfer.sources.load import load_source
    from tfxfer.sources.own_task import labelled_task
    from tfxfer.tasks.classification import labels_there_are, load_target, load_task
    from tfxfer.tasks.shift import held_out, with_shift
    from tfxfer.tasks.unlabelled import pools_of
    from tfxfer.transfer.graph import fingerprint

    dataset = dataset or load_target(config.target, config, run)  # before anything is trained for it
    dataset, domain = held_out(config.shift, config.target, dataset)
    config = replace(config, labels_per_class=labels_there_are(config, dataset, run))
    check_sizes(config, dataset)
    unlabelled = unlabelled_set(config, dataset, domain)
    check_pooling(config, dataset)
    drawn_texts = config.bridge in ("auto", "render")
    chosen_policy(config, of_classes(config, dataset, drawn=drawn_texts), dataset.class_names)
    source = load_source(config.source, config, run, image_size=config.target.image_size)
    task = load_task(config.target, config, source, run, dataset=dataset)
    task = with_shift(task, config.shift, domain, config.target, config, run)
    others = sources_without_classes(config, run) if wants_classes(config) else None
    own = None
    if "finetune" in config.arms:
        own = labelled_task(source, config.source, config, run, config.target.image_size)
    pools = pools_of(task, config, unlabelled, run) if set(config.arms) & set(LITTLE_DATA_ARMS) else None
    made = feature_arms(source, task, config, run, others, own, pools)
    setting = of_classes(config, dataset, task.key, drawn=made.bridge == "render")
    policy = chosen_policy(config, setting, task.class_names)
    augmented, gallery = with_augmentation(policy, config, run, source, task, made, own)
    texts, start = task.texts("test"), config.little.start_labels
    return Plan(
        title=f"{config.source.spec} → {config.target.spec} by {made.bridge}",
        arms=made.arms + augmented,
        budgets=tuple(sorted(config.labels_per_class)),
        keys=(
            task.fingerprint,
            fingerprint(source),
            task.shift.fingerprint if task.shift else "",
            *([unlabelled.fingerprint] if unlabelled else []),
        ),
        labels=task.labels("test"),
        dataset=task.dataset,
        texts=texts,
        class_names=task.class_names,
        examples=tuple(task.examples(made.render_images)),
        save=lambda folder: task.save(made.classifier(), folder, max(config.labels_per_class), config.seed),
        parts=made.parts,
        unscored=unscored(config.source.spec, own) if "finetune" in config.arms else "",
        drawn=drawn(config, texts) if texts is not None and made.bridge == "render" else None,
        diagnose=lambda comparison: little_data_panels(comparison, start, made.episodes, run),
        panels=gallery,
        contrasts=contrasts_of(augmented),
        train_sets=arms_of(config, "finetune"),
    )


def with_augmentation(
    policy: Any, config: FeatureConfig, run: Run, source: Any, task: Any, made: Any, own: Any
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the arms with augmentation, and the panel of examples beside their copies."""
    from tfxfer.arms.feature import feature_arms

    seen = [task]  # the task as the arms see it

    def arms_of(one: Any) -> Any:
        found = feature_arms(source, one, replace(config, explain=False), run, own_task=own)
        seen[0] = found.task
        return found.arms

    arms = class_arms(policy, config, task, made.arms, arms_of)
    return arms, class_gallery(policy, config, seen[0], made.render_images)


def unlabelled_set(config: FeatureConfig, dataset: Any, domain: Any) -> Any:
    """Return the data set of `--unlabelled`, before anything is trained; None without it."""
    if config.little.unlabelled is None:
        return None
    from tfxfer.tasks.unlabelled import load_unlabelled

    return load_unlabelled(config.little.unlabelled, config, [dataset, *([domain] if domain else [])])


def drawn(config: FeatureConfig, texts: Sequence[str]) -> tuple[str, ...]:
    """Return how each text fits into its image, "whole" or "cut at the edge"."""
    from tfxfer.transfer.bridges.render import RenderText

    return RenderText(config.height, config.width, config.font_size, layout=config.layout).fits(texts)


def sources_without_classes(config: FeatureConfig, run: Run) -> dict[str, Any]:
    """Return group of source classes -> a function that gives the source, trained without them."""
    from functools import partial

    from tfxfer.sources.class_groups import groups_of, source_without

    size = config.target.image_size
    groups = groups_of(config.source, config, run)
    return {
        name: partial(source_without, config.source, config, run, rows, image_size=size)
        for name, rows in groups.items()
    }


def explains(config: FeatureConfig) -> tuple[str, ...]:
    """Return the kinds of parts that can be left out; the weights of a fresh source are random already."""
    if config.bridge == "read" or config.source.spec.startswith("fresh:"):
        return ()
    return ("weights",) if is_model(config.source.spec) else ("weights", "classes")


def check_pooling(config: FeatureConfig, dataset: Any) -> None:
    """Refuse, before a CNN is trained as the source, what its maps cannot be pooled to; raises `UserError`."""
    import tfxfer
    from tfxfer.transfer.feature import extractor

    architecture = config.source.architecture
    if config.pooling == "avg" or is_model(config.source.spec) or architecture not in ("auto", "fresh:cnn"):
        return
    side = config.target.image_size
    size = (config.height, config.width) if "image" not in dataset.keys else (side, side) if side else None
    size = size or (dataset.image_shape or (64, 64))[:2]
    cnn = tfxfer.source("fresh:cnn", num_classes=2)
    extractor(cnn, config.layer, pooling=config.pooling, windows=config.windows, image_size=size)


SMOKE: dict[str, Any] = {
    "source_epochs": 1,
    "source_max_examples": 512,
    "labels_per_class": (2, 5),
    "seeds": 2,
    "epochs": 1,
    "learning_rates": (1e-3,),
    "max_validation": 60,
    "max_test": 100,
}

RECIPE = Recipe(
    name="feature",
    title="feature transfer",
    equation="f(x) = W · φ(x) + b",
    explanation=(
        "A network was first trained on one kind of data, images or text. A piece of it, φ, is kept as it is and gets "
        "examples of the other kind, brought into a form that it takes. Only W and b, a linear layer on top, are "
        "fitted to the labelled examples of the new task. If φ carries useful knowledge across, a few labels are "
        "enough."
    ),
    config=FeatureConfig,
    arms=ARMS | READ_ARMS | LITTLE_DATA_ARMS,
    check=check,
    data=lambda config: (config.source.spec, config.target.spec),
    build=build,
    predictors={"FeatureClassifier": CLASSES, "Classifier": CLASSES},
    contrasts=(
        ("with_ngrams", "random_with_ngrams"),
        ("with_ngrams", "native"),
        ("with_ngrams", "read_ngrams"),
        *CONTRASTS,
    ),
    smoke=SMOKE,
    explains=explains,
    aliases={
        "model": "source_architecture",
        "source_max": "source_max_examples",
        "updates": "steps",
        "trained_at": "controls_at",
    },
)
