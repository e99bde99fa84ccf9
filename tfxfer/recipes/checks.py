"""Checks of a recipe's request that are cheap and need no TensorFlow."""

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tfxfer.config import FeatureConfig, KnowledgeConfig, RetrievalConfig, RunConfig, StructureConfig, TaskConfig
from tfxfer.data import spec as data_spec
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec

POSITIONS = 64  # of a BERT that is trained here, `tfxfer.models.bert.small_bert`


def target_columns(config: TaskConfig) -> dict[str, str | None]:
    """Return the column options of the target, as `tfxfer.load` takes them."""
    return {"text": config.target_text, "image": config.target_image, "label": config.target_label}


def check_feature(config: FeatureConfig) -> None:
    """Check source, target, columns and bridge of the feature recipe; raises `UserError`."""
    check_task(config)


DIACRITICS = {"target": "glyphs/by_character", "target_label": "diacritic", "leave_out": ("none",)}
PICTURES = {"source": "glyphs/by_face", **DIACRITICS}
DEFAULTS: dict[str, dict[str, Any]] = {  # transfer -> what stands in for "auto"
    "encoder_to_vision": {"source": "names", **DIACRITICS},
    "vision_to_encoder": {"source": "glyphs/by_face", "model": "fresh:vit", "target": "languages/latin"},
    "encoder_to_decoder": {"source": "names", "target": "glyphs/by_character"},
    "image_cnn_to_text_cnn": {"source": "glyphs/by_face", "target": "languages/latin"},
    **dict.fromkeys(("widen", "deepen", "shrink", "merge"), PICTURES),
    "resize_input": {**PICTURES, "image_size": 48},
}

OPTIONS_OF = {
    "units": ("widen", "shrink"),
    "noise": ("widen",),
    "after": ("deepen",),
    "second": ("merge",),
    "trainable": ("encoder_to_vision", "vision_to_encoder"),
    "pooling": ("encoder_to_vision",),
    "length": ("image_cnn_to_text_cnn", "vision_to_encoder", "encoder_to_decoder"),
    "cross_attention": ("encoder_to_decoder",),
    "training_texts": ("encoder_to_decoder",),
}


def resolved(config: StructureConfig) -> StructureConfig:
    """Return the config with "auto" replaced by what its transfer is usually tried on."""
    usual = DEFAULTS[config.transfer]
    change: dict[str, Any] = {"source": usual["source"]} if config.source == "auto" else {}
    if config.target == "auto":
        change["target"] = usual["target"]
        if config.target_label is None:
            change |= {name: value for name, value in usual.items() if name in ("target_label", "leave_out")}
    if config.model == "auto" and "source" in change:
        change["model"] = usual.get("model", "auto")
    if not config.arms:
        costly = "finetune" if config.transfer == "encoder_to_vision" else ""
        change["arms"] = tuple(name for name in TaskConfig.arms if name != costly)
    if not config.image_size:
        change["image_size"] = usual.get("image_size", 0)
    return replace(config, **change)


def check_structure(config: StructureConfig) -> None:
    """Check source, target, columns and the options of one transfer; raises `UserError`."""
    for name, of in OPTIONS_OF.items():
        if getattr(config, name) != getattr(StructureConfig, name) and config.transfer not in of:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} is for --transfer {' or '.join(of)}, not {config.transfer}; leave it out")
    for word in config.units:
        name, _, number = word.partition("=")
        if not name or not number.isdigit() or not int(number):
            raise UserError(f"--units {word}: write LAYER=NUMBER, such as conv1=64")
    if config.transfer == "merge":
        if config.second is None:
            raise UserError("--transfer merge: name the other model with --second file:MODEL.keras (or run:DIR)")
        model_spec.check(config.second, config.download)
    if config.transfer == "encoder_to_decoder":
        _check_decoder(config)
    check_task(resolved(config))


def _check_decoder(config: StructureConfig) -> None:
    if config.updates < 1:
        raise UserError("--updates 0: a decoder is taught by steps, not --epochs; give at least 1")
    if config.length < 3:
        raise UserError(f"--length {config.length}: leaves no room for a word between begin and end; give 3 or more")
    labels = ("labels_per_class", "trained_at")
    given = next((name for name in labels if getattr(config, name) != getattr(StructureConfig, name)), None)
    if given:
        flag = given.replace("_", "-")
        raise UserError(f"--{flag}: a decoder is taught by texts, not labels; say how many with --training-texts")
    _check_language(config.source, config.length)


def check_knowledge(config: KnowledgeConfig) -> None:
    """Check source, encoder, target and shares of the knowledge recipe; raises `UserError`."""
    where: dict[str, Any] = {"data_dir": config.data_dir, "download": config.download}
    learned: list[tuple[str, str, dict[str, Any]]] = [
        ("source", config.source, {"text": config.source_text}),
        ("encoder", config.encoder, {"label": config.encoder_label}),
    ]
    for name, spec, columns in learned:
        if model_spec.is_model(spec):
            given = next((column for column, value in columns.items() if value), None)
            if given:
                raise UserError(f"--{name}-{given}: {spec} is a trained model and learns no data; leave it out")
            model_spec.check(spec, config.download)
        else:
            data_spec.check(spec, **where, **columns)
    data_spec.check(config.target, **where, image=config.target_image, caption=config.target_caption)
    if config.reading:
        data_spec.check(config.reading, **where)
    _check_maps(config.encoder)
    for name in ("frozen", "word_dropout", "label_smoothing"):
        if getattr(config, name) > 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(config, name)}: is a share, from 0 to 1")
    if config.length < 3:
        raise UserError(f"--length {config.length}: leaves no room for a word between begin and end; give 3 or more")
    for name in ("updates", "encoder_epochs"):
        if getattr(config, name) < 1:
            raise UserError(
                f"--{name.replace('_', '-')} {getattr(config, name)}: nothing would be learned; give 1 or more"
            )
    check_numbers(config)
    prefix = config.prefix_length if config.looking == "prefix" else 0
    if config.looking == "prefix" and not prefix:
        raise UserError("--prefix-length 0: a prefix of nothing shows no picture; give 1 or more")
    _check_language(config.source, config.length, prefix)
    if not set(config.controls_at) <= set(config.pairs):
        raise UserError(f"--controls-at {list(config.controls_at)}: must be among --pairs {list(config.pairs)}")
    if "transfer" not in config.arms:
        raise UserError("--arms: 'transfer' is the method under study and must be among them")


def _check_maps(spec: str) -> None:
    """Raise `UserError` for an untrained encoder without maps [h, w, E], which a word could look at."""
    if spec.startswith("fresh:") and not spec.startswith("fresh:cnn"):
        raise UserError(f"--encoder {spec}: has no maps of pictures for words to look at; use fresh:cnn or a data set")


def _check_language(spec: str, length: int, prefix: int = 0) -> None:
    """Raise `UserError` for a source that no decoder can be made of, or that has too few positions for its tokens."""
    positions: int | None = POSITIONS
    whose = "the BERT that is trained here"
    if model_spec.is_model(spec):
        parsed = model_spec.parse(spec)
        if parsed.kind != "preset":
            raise UserError(
                f"--source {spec}: give a data set of texts, such as names, or preset:DIR, the folder of a BERT"
            )
        whose, positions = spec, _positions(Path(parsed.name).expanduser())
    if positions is not None and prefix + length > positions:
        words = f"--length {length}" + (f" and --prefix-length {prefix}" if prefix else "")
        raise UserError(f"{words}: {whose} has {positions} positions; ask for fewer")


def _positions(folder: Path) -> int | None:
    """Return how many positions a model's folder says that it has, in Hugging Face's form or KerasHub's; else None."""
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        found = told.get("max_position_embeddings") or told["config"]["max_sequence_length"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # whatever is wrong with it is said when it is loaded
    return found if isinstance(found, int) else None


def check_numbers(config: RunConfig) -> None:
    """Raise `UserError` for an option that is no number, which no comparison sees, or a learning rate of 0."""
    for item in fields(config):
        value, flag = getattr(config, item.name), item.name.replace("_", "-")
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, float) and not math.isfinite(one):
                raise UserError(f"--{flag} {one}: must be a finite number")
            if item.name == "learning_rates" and one <= 0:
                raise UserError(f"--{flag} {one}: a rate is a number above 0, such as 0.003")


def retrieval_columns(config: RetrievalConfig) -> dict[str, str | None]:
    """Return the column options of a target of pairs; characters have their script as classes."""
    label = config.target_label or ("script" if config.target.startswith("glyphs") else None)
    return {"image": config.target_image, "caption": config.target_caption, "label": label}


def check_retrieval(config: RetrievalConfig) -> None:
    """Check both towers' sources, the target and the budgets of the retrieval recipe; raises `UserError`."""
    where: dict[str, Any] = {"data_dir": config.data_dir, "download": config.download}
    data_spec.check(config.target, **(where | retrieval_columns(config)))
    if model_spec.is_model(config.pictures):
        if config.pictures_label:
            raise UserError(f"--pictures-label: {config.pictures} is a trained model; leave it out")
        model_spec.check(config.pictures, config.download)
    else:
        data_spec.check(config.pictures, **where, label=config.pictures_label)
    if not model_spec.is_model(config.texts):
        data_spec.check(config.texts, **where)
    elif model_spec.parse(config.texts).kind != "preset":
        raise UserError(f"--texts {config.texts}: give a data set of texts, or preset:DIR, the folder of a BERT")
    if min(config.pairs) < 2 or config.batch_size < 2:
        raise UserError("--pairs and --batch-size must be 2 or more: with one pair there is nothing to tell apart")
    for name in ("pictures_epochs", "texts_epochs", "updates"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(config, name)}: must be above 0")
    if config.length < 3:
        raise UserError(f"--length {config.length}: leaves no room for a word between begin and end; give 3 or more")
    check_numbers(config)
    if config.temperature < 0.01:
        raise UserError(f"--temperature {config.temperature:g}: must be at least 0.01")
    if not set(config.controls_at) <= set(config.pairs):
        raise UserError(f"--controls-at {list(config.controls_at)}: must be among --pairs {list(config.pairs)}")
    if "transfer" not in config.arms:
        raise UserError("--arms: 'transfer' is the method under study and must be among them")


def check_task(config: TaskConfig) -> None:
    """Check what recipes share: source, target, columns, budgets and arms; raises `UserError`."""
    check_numbers(config)
    where: dict[str, Any] = {"data_dir": config.data_dir, "download": config.download}
    data_spec.check(config.target, **(where | target_columns(config)))
    if model_spec.is_model(config.source):
        if config.source_label:
            raise UserError(f"--source-label: {config.source} is a trained model and learns no labels; leave it out")
        model_spec.check(config.source, config.download)
    else:
        data_spec.check(config.source, **where, label=config.source_label)
    if config.model != "auto" and not model_spec.parse(config.model).fresh:
        raise UserError(f"--model {config.model}: has weights already; give it as --source instead")
    if not set(config.trained_at) <= set(config.labels_per_class):
        raise UserError(
            f"--trained-at {list(config.trained_at)}: must be among --labels-per-class {list(config.labels_per_class)}"
        )
    if "transfer" not in config.arms:
        raise UserError("--arms: 'transfer' is the method under study and must be among them")
