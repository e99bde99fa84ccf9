"""Structure transfer: M = T(S), beside the controls that could explain it away.

    S   a source model: by default a BERT that learned the names of characters, without any image
    T   a weight map: which tensor of M is made of which tensors of S; printed, saved and drawn as the ledger
    M   a model of the other modality: by default a vision transformer that classifies the diacritic of a letter

Command:   python -m tfxfer.train structure
Replay:    python -m tfxfer.train structure --config runs/structure-<time>/config.yaml
Expected:  no evidence: transfer − random about +.005 accuracy (95 % interval −.008 to +.017); raw pixels better by
           about .08. A minute and a half on 2 CPU cores; seeds 0, 1, 2 (docs/results.md).

Every arm has its learning rate chosen on validation: without that, a frozen pretrained transformer's lead over a random
one is an artefact (Rothermel et al. 2021). `--transfer encoder_to_decoder` makes a language model and is measured in
nats a token: `tfxfer.recipes.language_modeling`.
"""

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
    with_options,
)
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec
from tfxfer.models.train_sets import arms_of
from tfxfer.recipes.augmentation import (
    check_augment,
    chosen_policy,
    class_arms,
    class_gallery,
    contrasts_of,
    of_classes,
)
from tfxfer.recipes.checks import (
    check_arms,
    check_language_model,
    check_no_prefix,
    check_shift,
    check_source,
    check_target,
    unscored,
)
from tfxfer.recipes.feature import ARMS as FEATURE_ARMS
from tfxfer.recipes.predictors import CAPTIONS, CLASSES, LIKELIHOODS
from tfxfer.recipes.recipe import Plan, Recipe
from tfxfer.runs import Run

VERIFIED_ON = 32  # test images
ARMS = FEATURE_ARMS | {
    "transfer": "The method under study: a model made out of the source by a weight map, then trained on the new task.",
}
TRANSFORMS = (
    "encoder_to_vision",
    "vision_to_encoder",
    "encoder_to_decoder",
    "image_cnn_to_text_cnn",
    "widen",
    "deepen",
    "shrink",
    "resize_input",
    "merge",
)
DIACRITICS = {"target": "glyphs/by_character", "target_label": "diacritic", "leave_out": ("none",)}
IMAGES = {"source": "glyphs/by_face", **DIACRITICS}
DEFAULTS: dict[str, dict[str, Any]] = {  # transform -> what stands in for "auto"
    "encoder_to_vision": {"source": "names", **DIACRITICS},
    "vision_to_encoder": {
        "source": "glyphs/by_face",
        "source_architecture": "fresh:vit",
        "target": "languages/latin",
    },
    "encoder_to_decoder": {"source": "names", "target": "glyphs/by_character"},
    "image_cnn_to_text_cnn": {"source": "glyphs/by_face", "target": "languages/latin"},
    **dict.fromkeys(("widen", "deepen", "shrink", "merge"), IMAGES),
    "resize_input": {**IMAGES, "image_size": 48},
}
OPTIONS_OF = {  # option -> the transforms that it is for
    "units": ("widen", "shrink"),
    "noise": ("widen",),
    "after": ("deepen",),
    "second": ("merge",),
    "trainable": ("encoder_to_vision", "vision_to_encoder"),
    "pooling": ("encoder_to_vision",),
    "max_length": ("image_cnn_to_text_cnn", "vision_to_encoder", "encoder_to_decoder"),
    "cross_attention": ("encoder_to_decoder",),
    "training_texts": ("encoder_to_decoder",),
}


@dataclass(frozen=True)
class StructureConfig(RunConfig):
    """Structure transfer M = T(S): a model made out of a source model by a weight map."""

    source: SourceConfig = section(
        SourceConfig("auto", epochs=1, max_examples=8000),
        "source",
        group="source",
        help={"spec": "what is transferred: a data set to learn, a trained model's spec, or auto"},
        common=("spec",),
    )
    target: TargetConfig = section(
        TargetConfig("auto", max_test=1000),
        "target",
        group="target",
        help={"spec": "the task that is to profit: a data set, or auto"},
        leave_out=("caption", "question", "answer"),
        common=("spec", "label"),
    )
    training: TrainingConfig = section(
        TrainingConfig(steps=60, epochs=6, batch_size=32, learning_rates=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
        group="training",
        leave_out=("steps_scaling",),
    )
    transfer: str = option("encoder_to_vision", "the transform", TRANSFORMS, group="model", common=True)
    units: tuple[str, ...] = option(
        (), "widen, shrink: LAYER=NUMBER of units (default: all hidden layers, twice or half as wide)", group="model"
    )
    noise: float = option(0.0, "widen: noise on the copies, in standard deviations of a kernel", group="model")
    after: tuple[str, ...] = option(
        (), "deepen: after which layers one is added (default: the last that ends in ReLU)", group="model"
    )
    second: str | None = option(None, "merge: the second model, trained from the same start as --source", group="model")
    trainable: str = option(
        "fpt",
        "what of a pretrained body trains without --train-set: nothing, norms, also projection and positions (fpt), "
        "or all",
        ("none", "norms", "fpt", "all"),
        group="model",
    )
    pooling: str = option(
        "all", "which tokens of the body the head takes", ("all", "mean", "first", "last"), group="model"
    )
    max_length: int = option(32, "tokens of a text", group="bridge", at_least=1)
    unit: str = option(
        "characters", "tokens of a text for a text CNN or encoder", ("characters", "words", "bytes"), group="bridge"
    )
    patch_size: int = option(8, "side in pixels of image patches", group="bridge", at_least=1)
    cross_attention: str = option(
        "fresh",
        "encoder_to_decoder: cross-attention starts fresh or as self-attention",
        ("fresh", "copied"),
        group="model",
    )
    labels_per_class: tuple[int, ...] = option(
        (5, 20, 100), "budgets: labels a class in training", group="arms", common=True, decides=False, at_least=1
    )
    training_texts: tuple[int, ...] = option(
        (50, 200, 1000), "encoder_to_decoder: budgets, texts in training", group="arms", at_least=1
    )
    arms: tuple[str, ...] = option(
        (), "what runs side by side (default: all; encoder_to_vision: all but finetune)", tuple(ARMS), group="arms",
        decides=False,
    )  # fmt: skip
    controls_at: tuple[int, ...] = option(
        (),
        "budgets at which scratch and finetune run (default: the one nearest to 20)",
        group="arms",
        decides=False,
        at_least=1,
    )
    shift: str | None = option(
        None,
        "a second test set of another domain, answered too: a data set with the same classes (its test split), "
        "or COLUMN=VALUE[,VALUE], rows of the target that no arm then learns from, such as face=DejaVuSerif",
        group="target",
    )
    augment: AugmentConfig = section(AugmentConfig(), "augment", group="training")


def resolved(config: StructureConfig) -> StructureConfig:
    """Return the config with "auto" replaced by what its transform is usually tried on."""
    usual = DEFAULTS[config.transfer]
    change: dict[str, Any] = {}
    if config.source.spec == "auto":
        change = {name: usual[name] for name in ("source", "source_architecture") if name in usual}
        if config.source.architecture != "auto":
            change.pop("source_architecture", None)
    if config.target.spec == "auto":
        change["target"] = usual["target"]
        if config.target.label is None:
            change |= {name: value for name, value in usual.items() if name in ("target_label", "leave_out")}
    if not config.arms:
        costly = "finetune" if config.transfer == "encoder_to_vision" else ""
        change["arms"] = tuple(name for name in ARMS if name != costly)
    if not config.target.image_size:
        change["image_size"] = usual.get("image_size", 0)
    return with_options(config, **change)


def check(config: StructureConfig) -> None:
    """Check source, target and the options of one transform; raises `UserError`."""
    for name, of in OPTIONS_OF.items():
        if config.smoke and name in RECIPE.smoke:
            continue
        if getattr(config, name) != getattr(StructureConfig, name) and config.transfer not in of:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} is for --transfer {' or '.join(of)}, not {config.transfer}; leave it out")
    if config.transfer not in OPTIONS_OF["trainable"]:
        decoder = "the decoder has cross-attention, and no prefix" if config.transfer == "encoder_to_decoder" else ""
        check_no_prefix(
            config, f"{decoder or 'a CNN has no tokens for a prompt'}; use adapter:R, lora:R, norms or bias"
        )
    if config.training.train_set and config.trainable != StructureConfig.trainable:
        raise UserError("--trainable: --train-set says what trains; leave one of them out")
    for word in config.units:
        name, _, number = word.partition("=")
        if not name or not number.isdigit() or not int(number):
            raise UserError(f"--units {word}: write LAYER=NUMBER, such as conv1=64")
    if config.transfer == "merge":
        if config.second is None:
            raise UserError("--transfer merge: name the other model with --second file:MODEL.keras (or run:DIR)")
        model_spec.check(config.second, config.download)
    if config.transfer == "encoder_to_decoder":
        check_decoder(config)
    config = resolved(config)
    check_augment(config)
    check_shift(config.shift, config)
    check_target(config.target, config, "text", "image", "label")
    check_source(config.source, config, "source")
    check_arms(config, "labels_per_class")


def check_decoder(config: StructureConfig) -> None:
    """Check the options of `--transfer encoder_to_decoder`; raises `UserError`."""
    if config.training.steps < 1:
        raise UserError("--steps 0: a decoder is trained by steps, not --epochs; give at least 1")
    if config.max_length < 3:
        raise UserError(
            f"--max-length {config.max_length}: leaves no room for a word between begin and end; give 3 or more"
        )
    given = next(
        (n for n in ("labels_per_class", "controls_at") if getattr(config, n) != getattr(StructureConfig, n)), None
    )
    if given and not config.smoke:
        flag = given.replace("_", "-")
        raise UserError(f"--{flag}: a decoder learns from texts, not labels; set their number with --training-texts")
    if config.augment.policy != "none":
        raise UserError("--augment: a decoder would learn to write the edited texts; leave it out")
    if config.shift:
        raise UserError("--shift: a decoder is judged on one test set only; leave it out")
    check_language_model(replace(config.source, spec=resolved(config).source.spec), config.max_length, name="source")


def build(config: StructureConfig, run: Run, dataset: Any = None) -> Plan:
    """Load source and target, plan the weight map, and lay out the arms; `resolved` has replaced "auto".

    `dataset` is the target where it is loaded already.
    """
    if config.transfer == "encoder_to_decoder":
        from tfxfer.recipes.language_modeling import build_decoder

        return build_decoder(config, run)
    from tfxfer.arms.structure_transfer import STRUCTURE_TRANSFERS, structure_arms
    from tfxfer.recipes.weight_maps import keep_ledger
    from tfxfer.sources.load import load_source
    from tfxfer.tasks.classification import load_target, load_task
    from tfxfer.tasks.shift import held_out, with_shift
    from tfxfer.transfer.graph import fingerprint

    kind = STRUCTURE_TRANSFERS[config.transfer]
    dataset = dataset or load_target(config.target, config, run)  # before anything is trained for it
    dataset, domain = held_out(config.shift, config.target, dataset)
    setting = of_classes(config, dataset, kind.gives)
    policy = chosen_policy(config, setting, dataset.class_names)
    resizes = config.transfer == "resize_input"  # then the source learns images of their own size
    source = load_source(config.source, config, run, image_size=0 if resizes else config.target.image_size)
    task = load_task(config.target, config, source, run, at_least=enough(config), key=kind.gives, dataset=dataset)
    if resizes:
        task = replace(task, reading=task.reading | {"image_size": (config.target.image_size,) * 2})
    task = with_shift(task, config.shift, domain, config.target, config, run)
    transform = kind(source, task, config)
    weight_map = transform.plan(source, config.trainable, config.seed)
    panel = keep_ledger(weight_map, transform.proof(weight_map, few_images(task)), run)
    used = {origin.path for row in weight_map.rows for origin in row.origins}
    own = source_task(source, transform, config, run)
    transfer, arms, parts = structure_arms(transform, task, config, run, used, own)
    augmented = class_arms(
        policy,
        config,
        task,
        arms,
        lambda one: structure_arms(transform, one, replace(config, explain=False), run, own_task=own)[1],
    )
    return Plan(
        title=f"{config.source.spec} → {config.target.spec} by {config.transfer}",
        arms=arms + augmented,
        budgets=tuple(sorted(config.labels_per_class)),
        keys=(task.fingerprint, fingerprint(source), task.shift.fingerprint if task.shift else ""),
        labels=task.labels("test"),
        dataset=task.dataset,
        texts=task.texts("test"),
        class_names=task.class_names,
        examples=tuple(task.examples(None)),
        panels=(panel, *class_gallery(policy, config, task)),
        save=lambda folder: task.save(
            task.classifier(transfer.final()), folder, max(config.labels_per_class), config.seed
        ),
        parts=parts,
        unscored=unscored(config.source.spec, own, kind.wants == kind.gives) if fine_tunes(transform, config) else "",
        contrasts=contrasts_of(augmented),
        train_sets=arms_of(config),
    )


def few_images(task: Any) -> Any:
    """Return test images on which the map is verified, uint8 [n, H, W, C]; none where the task is one of texts."""
    import numpy as np

    if task.key != "image":
        return np.zeros(0)
    return task.dataset.with_at_most(test=VERIFIED_ON).arrays("test", **task.reading)["image"]


def fine_tunes(transform: Any, config: StructureConfig) -> bool:
    """Return whether an arm trains the source as a whole on the target."""
    return "finetune" in config.arms and "finetune" in transform.trains_whole


def source_task(source: Any, transform: Any, config: StructureConfig, run: Run) -> Any:
    """Return what scores the fine-tuned source on its own task; None where no arm fine-tunes it, or nothing can."""
    from tfxfer.sources.own_task import labelled_task

    if not fine_tunes(transform, config) or transform.wants != transform.gives:
        return None
    size = 0 if config.transfer == "resize_input" else config.target.image_size
    return labelled_task(source, config.source, config, run, size)


def explains(config: StructureConfig) -> tuple[str, ...]:
    """Return the kinds of parts that can be left out: of one source with trained weights, made into a classifier."""
    none = config.transfer in ("encoder_to_decoder", "merge") or config.source.spec.startswith("fresh:")
    return () if none else ("weights",)


def enough(config: StructureConfig) -> int:
    """Return how many training labels a class must have: as many as the greatest budget asks for.

    A smoke run keeps the diacritics of the whole experiment, a tenth of all that there are.
    """
    whole = StructureConfig.labels_per_class if config.smoke and config.target.label == "diacritic" else ()
    return max(config.labels_per_class + whole)


RECIPE = Recipe(
    name="structure",
    title="structure transfer",
    equation="M = T(S)",
    explanation=(
        "The weights of a trained source network S are carried into another network M by T, a list of rules that says "
        "which tensor of M is made of which tensors of S. M then trains on its own task. The question is whether it "
        "starts better than with fresh weights."
    ),
    config=StructureConfig,
    arms=ARMS,
    check=check,
    data=lambda config: (resolved(config).source.spec, resolved(config).target.spec),
    build=build,
    resolve=resolved,
    source_seeds=3,
    explains=explains,
    predictors={"Classifier": CLASSES, "Captioner": CAPTIONS, "LanguageModel": LIKELIHOODS},
    smoke={
        "source_epochs": 1,
        "source_max_examples": 512,
        "seeds": 2,
        "steps": 2,
        "batch_size": 8,
        "learning_rates": (1e-3,),
        "labels_per_class": (2, 5),
        "training_texts": (8, 16),
        "max_validation": 60,
        "max_test": 100,
    },
    aliases={
        "model": "source_architecture",
        "source_max": "source_max_examples",
        "updates": "steps",
        "trained_at": "controls_at",
        "length": "max_length",
    },
)
