"""`--train-set` in a recipe: what the report says of each train set's arm, and which pairs are compared."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfxfer.errors import UserError
from tfxfer.models.train_sets import parse


def contrasts_of(arms: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs that are compared: each train set with `all`, and with `head`; transfer's own pairs are known.

    >>> contrasts_of({"head": "transfer", "norms": "train_norms", "all": "train_all"})
    (('train_norms', 'train_all'),)
    """
    pairs = [(arm, arms[to]) for to in ("all", "head") if to in arms for name, arm in arms.items() if name != to]
    both = [pair for place, pair in enumerate(pairs) if "transfer" not in pair and pair[::-1] not in pairs[:place]]
    return tuple(both)


def said_of(arms: Mapping[str, str]) -> dict[str, Any]:
    """Return what the report says of the arms that `--train-set` adds."""
    return {
        arm: {"text": f"As the arm of the first train set. {parse(name).about}", "phrase": name, "role": "train set"}
        for place, (name, arm) in enumerate(arms.items())
        if place
    }


def with_first(arms: Mapping[str, str], sentences: Sequence[str]) -> list[str]:
    """Return the sentences on the first train set, whose pairs with others are no contrasts of their own."""
    first = next(iter(arms), "")
    return [text for text in sentences if text.startswith(f"{first} against ") or f" against {first}: " in text]


def check_used(asked: Sequence[str], arms: Mapping[str, str]) -> None:
    """Raise `UserError` where a recipe, or the arms that are left of it, does nothing with `--train-set`."""
    if asked and not arms:
        raise UserError(f"--train-set {' '.join(asked)}: no pretrained network is trained further here; leave it out")
