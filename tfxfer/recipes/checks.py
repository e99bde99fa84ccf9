"""Checks that several recipes share: cheap, and without TensorFlow. Each raises `UserError` with the remedy."""

from pathlib import Path
from typing import Any

from tfxfer.config import RunConfig, SourceConfig, TargetConfig, flag
from tfxfer.data import spec as data_spec
from tfxfer.data.preflight import check_rows
from tfxfer.errors import UserError
from tfxfer.given_files import read_given_json
from tfxfer.models import spec as model_spec
from tfxfer.models import train_sets

MASKED_WORDS = "nats a masked word"  # score of a text encoder's own task
POSITIONS = 64  # of a BERT that is trained here, `tfxfer.models.bert.small_bert`


def folders(config: RunConfig) -> dict[str, Any]:
    """Return where data are looked for, as `tfxfer.data.spec.check` takes it."""
    return {"data_dir": config.data_dir, "download": config.download}


def check_source(source: SourceConfig, config: RunConfig, name: str) -> None:
    """Check a source's spec and columns; `name` is that of its option."""
    columns = {"label": source.label, "text": source.text}
    if model_spec.is_model(source.spec):
        given = next((column for column, value in columns.items() if value), None)
        if given:
            raise UserError(
                f"{flag(name)}-{given}: {source.spec} is a trained model and learns no {given}s; leave it out"
            )
        model_spec.check(source.spec, config.download)
        model_spec.rescaling(source.spec, source.rescale)
    else:
        model_spec.rescaling(source.spec, source.rescale)
        given_columns: dict[str, Any] = {k: v for k, v in columns.items() if v}
        data_spec.check(source.spec, **folders(config), **given_columns)
    if source.architecture != "auto" and not model_spec.parse(source.architecture).fresh:
        raise UserError(
            f"{flag(name)}-architecture {source.architecture}: has weights already; give it as {flag(name)} instead"
        )


def check_target(target: TargetConfig, config: RunConfig, *columns: str, rows: bool = True) -> data_spec.Spec:
    """Check the target's spec and columns, and the rows of a file, before anything is trained for them."""
    given: dict[str, Any] = folders(config) | target.columns(*columns)
    parsed = data_spec.check(target.spec, image_dir=target.image_dir, **given)
    named = {role: name for role, name in target.columns(*columns).items() if name}
    if rows:
        check_rows(parsed, named, config.data_dir, **target.reading())
    return parsed


def check_arms(config: Any, budgets: str) -> None:
    """Check that the method under study runs, and that controls run at budgets that there are."""
    all_budgets = getattr(config, budgets)
    if not set(config.controls_at) <= set(all_budgets):
        raise UserError(f"--controls-at {list(config.controls_at)}: must be among {flag(budgets)} {list(all_budgets)}")
    if "transfer" not in config.arms:
        raise UserError("--arms: 'transfer' is the method under study and must be among them")
    if getattr(config, "training", None):
        train_sets.parse_all(config.training.train_set)


def check_no_prefix(config: Any, why: str) -> None:
    """Refuse prompt tokens where a network has no place for them; `why` is the reason and the remedy."""
    asked = next((text for text in config.training.train_set if train_sets.parse(text).kind == "prefix"), None)
    if asked is not None:
        raise UserError(f"--train-set {asked}: {why}")


def check_shift(shift: str | None, config: Any) -> None:
    """Check that `--shift` names a data set, or a column and a value; what they hold is seen when they are loaded."""
    if shift is None:
        return
    column, equals, value = shift.partition("=")
    if equals and ":" not in column:
        if not column.strip() or not value.strip():
            raise UserError(f"--shift {shift}: write COLUMN=VALUE, such as face=DejaVuSerif")
        return
    given: dict[str, Any] = folders(config) | config.target.columns("text", "image", "label")
    data_spec.check(shift, **given)


def unscored(spec: str, own_task: Any, same_network: bool = True) -> str:
    """Return why a source's own task is not scored after fine-tuning; "" where it is.

    Args:
        spec: The source.
        own_task: What scores it, or None.
        same_network: Whether the network that trains has the source's layers.
    """
    if own_task is not None:
        return ""
    if not same_network:
        return "the network that trains is another one than the source, which stays as it is"
    if model_spec.is_model(spec):
        return f"{spec} is a model that was trained elsewhere, and the data of its own task are not here"
    return f"{spec} has no labels and its model no head that could be scored"


def unscored_words(spec: str, own_task: Any) -> str:
    """Return why a text encoder's own task, masked words, is not scored after training; "" where it is."""
    return "" if own_task else f"the text encoder {spec} came without the head of its own task, masked words"


def check_language_model(source: SourceConfig, length: int, prefix: int = 0, name: str = "language_model") -> None:
    """Check that a BERT can be made of a source, and has positions for so many tokens."""
    positions: int | None = POSITIONS
    whose = "the BERT that is trained here"
    if model_spec.is_model(source.spec):
        parsed = model_spec.parse(source.spec)
        if parsed.kind != "preset":
            raise UserError(
                f"{flag(name)} {source.spec}: give a data set of texts, such as names, or preset:DIR, the folder of a "
                "BERT"
            )
        whose, positions = source.spec, positions_of(Path(parsed.name).expanduser())
    if positions is not None and prefix + length > positions:
        words = f"--max-length {length}" + (f" and --prefix-length {prefix}" if prefix else "")
        raise UserError(f"{words}: {whose} has {positions} positions; ask for fewer")


def positions_of(folder: Path) -> int | None:
    """Return how many positions a model's config.json gives, in Hugging Face's form or KerasHub's; else None."""
    try:
        settings = read_given_json(folder / "config.json", "download it again")
        found = settings.get("max_position_embeddings") or settings["config"]["max_sequence_length"]
    except (UserError, LookupError, TypeError, AttributeError):
        return None  # whatever is wrong with it is said when it is loaded
    return found if isinstance(found, int) else None
