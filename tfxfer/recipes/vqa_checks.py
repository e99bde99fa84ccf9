"""Checks of a request for visual question answering that are cheap and need no TensorFlow: options, a table's rows."""

from typing import Any

from tfxfer.config import VqaConfig
from tfxfer.data import spec as data_spec
from tfxfer.data.tables import read_header, read_table
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec
from tfxfer.recipes.checks import check_numbers

PAIRED = ("question", "answer")


def vqa_columns(config: VqaConfig) -> dict[str, str | None]:
    """Return the column options of the target, as `tfxfer.load` takes them."""
    return {"image": config.target_image, "question": config.target_question, "answer": config.target_answer}


def check_vqa(config: VqaConfig) -> None:
    """Check both encoders, the target and its rows, budgets and arms; raises `UserError`."""
    where: dict[str, Any] = {"data_dir": config.data_dir, "download": config.download}
    _check_encoder(config, where)
    _check_texts(config, where)
    parsed = data_spec.check(config.target, **(where | vqa_columns(config)))
    if parsed.kind in ("csv", "jsonl"):
        check_rows(parsed, config)
    elif parsed.kind in ("names", "languages", "folder"):
        raise UserError(f"--target {config.target}: has no questions about pictures; {FORMS}")
    check_numbers(config)
    for name in ("pictures", "controls_at", "encoder_epochs", "texts_epochs", "updates", "dim", "heads"):
        value = getattr(config, name)
        if any(one < 1 for one in (value if isinstance(value, tuple) else (value,))):
            raise UserError(f"--{name.replace('_', '-')} {value}: must be above 0")
    if config.dim % config.heads:
        raise UserError(f"--heads {config.heads}: does not divide --dim {config.dim}")
    if config.dropout >= 1:
        raise UserError(f"--dropout {config.dropout:g}: is a share below 1")
    if config.length < 3:
        raise UserError(f"--length {config.length}: leaves no room for a word between begin and end; give 3 or more")
    if not set(config.controls_at) <= set(config.pictures):
        raise UserError(f"--controls-at {list(config.controls_at)}: must be among --pictures {list(config.pictures)}")
    if "transfer" not in config.arms:
        raise UserError("--arms: 'transfer' is the method under study and must be among them")


FORMS = "give glyphs, or csv:PATH or jsonl:PATH with a picture, a question and an answer a row"


def _check_encoder(config: VqaConfig, where: dict[str, Any]) -> None:
    if not model_spec.is_model(config.encoder):
        data_spec.check(config.encoder, **where, label=config.encoder_label)
        return
    if config.encoder_label:
        raise UserError(f"--encoder-label: {config.encoder} is a model and learns no labels before; leave it out")
    parsed = model_spec.check(config.encoder, config.download)
    if parsed.fresh and not config.train_encoder:
        raise UserError(f"--encoder {config.encoder}: knows nothing; let it learn here with --train-encoder")
    if parsed.kind == "fresh" and not parsed.name.startswith("cnn"):
        raise UserError(
            f"--encoder {config.encoder}: has no map of places that a question could look at; use fresh:cnn"
        )


def _check_texts(config: VqaConfig, where: dict[str, Any]) -> None:
    fresh = config.texts == "small"
    if not fresh and not model_spec.is_model(config.texts):
        data_spec.check(config.texts, **where)
    elif not fresh and model_spec.parse(config.texts).kind != "preset":
        raise UserError(
            f"--texts {config.texts}: give a data set of texts, preset:DIR (the folder of a BERT), or small"
        )
    nothing = fresh and model_spec.is_model(config.encoder) and model_spec.parse(config.encoder).fresh
    if nothing and "random" in config.arms:
        raise UserError(
            f"--encoder {config.encoder} --texts small: both are fresh, so nothing is transferred and random is the "
            "same; give one that learned something, or leave random out of --arms"
        )


def check_rows(parsed: data_spec.Spec, config: VqaConfig) -> None:
    """Read the table's questions and answers, and name the first row that cannot be used."""
    path = data_spec.existing_file(parsed)
    given = {role: name for role, name in vqa_columns(config).items() if name}
    roles = data_spec.find_columns(given, read_header(path, parsed.kind), path.name)
    for role in ("image", *PAIRED):
        if role not in roles:
            raise UserError(f"{path.name}: has no {role} column; name it with --target-{role}")
    names = [roles[role][0] for role in PAIRED]
    table, lines = read_table(path, parsed.kind, names)
    for role, name in zip(PAIRED, names):
        empty = next((line for value, line in zip(table[name], lines) if not value.strip()), None)
        if empty is not None:
            raise UserError(f"{path.name} row {empty}: the {role} ('{name}') is empty; fill it in or remove the row")
    answers = {" ".join(value.casefold().split()) for value in table[names[1]]}
    if len(answers) < 2:
        raise UserError(
            f"{path.name}: every answer is '{answers.pop()}'; with one answer there is nothing to learn from a picture"
        )
